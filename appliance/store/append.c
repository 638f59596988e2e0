/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* append.c - IMAP APPEND: one message into one mailbox. */
#include "appliance/store/store_private.h"

static int check_quota(struct store_tx *tx, const struct tx_mailbox *m, uint64_t size,
                       struct err *err)
{
    struct tx_account *a;

    if (tx_account_get(tx, m->row.account, &a, err) != 0)
        return -1;
    struct account_info info = {.quota_bytes = a->row.quota_bytes,
                                .quota_messages = a->row.quota_messages,
                                .used_bytes = a->row.used_bytes,
                                .used_messages = a->row.used_messages};
    if (account_check_quota(&info, size, err) != 0)
        return -1;
    return account_domain_room_tx(tx, m->row.account, size, err);
}

static int append_run(struct store_op *op, struct store_tx *tx)
{
    struct message_append *p = CONTAINER_OF(op, struct message_append, op);
    struct message_new new = {.mailbox = p->mailbox,
                              .flags = p->flags,
                              .internal_ms = p->internal_ms,
                              .keywords = p->keywords,
                              .n_keywords = p->n_keywords};
    struct tx_mailbox *m;
    uint64_t size;

    if (tx_mailbox_get(tx, p->mailbox, &m, &op->err) != 0 ||
        body_insert_tx(tx, p->sink, &new.body, &op->err) != 0 ||
        body_size_tx(tx, new.body, &size, &op->err) != 0 || check_quota(tx, m, size, &op->err) != 0)
        return -1;
    p->uidvalidity = m->row.uidvalidity;
    return message_insert_tx(tx, &new, &p->uid, &op->err) == 0 ? STORE_DONE : -1;
}

void message_append_init(struct message_append *m, void (*done)(struct store_op *))
{
    *m = (struct message_append){.op = {.run = append_run, .done = done, .cls = STORE_INTERACTIVE}};
}
