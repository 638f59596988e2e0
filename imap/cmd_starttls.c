/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/cmd.h"
#include "imap/session.h"

void starttls_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct imap_session *s = cmd->session;
    if (!imap_at_end(args))
        return;
    if (conn_has_tls(s->conn)) {
        imap_bad(cmd, "TLS is active already");
    } else if (!s->server->conf.tls || s->port->no_starttls) {
        imap_bad(cmd, "TLS isn't set up on this server");
    } else {
        imap_ok(cmd, NULL, "Begin TLS negotiation now");
        s->start_tls = true;
    }
}
