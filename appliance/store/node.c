/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* node.c - the number of this process among those that share the database: taken, renewed, lost.
 * Leases are counted by the database's clock; this process trusts its own only for how much time
 * has passed since it asked, and stops a margin before the lease ends. */
#include "appliance/store/node.h"
#include "appliance/base/rand.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    NUMBERS = 63, /* 6 bits; 0 is who is alone */
    MARGIN_MS = 2000,
    RETRY_MS = 500,
    OPEN_MS = 20000,
    DECIDE_MS = 30000,
    DECIDE_STEP_MS = 250,
    AHEAD_MS = 60000 /* ids are reserved for the lease and this long after */
};

struct node {
    atomic_uint number;
    atomic_uint_fast64_t owner, until_ms; /* until: monotonic, with the margin */
    atomic_int_fast64_t db_ahead_ms;      /* the database's clock minus our monotonic one */
    uint64_t tend_ms;                     /* commit thread: monotonic, when it is due */
    struct buf alive;                     /* owners of the others; commit thread */
    atomic_bool others;                   /* there are some */
    char name[96];                        /* for people who look at the table */
};

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
              NULL);
}

unsigned node_number(const struct store *s)
{
    return s->node ? atomic_load_explicit(&s->node->number, memory_order_relaxed) : 0;
}

uint64_t node_owner(const struct store *s)
{
    if (!s->node || clock_mono_ms() >= atomic_load(&s->node->until_ms))
        return 0;
    return atomic_load(&s->node->owner);
}

uint64_t node_self(const struct store *s)
{
    return s->node ? atomic_load(&s->node->owner) : 0;
}

bool node_others(const struct store *s)
{
    return s->node && atomic_load(&s->node->others);
}

int64_t node_db_ms(const struct store *s)
{
    return s->node ? (int64_t)clock_mono_ms() + atomic_load(&s->node->db_ahead_ms) : 0;
}

int node_elsewhere_tx(struct store_tx *tx, uint64_t owner, bool *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = false;
    if (owner == 0 || owner == node_self(tx->store))
        return 0;
    if (sql_prepare(tx->db, "SELECT 1 FROM node WHERE owner = ? AND until > ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)owner);
    sql_bind_int(st, 2, node_db_ms(tx->store));
    rc = sql_step(st, err);
    sql_reset(st);
    *out = rc == 1;
    return rc < 0 ? -1 : 0;
}

bool store_shared(const struct store *s)
{
    return s->node != NULL;
}

uint64_t store_owner(const struct store *s)
{
    return node_owner(s);
}

/* ---- The row. */

static int ask_clock(struct node *n, struct sql *db, int64_t *out, struct err *err)
{
    const char *text = strcmp(sql_engine(db), "sqlite") == 0
                           ? "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
                           : "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)";
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, text, &st, err))
        return -1;
    rc = sql_step(st, err);
    if (rc == 1) {
        *out = sql_int(st, 0);
        atomic_store(&n->db_ahead_ms, *out - (int64_t)clock_mono_ms());
    }
    sql_reset(st);
    return rc == 1 ? 0 : rc == 0 ? ERR(err, ERR_BUG, "the database has no clock") : -1;
}

static uint64_t reserve(struct store *s)
{
    uint64_t ids = ids_first_at(clock_wall_ms() + NODE_LEASE_MS + AHEAD_MS);
    uint64_t last = atomic_load(&s->last_id);

    return ids > last ? ids : last + 1;
}

/* *held_out: the row is still ours. */
static int renew(struct store *s, struct sql *db, int64_t now, bool *held_out, struct err *err)
{
    struct node *n = s->node;
    struct sql_stmt *st;

    if (sql_prepare(db, "UPDATE node SET until = ?, reserved = ? WHERE n = ? AND owner = ?", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, now + NODE_LEASE_MS);
    sql_bind_int(st, 2, (int64_t)reserve(s));
    sql_bind_int(st, 3, atomic_load(&n->number));
    sql_bind_int(st, 4, (int64_t)atomic_load(&n->owner));
    if (sql_run(st, err))
        return -1;
    *held_out = sql_changes(db) == 1;
    return 0;
}

struct found {
    unsigned n; /* 0: none */
    uint64_t owner, reserved;
};

/* The one that was left the longest time ago, so that a node that is only slow finds its own again.
 */
static int find_expired(struct sql *db, int64_t now, struct found *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = (struct found){0};
    if (sql_prepare(db,
                    "SELECT n, owner, reserved FROM node WHERE until < ? ORDER BY reserved LIMIT 1",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct found){.n = (unsigned)sql_int(st, 0),
                              .owner = (uint64_t)sql_int(st, 1),
                              .reserved = (uint64_t)sql_int(st, 2)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int highest_number(struct sql *db, unsigned *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT COALESCE(MAX(n), 0) FROM node", &st, err))
        return -1;
    rc = sql_step(st, err);
    *out = rc == 1 ? (unsigned)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int insert(struct store *s, struct sql *db, const struct found *f, uint64_t owner,
                  int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(
            db, "INSERT INTO node(n, owner, until, reserved, mark, name) VALUES (?, ?, ?, ?, 0, ?)",
            &st, err))
        return -1;
    sql_bind_int(st, 1, f->n);
    sql_bind_int(st, 2, (int64_t)owner);
    sql_bind_int(st, 3, now + NODE_LEASE_MS);
    sql_bind_int(st, 4, (int64_t)reserve(s));
    sql_bind_text(st, 5, str_from(s->node->name));
    return sql_run(st, err);
}

static int take_over(struct store *s, struct sql *db, const struct found *f, uint64_t owner,
                     int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "UPDATE node SET owner = ?, until = ?, reserved = ?, mark = 0, name = ? "
                    "WHERE n = ? AND owner = ? AND until < ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)owner);
    sql_bind_int(st, 2, now + NODE_LEASE_MS);
    sql_bind_int(st, 3, (int64_t)reserve(s));
    sql_bind_text(st, 4, str_from(s->node->name));
    sql_bind_int(st, 5, f->n);
    sql_bind_int(st, 6, (int64_t)f->owner);
    sql_bind_int(st, 7, now);
    if (sql_run(st, err))
        return -1;
    return sql_changes(db) == 1 ? 0
                                : ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY,
                                          "another node took the number %u meanwhile", f->n);
}

static void raise_last(struct store *s, uint64_t id)
{
    uint64_t last = atomic_load(&s->last_id);

    while (last < id && !atomic_compare_exchange_weak(&s->last_id, &last, id))
        ;
}

/* A number nobody has; numbers that were never given out are used up first only when none is left
 * over from before. */
static int acquire(struct store *s, struct sql *db, int64_t now, struct found *f, uint64_t owner,
                   struct err *err)
{
    unsigned highest;

    if (find_expired(db, now, f, err) || highest_number(db, &highest, err))
        return -1;
    if (f->n) {
        raise_last(s, f->reserved);
        return take_over(s, db, f, owner, now, err);
    }
    if (highest >= NUMBERS)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY, "all %d numbers of nodes are taken", NUMBERS);
    f->n = highest + 1;
    return insert(s, db, f, owner, now, err);
}

/* ---- Renewed, or another one. */

static int read_alive(struct sql *db, uint64_t self, int64_t now, struct buf *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT owner FROM node WHERE until > ? ORDER BY n", &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    while ((rc = sql_step(st, err)) == 1) {
        uint64_t owner = (uint64_t)sql_int(st, 0);
        if (owner != self)
            buf_add(out, &owner, sizeof owner);
    }
    sql_reset(st);
    return rc;
}

static bool has(const struct buf *list, uint64_t owner)
{
    for (size_t i = 0; i < list->n; i += sizeof owner)
        if (memcmp(list->p + i, &owner, sizeof owner) == 0)
            return true;
    return false;
}

/* Of those that lived none is missing? Replaces the list. */
static bool somebody_ended(struct node *n, const struct buf *now)
{
    bool ended = false;

    for (size_t i = 0; i < n->alive.n; i += sizeof(uint64_t)) {
        uint64_t owner;
        memcpy(&owner, n->alive.p + i, sizeof owner);
        ended = ended || !has(now, owner);
    }
    buf_clear(&n->alive);
    buf_add_str(&n->alive, buf_str(now));
    return ended;
}

struct tending {
    bool held;
    struct found got; /* unless held */
    uint64_t owner;
    struct buf alive;
};

static int tend_tx(struct store *s, struct sql *db, struct tending *t, struct err *err)
{
    int64_t now;

    if (ask_clock(s->node, db, &now, err))
        return -1;
    if (atomic_load(&s->node->owner) && renew(s, db, now, &t->held, err))
        return -1;
    if (!t->held) {
        t->owner = (rand_u64() >> 1) | 1;
        if (acquire(s, db, now, &t->got, t->owner, err))
            return -1;
    }
    return read_alive(db, t->held ? atomic_load(&s->node->owner) : t->owner, now, &t->alive, err);
}

static int tend(struct store *s, struct sql *db, struct tending *t, struct err *err)
{
    if (sql_begin(db, true, err))
        return -1;
    if (tend_tx(s, db, t, err)) {
        sql_rollback(db);
        return -1;
    }
    return sql_commit(db, err);
}

static bool taken(struct store *s, const struct tending *t, uint64_t asked_ms)
{
    struct node *n = s->node;

    if (!t->held) {
        if (atomic_load(&n->owner))
            log_warn(&store_log, "node-lost", L_UINT("number", atomic_load(&n->number)));
        atomic_store(&n->number, t->got.n);
        atomic_store(&n->owner, t->owner);
        log_info(&store_log, "node", L_UINT("number", t->got.n));
    }
    atomic_store(&n->until_ms, asked_ms + NODE_LEASE_MS - MARGIN_MS);
    n->tend_ms = asked_ms + NODE_RENEW_MS;
    if (t->alive.n != n->alive.n)
        log_info(&store_log, "nodes", L_UINT("others", t->alive.n / sizeof(uint64_t)));
    atomic_store(&n->others, t->alive.n > 0);
    return somebody_ended(n, &t->alive) || !t->held;
}

int node_tend(struct store *s, struct sql *db, bool *changed_out, struct err *err)
{
    struct node *n = s->node;
    struct tending t = {0};
    uint64_t now = clock_mono_ms();
    int rc;

    *changed_out = false;
    if (!n || now < n->tend_ms)
        return 0;
    buf_init(&t.alive, 4096);
    rc = tend(s, db, &t, err);
    if (rc == 0)
        *changed_out = taken(s, &t, now);
    else
        n->tend_ms = clock_mono_ms() + RETRY_MS;
    buf_fini(&t.alive);
    if (rc && node_owner(s)) { /* the lease is good for a while yet */
        log_warn(&store_log, "node-not-renewed", L_Z("why", err->text));
        return 0;
    }
    return rc;
}

uint64_t node_wait_ms(struct store *s)
{
    uint64_t now = clock_mono_ms();

    if (!s->node)
        return UINT64_MAX;
    return s->node->tend_ms > now ? s->node->tend_ms - now : 0;
}

/* ---- The mark. */

int node_mark_tx(struct store_tx *tx, uint64_t *mark_out, struct err *err)
{
    struct node *n = tx->store->node;
    struct sql_stmt *st;

    *mark_out = 0;
    if (!n)
        return 0;
    if (sql_prepare(tx->db, "UPDATE node SET mark = ? WHERE n = ? AND owner = ?", &st, err))
        return -1;
    *mark_out = store_new_id(tx->store);
    sql_bind_int(st, 1, (int64_t)*mark_out);
    sql_bind_int(st, 2, atomic_load(&n->number));
    sql_bind_int(st, 3, (int64_t)atomic_load(&n->owner));
    if (sql_run(st, err))
        return -1;
    if (sql_changes(tx->db) == 1)
        return 0;
    atomic_store(&n->until_ms, 0);
    n->tend_ms = 0;
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY,
                   "this node was given up for dead: another one has its number");
}

static int read_mark(struct node *n, struct sql *db, uint64_t *out, bool *found, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_begin(db, true, err))
        return -1;
    rc = sql_prepare(db, "SELECT mark FROM node WHERE n = ? AND owner = ? FOR UPDATE", &st, err);
    if (rc == 0) {
        sql_bind_int(st, 1, atomic_load(&n->number));
        sql_bind_int(st, 2, (int64_t)atomic_load(&n->owner));
        rc = sql_step(st, err);
        *found = rc == 1;
        *out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
        sql_reset(st);
    }
    sql_rollback(db);
    return rc < 0 ? -1 : 0;
}

enum node_fate node_decide(struct store *s, struct sql *db, uint64_t mark)
{
    uint64_t until = clock_mono_ms() + DECIDE_MS, last;
    struct err err;
    bool found = false;

    if (!s->node || !mark)
        return NODE_UNDECIDED;
    for (;;) {
        if (read_mark(s->node, db, &last, &found, &err) == 0)
            break;
        if (clock_mono_ms() >= until) {
            log_error(&store_log, "commit-undecided", L_Z("why", err.text));
            return NODE_UNDECIDED;
        }
        pause_ms(DECIDE_STEP_MS);
    }
    if (!found) /* somebody has the number, and maybe wrote his own mark over ours */
        return NODE_UNDECIDED;
    log_info(&store_log, "commit-decided", L_Z("it", last == mark ? "happened" : "did not happen"));
    return last == mark ? NODE_COMMITTED : NODE_UNDONE;
}

/* ---- Start and end. */

int node_open(struct store *s, struct sql *db, struct err *err)
{
    uint64_t until = clock_mono_ms() + OPEN_MS;
    char host[64] = "";
    bool changed;

    if (!s->conf->shared && !s->conf->server)
        return 0;
    s->node = MEM_NEW(struct node);
    buf_init(&s->node->alive, 4096);
    gethostname(host, sizeof host - 1);
    snprintf(s->node->name, sizeof s->node->name, "%s:%ld", host, (long)getpid());
    while (node_tend(s, db, &changed, err)) {
        if (clock_mono_ms() >= until)
            return err_context(err, "no number for this node");
        pause_ms((unsigned)node_wait_ms(s) + 1);
    }
    return 0;
}

static int give_back(struct store *s, struct sql *db, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "UPDATE node SET until = 0, reserved = ? WHERE n = ? AND owner = ?", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)atomic_load(&s->last_id) + 1);
    sql_bind_int(st, 2, atomic_load(&s->node->number));
    sql_bind_int(st, 3, (int64_t)atomic_load(&s->node->owner));
    return sql_run(st, err);
}

void node_close(struct store *s, struct sql *db)
{
    struct node *n = s->node;
    struct err err;

    if (n && db && atomic_load(&n->owner) && !sql_flush_failed(db) && give_back(s, db, &err))
        log_warn(&store_log, "node-not-given-back", L_Z("why", err.text));
}

void node_free(struct store *s)
{
    if (!s->node)
        return;
    buf_fini(&s->node->alive);
    mem_free(s->node);
    s->node = NULL;
}
