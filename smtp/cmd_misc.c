/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_misc.c - RSET, NOOP, VRFY, EXPN, HELP, QUIT. RFC 5321 4.1.1.5 to 4.1.1.10. */
#include "smtp/commands.h"

void smtp_rset_proceed(struct smtp_session *s)
{
    smtp_transaction_reset(s);
    if (s->state != SMTP_GREETED)
        smtp_session_enter(s, SMTP_READY);
    smtp_reply(s, 250, "2.0.0", "Forgotten");
}

void smtp_noop_proceed(struct smtp_session *s)
{
    smtp_reply(s, 250, "2.0.0", "Ok");
}

void smtp_vrfy_proceed(struct smtp_session *s)
{
    if (!str_trim(s->pending.text).n)
        smtp_reply(s, 501, "5.5.4", "Syntax: VRFY address");
    else /* RFC 5321 7.3: who exists here is nobody's business; RCPT tells */
        smtp_reply(s, 252, "2.5.0", "Try to send it; RCPT will tell");
}

void smtp_expn_proceed(struct smtp_session *s)
{
    smtp_reply(s, 502, "5.5.1", "EXPN isn't offered here");
}

void smtp_help_proceed(struct smtp_session *s)
{
    smtp_reply(s, 214, "2.0.0",
               "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT%s%s%s",
               smtp_offers_tls(s) ? " STARTTLS" : "", smtp_offers_auth(s) ? " AUTH" : "",
               smtp_offers_etrn(s) ? " ETRN" : "");
}

void smtp_quit_proceed(struct smtp_session *s)
{
    smtp_reply(s, 221, "2.0.0", "Bye");
    smtp_session_close(s, "quit");
}
