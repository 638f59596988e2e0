/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/header.h"
#include "appliance/mail/lex.h"

/* header_split.state: where the next byte stands, and whether a field was seen (a fold needs one
 * before it). */
enum { AT_LINE = 0, AT_CR = 1, IN_LINE = 2, PLACE = 3, SEEN_FIELD = 4 };

static bool is_ftext(char c) /* RFC 5322 3.6.8 */
{
    return c > 32 && c < 127 && c != ':';
}

/* The length of the field name that a line begins with; *colon_out is where its ':' is. Blanks
 * before the ':' are obsolete syntax that occurs (RFC 5322 4.5.8). 0: no field. */
static size_t field_name(struct str line, size_t *colon_out)
{
    size_t n = 0;
    while (n < line.n && is_ftext(line.p[n]))
        n++;
    size_t i = n;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    *colon_out = i;
    return i < line.n && line.p[i] == ':' ? n : 0;
}

/* Whether a line may stand in a head. `whole`: its end is known, so a missing ':' is decided. */
static bool line_fits(struct str line, bool first, bool whole)
{
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return !first;
    /* A mailbox file's separator, pasted with the message: header_next skips it. */
    if (first && (str_starts(line, STR("From ")) || str_starts(line, STR(">From "))))
        return true;
    size_t colon;
    return field_name(line, &colon) > 0 || (colon == line.n && !whole && is_ftext(line.p[0]));
}

enum header_split_end header_split_feed(struct header_split *s, struct str bytes,
                                        size_t *head_bytes_out)
{
    size_t i = 0;
    *head_bytes_out = bytes.n;
    while (i < bytes.n) {
        unsigned place = s->state & PLACE;
        if (place != IN_LINE && bytes.p[i] == '\n') {
            *head_bytes_out = i + 1;
            s->seen += i + 1;
            return HEADER_SPLIT_DONE;
        }
        if (place == AT_LINE && bytes.p[i] == '\r' &&
            (i + 1 == bytes.n || bytes.p[i + 1] == '\n')) {
            s->state = (s->state & ~(unsigned)PLACE) | AT_CR;
            i++;
            continue;
        }
        const char *lf = memchr(bytes.p + i, '\n', bytes.n - i);
        struct str line = str_of(bytes.p + i, lf ? (size_t)(lf - bytes.p) - i : bytes.n - i);
        if (place == AT_LINE && !line_fits(line, !(s->state & SEEN_FIELD), lf != NULL)) {
            *head_bytes_out = i;
            s->seen += i;
            return HEADER_SPLIT_BROKEN;
        }
        s->state = SEEN_FIELD | (lf ? AT_LINE : IN_LINE);
        i += line.n + (lf ? 1 : 0);
    }
    s->seen += bytes.n;
    return HEADER_SPLIT_MORE;
}

/* Takes one line and the folded lines that continue it. */
static struct str field_take(struct str *rest)
{
    size_t n = 0;
    do {
        const char *lf = memchr(rest->p + n, '\n', rest->n - n);
        n = lf ? (size_t)(lf - rest->p) + 1 : rest->n;
    } while (n < rest->n && (rest->p[n] == ' ' || rest->p[n] == '\t'));
    struct str field = str_take(*rest, n);
    *rest = str_skip(*rest, n);
    return field;
}

static bool at_empty_line(struct str s)
{
    return s.p[0] == '\n' || (s.p[0] == '\r' && s.n > 1 && s.p[1] == '\n');
}

bool header_next(struct str *rest, struct header_field *out)
{
    while (rest->n > 0 && !at_empty_line(*rest)) {
        struct str raw = field_take(rest);
        size_t colon, name = field_name(raw, &colon);
        if (name == 0)
            continue;
        struct str value = str_skip(raw, colon + 1);
        while (value.n > 0 && lex_blank(value.p[0]))
            value = str_skip(value, 1);
        if (value.n > 0 && value.p[value.n - 1] == '\n')
            value.n--;
        if (value.n > 0 && value.p[value.n - 1] == '\r')
            value.n--;
        *out = (struct header_field){str_take(raw, name), value, raw};
        return true;
    }
    return false;
}

bool header_find(struct str head, struct str name, unsigned n, struct header_field *out)
{
    while (header_next(&head, out)) {
        if (str_ieq(out->name, name) && n-- == 0)
            return true;
    }
    return false;
}

unsigned header_count(struct str head, struct str name)
{
    struct header_field f;
    unsigned count = 0;
    while (header_next(&head, &f))
        count += str_ieq(f.name, name);
    return count;
}

int header_unfold(struct str value, struct buf *out)
{
    size_t done = 0;
    for (size_t i = 0; i + 1 < value.n; i++) {
        const char *lf = memchr(value.p + i, '\n', value.n - i);
        if (!lf)
            break;
        i = (size_t)(lf - value.p);
        if (i + 1 >= value.n || (value.p[i + 1] != ' ' && value.p[i + 1] != '\t'))
            continue;
        size_t end = i > done && value.p[i - 1] == '\r' ? i - 1 : i;
        buf_add(out, value.p + done, end - done);
        done = i + 1;
    }
    if (done < value.n)
        buf_add(out, value.p + done, value.n - done);
    return buf_ok(out) ? 0 : -1;
}
