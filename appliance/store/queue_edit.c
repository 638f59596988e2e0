/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_edit.c - what filter stages change about a held message: head, body, envelope. */
#include "appliance/store/queue_private.h"

enum { PREFIX_MAX = 1 << 20 };

/* ---- Head and body */

int queue_set_head_tx(struct store_tx *tx, uint64_t id, struct str head, struct err *err)
{
    struct queue_entry e;
    struct sql_stmt *st;

    if (queue_held_get(tx->db, tx->arena, id, &e, err) ||
        sql_prepare(tx->db, "UPDATE body_head SET head = ? WHERE id = ?", &st, err))
        return -1;
    sql_bind_blob(st, 1, head);
    sql_bind_int(st, 2, (int64_t)e.body);
    if (sql_run(st, err) ||
        sql_prepare(tx->db, "UPDATE body SET size = data_size + ? WHERE id = ? AND refs = 1", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)head.n);
    sql_bind_int(st, 2, (int64_t)e.body);
    if (sql_run(st, err))
        return -1;
    if (sql_changes(tx->db) != 1)
        return ERR(err, ERR_BUG, "the head of a message that is in mailboxes can't be changed");
    /* Without meta the structure is scanned anew when it is asked for. */
    if (sql_prepare(tx->db, "UPDATE body_meta SET meta = ? WHERE id = ?", &st, err))
        return -1;
    sql_bind_blob(st, 1, STR(""));
    sql_bind_int(st, 2, (int64_t)e.body);
    return sql_run(st, err);
}

int queue_add_prefix_tx(struct store_tx *tx, uint64_t id, struct str fields, struct err *err)
{
    struct sql_stmt *st;
    struct buf all;
    int rc;

    if (sql_prepare(tx->db, "SELECT prefix FROM queue_out WHERE queue = ?", &st, err))
        return -1;
    buf_init(&all, PREFIX_MAX);
    buf_add_str(&all, fields);
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        buf_add_str(&all, sql_blob(st, 0));
    sql_reset(st);
    if (rc == 1 && !buf_ok(&all))
        rc = ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "too many header fields");
    if (rc == 1 && (rc = sql_prepare(tx->db, "UPDATE queue_out SET prefix = ? WHERE queue = ?", &st,
                                     err)) == 0) {
        sql_bind_blob(st, 1, buf_str(&all));
        sql_bind_int(st, 2, (int64_t)id);
        rc = sql_run(st, err);
    }
    buf_fini(&all);
    return rc;
}

static int mark_eight_bit(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE queue_out SET flags = flags | ? WHERE queue = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, QUEUE_8BIT);
    sql_bind_int(st, 2, (int64_t)id);
    return sql_run(st, err);
}

int queue_set_body_tx(struct store_tx *tx, uint64_t id, struct body_sink *sink, bool eight_bit,
                      struct err *err)
{
    struct queue_entry e;
    struct sql_stmt *st;
    uint64_t body;

    if (queue_held_get(tx->db, tx->arena, id, &e, err) || body_insert_tx(tx, sink, &body, err) ||
        body_ref_tx(tx, body, err) ||
        tx_member_end(tx, err) || /* its row, which what follows in this operation reads */
        sql_prepare(tx->db, "UPDATE queue SET body = ? WHERE id = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)body);
    sql_bind_int(st, 2, (int64_t)id);
    if (sql_run(st, err) || body_unref_tx(tx, e.body, err))
        return -1;
    return eight_bit ? mark_eight_bit(tx, id, err) : 0;
}

/* ---- Envelope */

int queue_insert_rcpt_tx(struct store_tx *tx, uint64_t id, size_t n,
                         const struct message_recipient *r, struct err *err)
{
    struct sql_stmt *st;
    uint64_t account = r->account_id;

    if ((!account && account_open_tx(tx, r->account, &account, err)) ||
        sql_prepare(tx->db,
                    "INSERT INTO queue_rcpt(queue, n, account, mailbox, prefix, account_id) VALUES "
                    "(?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_int(st, 2, (int64_t)n);
    sql_bind_text(st, 3, r->account);
    sql_bind_text(st, 4, r->mailbox);
    sql_bind_blob(st, 5, r->prefix.p ? r->prefix : STR(""));
    sql_bind_int(st, 6, (int64_t)account);
    return sql_run(st, err);
}

int queue_rcpts_tx(struct store_tx *tx, uint64_t id, struct message_recipient **out, size_t *n_out,
                   struct err *err)
{
    struct queue_entry e;

    if (queue_held_get(tx->db, tx->arena, id, &e, err))
        return -1;
    return queue_held_rcpts(tx->db, tx->arena, id, (size_t)e.n_rcpts, out, n_out, err);
}

int queue_set_rcpts_tx(struct store_tx *tx, uint64_t id, const struct message_recipient *list,
                       size_t n, struct err *err)
{
    if (queue_run_by_id(tx, "DELETE FROM queue_rcpt WHERE queue = ?", id, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (queue_insert_rcpt_tx(tx, id, i, &list[i], err))
            return -1;
    return 0;
}

int queue_drop_to_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct err *err)
{
    return queue_delete_to_tx(tx, id, n, err);
}

int queue_set_sender_tx(struct store_tx *tx, uint64_t id, struct str sender, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE queue SET sender = ? WHERE id = ?", &st, err))
        return -1;
    sql_bind_blob(st, 1, sender);
    sql_bind_int(st, 2, (int64_t)id);
    return sql_run(st, err);
}
