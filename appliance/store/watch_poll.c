/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* watch_poll.c - watched mailboxes that other nodes change: their rows are looked at once a while,
 * a hundred in one statement, by a job on lane store. What this node changes is told at its commit
 * (watch.c), and once more by this. Tables of other rooms that are watched as a whole have a
 * counter each. */
#include "appliance/store/node.h"
#include <stdio.h>

enum { POLL_MS = 700, CHUNK = 100 };
#define TEN "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

struct watch_poll {
    struct store *store;
    struct timer *timer;
    struct job job;
    bool busy, orphaned;
    struct buf ids, states; /* states: pairs of id and state; 0: not found out */
};

/* All of a mailbox that its watchers show, in one number: what may change without its modseq, too.
 */
static uint64_t state_of(struct sql_stmt *st)
{
    struct {
        int64_t account, modseq, uidvalidity;
        uint64_t name;
    } seen = {sql_int(st, 1), sql_int(st, 2), sql_int(st, 3), str_hash(sql_text(st, 4))};

    return str_hash(str_of(&seen, sizeof seen)) | 1;
}

static void add_state(struct buf *out, uint64_t id, uint64_t state)
{
    uint64_t pair[2] = {id, state};

    buf_add(out, pair, sizeof pair);
}

static uint64_t id_at(const struct buf *ids, size_t i)
{
    uint64_t id;

    memcpy(&id, ids->p + i * sizeof id, sizeof id);
    return id;
}

static bool found(const struct buf *states, size_t from, uint64_t id)
{
    for (size_t at = from; at < states->n; at += 2 * sizeof id)
        if (memcmp(states->p + at, &id, sizeof id) == 0)
            return true;
    return false;
}

/* A chunk; what isn't there any more gets a state of its own. */
static int read_chunk(struct watch_poll *p, struct sql *db, size_t first, size_t n, struct err *err)
{
    size_t began = p->states.n;
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    "SELECT id, account, modseq, uidvalidity, name FROM mailbox WHERE id IN "
                    "(" HUNDRED ")",
                    &st, err) != 0)
        return -1;
    for (size_t i = 0; i < CHUNK; i++)
        sql_bind_int(st, (int)i + 1, i < n ? (int64_t)id_at(&p->ids, first + i) : 0);
    while ((rc = sql_step(st, err)) == 1)
        add_state(&p->states, (uint64_t)sql_int(st, 0), state_of(st));
    sql_reset(st);
    for (size_t i = first; rc == 0 && i < first + n; i++)
        if (!found(&p->states, began, id_at(&p->ids, i)))
            add_state(&p->states, id_at(&p->ids, i), 2);
    return rc;
}

/* ---- Tables: a counter for each in store_meta. */

static int count_up(struct store_tx *tx, struct str name, unsigned by, bool *found, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE store_meta SET value = value + ? WHERE name = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, by);
    sql_bind_text(st, 2, name);
    if (sql_run(st, err))
        return -1;
    *found = sql_changes(tx->db) == 1;
    return 0;
}

static int insert(struct store_tx *tx, struct str name, unsigned by, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "INSERT INTO store_meta(name, value) VALUES (?, ?)", &st, err))
        return -1;
    sql_bind_text(st, 1, name);
    sql_bind_int(st, 2, by);
    return sql_run(st, err);
}

int watch_count_up_tx(struct store_tx *tx, unsigned table, unsigned by, struct err *err)
{
    char text[16];
    bool found;

    snprintf(text, sizeof text, "watch-%u", table);
    if (count_up(tx, str_from(text), by, &found, err))
        return -1;
    if (found || insert(tx, str_from(text), by, err) == 0)
        return 0;
    /* Another node inserted it in this very moment. */
    return err->why == ERR_WHY_EXISTS ? count_up(tx, str_from(text), by, &found, err) : -1;
}

int watch_note_tx(struct store_tx *tx, struct err *err)
{
    unsigned tables = 0;

    for (size_t i = 0; tx->store->node && i < tx->told.n; i += sizeof(uint64_t)) {
        uint64_t id = id_at(&tx->told, i / sizeof id);
        if (id >= STORE_WATCH_TABLES && id < STORE_WATCH_ROWS)
            tables |= 1u << id;
    }
    for (unsigned t = STORE_WATCH_TABLES; tables && t < STORE_WATCH_ROWS; t++)
        if (tables & 1u << t && watch_count_up_tx(tx, t, 1, err))
            return -1;
    return 0;
}

static int read_tables(struct watch_poll *p, struct sql *db, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    "SELECT name, value FROM store_meta WHERE name > 'watch-' AND name < 'watch.'",
                    &st, err))
        return -1;
    while ((rc = sql_step(st, err)) == 1) {
        uint64_t id;
        if (str_to_u64(str_skip(sql_text(st, 0), 6), STORE_WATCH_NODES, &id) == 0)
            add_state(&p->states, id, (uint64_t)sql_int(st, 1));
    }
    sql_reset(st);
    return rc;
}

static void run(struct job *j, void *worker)
{
    struct watch_poll *p = CONTAINER_OF(j, struct watch_poll, job);
    size_t total = p->ids.n / sizeof(uint64_t);
    struct store_reader *r = worker;
    struct err err;

    if (!r || read_tables(p, r->db, &err) != 0)
        return;
    for (size_t i = 0; i < total; i += CHUNK)
        if (read_chunk(p, r->db, i, total - i < CHUNK ? total - i : CHUNK, &err) != 0)
            return; /* next time; readers say why */
}

static void dispose(struct watch_poll *p)
{
    buf_fini(&p->ids);
    buf_fini(&p->states);
    store_unref(p->store);
    mem_free(p);
}

static void done(struct job *j)
{
    struct watch_poll *p = CONTAINER_OF(j, struct watch_poll, job);

    p->busy = false;
    if (p->orphaned) {
        dispose(p);
        return;
    }
    for (size_t at = 0; at < p->states.n; at += 2 * sizeof(uint64_t)) {
        uint64_t pair[2];
        memcpy(pair, p->states.p + at, sizeof pair);
        watches_seen(p->store, pair[0], pair[1]);
    }
    timer_start(p->timer, POLL_MS);
}

static void on_timer(void *ctx)
{
    struct watch_poll *p = ctx;

    buf_clear(&p->ids);
    buf_clear(&p->states);
    watches_list(p->store, &p->ids);
    p->busy = lane_submit(p->store->reader_lane, &p->job) == 0;
    if (!p->busy)
        timer_start(p->timer, POLL_MS);
}

struct watch_poll *watch_poll_new(struct store *s)
{
    struct watch_poll *p;

    if (!s->node)
        return NULL;
    p = MEM_NEW(struct watch_poll);
    p->store = s;
    store_ref(s);
    buf_init(&p->ids, SIZE_MAX / 2);
    buf_init(&p->states, SIZE_MAX / 2);
    p->job = (struct job){.run = run, .done = done};
    p->timer = timer_new(s->loop, on_timer, p);
    timer_start(p->timer, POLL_MS);
    return p;
}

void watch_poll_free(struct watch_poll **pp)
{
    struct watch_poll *p = *pp;

    if (!p)
        return;
    *pp = NULL;
    timer_free(&p->timer);
    p->orphaned = true;
    if (!p->busy)
        dispose(p);
}
