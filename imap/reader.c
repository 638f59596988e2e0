/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/reader.h"
#include "appliance/base/mem.h"

void imap_reader_init(struct imap_reader *r, size_t limit, uint64_t swallow_limit)
{
    *r = (struct imap_reader){.limit = limit, .swallow_limit = swallow_limit};
    buf_init(&r->cmd, SIZE_MAX);
}

void imap_reader_fini(struct imap_reader *r)
{
    buf_fini(&r->cmd);
}

static void begin(struct imap_reader *r, bool plain)
{
    buf_fini(&r->cmd);
    r->state = READER_LINE;
    r->plain = plain;
    r->tail = r->dropping = false;
    r->n_end = 0;
    r->dropped = 0;
}

void imap_reader_next(struct imap_reader *r)
{
    begin(r, false);
}

void imap_reader_next_line(struct imap_reader *r)
{
    begin(r, true);
}

bool imap_reader_idle(const struct imap_reader *r)
{
    return r->state == READER_LINE && r->cmd.n == 0 && !r->dropping && !r->tail;
}

/* Keeps bytes of the command as long as they are within the limit, of a larger one what holds its
 * tag. False: more is being sent than may be swallowed. */
static bool keep(struct imap_reader *r, struct str s)
{
    if (!r->dropping) {
        size_t room = r->limit - r->cmd.n;
        buf_add_str(&r->cmd, str_take(s, room));
        if (s.n <= room)
            return true;
        r->dropping = true;
        s = str_skip(s, room);
    }
    r->dropped += s.n;
    return r->dropped <= r->swallow_limit;
}

static void remember_end(struct imap_reader *r, struct str s)
{
    if (s.n >= sizeof r->end) {
        memcpy(r->end, s.p + s.n - sizeof r->end, sizeof r->end);
        r->n_end = sizeof r->end;
        return;
    }
    size_t stay = r->n_end < sizeof r->end - s.n ? r->n_end : sizeof r->end - s.n;
    memmove(r->end, r->end + r->n_end - stay, stay);
    if (s.n)
        memcpy(r->end + stay, s.p, s.n);
    r->n_end = stay + s.n;
}

static struct str without_newline(struct str s)
{
    if (str_ends(s, STR("\n")))
        s.n--;
    if (str_ends(s, STR("\r")))
        s.n--;
    return s;
}

/* Does the line (its end is at hand, with CRLF) announce a literal? */
static bool ends_in_literal(const struct imap_reader *r, uint64_t *size, bool *sync)
{
    struct str s = without_newline(str_of(r->end, r->n_end));
    size_t open;
    if (!str_ends(s, STR("}")) || !str_rchr(s, '{', &open))
        return false;
    struct str n = {s.p + open + 1, s.n - open - 2};
    *sync = !str_ends(n, STR("+"));
    if (!*sync)
        n.n--;
    return str_to_u64(n, UINT64_MAX / 2, size) == 0;
}

/* Is the literal at the end of cmd ("tag APPEND mailbox ... {n}") the message? The first one is the
 * mailbox name when nothing but the command precedes it. */
static bool is_append(const struct imap_reader *r)
{
    struct str tag, rest = buf_str(&r->cmd);
    if (r->plain || r->tail || !str_cut(rest, ' ', &tag, &rest) ||
        !str_istarts(rest, STR("APPEND ")))
        return false;
    size_t open;
    rest = str_skip(rest, 7);
    return str_rchr(rest, '{', &open) && open > 0;
}

static enum imap_read line_done(struct imap_reader *r)
{
    bool dropped = r->dropping;
    r->state = READER_DONE;
    if (!dropped || r->tail) {
        buf_truncate(&r->cmd, without_newline(buf_str(&r->cmd)).n);
        return IMAP_READ_COMMAND;
    }
    return IMAP_READ_TOO_BIG;
}

static enum imap_read literal_begins(struct imap_reader *r, uint64_t size, bool sync)
{
    r->n_end = 0;
    if (!r->dropping && is_append(r)) {
        r->append_size = size;
        r->append_sync = sync;
        r->state = READER_APPEND;
        buf_truncate(&r->cmd, without_newline(buf_str(&r->cmd)).n);
        return IMAP_READ_APPEND;
    }
    if (r->dropping || r->tail || size > r->limit - r->cmd.n) {
        r->dropping = true;
        if (sync) /* refused by the tagged answer that comes instead of "+" */
            return line_done(r);
        if (size > r->swallow_limit - r->dropped)
            return IMAP_READ_FATAL;
    }
    r->left = size;
    r->state = READER_LITERAL;
    return sync ? IMAP_READ_CONTINUE : IMAP_READ_MORE;
}

static enum imap_read feed_line(struct imap_reader *r, struct str in, size_t *used)
{
    uint64_t size;
    bool sync;
    const char *lf = memchr(in.p, '\n', in.n);
    struct str s = str_take(in, lf ? (size_t)(lf - in.p) + 1 : in.n);
    *used = s.n;
    if (!keep(r, s))
        return IMAP_READ_FATAL;
    remember_end(r, s);
    if (!lf)
        return IMAP_READ_MORE;
    if (!r->plain && ends_in_literal(r, &size, &sync))
        return literal_begins(r, size, sync);
    return line_done(r);
}

static enum imap_read feed_literal(struct imap_reader *r, struct str in, size_t *used)
{
    struct str s = str_take(in, r->left < in.n ? (size_t)r->left : in.n);
    *used = s.n;
    r->left -= s.n;
    if (!keep(r, s))
        return IMAP_READ_FATAL;
    if (!r->left)
        r->state = READER_LINE;
    return IMAP_READ_MORE;
}

static enum imap_read feed_stream(struct imap_reader *r, struct str in, size_t *used)
{
    r->piece = str_take(in, r->left < in.n ? (size_t)r->left : in.n);
    *used = r->piece.n;
    r->left -= r->piece.n;
    if (!r->left)
        r->state = READER_LINE;
    return IMAP_READ_PIECE;
}

bool imap_reader_after_literal(const struct imap_reader *r)
{
    return r->state == READER_LINE && r->n_end == 0 && (r->tail || r->cmd.n > 0);
}

enum imap_read imap_reader_feed(struct imap_reader *r, struct str in, size_t *used_out)
{
    enum imap_read got = IMAP_READ_MORE;
    *used_out = 0;
    CHECK(r->state != READER_DONE && r->state != READER_APPEND);
    while (in.n && got == IMAP_READ_MORE) {
        size_t used = 0;
        if (r->state == READER_LINE)
            got = feed_line(r, in, &used);
        else if (r->state == READER_LITERAL)
            got = feed_literal(r, in, &used);
        else
            got = feed_stream(r, in, &used);
        *used_out += used;
        in = str_skip(in, used);
    }
    return got;
}

static void append_tail(struct imap_reader *r)
{
    begin(r, false);
    r->tail = true;
    r->left = r->append_size;
}

void imap_reader_accept(struct imap_reader *r)
{
    CHECK(r->state == READER_APPEND);
    append_tail(r);
    r->state = r->left ? READER_STREAM : READER_LINE;
}

bool imap_reader_refuse(struct imap_reader *r)
{
    CHECK(r->state == READER_APPEND);
    if (r->append_sync) {
        r->state = READER_DONE;
        return false;
    }
    append_tail(r);
    r->dropping = true;
    r->state = r->left ? READER_LITERAL : READER_LINE;
    return true;
}
