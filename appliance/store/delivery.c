/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery.c - one received message into the mailboxes of all its local recipients, and into the
 * queue for those at other hosts, in one transaction. */
#include "appliance/store/queue.h"
#include "appliance/store/store_private.h"

static int find_mailbox(struct store_tx *tx, uint64_t account, struct str name, uint64_t *out,
                        struct err *err)
{
    struct str checked;
    struct err ignored;

    if (name.n && mailbox_name_check(tx->arena, name, &checked, &ignored) == 0 &&
        mailbox_lookup_tx(tx, account, checked, out, err) != 0)
        return -1;
    if (*out == 0 && mailbox_lookup_tx(tx, account, STR("INBOX"), out, err) != 0)
        return -1;
    if (*out == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the account has no INBOX");
    return 0;
}

static int deliver(struct store_tx *tx, uint64_t body, int64_t internal_ms,
                   struct message_recipient *r, uint64_t *account_out, struct err *err)
{
    struct message_new m = {
        .body = body, .flags = r->flags, .internal_ms = internal_ms, .prefix = r->prefix};

    *account_out = r->account_id;
    if ((!r->account_id && account_open_tx(tx, r->account, account_out, err) != 0) ||
        find_mailbox(tx, *account_out, r->mailbox, &m.mailbox, err) != 0)
        return -1;
    if (message_insert_tx(tx, &m, &r->uid, err) == 0)
        return 0;
    if (err->why == ERR_WHY_NOT_FOUND) /* another node removed it in this very moment */
        err->kind = ERR_TEMP;
    return -1;
}

int delivery_to_tx(struct store_tx *tx, uint64_t body, int64_t internal_ms,
                   struct message_recipient *r, struct err *err)
{
    uint64_t account;

    return deliver(tx, body, internal_ms, r, &account, err);
}

/* What is known of their room so far: of the one who has most. */
static int note_room(struct store_tx *tx, const struct message_delivery *d, uint64_t account,
                     struct str prefix, enum account_over *most, struct err *err)
{
    enum account_over over;
    uint64_t size;

    if (*most == ACCOUNT_WITHIN)
        return 0;
    if (body_size_tx(tx, d->body, &size, err) != 0 ||
        account_over_tx(tx, account, size + prefix.n, &over, err) != 0)
        return -1;
    if (over < *most)
        *most = over;
    return 0;
}

/* There is one reply for all of them: only what nobody has room for is refused, and its members
 * undone. */
static int judge_room(enum account_over most, struct err *err)
{
    if (most == ACCOUNT_OVER_FOR_GOOD)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_QUOTA, "larger than the mailbox may grow");
    if (most == ACCOUNT_OVER)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_QUOTA, "the mailbox is over its quota");
    return 0;
}

static int delivery_run(struct store_op *op, struct store_tx *tx)
{
    struct message_delivery *d = CONTAINER_OF(op, struct message_delivery, op);
    bool judge = d->within_quota && d->n_rcpts && !(d->leaves && d->leaves->n_to);
    enum account_over most = judge ? ACCOUNT_OVER_FOR_GOOD : ACCOUNT_WITHIN;
    uint64_t account;

    if (body_insert_tx(tx, d->sink, &d->body, &op->err) != 0)
        return -1;
    for (size_t i = 0; i < d->n_rcpts; i++) {
        struct message_recipient *r = &d->rcpts[i];
        if (deliver(tx, d->body, d->internal_ms, r, &account, &op->err) != 0 ||
            note_room(tx, d, account, r->prefix, &most, &op->err) != 0)
            return err_context(&op->err, "delivery to " STR_FMT, STR_ARG(r->account));
    }
    if (judge_room(most, &op->err) != 0)
        return -1;
    if (d->leaves && d->leaves->n_to && queue_new_tx(tx, d->body, d->leaves, &op->err) != 0)
        return err_context(&op->err, "into the queue");
    return STORE_DONE;
}

void message_delivery_init(struct message_delivery *d, void (*done)(struct store_op *))
{
    *d =
        (struct message_delivery){.op = {.run = delivery_run, .done = done, .cls = STORE_DELIVERY}};
}
