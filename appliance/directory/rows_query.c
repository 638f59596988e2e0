/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_query.h"

#include "appliance/base/buf.h"
#include <string.h>

struct reader {
    struct arena *m;
    const char *letters;
    struct rows_query *out;
    struct buf text;
};

static int add_param(struct reader *r, struct str pattern, struct err *err)
{
    if (r->out->n == ROWS_QUERY_PARAMS)
        return ERR(err, ERR_PROTO, "a query has at most %d placeholders", ROWS_QUERY_PARAMS);
    r->out->params[r->out->n++] = arena_str(r->m, pattern);
    buf_add_char(&r->text, '?');
    return 0;
}

/* p is at "%". */
static int check_letter(const struct reader *r, const char *p, struct err *err)
{
    if (p[1] == '%' || (p[1] && strchr(r->letters, p[1])))
        return 0;
    return ERR(err, ERR_PROTO, "in a query, %% stands before one of \"%s\" or %%%%", r->letters);
}

/* *p is at the quote that opens a literal; moves it behind the one that closes it. */
static int read_literal(struct reader *r, const char **p, struct err *err)
{
    const char *q = *p + 1;
    struct buf pattern;
    bool holds = false;
    int rc = 0;
    buf_init(&pattern, ROWS_QUERY_MAX);
    for (; rc == 0 && *q && !(*q == '\'' && q[1] != '\''); q++) {
        buf_add_char(&pattern, *q);
        if (*q == '\'')
            q++; /* two stand for one */
        if (*q != '%')
            continue;
        rc = check_letter(r, q, err);
        holds = holds || q[1] != '%';
        if (rc == 0)
            buf_add_char(&pattern, *++q);
    }
    if (rc == 0 && !*q)
        rc = ERR(err, ERR_PROTO, "a query has an open quote");
    if (rc == 0 && holds) {
        rc = add_param(r, buf_str(&pattern), err);
    } else if (rc == 0) {
        for (const char *c = *p; c <= q; c++) {
            buf_add_char(&r->text, *c);
            c += *c == '%';
        }
    }
    *p = q + 1;
    buf_fini(&pattern);
    return rc;
}

static int read_one(struct reader *r, const char **p, struct err *err)
{
    const char *c = *p;
    if (*c == '\'')
        return read_literal(r, p, err);
    if (*c == '?' || *c == ';' || *c == '#' || (c[0] == '-' && c[1] == '-') ||
        (c[0] == '/' && c[1] == '*'))
        return ERR(err, ERR_PROTO, "a query is one statement without \"?\", \";\" and comments");
    if (*c != '%') {
        buf_add_char(&r->text, *c);
        *p = c + 1;
        return 0;
    }
    if (check_letter(r, c, err) < 0)
        return -1;
    *p = c + 2;
    if (c[1] != '%')
        return add_param(r, str_of(c, 2), err);
    buf_add_char(&r->text, '%');
    return 0;
}

int rows_query_read(struct arena *m, const char *text, const char *letters, struct rows_query *out,
                    struct err *err)
{
    struct reader r = {.m = m, .letters = letters, .out = out};
    const char *p = text;
    int rc = 0;
    *out = (struct rows_query){.text = NULL};
    if (strlen(text) > ROWS_QUERY_MAX)
        return ERR(err, ERR_PROTO, "a query has at most %d characters", ROWS_QUERY_MAX);
    /* What it means in a literal depends on the server's mode. */
    if (strchr(text, '\\'))
        return ERR(err, ERR_PROTO, "a query has no backslash");
    buf_init(&r.text, ROWS_QUERY_MAX + 1);
    while (rc == 0 && *p)
        rc = read_one(&r, &p, err);
    if (rc == 0)
        out->text = arena_str(m, buf_str(&r.text)).p;
    buf_fini(&r.text);
    return rc;
}

static struct str value_of(char letter, const struct rows_values *v)
{
    switch (letter) {
    case 's':
        return v->address;
    case 'u':
        return v->local;
    case 'd':
        return v->domain;
    case 'h':
        return v->hash;
    case 'o':
        return v->old;
    default:
        return STR("%");
    }
}

struct str rows_query_value(struct arena *m, struct str pattern, const struct rows_values *v)
{
    struct str out;
    struct buf b;
    if (pattern.n == 2 && pattern.p[0] == '%') { /* also longer than a pattern may become */
        out = value_of(pattern.p[1], v);
        return out.p ? out : STR("");
    }
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] == '%' && i + 1 < pattern.n)
            buf_add_str(&b, value_of(pattern.p[++i], v));
        else
            buf_add_char(&b, pattern.p[i]);
    }
    out = arena_str(m, buf_str(&b));
    buf_fini(&b);
    return out;
}
