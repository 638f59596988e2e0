/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* from.c - submission: the addresses in From must belong to the account, each of them. RFC
 * 6409 6.1. */
#include "appliance/base/mem.h"
#include "smtp/deliver.h"

enum { FROM_MAX = 100, ADDRESS_MAX = 1024 };

static enum smtp_step refuse_from(struct smtp_session *s)
{
    smtp_refuse(&s->tx.refused, 550, "5.7.1", "An address in From doesn't belong to %s",
                s->account);
    return SMTP_STEP_REFUSE;
}

static void on_from(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s)) {
        if (a->failed)
            smtp_step_refuse(s, 451, "4.3.0", "The sender can't be checked at the moment");
        else if (a->kind != DIRECTORY_LOCAL)
            refuse_from(s);
        smtp_deliver_go_on(s);
    }
    smtp_session_unref(&s);
}

static enum smtp_step ask_from(struct smtp_session *s, struct str address)
{
    if (directory_may_send_as(s->server->conf.directory, str_from(s->account), address, on_from,
                              smtp_session_ref(s)) == 0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return SMTP_STEP_ASKED;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    return smtp_step_refuse(s, 451, "4.3.2", "Too busy at the moment");
}

/* The envelope sender, as checked at MAIL, and the account itself need no question. */
static bool is_own(struct smtp_session *s, struct str address)
{
    struct buf folded, sender;
    struct err err = {0};
    buf_init(&folded, ADDRESS_MAX);
    buf_init(&sender, ADDRESS_MAX);
    bool own = address_fold(address, &folded, &err) == 0 &&
               (str_eq(buf_str(&folded), str_from(s->account)) ||
                (s->conf->sender_check && s->tx.sender.n &&
                 address_fold(s->tx.sender, &sender, &err) == 0 &&
                 str_eq(buf_str(&folded), buf_str(&sender))));
    buf_fini(&folded);
    buf_fini(&sender);
    return own;
}

enum smtp_step smtp_step_from(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct str head = body_sink_head(tx->sink);
    struct header_field field;
    if (!s->account || !s->conf->from_check || !header_find(head, STR("From"), 0, &field))
        return SMTP_STEP_NEXT;
    if (!tx->from)
        tx->n_from = address_list_parse(tx->arena, field.value, FROM_MAX, &tx->from);
    if (header_count(head, STR("From")) > 1 || tx->n_from >= FROM_MAX) /* RFC 5322 3.6: one */
        return smtp_step_refuse(s, 554, "5.6.0",
                                "More than one From field, or too many addresses in it");
    while (tx->from_at < tx->n_from) {
        struct address a = tx->from[tx->from_at++];
        if (!a.host.p) /* begin or end of a group */
            continue;
        struct str address =
            arena_printf(tx->arena, STR_FMT "@" STR_FMT, STR_ARG(a.mailbox), STR_ARG(a.host));
        if (!is_own(s, address))
            return ask_from(s, address);
    }
    return SMTP_STEP_NEXT;
}
