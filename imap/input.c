/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/session.h"

/* Input is read between commands, and by those that want more of it: a line, or pieces of a
 * message. */
bool imap_session_wants_input(const struct imap_session *s)
{
    if (s->full || s->input_paused || s->state == IMAP_LOGOUT)
        return false;
    return !s->cmd || s->on_line || s->on_piece || s->swallowing;
}

static void take_line(struct imap_session *s, bool too_big)
{
    imap_line_fn on_line = s->on_line;
    struct str line = buf_str(&s->reader.cmd);
    if (s->swallowing) {
        s->swallowing = false;
        imap_session_run(s);
    } else if (on_line) {
        s->on_line = NULL;
        s->on_piece = NULL;
        on_line(s->cmd, line, too_big);
    } else if (line.n == 0) { /* an empty line between commands hurts nobody */
        imap_reader_next(&s->reader);
    } else {
        imap_session_begin(s, false);
    }
}

/* A command over the limit: answered by its tag, if it has one. */
static void too_big(struct imap_session *s)
{
    struct imap_cursor c = {buf_str(&s->reader.cmd), NULL};
    struct str tag;
    if (s->on_line) {
        take_line(s, true);
        return;
    }
    if (imap_atom(&c, &tag) || tag.n > 100 || imap_space(&c))
        tag = STR("*");
    conn_write_str(s->conn, tag);
    imap_session_say(s, STR(" BAD [TOOBIG] Command is too long\r\n"));
    imap_reader_next(&s->reader);
    if (++s->bads >= IMAP_BADS_PREAUTH)
        imap_session_bye(s, "bad commands", "Too many invalid commands");
}

static void handle(struct imap_session *s, enum imap_read got)
{
    switch (got) {
    case IMAP_READ_MORE:
        break;
    case IMAP_READ_CONTINUE:
        imap_session_say(s, STR("+ OK\r\n"));
        break;
    case IMAP_READ_COMMAND:
        take_line(s, false);
        break;
    case IMAP_READ_TOO_BIG:
        too_big(s);
        break;
    case IMAP_READ_APPEND:
        imap_session_begin(s, true);
        break;
    case IMAP_READ_PIECE:
        s->on_piece(s->cmd, s->reader.piece);
        break;
    case IMAP_READ_FATAL:
        imap_session_bye(s, "flood", "Too much data");
        break;
    }
}

/* A client that isn't logged in gets little room, whatever it sends. */
static bool over_total(struct imap_session *s, size_t used)
{
    if (s->state == IMAP_PREAUTH)
        s->preauth_bytes += used;
    return s->state == IMAP_PREAUTH && s->preauth_bytes > IMAP_PREAUTH_TOTAL;
}

void imap_session_read(struct imap_session *s)
{
    struct imap_session *held = imap_session_ref(s);
    while (s->conn && imap_session_wants_input(s)) {
        struct str in = conn_input(s->conn);
        size_t used;
        if (!in.n)
            break;
        enum imap_read got = imap_reader_feed(&s->reader, in, &used);
        if (got == IMAP_READ_PIECE) { /* a view into the input */
            handle(s, got);
            if (s->conn)
                conn_consume(s->conn, used);
        } else {
            conn_consume(s->conn, used);
            handle(s, over_total(s, used) ? IMAP_READ_FATAL : got);
        }
    }
    if (s->conn && imap_session_wants_input(s) && imap_reader_after_literal(&s->reader))
        conn_acknowledge(s->conn);
    if (s->conn && imap_session_wants_input(s) && s->eof)
        imap_session_left(s);
    else if (s->conn && imap_session_wants_input(s))
        conn_resume(s->conn);
    else if (s->conn && !s->watching)
        conn_pause(s->conn);
    imap_slow_look(s);
    imap_session_unref(&held);
}

void imap_want_line(struct imap_command *cmd, imap_line_fn on_line)
{
    struct imap_session *s = cmd->session;
    s->on_line = on_line;
    imap_reader_next_line(&s->reader);
    if (conn_paused(s->conn))
        conn_resume(s->conn);
}

void imap_accept_literal(struct imap_command *cmd, imap_piece_fn on_piece, imap_line_fn on_tail)
{
    struct imap_session *s = cmd->session;
    CHECK(s->append_pending);
    s->append_pending = false;
    if (s->reader.append_sync)
        imap_session_say(s, STR("+ OK\r\n"));
    imap_reader_accept(&s->reader);
    s->on_piece = on_piece;
    s->on_line = on_tail;
    imap_slow_again(s);
    conn_resume(s->conn);
}

void imap_pause_input(struct imap_command *cmd, bool paused)
{
    struct imap_session *s = cmd->session;
    s->input_paused = paused;
    if (!paused)
        conn_resume(s->conn);
}
