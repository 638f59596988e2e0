/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* expunge.c - EXPUNGE and UID EXPUNGE: removes messages that are \Deleted. In slices when there are
 * many. */
#include "appliance/store/store_private.h"

enum { CHUNK = 256 };

static int expunge_chunk(struct store_tx *tx, struct message_expunge *p, struct tx_mailbox *m,
                         const struct message_info *list, size_t n, uint64_t *modseq)
{
    struct tx_account *a;

    if (tx_account_get(tx, m->row.account, &a, &p->op.err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        p->at.next = list[i].uid + 1;
        if (!(list[i].flags & MESSAGE_DELETED))
            continue;
        if (*modseq == 0) {
            tx_mailbox_edit(tx, m);
            *modseq = ++m->row.modseq;
        }
        if (message_expunge_one_tx(tx, m, a, &list[i], *modseq, &p->op.err) != 0)
            return -1;
        p->at.modseq = *modseq;
        p->at.count++;
    }
    return 0;
}

static int slice(struct store_tx *tx, struct message_expunge *p, struct tx_mailbox *m,
                 struct arena *a)
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
        if (message_pick_tx(tx, a, &pick, &list, &n, &p->op.err) != 0 ||
            expunge_chunk(tx, p, m, list, n, &modseq) != 0)
            return -1;
    } while (n == CHUNK && !store_tx_slice_over(tx));
    p->modseq = p->at.modseq;
    p->count = p->at.count;
    return n == CHUNK ? STORE_AGAIN : STORE_DONE;
}

static int expunge_run(struct store_op *op, struct store_tx *tx)
{
    struct message_expunge *p = CONTAINER_OF(op, struct message_expunge, op);
    struct tx_mailbox *m;
    int rc;

    if (op->rerun)
        p->at = p->slice_began;
    p->slice_began = p->at;
    if (tx_mailbox_get(tx, p->mailbox, &m, &op->err) != 0)
        return -1;
    struct arena *a = arena_new(0);
    rc = slice(tx, p, m, a);
    arena_free(&a);
    return rc;
}

void message_expunge_init(struct message_expunge *m, void (*done)(struct store_op *))
{
    *m = (struct message_expunge){
        .op = {.run = expunge_run, .done = done, .cls = STORE_INTERACTIVE}, .at = {.next = 1}};
}
