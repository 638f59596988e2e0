/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* APPEND (RFC 3501 6.3.11). parse reads what precedes the message; work looks for mailbox and
 * quota, so that most refusals come before the message does; write (held) takes the message into a
 * body_sink, piece by piece, flushes and submits it. */
#include "appliance/base/clock.h"
#include "imap/cmd.h"
#include "imap/session.h"

struct append {
    struct str name;
    uint64_t flags, size;
    struct str *keywords;
    size_t n_keywords;
    int64_t internal_ms;
    uint64_t mailbox;
    struct body_sink *sink;
    bool after_cr; /* the last byte was CR */
    bool has_nul;
    struct message_append op;
};

static void append_fini(struct imap_command *cmd)
{
    struct append *d = cmd->data;
    body_sink_free(&d->sink);
}

/* Arguments must outlive the command's text, which goes when the message comes. */
static void keep(struct imap_command *cmd, struct append *d)
{
    d->name = arena_str(cmd->arena, d->name);
    for (size_t i = 0; i < d->n_keywords; i++)
        d->keywords[i] = arena_str(cmd->arena, d->keywords[i]);
}

static int parse_options(struct append *d, struct imap_cursor *args)
{
    struct date date = {0};
    d->internal_ms = clock_wall_ms();
    if (imap_space(args) || imap_mailbox(args, &d->name) || imap_space(args))
        return -1;
    if (imap_peek(args, '(') &&
        (imap_flag_list(args, false, &d->flags, &d->keywords, &d->n_keywords) || imap_space(args)))
        return -1;
    if (imap_peek(args, '"')) {
        if (imap_date_time(args, &date) || imap_space(args))
            return -1;
        d->internal_ms = date.at * 1000;
    }
    return imap_peek(args, '{') ? 0 : -1;
}

void append_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct imap_session *s = cmd->session;
    struct append *d = ARENA_NEW(cmd->arena, struct append);
    cmd->data = d;
    cmd->fini = append_fini;
    if (parse_options(d, args) || !s->append_pending) {
        imap_bad(cmd,
                 "Expected a mailbox name, perhaps flags and a date, and the message as a literal");
        return;
    }
    args->rest = STR_NULL; /* "{n}": the reader has understood it */
    d->size = s->reader.append_size;
    if (d->size == 0)
        imap_no(cmd, "CANNOT", "An empty message can't be kept");
    else if (d->size > s->conf->append_limit)
        imap_no(cmd, "TOOBIG", "The message is larger than this server takes"); /* RFC 4469 */
    else if (!store_has_room(imap_session_store(s), d->size) ||
             store_read_only(imap_session_store(s)))
        imap_no(cmd, "UNAVAILABLE", "The server takes no new mail at the moment");
    keep(cmd, d);
}

enum imap_work append_work(struct imap_command *cmd, struct store_reader *r)
{
    const struct imap_session *s = cmd->session;
    struct append *d = cmd->data;
    struct mailbox_info box;
    struct account_info account;
    cmd->failed =
        mailbox_find(r, cmd->arena, imap_session_account_id(s), d->name, &box, &cmd->err) ||
        account_find(r, cmd->arena, str_from(imap_session_account(s)), &account, &cmd->err) ||
        account_check_quota(&account, d->size, &cmd->err);
    d->mailbox = box.id;
    return IMAP_WORK_DONE;
}

static void on_ready(void *ctx)
{
    imap_pause_input(ctx, false);
}

/* The place of the next LF that no CR precedes, from `at` on; s.n: none. */
static size_t next_bare_lf(const struct append *d, struct str s, size_t at)
{
    for (; at < s.n; at++) {
        const char *lf = memchr(s.p + at, '\n', s.n - at);
        if (!lf)
            break;
        at = (size_t)(lf - s.p);
        if (at ? s.p[at - 1] != '\r' : !d->after_cr)
            return at;
    }
    return s.n;
}

/* Bare LF, which sloppy clients send, becomes the line end it was meant to be: a stored message has
 * CRLF only. */
static enum body_put put_lines(struct append *d, struct str s)
{
    enum body_put put = BODY_MORE;
    size_t from = 0;
    while (from < s.n && put != BODY_FAIL) {
        size_t lf = next_bare_lf(d, s, from);
        if (lf > from)
            put = body_sink_put(d->sink, str_of(s.p + from, lf - from));
        if (lf < s.n && put != BODY_FAIL)
            put = body_sink_put(d->sink, STR("\r\n"));
        from = lf + 1;
    }
    d->after_cr = s.n && s.p[s.n - 1] == '\r';
    return put;
}

/* RFC 3501 9: a literal is of CHAR8, which NUL isn't. FETCH couldn't give it back; what still comes
 * is only consumed. */
static void on_piece(struct imap_command *cmd, struct str piece)
{
    struct append *d = cmd->data;
    d->has_nul = d->has_nul || memchr(piece.p, '\0', piece.n);
    if (!d->has_nul && put_lines(d, piece) == BODY_WAIT)
        imap_pause_input(cmd, true);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct imap_command *cmd = ctx;
    struct append *d = cmd->data;
    if (failed) {
        imap_no_err(cmd, failed);
        imap_go_on(cmd);
        return;
    }
    message_append_init(&d->op, NULL);
    d->op.sink = d->sink;
    d->op.mailbox = d->mailbox;
    d->op.flags = d->flags;
    d->op.keywords = d->keywords;
    d->op.n_keywords = d->n_keywords;
    d->op.internal_ms = d->internal_ms;
    imap_write_now(cmd, &d->op.op);
}

static void on_tail(struct imap_command *cmd, struct str tail, bool too_big)
{
    struct append *d = cmd->data;
    if (tail.n || too_big) {
        imap_bad(cmd, "Unexpected text after the message");
        imap_go_on(cmd);
        return;
    }
    if (d->has_nul) {
        imap_no(cmd, "CANNOT", "A message can't hold NUL");
        imap_go_on(cmd);
        return;
    }
    body_sink_end(d->sink);
    body_sink_flush(d->sink, on_flushed, cmd);
}

/* The limit is over what the literal may hold: bare LFs grow. */
struct store_op *append_write(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    struct append *d = cmd->data;
    d->sink = body_sink_new(imap_session_store(s), 2 * s->conf->append_limit, on_ready, cmd);
    body_sink_announce(d->sink, d->size);
    imap_hold(cmd);
    imap_accept_literal(cmd, on_piece, on_tail);
    return NULL;
}

void append_finish(struct imap_command *cmd)
{
    struct append *d = cmd->data;
    if (cmd->failed && cmd->err.why == ERR_WHY_NOT_FOUND) {
        imap_no(cmd, "TRYCREATE", "There is no such mailbox"); /* RFC 3501 6.3.11 */
    } else if (!cmd->failed) {
        struct str code = arena_printf(cmd->arena, "APPENDUID %u %u", (unsigned)d->op.uidvalidity,
                                       (unsigned)d->op.uid);
        imap_ok(cmd, code.p, "Append completed"); /* RFC 4315 3 */
    }
}
