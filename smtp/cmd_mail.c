/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_mail.c - MAIL FROM: begins a transaction. RFC 5321 4.1.1.2. Whether a sender is taken is
 * decided here. */
#include "smtp/commands.h"

int smtp_mail_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    struct smtp_mail_args *m = &s->pending.mail;
    if (smtp_mail_parse(s->command, smtp_qualify(s, args), m, why))
        return -1;
    if (m->params && !s->esmtp)
        return smtp_refuse(why, 555, "5.5.4", "Parameters need EHLO");
    /* RFC 4954 5: the parameter exists where AUTH is offered; what it says is not believed. */
    if (m->auth && !s->account && !smtp_offers_auth(s))
        return smtp_refuse(why, 555, "5.5.4", "Parameter AUTH is not known here");
    if (m->dsn && !smtp_offers_dsn(s))
        return smtp_refuse(why, 555, "5.5.4", "Parameter %s is not known here",
                           m->ret ? "RET" : "ENVID");
    if (m->requiretls && !smtp_is_private(s)) /* RFC 8689 2 */
        return smtp_refuse(why, 530, "5.7.10", "REQUIRETLS needs STARTTLS first");
    if (m->size > s->conf->message_limit) /* RFC 1870 6.1 */
        return smtp_refuse(why, 552, "5.3.4", "The message is larger than %llu octets",
                           (unsigned long long)s->conf->message_limit);
    if (store_read_only(s->server->conf.store))
        return smtp_refuse(why, 451, "4.3.0", "The message store is read-only at the moment");
    if (!store_has_room(s->server->conf.store, m->size))
        return smtp_refuse(why, 452, "4.3.1", "Not enough space at the moment");
    return 0;
}

static void accept_sender(struct smtp_session *s)
{
    const struct smtp_mail_args *m = &s->pending.mail;
    smtp_transaction_begin(s);
    s->tx.sender = arena_str(s->tx.arena, m->sender);
    s->tx.declared = m->size;
    s->tx.utf8 = m->utf8;
    s->tx.requiretls = m->requiretls;
    s->tx.ret = m->ret;
    s->tx.envid = arena_str(s->tx.arena, m->envid);
    smtp_filter_command(s);
}

void smtp_mail_accept(struct smtp_session *s)
{
    smtp_session_enter(s, SMTP_MAIL);
    if (s->port->role == SMTP_LOCAL && s->tx.sender.n) /* sendmail writes a From with it */
        smtp_reply(s, 250, "2.1.0", "<" STR_FMT "> Sender ok", STR_ARG(s->tx.sender));
    else
        smtp_reply(s, 250, "2.1.0", "Sender ok");
}

static void on_may_send(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    struct smtp_refusal why = {0};
    if (smtp_session_back(s)) {
        if (a->failed)
            smtp_refuse(&why, 451, "4.3.0", "The sender can't be checked at the moment");
        else if (a->closed)
            smtp_refuse(&why, 550, "5.7.1", "This account may receive mail, but not send any");
        else if (a->kind != DIRECTORY_LOCAL)
            smtp_refuse(&why, 553, "5.7.1", "This sender's address doesn't belong to %s",
                        s->account);
        if (why.code)
            smtp_refuse_command(s, "MAIL", s->pending.mail.sender, &why);
        else
            accept_sender(s);
    }
    smtp_session_unref(&s);
}

/* RFC 9422 4.1 */
static bool too_many(struct smtp_session *s)
{
    return smtp_mail_limit(s) && ++s->mails > smtp_mail_limit(s);
}

void smtp_mail_proceed(struct smtp_session *s)
{
    const struct smtp_mail_args *m = &s->pending.mail;
    if (too_many(s)) {
        smtp_session_close_421(s, "4.5.3", "Too many messages in one session; connect again",
                               "mail_limit");
        return;
    }
    if (!s->account) {
        accept_sender(s);
        return;
    }
    /* The null sender belongs to everybody: a mail reader sends receipts with it (RFC 8098 3). But
     * may the account send at all? */
    bool any = !s->conf->sender_check || m->path.null;
    if (directory_may_send_as(s->server->conf.directory, str_from(s->account),
                              any ? str_from(s->account) : m->sender, on_may_send,
                              smtp_session_ref(s)) == 0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    smtp_reply(s, 451, "4.3.2", "Too busy at the moment");
}
