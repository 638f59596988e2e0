/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_batch.c - many imported messages in one operation: one flush for a slice of them. */
#include "appliance/store/import.h"
#include "appliance/store/store_private.h"

static const uint64_t settable =
    MESSAGE_SYSTEM_FLAGS | (UINT64_MAX >> (63 - MESSAGE_KEYWORD_LAST) & ~UINT64_C(0xff));

/* A keyword too many is no reason to lose the message. */
static int flags_of(struct store_tx *tx, const struct import_batch *b, struct import_item *it,
                    uint64_t *out, struct err *err)
{
    uint64_t mask;

    *out = it->flags & MESSAGE_SYSTEM_FLAGS;
    it->lost = 0;
    for (size_t i = 0; i < it->n_keywords; i++) {
        if (mailbox_keywords_tx(tx, b->mailbox, &it->keywords[i], 1, &mask, err) == 0) {
            *out |= mask;
            continue;
        }
        if (err->why != ERR_WHY_LIMIT)
            return -1;
        err_clear(err);
        it->lost++;
    }
    return 0;
}

/* ---- What is known. */

static int known_uid(struct store_tx *tx, const struct import_batch *b, struct str key,
                     uint32_t *uid_out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *uid_out = 0;
    if (sql_prepare(tx->db,
                    "SELECT uid FROM imported WHERE mailbox = ? AND source = ? AND skey = ?", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->mailbox);
    sql_bind_text(st, 2, b->source);
    sql_bind_blob(st, 3, key);
    rc = sql_step(st, err);
    if (rc == 1)
        *uid_out = (uint32_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int remember(struct store_tx *tx, const struct import_batch *b, const struct import_item *it,
                    struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(
            tx->db,
            "INSERT INTO imported(mailbox, source, skey, uid, state) VALUES (?, ?, ?, ?, ?)", &st,
            err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->mailbox);
    sql_bind_text(st, 2, b->source);
    sql_bind_blob(st, 3, it->key);
    sql_bind_int(st, 4, it->uid_now);
    sql_bind_int(st, 5, it->state);
    return sql_run(st, err);
}

static int remember_state(struct store_tx *tx, const struct import_batch *b,
                          const struct import_item *it, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE imported SET state = ? WHERE mailbox = ? AND source = ? AND skey = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, it->state);
    sql_bind_int(st, 2, (int64_t)b->mailbox);
    sql_bind_text(st, 3, b->source);
    sql_bind_blob(st, 4, it->key);
    return sql_run(st, err);
}

static int forget(struct store_tx *tx, const struct import_batch *b, const struct import_item *it,
                  struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM imported WHERE mailbox = ? AND source = ? AND skey = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->mailbox);
    sql_bind_text(st, 2, b->source);
    sql_bind_blob(st, 3, it->key);
    return sql_run(st, err);
}

/* ---- The messages. */

/* *found: out->uid is one of the mailbox's. */
static int look(struct store_tx *tx, uint64_t mailbox, uint32_t uid, struct message_info *out,
                bool *found, struct err *err)
{
    const struct message_pick pick = {.mailbox = mailbox, .first = uid, .last = uid, .max = 1};
    struct message_info *list;
    size_t n;

    if (message_pick_tx(tx, tx->arena, &pick, &list, &n, err) != 0)
        return -1;
    *found = n == 1;
    if (n)
        *out = list[0];
    return 0;
}

/* Makes the next UID the source's, where that keeps UIDs growing. */
static int keep_uid(struct store_tx *tx, const struct import_batch *b, struct tx_mailbox *m,
                    uint32_t uid, struct err *err)
{
    struct message_info other;
    bool taken;

    if (uid == 0 || b->uidvalidity == 0 || m->row.uidvalidity != b->uidvalidity ||
        uid == m->row.uidnext)
        return 0;
    if (uid > m->row.uidnext) {
        if (m->row.stage_first || uid == UINT32_MAX)
            return 0;
        tx_mailbox_edit(tx, m);
        if (m->row.recent_from == m->row.uidnext)
            m->row.recent_from = uid;
        m->row.uidnext = uid;
        return 0;
    }
    if (look(tx, m->id, uid, &other, &taken, err) != 0)
        return -1;
    return taken ? import_renew_uidvalidity_tx(tx, m, err) : 0;
}

static int add(struct store_tx *tx, const struct import_batch *b, struct tx_mailbox *m,
               struct import_item *it, struct err *err)
{
    struct message_new new = {.mailbox = m->id, .internal_ms = it->internal_ms};
    uint32_t known;

    if (known_uid(tx, b, it->key, &known, err) != 0)
        return -1;
    if (known) {
        it->uid_now = known;
        it->result = IMPORT_KNOWN;
        return 0;
    }
    if (flags_of(tx, b, it, &new.flags, err) != 0 || keep_uid(tx, b, m, it->uid, err) != 0 ||
        body_insert_tx(tx, it->sink, &new.body, err) != 0 ||
        message_insert_tx(tx, &new, &it->uid_now, err) != 0)
        return -1;
    if (!it->recent && m->row.recent_from == it->uid_now)
        m->row.recent_from = it->uid_now + 1;
    return remember(tx, b, it, err);
}

static int set_flags(struct store_tx *tx, const struct import_batch *b, struct tx_mailbox *m,
                     struct import_item *it, struct err *err)
{
    struct message_info info;
    struct sql_stmt *st;
    uint64_t flags;
    bool found;

    if (remember_state(tx, b, it, err) != 0 || look(tx, m->id, it->uid, &info, &found, err) != 0)
        return -1;
    if (!found) {
        it->result = IMPORT_GONE;
        return 0;
    }
    if (flags_of(tx, b, it, &flags, err) != 0)
        return -1;
    flags |= info.flags & ~settable;
    if (flags == info.flags)
        return 0;
    if (sql_prepare(tx->db,
                    "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?", &st,
                    err) != 0)
        return -1;
    tx_mailbox_edit(tx, m);
    m->row.unseen += !(flags & MESSAGE_SEEN);
    m->row.unseen -= !(info.flags & MESSAGE_SEEN);
    sql_bind_int(st, 1, (int64_t)flags);
    sql_bind_int(st, 2, (int64_t)++m->row.modseq);
    sql_bind_int(st, 3, (int64_t)m->id);
    sql_bind_int(st, 4, it->uid);
    return sql_run(st, err);
}

static int take_away(struct store_tx *tx, const struct import_batch *b, struct tx_mailbox *m,
                     struct import_item *it, struct err *err)
{
    struct message_info info;
    struct tx_account *a;
    bool found;

    if (look(tx, m->id, it->uid, &info, &found, err) != 0)
        return -1;
    if (!found)
        it->result = IMPORT_GONE;
    if (found) {
        tx_mailbox_edit(tx, m);
        if (tx_account_get(tx, m->row.account, &a, err) != 0 ||
            message_expunge_one_tx(tx, m, a, &info, ++m->row.modseq, err) != 0)
            return -1;
    }
    return forget(tx, b, it, err);
}

static int one(struct store_tx *tx, const struct import_batch *b, struct tx_mailbox *m,
               struct import_item *it, struct err *err)
{
    it->result = IMPORT_DONE;
    it->uid_now = it->uid;
    switch (it->what) {
    case IMPORT_ADD:
        return add(tx, b, m, it, err);
    case IMPORT_FLAGS:
        return set_flags(tx, b, m, it, err);
    case IMPORT_REMOVE:
        break;
    }
    return take_away(tx, b, m, it, err);
}

static int batch_run(struct store_op *op, struct store_tx *tx)
{
    struct import_batch *b = CONTAINER_OF(op, struct import_batch, op);
    struct tx_mailbox *m;

    if (op->rerun)
        b->at = b->slice_began;
    b->slice_began = b->at;
    if (tx_mailbox_get(tx, b->mailbox, &m, &op->err) != 0)
        return -1;
    if (b->clash < m->row.uidnext && keep_uid(tx, b, m, b->clash, &op->err) != 0)
        return -1;
    while (b->at < b->n_items) {
        if (one(tx, b, m, b->items[b->at], &op->err) != 0)
            return -1;
        b->at++;
        if (store_tx_slice_over(tx))
            break;
    }
    b->uidvalidity_now = m->row.uidvalidity;
    return b->at < b->n_items ? STORE_AGAIN : STORE_DONE;
}

void import_batch_init(struct import_batch *b, void (*done)(struct store_op *))
{
    *b = (struct import_batch){.op = {.run = batch_run, .done = done, .cls = STORE_BULK}};
}
