/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* IDLE (RFC 2177): a held command during which every change of the mailbox starts a sync. */
#include "imap/cmd.h"
#include "imap/session.h"

void idle_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    (void)cmd, (void)args;
}

static void on_done(struct imap_command *cmd, struct str line, bool too_big)
{
    struct imap_session *s = cmd->session;
    conn_set_timeout(s->conn, s->conf->idle_timeout);
    if (too_big || !str_ieq(line, STR("DONE")))
        imap_bad(cmd, "Expected DONE");
    imap_go_on(cmd);
}

void idle_finish(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    buf_add_z(&cmd->out, "+ idling\r\n");
    imap_session_flush(s);
    imap_session_set_idling(s, true);
    s->idled_ms = 0;
    conn_set_timeout(s->conn, s->conf->idle_notify ? s->conf->idle_notify : s->conf->idle_timeout);
    imap_hold(cmd);
    imap_want_line(cmd, on_done);
    imap_session_sync_idle(s);
}
