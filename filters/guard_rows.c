/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_rows.c - tables `ban` and `login_seen`: read at the start, written behind. What is lost in
 * a crash is the last second. Networks are text there, so that whoever looks understands them. */
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/io/loop.h"
#include "appliance/sql/sql.h"
#include "appliance/store/behind.h"
#include "filters/guard_private.h"

enum { WRITE_AFTER_MS = 1000, WAITING_MAX = 20000 };

struct row {
    struct behind_row link;
    struct client_text net;
    struct str account, reason; /* account: of a pair; else .p NULL */
    int64_t since, until, times;
    bool manual, deleted;
};
struct rows {
    struct store *store;
    struct behind *behind;
    struct arena *keys;
};

/* ---- Writing. */

static int delete_row(struct sql *db, const struct row *r, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(db,
                    r->account.p ? "DELETE FROM login_seen WHERE net = ? AND account = ?"
                                 : "DELETE FROM ban WHERE net = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(r->net.z));
    if (r->account.p)
        sql_bind_text(st, 2, r->account);
    return sql_run(st, err);
}

static int insert_pair(struct sql *db, const struct row *r, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(db, "INSERT INTO login_seen(account, net, last) VALUES (?, ?, ?)", &st, err))
        return -1;
    sql_bind_text(st, 1, r->account);
    sql_bind_text(st, 2, str_from(r->net.z));
    sql_bind_int(st, 3, r->since);
    return sql_run(st, err);
}

static int insert_ban(struct sql *db, const struct row *r, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(db,
                    "INSERT INTO ban(net, since, until, times, manual, reason) VALUES "
                    "(?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(r->net.z));
    sql_bind_int(st, 2, r->since);
    sql_bind_int(st, 3, r->until);
    sql_bind_int(st, 4, r->times);
    sql_bind_int(st, 5, r->manual);
    sql_bind_text(st, 6, r->reason);
    return sql_run(st, err);
}

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    for (struct behind_row *it = first; it; it = it->next) {
        const struct row *r = CONTAINER_OF(it, struct row, link);
        if (delete_row(db, r, err))
            return -1;
        if (!r->deleted && (r->account.p ? insert_pair : insert_ban)(db, r, err))
            return -1;
    }
    return 0;
}

/* NULL: nothing is kept. */
static struct row *row_new(struct rows *rows, const struct cidr *net, struct str account,
                           struct arena **a)
{
    struct client_text text = client_text(net);
    struct row *r;
    bool made;

    if (!rows)
        return NULL;
    arena_clear(rows->keys);
    r = behind_add_key(rows->behind, guard_row_key(rows->keys, text.z, account), sizeof *r, a,
                       &made);
    if (!r)
        return NULL;
    if (made && account.p)
        r->account = arena_str(*a, account);
    r->net = text;
    r->deleted = false;
    return r;
}

void rows_put_ban(struct rows *rows, const struct guard_ban *b)
{
    struct arena *a;
    struct row *r = row_new(rows, &b->net, STR_NULL, &a);
    if (!r)
        return;
    r->since = b->since;
    r->until = b->until;
    r->times = b->times;
    r->manual = b->manual;
    r->reason = arena_str(a, str_from(b->reason));
}

void rows_drop_ban(struct rows *rows, const struct cidr *net)
{
    struct arena *a;
    struct row *r = row_new(rows, net, STR_NULL, &a);
    if (r)
        r->deleted = true;
}

void rows_put_pair(struct rows *rows, struct str account, const struct cidr *net, int64_t last)
{
    struct arena *a;
    struct row *r = row_new(rows, net, account, &a);
    if (r)
        r->since = last;
}

void rows_drop_pair(struct rows *rows, struct str account, const struct cidr *net)
{
    struct arena *a;
    struct row *r = row_new(rows, net, account, &a);
    if (r)
        r->deleted = true;
}

void guard_rows_close(struct rows **rp)
{
    struct rows *rows = *rp;
    *rp = NULL;
    if (!rows)
        return;
    behind_free(&rows->behind);
    arena_free(&rows->keys);
    mem_free(rows);
}

/* ---- Reading. */

/* False: written by hand, and wrongly. */
bool rows_read_ban(struct sql_stmt *st, struct arena *a, struct guard_ban *out)
{
    struct err ignored;

    *out = (struct guard_ban){.since = sql_int(st, 1),
                              .until = sql_int(st, 2),
                              .times = (unsigned)sql_int(st, 3),
                              .manual = sql_int(st, 4) != 0};
    if (client_net_parse(sql_text(st, 0), &out->net, &ignored))
        return false;
    out->reason = arena_str(a, str_take(sql_text(st, 5), REASON_MAX - 1)).p;
    return true;
}

static void load_pair(struct guard *g, struct sql_stmt *st)
{
    struct err ignored;
    struct cidr net;

    if (client_net_parse(sql_text(st, 0), &net, &ignored) == 0)
        pairs_load(g, sql_text(st, 1), &net, sql_int(st, 2));
}

static int load(struct guard *g, struct sql *db, const char *query, bool pairs, struct err *err)
{
    struct arena *a = arena_new(0);
    struct guard_ban ban;
    struct sql_stmt *st;
    int rc;
    if (sql_prepare(db, query, &st, err)) {
        arena_free(&a);
        return -1;
    }
    while ((rc = sql_step(st, err)) == 1) {
        if (pairs)
            load_pair(g, st);
        else if (rows_read_ban(st, a, &ban))
            bans_load(g, &ban);
        arena_clear(a);
    }
    sql_reset(st);
    arena_free(&a);
    return rc < 0 ? -1 : 0;
}

int guard_rows_open(struct guard *g, struct err *err)
{
    static const struct behind_kind kind = {.log = &guard_log,
                                            .event = "guard_not_written",
                                            .after_ms = WRITE_AFTER_MS,
                                            .rows_max = WAITING_MAX,
                                            .write = write_all,
                                            .table = "guard",
                                            .news = &guard_news};
    struct store_reader *r;
    struct rows *rows;
    if (!g->env.store)
        return 0;
    rows = g->rows = MEM_NEW(struct rows);
    rows->store = g->env.store;
    rows->keys = arena_new(0);
    rows->behind = behind_new(g->env.loop, rows->store, &kind);
    behind_hear(rows->behind, g);
    if (store_reader_open(rows->store, &r, err))
        return -1;
    int rc = load(g, store_reader_sql(r),
                  "SELECT net, since, until, times, manual, reason FROM ban", false, err);
    if (rc == 0)
        rc = load(g, store_reader_sql(r), "SELECT net, account, last FROM login_seen ORDER BY last",
                  true, err);
    store_reader_close(&r);
    return rc;
}
