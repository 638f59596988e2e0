/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* flags.c - STORE: flags of many messages. In slices when there are many; then each slice has its
 * own modseq, or a client that synchronised in between would miss the later ones. */
#include "appliance/store/store_private.h"

enum { CHUNK = 256 };

static int resolve(struct store_tx *tx, const struct message_store_flags *p, uint64_t *flags,
                   struct err *err)
{
    uint64_t mask = 0;
    int rc = 0;

    if (p->n_keywords && p->how == MESSAGE_FLAGS_REMOVE)
        rc = keyword_known_tx(tx, p->mailbox, p->keywords, p->n_keywords, &mask, err);
    else if (p->n_keywords)
        rc = mailbox_keywords_tx(tx, p->mailbox, p->keywords, p->n_keywords, &mask, err);
    *flags = p->flags | mask;
    return rc;
}

static uint64_t changed_flags(const struct message_store_flags *p, uint64_t old, uint64_t flags)
{
    /* what a client can set: system flags and keywords */
    const uint64_t settable =
        MESSAGE_SYSTEM_FLAGS | (UINT64_MAX >> (63 - MESSAGE_KEYWORD_LAST) & ~UINT64_C(0xff));

    switch (p->how) {
    case MESSAGE_FLAGS_ADD:
        return old | (flags & settable);
    case MESSAGE_FLAGS_REMOVE:
        return old & ~(flags & settable);
    case MESSAGE_FLAGS_SET:
        break;
    }
    return (old & ~settable) | (flags & settable);
}

static int update(struct store_tx *tx, struct message_store_flags *p, struct tx_mailbox *m,
                  const struct message_info *info, uint64_t flags, uint64_t *modseq)
{
    struct sql_stmt *st;
    struct err *err = &p->op.err;

    tx_mailbox_edit(tx, m);
    if (*modseq == 0)
        *modseq = ++m->row.modseq;
    if (sql_prepare(tx->db,
                    "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)flags);
    sql_bind_int(st, 2, (int64_t)*modseq);
    sql_bind_int(st, 3, (int64_t)m->id);
    sql_bind_int(st, 4, info->uid);
    m->row.unseen += !(flags & MESSAGE_SEEN);
    m->row.unseen -= !(info->flags & MESSAGE_SEEN);
    return sql_run(st, err);
}

static int change(struct store_tx *tx, struct message_store_flags *p, struct tx_mailbox *m,
                  const struct message_info *info, uint64_t flags, uint64_t *modseq)
{
    uint64_t now = changed_flags(p, info->flags, flags);

    p->at.next = info->uid + 1;
    if (info->modseq > p->unchanged_since) {
        if (buf_add(&p->modified, &info->uid, sizeof info->uid) != 0)
            return ERR_WHY(&p->op.err, ERR_TEMP, ERR_WHY_LIMIT, "too many messages");
        p->at.n_modified++;
        return 0;
    }
    return now == info->flags ? 0 : update(tx, p, m, info, now, modseq);
}

static int slice(struct store_tx *tx, struct message_store_flags *p, struct tx_mailbox *m,
                 struct arena *a, uint64_t flags)
{
    struct message_pick pick = {.mailbox = m->id,
                                .set = p->set,
                                .n_set = p->n_set,
                                .last = m->row.uidnext - 1,
                                .max = CHUNK};
    uint64_t modseq = 0;
    size_t n;

    do {
        struct message_info *list;
        pick.first = p->at.next;
        arena_clear(a);
        if (message_pick_tx(tx, a, &pick, &list, &n, &p->op.err) != 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (change(tx, p, m, &list[i], flags, &modseq) != 0)
                return -1;
        }
        if (modseq)
            p->at.modseq = modseq;
    } while (n == CHUNK && !store_tx_slice_over(tx));
    p->modseq = p->at.modseq;
    return n == CHUNK ? STORE_AGAIN : STORE_DONE;
}

static int flags_run(struct store_op *op, struct store_tx *tx)
{
    struct message_store_flags *p = CONTAINER_OF(op, struct message_store_flags, op);
    struct tx_mailbox *m;
    uint64_t flags;
    int rc;

    if (op->rerun)
        p->at = p->slice_began;
    p->slice_began = p->at;
    buf_truncate(&p->modified, p->at.n_modified * sizeof(uint32_t));
    if (p->n_set == 0) /* a set of none, not of all */
        return STORE_DONE;
    if (tx_mailbox_get(tx, p->mailbox, &m, &op->err) != 0 || resolve(tx, p, &flags, &op->err) != 0)
        return -1;
    struct arena *a = arena_new(0);
    rc = slice(tx, p, m, a, flags);
    arena_free(&a);
    return rc;
}

void message_store_flags_init(struct message_store_flags *m, void (*done)(struct store_op *))
{
    *m = (struct message_store_flags){
        .op = {.run = flags_run, .done = done, .cls = STORE_INTERACTIVE},
        .unchanged_since = UINT64_MAX,
        .at = {.next = 1}};
    buf_init(&m->modified, SIZE_MAX / 2);
}
