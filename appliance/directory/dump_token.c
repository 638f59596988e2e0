/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/dump_private.h"

#include "appliance/base/text.h"

static char at(const struct dump_cursor *c, size_t i)
{
    return c->at + i < c->all.n ? c->all.p[c->at + i] : '\0';
}

int dump_error(const struct dump_cursor *c, struct err *err, const char *what)
{
    size_t line = 1, end = c->at < c->all.n ? c->at : c->all.n;
    for (size_t i = 0; i < end; i++)
        line += c->all.p[i] == '\n';
    return ERR(err, ERR_PROTO, "line %zu of the dump: %s", line, what);
}

static void skip_line(struct dump_cursor *c)
{
    while (c->at < c->all.n && c->all.p[c->at] != '\n')
        c->at++;
}

/* MySQL wants a blank behind it, so that 5--3 stays a difference. */
static bool is_dash_comment(const struct dump_cursor *c)
{
    return at(c, 0) == '-' && at(c, 1) == '-' && (unsigned char)at(c, 2) <= ' ';
}

static int skip_comment(struct dump_cursor *c, struct err *err)
{
    bool maria = at(c, 2) == 'M' && at(c, 3) == '!';
    size_t end;
    /* An executable comment is code: only its frame goes. */
    if (at(c, 2) == '!' || maria) {
        c->at += maria ? 4 : 3;
        while (at(c, 0) >= '0' && at(c, 0) <= '9')
            c->at++;
        return 0;
    }
    if (!str_find(str_skip(c->all, c->at + 2), STR("*/"), &end))
        return dump_error(c, err, "a comment doesn't end");
    c->at += 2 + end + 2;
    return 0;
}

static int skip_space(struct dump_cursor *c, struct err *err)
{
    while (c->at < c->all.n) {
        if ((unsigned char)at(c, 0) <= ' ')
            c->at++;
        else if (at(c, 0) == '#' || is_dash_comment(c))
            skip_line(c);
        else if (at(c, 0) == '*' && at(c, 1) == '/')
            c->at += 2;
        else if (at(c, 0) != '/' || at(c, 1) != '*')
            return 0;
        else if (skip_comment(c, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_word_char(char ch)
{
    char l = ascii_lower(ch);
    return (l >= 'a' && l <= 'z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '$' ||
           ch == '@' || ((unsigned char)ch & 0x80);
}

/* At the opening quote: the end of what is within, or -1. */
static int find_quote(const struct dump_cursor *c, size_t *end_out, bool *plain_out,
                      struct err *err)
{
    char q = at(c, 0);
    size_t i = c->at + 1;
    *plain_out = true;
    for (; i < c->all.n; i++) {
        char ch = c->all.p[i];
        bool twice = ch == q && i + 1 < c->all.n && c->all.p[i + 1] == q;
        if (ch == q && !twice) {
            *end_out = i;
            return 0;
        }
        if (twice || (ch == '\\' && q != '`')) {
            *plain_out = false;
            i++;
        }
    }
    return dump_error(c, err, "a quote doesn't end");
}

static char unescape(char ch)
{
    switch (ch) {
    case '0':
        return '\0';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'Z':
        return 26;
    default:
        return ch;
    }
}

static struct str decode(struct arena *m, struct str s, char q)
{
    char *out = arena_alloc(m, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && q != '`' && i + 1 < s.n) {
            i++;
            if (s.p[i] == '%' || s.p[i] == '_') /* stays an escape: it is for LIKE */
                out[n++] = '\\';
            out[n++] = unescape(s.p[i]);
        } else {
            out[n++] = s.p[i];
            i += s.p[i] == q;
        }
    }
    return str_of(out, n);
}

static int quoted(struct dump_cursor *c, struct dump_token *out, struct err *err)
{
    char q = at(c, 0);
    size_t end;
    bool plain;
    if (find_quote(c, &end, &plain, err) < 0)
        return -1;
    struct str in = str_of(c->all.p + c->at + 1, end - c->at - 1);
    if (in.n > DUMP_VALUE_MAX)
        return dump_error(c, err, "a value is longer than a mail system's");
    out->kind = q == '`' ? DUMP_NAME : DUMP_STRING;
    out->text = plain ? in : decode(c->m, in, q);
    c->at = end + 1;
    return 0;
}

static int bytes_of_hex(struct dump_cursor *c, struct str hex, struct dump_token *out,
                        struct err *err)
{
    struct buf b;
    buf_init(&b, DUMP_VALUE_MAX);
    int r = hex.n <= DUMP_VALUE_MAX && text_hex_decode(hex, &b) == 0 && buf_ok(&b)
                ? 0
                : dump_error(c, err, "this is not hexadecimal");
    out->kind = DUMP_BYTES;
    if (r == 0)
        out->text = b.n ? arena_str(c->m, buf_str(&b)) : STR("");
    buf_fini(&b);
    return r;
}

/* b'101', as a number in decimal: that is what a column of bits means here. */
static int number_of_bits(struct dump_cursor *c, struct str bits, struct dump_token *out,
                          struct err *err)
{
    unsigned long long v = 0;
    for (size_t i = 0; i < bits.n; i++) {
        if ((bits.p[i] != '0' && bits.p[i] != '1') || bits.n > 64)
            return dump_error(c, err, "these are not bits");
        v = v << 1 | (unsigned)(bits.p[i] - '0');
    }
    out->kind = DUMP_BYTES;
    out->text = arena_printf(c->m, "%llu", v);
    return 0;
}

static int word(struct dump_cursor *c, struct dump_token *out, struct err *err)
{
    size_t n = 0;
    while (is_word_char(at(c, n)))
        n++;
    out->kind = DUMP_WORD;
    out->text = str_of(c->all.p + c->at, n);
    c->at += n;
    if (n > 2 && str_istarts(out->text, STR("0x")))
        return bytes_of_hex(c, str_skip(out->text, 2), out, err);
    char first = ascii_lower(out->text.p[0]);
    if (n != 1 || at(c, 0) != '\'' || (first != 'x' && first != 'b'))
        return 0;
    if (quoted(c, out, err) < 0)
        return -1;
    return first == 'x' ? bytes_of_hex(c, out->text, out, err)
                        : number_of_bits(c, out->text, out, err);
}

void dump_next(struct dump_cursor *c, struct dump_token *out, struct err *err)
{
    int r = skip_space(c, err);
    *out = (struct dump_token){.kind = DUMP_END, .text = STR("")};
    if (r == 0 && c->at < c->all.n) {
        char ch = at(c, 0);
        if (ch == '\'' || ch == '"' || ch == '`') {
            r = quoted(c, out, err);
        } else if (is_word_char(ch)) {
            r = word(c, out, err);
        } else {
            out->kind = DUMP_MARK;
            out->text = str_of(c->all.p + c->at++, 1);
        }
    }
    if (r < 0)
        out->kind = DUMP_BAD;
}

bool dump_is_word(const struct dump_token *t, const char *expected)
{
    return t->kind == DUMP_WORD && str_ieq(t->text, str_from(expected));
}

bool dump_is_mark(const struct dump_token *t, char mark)
{
    return t->kind == DUMP_MARK && t->text.p[0] == mark;
}

int dump_skip_statement(struct dump_cursor *c, struct err *err)
{
    size_t end;
    bool plain;
    while (c->at < c->all.n) {
        char ch = at(c, 0);
        if (ch == ';') {
            c->at++;
            return 0;
        }
        if (ch == '\'' || ch == '"' || ch == '`') {
            if (find_quote(c, &end, &plain, err) < 0)
                return -1;
            c->at = end + 1;
        } else if ((unsigned char)ch <= ' ' || ch == '#' || ch == '-' || ch == '/' || ch == '*') {
            size_t before = c->at;
            if (skip_space(c, err) < 0)
                return -1;
            c->at += c->at == before;
        } else {
            c->at++;
        }
    }
    return 0;
}

void dump_skip_delimited(struct dump_cursor *c)
{
    struct str line;
    bool first = true;
    while (c->at < c->all.n) {
        size_t start = c->at;
        skip_line(c);
        line = str_trim(str_of(c->all.p + start, c->at - start));
        c->at += c->at < c->all.n;
        if (!first && str_istarts(line, STR("DELIMITER")))
            line = str_trim(str_skip(line, 9));
        else if (!first)
            continue;
        first = false;
        if (str_eq(line, STR(";")))
            return;
    }
}
