/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/spf_macro.h"
#include <stdio.h>

enum { PARTS_LIMIT = SPF_VALUE_LIMIT + 1, LABEL_LIMIT = 63 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

/* ---- One macro: "%{" letter digits ["r"] delimiters "}", or one of "%%", "%_", "%-". */

struct macro {
    char letter; /* or '%', '_', '-' */
    bool upper, reverse;
    unsigned keep; /* so many parts from the right; 0: all */
    struct str delimiters;
};

static bool parse_braces(struct str *rest, struct macro *out)
{
    struct str s, after;

    if (!str_cut(str_skip(*rest, 2), '}', &s, &after) || s.n == 0 || !is_alpha(s.p[0]))
        return false;
    out->letter = ascii_lower(s.p[0]);
    out->upper = s.p[0] != out->letter;
    s = str_skip(s, 1);
    bool numbered = s.n && is_digit(s.p[0]);
    for (; s.n && is_digit(s.p[0]); s = str_skip(s, 1))
        if (out->keep < PARTS_LIMIT)
            out->keep = out->keep * 10 + (unsigned)(s.p[0] - '0');
    if (numbered && out->keep == 0) /* 7.1: "The DIGIT transformer [...] MUST be nonzero" */
        return false;
    if (s.n && ascii_lower(s.p[0]) == 'r') {
        out->reverse = true;
        s = str_skip(s, 1);
    }
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(".-+,/_=", s.p[i]) || !s.p[i])
            return false;
    out->delimiters = s.n ? s : STR(".");
    *rest = after;
    return true;
}

/* Takes the macro that *rest begins with. */
static bool parse_macro(struct str *rest, struct macro *out)
{
    *out = (struct macro){.letter = rest->n > 1 ? rest->p[1] : '\0'};
    if (out->letter == '{')
        return parse_braces(rest, out);
    *rest = str_skip(*rest, 2);
    return out->letter == '%' || out->letter == '_' || out->letter == '-';
}

static bool known_letter(const struct macro *m, bool explanation)
{
    return m->letter &&
           (strchr("slodiphv%_-", m->letter) || (explanation && strchr("crt", m->letter)));
}

/* ---- Checks. */

/* *macro_last: the string ends in a macro. */
static bool check(struct str s, bool explanation, bool *macro_last)
{
    struct macro m;

    *macro_last = false;
    while (s.n) {
        unsigned char c = (unsigned char)s.p[0];
        *macro_last = c == '%';
        if (c == '%') {
            if (!parse_macro(&s, &m) || !known_letter(&m, explanation))
                return false;
        } else {
            if (c > '~' || c < (explanation ? ' ' : '!'))
                return false;
            s = str_skip(s, 1);
        }
    }
    return true;
}

bool spf_macro_check(struct str s, bool explanation)
{
    bool macro_last;

    return s.n <= SPF_MACRO_LIMIT && check(s, explanation, &macro_last);
}

/* Letters, digits, dashes within, not all digits. */
static bool is_toplabel(struct str s)
{
    bool number = true;

    if (s.n == 0 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]) && !is_alpha(s.p[i]) && s.p[i] != '-')
            return false;
        number = number && is_digit(s.p[i]);
    }
    return !number;
}

bool spf_macro_check_domain(struct str s)
{
    bool macro_last;
    size_t dot;

    if (s.n == 0 || s.n > SPF_MACRO_LIMIT || !check(s, false, &macro_last))
        return false;
    if (macro_last)
        return true;
    if (s.p[s.n - 1] == '.')
        s.n--;
    return str_rchr(s, '.', &dot) && is_toplabel(str_skip(s, dot + 1));
}

bool spf_macro_asks(struct str s)
{
    struct macro m;
    size_t at;

    while (str_chr(s, '%', &at)) {
        s = str_skip(s, at);
        if (!parse_macro(&s, &m))
            return false;
        if (m.letter == 'p')
            return true;
    }
    return false;
}

/* ---- Expansion. */

static size_t split(struct str value, struct str delimiters, struct str parts[PARTS_LIMIT])
{
    size_t n = 0, from = 0;

    for (size_t i = 0; i <= value.n; i++)
        if (i == value.n || memchr(delimiters.p, value.p[i], delimiters.n)) {
            parts[n++] = str_of(value.p + from, i - from);
            from = i + 1;
        }
    return n;
}

static void put(struct buf *out, struct str s, bool escaped)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        /* RFC 3986 2.3: the unreserved set */
        if (!escaped || is_alpha(c) || is_digit(c) || (c && strchr("-._~", c)))
            buf_add_char(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
    }
}

static int put_value(const struct macro *m, struct str value, struct buf *out)
{
    struct str parts[PARTS_LIMIT];

    if (value.n > SPF_VALUE_LIMIT)
        return -1;
    if (value.n == 0)
        return 0;
    size_t n = split(value, m->delimiters, parts);
    size_t first = m->keep && m->keep < n ? n - m->keep : 0;
    for (size_t i = first; i < n; i++) {
        if (i > first)
            buf_add_char(out, '.');
        put(out, parts[m->reverse ? n - 1 - i : i], m->upper);
    }
    return buf_ok(out) ? 0 : -1;
}

static int expand_one(const struct macro *m, const struct spf_macros *v, struct buf *out)
{
    char now[24];

    switch (m->letter) {
    case 's':
        return put_value(m, v->sender, out);
    case 'l':
        return put_value(m, v->local, out);
    case 'o':
        return put_value(m, v->sender_domain, out);
    case 'd':
        return put_value(m, v->domain, out);
    case 'i':
        return put_value(m, v->dotted, out);
    case 'p':
        return put_value(m, v->validated.n ? v->validated : STR("unknown"), out);
    case 'v':
        return put_value(m, v->v6 ? STR("ip6") : STR("in-addr"), out);
    case 'h':
        return put_value(m, v->helo, out);
    case 'c':
        return put_value(m, v->ip, out);
    case 'r':
        return put_value(m, v->receiver.n ? v->receiver : STR("unknown"), out);
    case 't':
        snprintf(now, sizeof now, "%llu", (unsigned long long)v->now);
        return put_value(m, str_from(now), out);
    case '_':
        return buf_add_char(out, ' ');
    case '-':
        return buf_add_z(out, "%20");
    default:
        return buf_add_char(out, m->letter);
    }
}

int spf_macro_expand(struct str s, const struct spf_macros *v, struct buf *out)
{
    struct macro m;
    size_t at;

    if (s.n > SPF_MACRO_LIMIT)
        return -1;
    while (str_chr(s, '%', &at)) {
        buf_add_str(out, str_take(s, at));
        s = str_skip(s, at);
        if (!parse_macro(&s, &m) || expand_one(&m, v, out))
            return -1;
    }
    return buf_add_str(out, s);
}

bool spf_name_valid(struct str name)
{
    size_t label = 0;

    if (name.n == 0 || name.n > SPF_NAME_LIMIT)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < ' ' || c > '~' || (c == '.' ? label == 0 : label == LABEL_LIMIT))
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    return label > 0;
}

bool spf_macro_expand_name(struct str s, const struct spf_macros *m, struct buf *out)
{
    size_t dot;

    if (spf_macro_expand(s, m, out))
        return false;
    if (out->n && out->p[out->n - 1] == '.')
        buf_truncate(out, out->n - 1);
    while (out->n > SPF_NAME_LIMIT) {
        if (!str_chr(buf_str(out), '.', &dot))
            return false;
        buf_drop(out, dot + 1);
    }
    return spf_name_valid(buf_str(out));
}
