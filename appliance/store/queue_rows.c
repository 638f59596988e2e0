/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_rows.c - the rows of the queue: read, inserted, deleted.
 * What an address or a site may be long is what the columns of schema.c take. */
#include "appliance/store/queue_private.h"

enum { ADDRESS_MAX = 1000, SITE_MAX = 320 };

static struct str or_empty(struct str s)
{
    return s.p ? s : STR("");
}

/* ---- Read */

void queue_entry_read(struct sql_stmt *st, struct arena *a, struct queue_entry *e)
{
    *e = (struct queue_entry){.id = (uint64_t)sql_int(st, 0),
                              .held = (enum queue_held)sql_int(st, 1),
                              .since_ms = sql_int(st, 2),
                              .until_ms = sql_int(st, 3),
                              .next_ms = sql_int(st, 4),
                              .sender = arena_str(a, sql_blob(st, 5)),
                              .stage = arena_str(a, sql_text(st, 6)),
                              .reason = arena_str(a, sql_blob(st, 7)),
                              .view = arena_str(a, sql_blob(st, 8)),
                              .body = (uint64_t)sql_int(st, 9),
                              .size = (uint64_t)sql_int(st, 10),
                              .n_rcpts = (uint64_t)sql_int(st, 11)};
}

int queue_entry_get(struct sql *db, struct arena *a, uint64_t id, bool held,
                    struct queue_entry *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    held ? "SELECT " QUEUE_ENTRY_COLUMNS "WHERE q.id = ? AND q.held <> 0"
                         : "SELECT " QUEUE_ENTRY_COLUMNS "WHERE q.id = ? AND q.held = 0",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        queue_entry_read(st, a, out);
    sql_reset(st);
    return rc;
}

void queue_to_view(struct sql_stmt *st, struct queue_to *t)
{
    *t = (struct queue_to){.id = (uint64_t)sql_int(st, 0),
                           .n = (uint32_t)sql_int(st, 1),
                           .state = (enum queue_state)sql_int(st, 2),
                           .site = sql_text(st, 3),
                           .next_ms = sql_int(st, 4),
                           .expires_ms = sql_int(st, 5),
                           .tries = (uint32_t)sql_int(st, 6),
                           .forced = sql_int(st, 7) != 0,
                           .warned = sql_int(st, 8) != 0,
                           .notify = (unsigned)sql_int(st, 9),
                           .rcpt = sql_blob(st, 10),
                           .orcpt = sql_blob(st, 12),
                           .last = sql_text(st, 13)};
    if (!sql_is_null(st, 11))
        t->sender = or_empty(sql_blob(st, 11));
}

void queue_to_keep(struct arena *a, struct queue_to *t)
{
    t->rcpt = arena_str(a, t->rcpt);
    t->site = arena_str(a, t->site);
    t->orcpt = arena_str(a, t->orcpt);
    t->last = arena_str(a, t->last);
    if (t->sender.p)
        t->sender = arena_str(a, t->sender);
}

int queue_to_read_all(struct sql_stmt *st, struct arena *a, size_t max, struct queue_to **out,
                      size_t *n_out, struct err *err)
{
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct queue_to, max + 1);
    while (*n_out < max && (rc = sql_step(st, err)) == 1) {
        struct queue_to *t = &(*out)[(*n_out)++];
        queue_to_view(st, t);
        queue_to_keep(a, t);
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* ---- In */

int queue_insert_entry_tx(struct store_tx *tx, const struct queue_entry *e, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "INSERT INTO queue(id, body, held, since, until, next_try, sender, stage, "
                    "reason, info) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)e->id);
    sql_bind_int(st, 2, (int64_t)e->body);
    sql_bind_int(st, 3, e->held);
    sql_bind_int(st, 4, e->since_ms);
    sql_bind_int(st, 5, e->until_ms);
    sql_bind_int(st, 6, e->next_ms);
    sql_bind_blob(st, 7, or_empty(e->sender));
    sql_bind_text(st, 8, or_empty(e->stage));
    sql_bind_blob(st, 9, or_empty(e->reason));
    sql_bind_blob(st, 10, or_empty(e->view));
    return sql_run(st, err);
}

static int check_lengths(const struct queue_new *q, struct err *err)
{
    bool fits = q->entry.sender.n <= ADDRESS_MAX && q->out.envid.n <= ADDRESS_MAX &&
                q->out.account.n <= SITE_MAX;

    for (size_t i = 0; fits && i < q->n_to; i++)
        fits = q->to[i].rcpt.n <= ADDRESS_MAX && q->to[i].sender.n <= ADDRESS_MAX &&
               q->to[i].orcpt.n <= ADDRESS_MAX && q->to[i].site.n <= SITE_MAX;
    return fits ? 0 : ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "an address is too long for the queue");
}

static int insert_out(struct store_tx *tx, const struct queue_entry *e, const struct queue_out *o,
                      struct err *err)
{
    unsigned flags = o->flags & ~(unsigned)QUEUE_NULL_SENDER;
    struct sql_stmt *st;

    if (e->sender.n == 0)
        flags |= QUEUE_NULL_SENDER;
    if (sql_prepare(tx->db,
                    "INSERT INTO queue_out(queue, flags, ret, account, envid, prefix) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)e->id);
    sql_bind_int(st, 2, flags);
    sql_bind_int(st, 3, o->ret);
    sql_bind_text(st, 4, or_empty(o->account));
    sql_bind_blob(st, 5, or_empty(o->envid));
    sql_bind_blob(st, 6, or_empty(o->prefix));
    return sql_run(st, err);
}

static int insert_to(struct store_tx *tx, const struct queue_entry *e, size_t n,
                     const struct queue_to *t, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "INSERT INTO queue_to(queue, n, state, site, next_try, expires, tries, forced, "
                    "warned, notify, rcpt, sender, orcpt, last) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)e->id);
    sql_bind_int(st, 2, (int64_t)n);
    sql_bind_int(st, 3, e->held ? QUEUE_WITHHELD : t->state);
    sql_bind_text(st, 4, or_empty(t->site));
    sql_bind_int(st, 5, t->next_ms);
    sql_bind_int(st, 6, t->expires_ms);
    sql_bind_int(st, 7, t->tries);
    sql_bind_int(st, 8, t->forced);
    sql_bind_int(st, 9, t->warned);
    sql_bind_int(st, 10, t->notify);
    sql_bind_blob(st, 11, or_empty(t->rcpt));
    if (t->sender.p)
        sql_bind_blob(st, 12, t->sender);
    else
        sql_bind_null(st, 12);
    sql_bind_blob(st, 13, or_empty(t->orcpt));
    sql_bind_text(st, 14, queue_last_text(tx->arena, t->last));
    return sql_run(st, err);
}

int queue_insert_leaves_tx(struct store_tx *tx, const struct queue_entry *e,
                           const struct queue_new *q, struct err *err)
{
    if (check_lengths(q, err) || insert_out(tx, e, &q->out, err))
        return -1;
    for (size_t i = 0; i < q->n_to; i++)
        if (insert_to(tx, e, i, &q->to[i], err))
            return -1;
    return 0;
}

/* ---- Out */

int queue_run_by_id(struct store_tx *tx, const char *text, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return sql_run(st, err);
}

int queue_delete_tx(struct store_tx *tx, uint64_t id, uint64_t body, struct err *err)
{
    if (queue_run_by_id(tx, "DELETE FROM queue_rcpt WHERE queue = ?", id, err) ||
        queue_run_by_id(tx, "DELETE FROM queue_to WHERE queue = ?", id, err) ||
        queue_run_by_id(tx, "DELETE FROM queue_out WHERE queue = ?", id, err) ||
        queue_run_by_id(tx, "DELETE FROM queue WHERE id = ?", id, err))
        return -1;
    return body_unref_tx(tx, body, err);
}

int queue_delete_to_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM queue_to WHERE queue = ? AND n = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_int(st, 2, n);
    return sql_run(st, err);
}

int queue_finish_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct sql_stmt *st;
    uint64_t body = 0;
    int rc;

    /* Locked first: another node may settle another of its recipients just now. */
    if (sql_prepare(tx->db, "SELECT body FROM queue WHERE id = ? AND held = 0 FOR UPDATE", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        body = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    if (rc != 1)
        return rc;
    if (sql_prepare(tx->db, "SELECT 1 FROM queue_to WHERE queue = ? LIMIT 1", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    sql_reset(st);
    return rc == 0 ? queue_delete_tx(tx, id, body, err) : rc < 0 ? -1 : 0;
}
