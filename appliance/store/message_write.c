/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* message_write.c - inserting and removing single messages, keeping counters and quota. Commit
 * thread. */
#include "appliance/store/store_private.h"

enum { DAY_MS = 86400000 };

static int take_uid(struct store_tx *tx, struct tx_mailbox *m, uint32_t *uid_out, struct err *err)
{
    if (m->row.stage_first && m->row.uidnext >= m->row.stage_first)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY, "a large copy into this mailbox is under way");
    if (m->row.uidnext == UINT32_MAX)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the mailbox has no uids left");
    tx_mailbox_edit(tx, m);
    *uid_out = m->row.uidnext++;
    return 0;
}

int message_insert_row_tx(struct store_tx *tx, uint64_t mailbox, const struct message_info *info,
                          struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "INSERT INTO message(mailbox, uid, modseq, flags, idate, size, body, prefix) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, info->uid);
    sql_bind_int(st, 3, (int64_t)info->modseq);
    sql_bind_int(st, 4, (int64_t)info->flags);
    sql_bind_int(st, 5, info->internal_ms);
    sql_bind_int(st, 6, (int64_t)info->size);
    sql_bind_int(st, 7, (int64_t)info->body);
    sql_bind_blob(st, 8, info->prefix);
    if (sql_run(st, err) != 0)
        return -1;
    return body_ref_tx(tx, info->body, err);
}

static int count_in(struct store_tx *tx, struct tx_mailbox *m, const struct message_info *info,
                    struct err *err)
{
    struct tx_account *a;

    if (tx_account_get(tx, m->row.account, &a, err) != 0)
        return -1;
    tx_account_edit(tx, a);
    a->row.used_bytes += info->size;
    a->row.used_messages++;
    m->row.messages++;
    m->row.bytes += info->size;
    m->row.unseen += !(info->flags & MESSAGE_SEEN);
    return 0;
}

int message_insert_tx(struct store_tx *tx, const struct message_new *new, uint32_t *uid_out,
                      struct err *err)
{
    struct message_info info = {.flags = new->flags,
                                .internal_ms = new->internal_ms,
                                .body = new->body,
                                .prefix = new->prefix};
    struct tx_mailbox *m;
    uint64_t keywords = 0, size;

    if (tx_mailbox_get(tx, new->mailbox, &m, err) != 0 ||
        body_size_tx(tx, new->body, &size, err) != 0)
        return -1;
    if (new->n_keywords &&
        mailbox_keywords_tx(tx, m->id, new->keywords, new->n_keywords, &keywords, err) != 0)
        return -1;
    info.flags |= keywords;
    info.size = size + new->prefix.n;
    if (take_uid(tx, m, &info.uid, err) != 0)
        return -1;
    info.modseq = ++m->row.modseq;
    *uid_out = info.uid;
    if (message_insert_row_tx(tx, m->id, &info, err) != 0)
        return -1;
    return count_in(tx, m, &info, err);
}

/* ---- Removing. */

int message_delete_row_tx(struct store_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t body,
                          struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM message WHERE mailbox = ? AND uid = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, uid);
    if (sql_run(st, err) != 0)
        return -1;
    return body_unref_tx(tx, body, err);
}

int message_delete_rows_tx(struct store_tx *tx, uint64_t mailbox, uint32_t first, size_t max,
                           size_t *n_out, struct err *err)
{
    struct message_pick pick = {.mailbox = mailbox, .first = first, .last = UINT32_MAX, .max = max};
    struct message_info *list;
    struct arena *a = arena_new(0);
    int rc = message_pick_tx(tx, a, &pick, &list, n_out, err);

    for (size_t i = 0; rc == 0 && i < *n_out; i++)
        rc = message_delete_row_tx(tx, mailbox, list[i].uid, list[i].body, err);
    arena_free(&a);
    return rc;
}

static void lower(uint64_t *counter, uint64_t by)
{
    *counter -= by < *counter ? by : *counter;
}

int message_expunge_one_tx(struct store_tx *tx, struct tx_mailbox *m, struct tx_account *a,
                           const struct message_info *info, uint64_t modseq, struct err *err)
{
    struct sql_stmt *st;

    if (message_delete_row_tx(tx, m->id, info->uid, info->body, err) != 0 ||
        sql_prepare(tx->db, "INSERT INTO expunged(mailbox, modseq, uid, day) VALUES (?, ?, ?, ?)",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)m->id);
    sql_bind_int(st, 2, (int64_t)modseq);
    sql_bind_int(st, 3, info->uid);
    sql_bind_int(st, 4, clock_wall_ms() / DAY_MS);
    tx_mailbox_edit(tx, m);
    tx_account_edit(tx, a);
    lower(&m->row.messages, 1);
    lower(&m->row.bytes, info->size);
    lower(&m->row.unseen, !(info->flags & MESSAGE_SEEN));
    lower(&a->row.used_messages, 1);
    lower(&a->row.used_bytes, info->size);
    return sql_run(st, err);
}

/* ---- Picking. */

static int pick_range(struct store_tx *tx, struct arena *a, const struct message_pick *p,
                      struct uid_range range, struct message_info *out, size_t *n, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    if (sql_prepare(tx->db,
                    "SELECT uid, modseq, flags, idate, size, body, prefix FROM message "
                    "WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)p->mailbox);
    sql_bind_int(st, 2, range.first > p->first ? range.first : p->first);
    sql_bind_int(st, 3, range.last < p->last ? range.last : p->last);
    while (*n < p->max && (rc = sql_step(st, err)) == 1) {
        message_row_read(st, a, p->want_prefix, &out[(*n)++]);
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* The first range of the set that ends at or after `first`. */
static size_t seek_range(const struct message_pick *p)
{
    size_t low = 0, high = p->n_set;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (p->set[mid].last < p->first)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int message_pick_tx(struct store_tx *tx, struct arena *a, const struct message_pick *p,
                    struct message_info **out, size_t *n_out, struct err *err)
{
    *n_out = 0;
    *out = ARENA_ARRAY(a, struct message_info, p->max);
    if (p->n_set == 0)
        return pick_range(tx, a, p, (struct uid_range){1, UINT32_MAX}, *out, n_out, err);
    for (size_t i = seek_range(p); i < p->n_set && p->set[i].first <= p->last && *n_out < p->max;
         i++) {
        if (pick_range(tx, a, p, p->set[i], *out, n_out, err) != 0)
            return -1;
    }
    return 0;
}
