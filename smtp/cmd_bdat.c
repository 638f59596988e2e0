/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_bdat.c - BDAT: the message in counted chunks. RFC 3030. The octets of a chunk are consumed
 * whatever becomes of it, so that they are never taken for commands. */
#include "smtp/commands.h"
#include <inttypes.h>

int smtp_bdat_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    if (smtp_bdat_parse(args, &s->pending.bdat) == 0)
        return 0;
    return smtp_refuse(why, 501, "5.5.4",
                       "Syntax: BDAT octets [LAST]; closing, as the chunk's octets "
                       "can't be told from commands");
}

static void chunk_done(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (tx->chunk_ignored) { /* the session's state is what it was before */
        struct smtp_refusal why = tx->refused;
        tx->chunk_ignored = false;
        tx->data_ms = 0;
        tx->refused = (struct smtp_refusal){0};
        smtp_session_enter(s, tx->rcpts    ? SMTP_RCPT
                              : tx->id     ? SMTP_MAIL
                              : s->helo[0] ? SMTP_READY
                                           : SMTP_GREETED);
        smtp_refuse_command(s, "BDAT", STR_NULL, &why);
    } else if (tx->chunk_last) {
        smtp_data_finish(&tx->parser);
        smtp_deliver(s);
    } else if (tx->refused
                   .code) { /* RFC 3030 2: the client gives up after the first failed chunk */
        struct smtp_refusal why = tx->refused;
        smtp_transaction_reset(s);
        smtp_session_enter(s, SMTP_READY);
        smtp_refuse_command(s, "BDAT", STR_NULL, &why);
    } else {
        smtp_session_enter(s, SMTP_BDAT);
        smtp_reply(s, 250, "2.0.0", "Chunk ok");
    }
}

void smtp_chunk_input(struct smtp_session *s, struct str in)
{
    struct smtp_transaction *tx = &s->tx;
    bool end;
    in = str_take(in, tx->chunk_left < in.n ? (size_t)tx->chunk_left : in.n);
    if (!tx->chunk_ignored)
        smtp_data_feed(&tx->parser, in, smtp_receive_put, s, &end);
    tx->chunk_left -= in.n;
    conn_consume(s->conn, in.n);
    if (tx->chunk_left == 0)
        chunk_done(s);
}

void smtp_bdat_proceed(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    const struct smtp_bdat_args b = s->pending.bdat;
    bool begun = s->state == SMTP_BDAT;
    tx->chunk_left = b.size;
    tx->chunk_last = b.last;
    if (!begun && (s->state != SMTP_RCPT || !s->esmtp)) {
        tx->chunk_ignored = true;
        tx->data_ms = loop_now_ms(s->server->conf.loop);
        smtp_deadline_arm(s);
        smtp_refuse(&tx->refused, 503, "5.5.1",
                    s->state == SMTP_MAIL ? "No valid recipients" : "Send MAIL and RCPT first");
    } else if (!begun) {
        smtp_receive_begin(s, false);
    }
    smtp_session_enter(s, SMTP_CHUNK);
    if (b.size == 0)
        chunk_done(s);
}
