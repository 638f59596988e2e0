/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* header_split.c - where the head of a message ends, decided byte by byte, so that pieces make no
 * difference. */
#include "appliance/mail/header.h"

/* header_split.state */
enum {
    AT_LINE,   /* the next byte begins a line */
    AT_CR,     /* a line that began with CR */
    IN_NAME,   /* within what may be a field name */
    BEHIND,    /* blanks between name and colon: obsolete syntax that occurs (RFC 5322 4.5.8) */
    IN_LINE,   /* the line is a field's */
    PLACE = 7, /* mask of the above */
    SEEN_FIELD = 8,
    QUOTED_FROM = 16, /* the first line began with '>' */
    NOT_FROM = 32     /* the first line isn't a mailbox file's separator */
};

static bool is_ftext(char c) /* RFC 5322 3.6.8 */
{
    return c > 32 && c < 127 && c != ':';
}

static void place(struct header_split *s, unsigned where)
{
    s->state = (s->state & ~(unsigned)PLACE) | where;
}

/* A name's byte in the first line: does it still spell "From" or ">From"? */
static void watch_from(struct header_split *s, char c)
{
    uint64_t at = s->seen - s->line;
    if (at == 0 && c == '>') {
        s->state |= QUOTED_FROM;
        return;
    }
    if (s->state & QUOTED_FROM)
        at--;
    if (at >= 4 || c != "From"[at])
        s->state |= NOT_FROM;
}

/* "From karl Fri Nov 20 ...", pasted with the message: header_next skips it. */
static bool is_separator(const struct header_split *s)
{
    uint64_t name = s->seen - s->line - (s->state & QUOTED_FROM ? 1 : 0);
    return !(s->state & (SEEN_FIELD | NOT_FROM)) && name == 4;
}

static enum header_split_end begin_line(struct header_split *s, char c)
{
    s->line = s->seen;
    if (c == '\n')
        return HEADER_SPLIT_DONE;
    if (c == '\r') {
        place(s, AT_CR);
        return HEADER_SPLIT_MORE;
    }
    if (c == ' ' || c == '\t') {
        place(s, IN_LINE);
        return s->state & SEEN_FIELD ? HEADER_SPLIT_MORE : HEADER_SPLIT_BROKEN;
    }
    place(s, IN_NAME);
    watch_from(s, c);
    return is_ftext(c) ? HEADER_SPLIT_MORE : HEADER_SPLIT_BROKEN;
}

static enum header_split_end in_name(struct header_split *s, char c)
{
    unsigned where = s->state & PLACE;
    bool blank = c == ' ' || c == '\t';
    if (c == ':' || (where == IN_NAME && c == ' ' && is_separator(s))) {
        place(s, IN_LINE);
        s->state |= SEEN_FIELD;
    } else if (blank) {
        place(s, BEHIND);
    } else if (where == IN_NAME && is_ftext(c)) {
        watch_from(s, c);
    } else {
        return HEADER_SPLIT_BROKEN;
    }
    return HEADER_SPLIT_MORE;
}

static enum header_split_end take(struct header_split *s, char c)
{
    switch (s->state & PLACE) {
    case AT_LINE:
        return begin_line(s, c);
    case AT_CR:
        return c == '\n' ? HEADER_SPLIT_DONE : HEADER_SPLIT_BROKEN;
    case IN_LINE:
        if (c == '\n')
            place(s, AT_LINE);
        return HEADER_SPLIT_MORE;
    default:
        return in_name(s, c);
    }
}

enum header_split_end header_split_feed(struct header_split *s, struct str bytes, uint64_t *end_out)
{
    enum header_split_end end = HEADER_SPLIT_MORE;
    for (size_t i = 0; i < bytes.n && end == HEADER_SPLIT_MORE; i++, s->seen++) {
        if ((s->state & PLACE) == IN_LINE) { /* most bytes: on to the line's end */
            const char *lf = memchr(bytes.p + i, '\n', bytes.n - i);
            size_t n = lf ? (size_t)(lf - bytes.p) - i : bytes.n - i - 1;
            i += n;
            s->seen += n;
        }
        end = take(s, bytes.p[i]);
    }
    if (end == HEADER_SPLIT_BROKEN)
        s->seen = s->line;
    *end_out = s->seen;
    return end;
}
