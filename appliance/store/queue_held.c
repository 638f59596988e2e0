/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_held.c - held mail and quarantine: into the queue, listed, changed, removed. */
#include "appliance/store/queue_private.h"

enum { EXPIRE_MAX = 100 };

/* ---- In */

static int kept(struct sql *db, enum queue_held held, struct queue_kept *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = (struct queue_kept){0};
    if (sql_prepare(db,
                    "SELECT COUNT(*), COALESCE(SUM(b.size), 0) FROM queue q JOIN body b ON b.id = "
                    "q.body WHERE q.held = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, held);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct queue_kept){(uint64_t)sql_int(st, 0), (uint64_t)sql_int(st, 1)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int queue_kept(struct store_reader *r, enum queue_held held, struct queue_kept *out,
               struct err *err)
{
    return kept(r->db, held, out, err);
}

/* Each has its own: what fills the quarantine leaves the room of held mail as it is. */
int queue_room_tx(struct store_tx *tx, enum queue_held held, uint64_t count_max, uint64_t bytes_max,
                  struct err *err)
{
    struct queue_kept k;

    if (kept(tx->db, held, &k, err))
        return -1;
    if (k.messages >= count_max || k.bytes >= bytes_max)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_LIMIT,
                       "%llu messages with %llu octets are %s already",
                       (unsigned long long)k.messages, (unsigned long long)k.bytes,
                       held == QUEUE_HELD ? "held" : "in quarantine");
    return 0;
}

static int put_run(struct store_op *op, struct store_tx *tx)
{
    struct queue_put *q = CONTAINER_OF(op, struct queue_put, op);

    if (queue_room_tx(tx, q->entry.held, q->count_max, q->bytes_max, &op->err) ||
        body_insert_tx(tx, q->sink, &q->entry.body, &op->err) ||
        body_ref_tx(tx, q->entry.body, &op->err) || queue_insert_entry_tx(tx, &q->entry, &op->err))
        return -1;
    for (size_t i = 0; i < q->n_rcpts; i++)
        if (queue_insert_rcpt_tx(tx, q->entry.id, i, &q->rcpts[i], &op->err))
            return -1;
    if (q->leaves && q->leaves->n_to && queue_insert_leaves_tx(tx, &q->entry, q->leaves, &op->err))
        return -1;
    return STORE_DONE;
}

void queue_put_init(struct queue_put *q, void (*done)(struct store_op *))
{
    *q = (struct queue_put){.op = {.run = put_run, .done = done, .cls = STORE_DELIVERY}};
}

/* ---- Read */

/* Two texts: one held at a time is read in the order of its index, both are sorted. */
static int prepare_list(struct sql *db, unsigned held, struct sql_stmt **out, struct err *err)
{
    if (held)
        return sql_prepare(db,
                           "SELECT " QUEUE_ENTRY_COLUMNS
                           "WHERE q.id > ? AND (? = 0 OR q.next_try <= ?) AND q.held = ? "
                           "ORDER BY q.id LIMIT ?",
                           out, err);
    return sql_prepare(db,
                       "SELECT " QUEUE_ENTRY_COLUMNS
                       "WHERE q.id > ? AND (? = 0 OR q.next_try <= ?) AND q.held IN (1, 2) "
                       "ORDER BY q.id LIMIT ?",
                       out, err);
}

int queue_list(struct store_reader *r, struct arena *a, unsigned held, int64_t due_ms,
               uint64_t after, size_t max, struct queue_entry **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct queue_entry, max);
    if (prepare_list(r->db, held, &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)after);
    sql_bind_int(st, 2, due_ms);
    sql_bind_int(st, 3, due_ms);
    if (held)
        sql_bind_int(st, 4, held);
    sql_bind_int(st, held ? 5 : 4, (int64_t)max);
    while (*n_out < max && (rc = sql_step(st, err)) == 1)
        queue_entry_read(st, a, &(*out)[(*n_out)++]);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int queue_due_held(struct store_reader *r, struct arena *a, int64_t due_ms, size_t max,
                   struct queue_due_held **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct queue_due_held, max);
    if (sql_prepare(r->db,
                    "SELECT id, next_try, stage FROM queue WHERE held = 1 AND (? = 0 OR next_try "
                    "<= ?) ORDER BY id LIMIT ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, due_ms);
    sql_bind_int(st, 2, due_ms);
    sql_bind_int(st, 3, (int64_t)max);
    while (*n_out < max && (rc = sql_step(st, err)) == 1)
        (*out)[(*n_out)++] = (struct queue_due_held){.id = (uint64_t)sql_int(st, 0),
                                                     .next_ms = sql_int(st, 1),
                                                     .stage = arena_str(a, sql_text(st, 2))};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* Another node may remove it in this very moment. */
int queue_lock_held_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (!tx->store->node)
        return 0;
    if (sql_prepare(tx->db, "SELECT id FROM queue WHERE id = ? FOR UPDATE", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int not_there(uint64_t id, struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no message %llu is held",
                   (unsigned long long)id);
}

int queue_held_get(struct sql *db, struct arena *a, uint64_t id, struct queue_entry *out,
                   struct err *err)
{
    int rc = queue_entry_get(db, a, id, true, out, err);

    return rc == 1 ? 0 : rc == 0 ? not_there(id, err) : -1;
}

int queue_held_rcpts(struct sql *db, struct arena *a, uint64_t id, size_t max,
                     struct message_recipient **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct message_recipient, max + 1);
    if (sql_prepare(db,
                    "SELECT account, mailbox, prefix, account_id, n FROM queue_rcpt WHERE queue = "
                    "? ORDER BY n",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    while (*n_out < max && (rc = sql_step(st, err)) == 1)
        (*out)[(*n_out)++] = (struct message_recipient){.account = arena_str(a, sql_text(st, 0)),
                                                        .mailbox = arena_str(a, sql_text(st, 1)),
                                                        .prefix = arena_str(a, sql_blob(st, 2)),
                                                        .account_id = (uint64_t)sql_int(st, 3),
                                                        .uid = (uint32_t)sql_int(st, 4)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int queue_get(struct store_reader *r, struct arena *a, uint64_t id, struct queue_entry *out,
              struct err *err)
{
    return queue_held_get(r->db, a, id, out, err);
}

int queue_rcpts(struct store_reader *r, struct arena *a, uint64_t id,
                struct message_recipient **out, size_t *n_out, struct err *err)
{
    struct queue_entry e;

    if (queue_held_get(r->db, a, id, &e, err))
        return -1;
    return queue_held_rcpts(r->db, a, id, (size_t)e.n_rcpts, out, n_out, err);
}

/* ---- Out */

int queue_get_tx(struct store_tx *tx, uint64_t id, struct queue_entry *out, struct err *err)
{
    return queue_held_get(tx->db, tx->arena, id, out, err);
}

int queue_remove_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct queue_entry e;

    if (queue_lock_held_tx(tx, id, err) || queue_held_get(tx->db, tx->arena, id, &e, err))
        return -1;
    return queue_delete_tx(tx, id, e.body, err);
}

int queue_keep_tx(struct store_tx *tx, uint64_t id, enum queue_held held, int64_t until_ms,
                  int64_t next_ms, struct str stage, struct str reason, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE queue SET held = ?, until = ?, next_try = ?, stage = ?, reason = ?, "
                    "owner = 0 WHERE id = ? AND held <> 0",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, held);
    sql_bind_int(st, 2, until_ms);
    sql_bind_int(st, 3, next_ms);
    sql_bind_text(st, 4, stage);
    sql_bind_blob(st, 5, reason);
    sql_bind_int(st, 6, (int64_t)id);
    if (sql_run(st, err))
        return -1;
    return sql_changes(tx->db) == 1 ? 0 : not_there(id, err);
}

int queue_expire_tx(struct store_tx *tx, int64_t now_ms, size_t *n_out, struct err *err)
{
    uint64_t ids[EXPIRE_MAX];
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    if (sql_prepare(tx->db, "SELECT id FROM queue WHERE held = 2 AND until < ? LIMIT 100", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, now_ms);
    while (*n_out < EXPIRE_MAX && (rc = sql_step(st, err)) == 1)
        ids[(*n_out)++] = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    for (size_t i = 0; rc >= 0 && i < *n_out; i++)
        if (queue_remove_tx(tx, ids[i], err) && err->why != ERR_WHY_NOT_FOUND)
            return -1;
    return rc < 0 ? -1 : 0;
}
