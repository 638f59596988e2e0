/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_leave.c - mail that leaves: into the queue, which sites have some, who is due, what is
 * sent. What is asked every moment is a seek in the index (state, site, next_try, queue, n),
 * however much waits. */
#include "appliance/store/node.h"
#include "appliance/store/queue_private.h"
#include <stdlib.h>

int queue_new_tx(struct store_tx *tx, uint64_t body, const struct queue_new *q, struct err *err)
{
    struct queue_entry e = q->entry;

    if (q->n_to == 0)
        return ERR(err, ERR_BUG, "a message that leaves has no recipients");
    e.body = body;
    if (body_ref_tx(tx, body, err) || queue_insert_entry_tx(tx, &e, err))
        return -1;
    return queue_insert_leaves_tx(tx, &e, q, err);
}

/* ---- Sites */

/* The parameters of NODE_FREE. */
static void bind_free(struct sql_stmt *st, int first, const struct store *s)
{
    sql_bind_int(st, first, (int64_t)node_self(s));
    sql_bind_int(st, first + 1, node_db_ms(s));
}

/* The next one, and the earliest of its rows: the first entry of the index behind the last site. */
static int next_site(struct store_reader *r, struct arena *a, struct str after,
                     struct queue_site *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(r->db,
                    r->store->node
                        ? "SELECT t.site, t.next_try FROM queue_to t WHERE t.state = 0 AND "
                          "t.site > ? AND " NODE_FREE("t.owner") " ORDER BY t.site, t.next_try "
                                                                 "LIMIT 1"
                        : "SELECT site, next_try FROM queue_to WHERE state = 0 AND site > ? "
                          "ORDER BY site, next_try LIMIT 1",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, after);
    if (r->store->node)
        bind_free(st, 2, r->store);
    rc = sql_step(st, err);
    if (rc == 1)
        *out =
            (struct queue_site){.name = arena_str(a, sql_text(st, 0)), .next_ms = sql_int(st, 1)};
    sql_reset(st);
    return rc;
}

int queue_sites(struct store_reader *r, struct arena *a, struct str after, size_t max,
                struct queue_site **out, size_t *n_out, struct err *err)
{
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct queue_site, max + 1);
    if (!after.p)
        after = STR("");
    while (*n_out < max && (rc = next_site(r, a, after, &(*out)[*n_out], err)) == 1)
        after = (*out)[(*n_out)++].name;
    return rc < 0 ? -1 : 0;
}

/* ---- Who is due */

static int compare(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_time_and_sender(const void *pa, const void *pb)
{
    const struct queue_to *a = pa, *b = pb;
    int c = compare(a->next_ms, b->next_ms);

    if (c == 0)
        c = compare((int64_t)a->id, (int64_t)b->id);
    if (c == 0)
        c = compare(a->sender.p != NULL, b->sender.p != NULL);
    if (c == 0)
        c = str_cmp(a->sender, b->sender);
    return c ? c : compare(a->n, b->n);
}

int queue_due(struct store_reader *r, struct arena *a, struct str site, int64_t due_ms, size_t max,
              struct queue_to **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    *n_out = 0;
    if (sql_prepare(r->db,
                    r->store->node
                        ? "SELECT " QUEUE_TO_COLUMNS "FROM queue_to t WHERE t.state = 0 AND "
                          "t.site = ? AND t.next_try <= ? AND " NODE_FREE(
                              "t.owner") " ORDER BY t.next_try, t.queue, t.n LIMIT ?"
                        : "SELECT " QUEUE_TO_COLUMNS "FROM queue_to t WHERE t.state = 0 AND "
                          "t.site = ? AND t.next_try <= ? "
                          "ORDER BY t.next_try, t.queue, t.n LIMIT ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, site);
    sql_bind_int(st, 2, due_ms);
    if (r->store->node)
        bind_free(st, 3, r->store);
    sql_bind_int(st, r->store->node ? 5 : 3, (int64_t)max);
    if (queue_to_read_all(st, a, max, out, n_out, err))
        return -1;
    qsort(*out, *n_out, sizeof **out, by_time_and_sender);
    return 0;
}

int queue_set_site_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct str site,
                      struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE queue_to SET site = ? WHERE queue = ? AND n = ? AND forced = 0",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, site);
    sql_bind_int(st, 2, (int64_t)id);
    sql_bind_int(st, 3, n);
    return sql_run(st, err);
}

/* ---- One message */

static int gone(uint64_t id, struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no message %llu is on its way",
                   (unsigned long long)id);
}

static int get_entry(struct sql *db, struct arena *a, uint64_t id, struct queue_entry *out,
                     struct err *err)
{
    int rc = queue_entry_get(db, a, id, false, out, err);

    return rc == 1 ? 0 : rc == 0 ? gone(id, err) : -1;
}

int queue_out_get(struct store_reader *r, struct arena *a, uint64_t id, struct queue_entry *entry,
                  struct queue_out *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (get_entry(r->db, a, id, entry, err) ||
        sql_prepare(r->db,
                    "SELECT flags, ret, account, envid, prefix FROM queue_out WHERE queue = ?", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct queue_out){.flags = (unsigned)sql_int(st, 0),
                                  .ret = (enum queue_ret)sql_int(st, 1),
                                  .account = arena_str(a, sql_text(st, 2)),
                                  .envid = arena_str(a, sql_blob(st, 3)),
                                  .prefix = arena_str(a, sql_blob(st, 4))};
    sql_reset(st);
    return rc == 1 ? 0 : rc == 0 ? gone(id, err) : -1;
}

static int count_to(struct sql *db, uint64_t id, uint64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = 0;
    if (sql_prepare(db, "SELECT COUNT(*) FROM queue_to WHERE queue = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* Between the two statements it can only become fewer. */
int queue_out_to(struct store_reader *r, struct arena *a, uint64_t id, struct queue_to **out,
                 size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    uint64_t n;

    *n_out = 0;
    if (count_to(r->db, id, &n, err) ||
        sql_prepare(r->db,
                    "SELECT " QUEUE_TO_COLUMNS "FROM queue_to t WHERE t.queue = ? ORDER BY t.n",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return queue_to_read_all(st, a, (size_t)n, out, n_out, err);
}

/* ---- All of it */

static int count_state(struct sql *db, enum queue_state state, uint64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = 0;
    if (sql_prepare(db, "SELECT COUNT(*) FROM queue_to WHERE state = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, state);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int queue_totals(struct store_reader *r, struct queue_totals *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = (struct queue_totals){0};
    if (count_state(r->db, QUEUE_WAITING, &out->recipients, err) ||
        count_state(r->db, QUEUE_ON_HOLD, &out->on_hold, err) ||
        sql_prepare(r->db,
                    "SELECT COUNT(*), COALESCE(SUM(b.size), 0), COALESCE(MIN(q.since), 0) "
                    "FROM queue q JOIN body b ON b.id = q.body WHERE q.held = 0",
                    &st, err))
        return -1;
    out->recipients += out->on_hold;
    rc = sql_step(st, err);
    if (rc == 1) {
        out->messages = (uint64_t)sql_int(st, 0);
        out->bytes = (uint64_t)sql_int(st, 1);
        out->oldest_ms = sql_int(st, 2);
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}
