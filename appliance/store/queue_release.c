/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_release.c - held mail into its mailboxes and on its way. What was held for an account that
 * is removed stays in quarantine: its address may be somebody else's by now (DESIGN.md 4). */
#include "appliance/store/queue_private.h"

enum { GONE_MIN_MS = 7 * 86400 * 1000 };

/* ---- Copies that leave. */

/* They live from now on: the time they were held isn't taken off their lifetime. */
static int let_leave(struct store_tx *tx, const struct queue_entry *e, int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE queue_to SET state = 0, next_try = ?, expires = expires + ? "
                    "WHERE queue = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    sql_bind_int(st, 2, now > e->since_ms ? now - e->since_ms : 0);
    sql_bind_int(st, 3, (int64_t)e->id);
    if (sql_run(st, err))
        return -1;
    if (sql_changes(tx->db) == 0)
        return queue_delete_tx(tx, e->id, e->body, err);
    if (sql_prepare(tx->db,
                    "UPDATE queue SET held = 0, next_try = ?, until = 0, stage = '', reason = ?, "
                    "info = ? WHERE id = ?",
                    &st, err))
        return -1;
    store_tx_changed(tx, STORE_WATCH_QUEUE);
    sql_bind_int(st, 1, now);
    sql_bind_blob(st, 2, STR(""));
    sql_bind_blob(st, 3, STR(""));
    sql_bind_int(st, 4, (int64_t)e->id);
    return sql_run(st, err);
}

/* ---- Those whose account is gone. */

/* 1: it is there, 0: it isn't any more. */
static int is_there(struct store_tx *tx, const struct message_recipient *r, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (r->account_id == 0) /* held by a version that didn't note it, for one never opened */
        return 1;
    if (sql_prepare(tx->db, "SELECT 1 FROM account WHERE id = ? AND detached = 0 FOR UPDATE", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)r->account_id);
    rc = sql_step(st, err);
    sql_reset(st);
    return rc;
}

static int move_rcpt(struct store_tx *tx, uint64_t from, uint32_t n, uint64_t to, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE queue_rcpt SET queue = ? WHERE queue = ? AND n = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)to);
    sql_bind_int(st, 2, (int64_t)from);
    sql_bind_int(st, 3, n);
    return sql_run(st, err);
}

/* A message of its own for them, so that the copies that leave can do so. */
static int split(struct store_tx *tx, const struct queue_entry *e, const struct queue_entry *kept,
                 const struct message_recipient *list, size_t n, struct err *err)
{
    if (body_ref_tx(tx, kept->body, err) || queue_insert_entry_tx(tx, kept, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (move_rcpt(tx, e->id, list[i].uid, kept->id, err))
            return -1;
    return 0;
}

static int keep_gone(struct store_tx *tx, const struct queue_entry *e, bool leaves,
                     const struct message_recipient *list, size_t n, int64_t now,
                     struct queue_gone *gone, struct err *err)
{
    struct queue_entry kept = *e;
    int64_t until = now + GONE_MIN_MS;

    if (gone->until_ms > until)
        until = gone->until_ms;
    kept.held = QUEUE_QUARANTINE;
    kept.until_ms = until > e->until_ms ? until : e->until_ms;
    kept.next_ms = kept.until_ms;
    kept.reason =
        n == 1 ? arena_printf(tx->arena, "recipient is gone: " STR_FMT " was removed",
                              STR_ARG(list[0].account))
               : arena_printf(tx->arena, "recipient is gone: " STR_FMT " and %zu more were removed",
                              STR_ARG(list[0].account), n - 1);
    if (leaves)
        kept.id = store_new_id(tx->store);
    gone->n = n;
    gone->id = kept.id;
    return leaves ? split(tx, e, &kept, list, n, err)
                  : queue_keep_tx(tx, e->id, kept.held, kept.until_ms, kept.next_ms, kept.stage,
                                  kept.reason, err);
}

/* ---- Both. */

static int delete_rcpt(struct store_tx *tx, uint64_t id, uint32_t n, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM queue_rcpt WHERE queue = ? AND n = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_int(st, 2, n);
    return sql_run(st, err);
}

static int deliver_one(struct store_tx *tx, const struct queue_entry *e, const char *mailbox,
                       int64_t now, struct message_recipient r, struct err *err)
{
    uint32_t n = r.uid;

    if (mailbox)
        r.mailbox = str_from(mailbox);
    r.uid = 0;
    return delivery_to_tx(tx, e->body, now, &r, err) ? -1 : delete_rcpt(tx, e->id, n, err);
}

/* Those here; *leaving: how many leave. */
static int deliver(struct store_tx *tx, uint64_t id, const char *mailbox, int64_t now,
                   struct queue_entry *e, size_t *leaving, struct queue_gone *gone, struct err *err)
{
    struct message_recipient *list, *lost;
    size_t n, n_lost = 0;

    gone->n = 0;
    gone->id = 0;
    if (queue_lock_held_tx(tx, id, err) || queue_held_get(tx->db, tx->arena, id, e, err) ||
        queue_held_rcpts(tx->db, tx->arena, id, (size_t)e->n_rcpts, &list, &n, err))
        return -1;
    lost = ARENA_ARRAY(tx->arena, struct message_recipient, n + 1);
    for (size_t i = 0; i < n; i++) {
        int there = is_there(tx, &list[i], err);
        if (there < 0 || (there && deliver_one(tx, e, mailbox, now, list[i], err)))
            return -1;
        if (!there)
            lost[n_lost++] = list[i];
    }
    *leaving = (size_t)e->n_rcpts - n;
    return n_lost ? keep_gone(tx, e, *leaving > 0, lost, n_lost, now, gone, err) : 0;
}

int queue_release_tx(struct store_tx *tx, uint64_t id, const char *mailbox, struct queue_gone *gone,
                     struct err *err)
{
    int64_t now = clock_wall_ms();
    struct queue_entry e;
    size_t leaving;

    if (deliver(tx, id, mailbox, now, &e, &leaving, gone, err))
        return -1;
    return leaving || !gone->n ? let_leave(tx, &e, now, err) : 0;
}

int queue_release_here_tx(struct store_tx *tx, uint64_t id, const char *mailbox, struct str view,
                          struct str reason, bool *leaves_out, struct queue_gone *gone,
                          struct err *err)
{
    int64_t now = clock_wall_ms();
    struct queue_entry e;
    struct sql_stmt *st;
    size_t leaving;

    if (deliver(tx, id, mailbox, now, &e, &leaving, gone, err))
        return -1;
    *leaves_out = leaving > 0;
    if (!leaving)
        return gone->n ? 0 : queue_delete_tx(tx, id, e.body, err);
    if (sql_prepare(tx->db,
                    "UPDATE queue SET held = 1, next_try = ?, stage = '', reason = ?, info = ?, "
                    "owner = 0 WHERE id = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    sql_bind_blob(st, 2, reason);
    sql_bind_blob(st, 3, view);
    sql_bind_int(st, 4, (int64_t)id);
    return sql_run(st, err);
}
