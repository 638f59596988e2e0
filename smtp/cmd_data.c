/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_data.c - DATA: the message up to the line with the dot. RFC 5321 4.1.1.4. */
#include "smtp/commands.h"

void smtp_data_proceed(struct smtp_session *s)
{
    struct smtp_refusal why = {0};
    if (smtp_receive_room(s, &why) != 0) { /* others have come meanwhile */
        smtp_refuse_command(s, "DATA", STR_NULL, &why);
        return;
    }
    smtp_receive_begin(s, true);
    smtp_session_enter(s, SMTP_DATA);
    smtp_reply(s, 354, NULL, "End the message with CR LF . CR LF");
}

void smtp_data_input(struct smtp_session *s, struct str in)
{
    bool end;
    size_t used = smtp_data_feed(&s->tx.parser, in, smtp_receive_put, s, &end);
    conn_consume(s->conn, used);
    if (end)
        smtp_deliver(s);
}
