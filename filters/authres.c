/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/authres.h"
#include "appliance/base/text.h"

enum { LINE = 76 };

/* RFC 2045 5.1: what may stand in a token; and '@' once, as in an address (RFC 8601 2.2). */
static bool is_plain(struct str s)
{
    bool at = false;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c > '~' || strchr("()<>,;:\\\"/[]?=", c) || (c == '@' && at))
            return false;
        at |= c == '@';
    }
    return s.n > 0;
}

static char visible(char c)
{
    return c < ' ' || c > '~' ? '?' : c;
}

static void put_quoted(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = visible(s.p[i]);
        if (c == '"' || c == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, c);
    }
    buf_add_char(out, '"');
}

void authres_result(struct buf *out, const char *method, const char *result, struct str comment)
{
    buf_printf(out, "%s%s=%s", out->n ? "; " : "", method, result);
    if (comment.n == 0)
        return;
    buf_add_z(out, " (");
    comment = str_take(comment, AUTHRES_VALUE_LIMIT);
    for (size_t i = 0; i < comment.n; i++) {
        char c = visible(comment.p[i]);
        buf_add_char(out, strchr("()\\", c) ? '?' : c);
    }
    buf_add_char(out, ')');
}

void authres_property(struct buf *out, const char *name, struct str value)
{
    value = str_take(value, AUTHRES_VALUE_LIMIT);
    buf_printf(out, " %s=", name);
    if (is_plain(value))
        buf_add_str(out, value);
    else
        put_quoted(out, value);
}

/* ---- Reading. */

/* A quoted string or a comment at the start of s: its length with its ends; 0: it has no end. */
static size_t span(struct str s)
{
    const bool comment = s.p[0] == '(';
    unsigned depth = 1;

    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (comment && s.p[i] == '(')
            depth++;
        else if (s.p[i] == (comment ? ')' : '"') && --depth == 0)
            return i + 1;
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blanks and comments (CFWS). False: one that doesn't end. */
static bool skip_blanks(struct str *s)
{
    while (s->n && (is_blank(s->p[0]) || s->p[0] == '(')) {
        size_t n = s->p[0] == '(' ? span(*s) : 1;
        if (n == 0)
            return false;
        *s = str_skip(*s, n);
    }
    return true;
}

static int unquote(struct str s, struct buf *out)
{
    size_t n = span(s);

    for (size_t i = 1; i + 1 < n; i++) {
        if (s.p[i] == '\\' && i + 2 < n)
            i++;
        if (!is_blank(s.p[i]) && buf_add_char(out, s.p[i]))
            return -1;
    }
    return n && out->n ? 0 : -1;
}

int authres_id(struct str value, struct buf *out)
{
    size_t n = 0;

    if (!skip_blanks(&value) || value.n == 0)
        return -1;
    if (value.p[0] == '"')
        return unquote(value, out);
    while (n < value.n && !is_blank(value.p[n]) && !strchr(";(/\"", value.p[n]))
        n++;
    return n ? buf_add_str(out, str_take(value, n)) : -1;
}

static struct str undotted(struct str s)
{
    return s.n && s.p[s.n - 1] == '.' ? str_take(s, s.n - 1) : s;
}

bool authres_is_from(struct str value, struct str id)
{
    struct buf found, ascii;
    bool ours;

    buf_init(&found, 1024);
    buf_init(&ascii, 1024);
    ours = authres_id(value, &found) != 0;
    if (!ours) {
        struct str name = undotted(buf_str(&found));
        /* RFC 8601 5: U-labels and A-labels are the same (RFC 8616 5). */
        if (!text_ascii(name) && text_domain(name, &ascii) == 0)
            name = buf_str(&ascii);
        ours = str_ieq(name, undotted(id));
    }
    buf_fini(&found);
    buf_fini(&ascii);
    return ours;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' ||
           c == '_' || c == '.';
}

static struct str take_token(struct str *s)
{
    size_t n = 0;

    while (n < s->n && is_word(s->p[n]))
        n++;
    struct str token = str_take(*s, n);
    *s = str_skip(*s, n);
    return token;
}

/* "=" with blanks and comments around it. */
static bool skip_equals(struct str *s)
{
    if (!skip_blanks(s) || s->n == 0 || s->p[0] != '=')
        return false;
    *s = str_skip(*s, 1);
    return skip_blanks(s);
}

/* Up to a character that is neither in quotes nor in a comment. */
static struct str take_until(struct str *s, bool (*end)(char c))
{
    size_t n = 0;

    while (n < s->n && !end(s->p[n])) {
        size_t in = s->p[n] == '"' || s->p[n] == '(' ? span(str_skip(*s, n)) : 1;
        n += in ? in : s->n - n;
    }
    struct str taken = str_take(*s, n);
    *s = str_skip(*s, n);
    return taken;
}

static bool is_semicolon(char c)
{
    return c == ';';
}

bool authres_next(struct str *rest, struct authres_one *out)
{
    uint64_t version;

    while (rest->n) {
        struct str s = take_until(rest, is_semicolon);
        *rest = str_skip(*rest, 1);
        if (!skip_blanks(&s))
            continue;
        out->method = take_token(&s);
        if (skip_blanks(&s) && s.n && s.p[0] == '/') { /* RFC 8601 2.2: method-version */
            s = str_skip(s, 1);
            if (!skip_blanks(&s) || str_to_u64(take_token(&s), 1, &version))
                continue;
        }
        if (!skip_equals(&s))
            continue;
        out->result = take_token(&s);
        out->properties = s;
        if (out->method.n && out->result.n)
            return true;
    }
    return false;
}

struct str authres_get(const struct authres_one *one, const char *property)
{
    struct str rest = one->properties, name, value;

    while (skip_blanks(&rest) && rest.n) {
        name = take_token(&rest);
        if (!name.n || !skip_equals(&rest)) /* not well-formed: nothing after it is believed */
            return STR_NULL;
        value = take_until(&rest, is_blank);
        if (!str_ieq(name, str_from(property)))
            continue;
        if (value.n > 1 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = str_take(str_skip(value, 1), value.n - 2);
        return value;
    }
    return STR_NULL;
}

/* ---- Folding. */

/* To the next blank that is neither in quotes nor in a comment. */
static struct str take_word(struct str *s)
{
    size_t n = 0;

    while (n < s->n && s->p[n] != ' ') {
        size_t in = s->p[n] == '"' || s->p[n] == '(' ? span(str_skip(*s, n)) : 1;
        n += in ? in : 1;
    }
    struct str word = str_take(*s, n);
    *s = str_skip(*s, n);
    while (s->n && s->p[0] == ' ')
        *s = str_skip(*s, 1);
    return word;
}

void authres_fold(struct str id, struct str results, struct buf *out)
{
    const size_t name = sizeof "Authentication-Results: " - 1;
    size_t column;
    bool next = true; /* a result begins */

    buf_add_str(out, id);
    buf_add_char(out, ';');
    for (column = name + id.n + 1; results.n;) {
        struct str word = take_word(&results);
        if (next || column + 1 + word.n > LINE) {
            buf_add_z(out, "\r\n\t");
            column = 8;
        } else {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add_str(out, word);
        column += word.n;
        next = word.n && word.p[word.n - 1] == ';';
    }
}
