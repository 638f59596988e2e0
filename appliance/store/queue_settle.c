/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_settle.c - what an attempt led to, recorded together with the report about it: neither can
 * be lost or made twice without the other. */
#include "appliance/base/text.h"
#include "appliance/store/queue_private.h"

enum { LAST_MAX = 400 };

/* What hosts say, fit for a text column: cut between characters; what isn't UTF-8 becomes '?'. */
struct str queue_last_text(struct arena *a, struct str s)
{
    struct str cut = arena_str(a, str_take(s, LAST_MAX));

    while (s.n > LAST_MAX && cut.n > LAST_MAX - 4 && !text_utf8_valid(cut))
        cut.n--;
    if (text_utf8_valid(cut))
        return cut;
    char *p = arena_dup(a, cut.p, cut.n);
    for (size_t i = 0; i < cut.n; i++)
        if ((unsigned char)p[i] >= 0x80)
            p[i] = '?';
    return str_of(p, cut.n);
}

static int later(struct store_tx *tx, const struct queue_result *r, uint64_t owner, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    owner ? "UPDATE queue_to SET next_try = ?, last = ?, warned = ?, "
                            "tries = tries + 1, owner = 0 WHERE queue = ? AND n = ? AND owner = ?"
                          : "UPDATE queue_to SET next_try = ?, last = ?, warned = ?, "
                            "tries = tries + 1 WHERE queue = ? AND n = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, r->next_ms);
    sql_bind_text(st, 2, queue_last_text(tx->arena, r->last));
    sql_bind_int(st, 3, r->warned);
    sql_bind_int(st, 4, (int64_t)r->id);
    sql_bind_int(st, 5, r->n);
    if (owner)
        sql_bind_int(st, 6, (int64_t)owner);
    return sql_run(st, err);
}

static int settled(struct store_tx *tx, const struct queue_result *r, uint64_t owner,
                   struct err *err)
{
    struct sql_stmt *st;

    if (!owner)
        return queue_delete_to_tx(tx, r->id, r->n, err);
    if (sql_prepare(tx->db, "DELETE FROM queue_to WHERE queue = ? AND n = ? AND owner = ?", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)r->id);
    sql_bind_int(st, 2, r->n);
    sql_bind_int(st, 3, (int64_t)owner);
    return sql_run(st, err);
}

static int settle_rows(struct store_tx *tx, struct queue_settle *q, struct err *err)
{
    q->n_found = 0;
    for (size_t i = 0; i < q->n_results; i++) {
        const struct queue_result *r = &q->results[i];
        if (r->what == QUEUE_LATER ? later(tx, r, q->owner, err) : settled(tx, r, q->owner, err))
            return -1;
        q->n_found += sql_changes(tx->db) == 1;
    }
    return 0;
}

/* After all rows: recipients of one message usually follow one another. */
static int finish_messages(struct store_tx *tx, const struct queue_settle *q, struct err *err)
{
    for (size_t i = 0; i < q->n_results; i++) {
        uint64_t id = q->results[i].id;
        if (i + 1 < q->n_results && q->results[i + 1].id == id)
            continue;
        if (queue_finish_tx(tx, id, err))
            return -1;
    }
    return 0;
}

static int put_report(struct store_tx *tx, struct queue_settle *q, struct err *err)
{
    uint64_t body;

    if (body_insert_tx(tx, q->report, &body, err))
        return -1;
    for (size_t i = 0; i < q->n_rcpts; i++)
        if (delivery_to_tx(tx, body, clock_wall_ms(), &q->rcpts[i], err))
            return err_context(err, "report to " STR_FMT, STR_ARG(q->rcpts[i].account));
    return q->leaves ? queue_new_tx(tx, body, q->leaves, err) : 0;
}

static int settle_run(struct store_op *op, struct store_tx *tx)
{
    struct queue_settle *q = CONTAINER_OF(op, struct queue_settle, op);

    if (settle_rows(tx, q, &op->err) || finish_messages(tx, q, &op->err))
        return -1;
    if (q->report && (q->n_found || q->n_results == 0) && put_report(tx, q, &op->err))
        return -1;
    return STORE_DONE;
}

void queue_settle_init(struct queue_settle *q, void (*done)(struct store_op *))
{
    *q = (struct queue_settle){.op = {.run = settle_run, .done = done, .cls = STORE_DELIVERY}};
}
