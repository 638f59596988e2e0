/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_starttls.c - STARTTLS. RFC 3207. Nothing said before it survives: not the client's name, not
 * what it sent ahead. */
#include "smtp/commands.h"

int smtp_starttls_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    if (conn_has_tls(s->conn))
        return smtp_refuse(why, 503, "5.5.1", "TLS is already active");
    if (!smtp_offers_tls(s))
        return smtp_refuse(why, 502, "5.5.1", "STARTTLS isn't offered here");
    return smtp_no_args(s, args, why);
}

void smtp_starttls_proceed(struct smtp_session *s)
{
    smtp_reply(s, 220, "2.0.0", "Ready for TLS");
    smtp_session_enter(s, SMTP_TLS);
    conn_start_tls(s->conn, s->server->conf.tls);
}
