/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_ehlo.c - EHLO, HELO: who the client says it is, and what works here and now. RFC
 * 5321 4.1.1.1. */
#include "smtp/commands.h"
#include <inttypes.h>

int smtp_ehlo_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    /* A name that is wrong is no reason to refuse mail (RFC 5321 4.1.4). */
    if (smtp_helo_parse(s->command, args, &s->pending.text))
        return smtp_refuse(why, 501, "5.5.4", "Say your host name: EHLO host.example");
    return 0;
}

static void hello(struct smtp_session *s, bool esmtp)
{
    struct str name = s->pending.text;
    smtp_transaction_reset(s);
    memcpy(s->helo, name.p, name.n);
    s->helo[name.n] = '\0';
    s->esmtp = esmtp;
    smtp_session_enter(s, SMTP_READY);
}

/* RFC 9422 */
static const char *limits(struct smtp_session *s)
{
    unsigned mails = smtp_mail_limit(s);
    struct str text = arena_printf(s->command, "LIMITS RCPTMAX=%" PRId64, s->conf->rcpt_limit);
    if (mails)
        text = arena_printf(s->command, "%s MAILMAX=%u", text.p, mails);
    if (s->conf->rcpt_domain_limit && !smtp_is_known(s) && !guard_trusts(&s->guard))
        text = arena_printf(s->command, "%s RCPTDOMAINMAX=%" PRId64, text.p,
                            s->conf->rcpt_domain_limit);
    return text.p;
}

void smtp_ehlo_accept(struct smtp_session *s)
{
    const char *auth = "";
    hello(s, true);
    if (smtp_offers_auth(s))
        auth = arena_printf(s->command, "\nAUTH " STR_FMT, STR_ARG(smtp_auth_words(s))).p;
    smtp_reply(s, 250, NULL,
               "%s\nPIPELINING\nSIZE %" PRIu64
               "%s%s%s%s%s\nENHANCEDSTATUSCODES\n8BITMIME\nSMTPUTF8\nCHUNKING\n%s",
               s->server->hostname, s->conf->message_limit, smtp_offers_tls(s) ? "\nSTARTTLS" : "",
               auth, smtp_offers_dsn(s) ? "\nDSN" : "", smtp_is_private(s) ? "\nREQUIRETLS" : "",
               smtp_offers_etrn(s) ? "\nETRN" : "", limits(s));
}

void smtp_helo_accept(struct smtp_session *s)
{
    hello(s, false);
    smtp_reply(s, 250, NULL, "%s", s->server->hostname);
}
