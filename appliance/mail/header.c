/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/header.h"
#include "appliance/mail/lex.h"

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
