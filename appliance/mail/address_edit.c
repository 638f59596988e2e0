/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/address_edit.h"
#include "appliance/mail/address.h"
#include "appliance/mail/lex.h"

#define SPECIALS "()<>@,;:\\\"" /* as address_list.c has them */

/* How far is looked ahead for what ends a route or a literal: the whole stays linear. */
enum { ROUTE_MAX = 2000, LITERAL_MAX = 200 };

struct span {
    const char *from, *to;
};
struct edit {
    address_edit_fn fn;
    void *ctx;
    struct buf *out, local, domain; /* the last two: of the address at hand */
    const char *copied;             /* of the value: so far */
    unsigned n;
};
struct spec { /* RFC 5322 3.4.1, 4.4: blanks and comments around dots and '@' */
    struct span local, domain;
    bool has_domain, quoted;
    unsigned words;
};

/* ---- Reading */

static void read_words(struct str *in, struct buf *content, struct span *span, struct spec *s,
                       bool quotes)
{
    bool glue = true;

    span->from = span->to = in->p;
    while (in->n > 0 && (glue || in->p[0] == '.')) {
        if (quotes && in->p[0] == '"') {
            lex_quoted(in, content);
            s->quoted = true;
        } else {
            struct str run = lex_run(in, SPECIALS);
            if (run.n == 0)
                return;
            buf_add_str(content, run);
        }
        span->to = in->p;
        s->words++;
        glue = !lex_cfws(in, NULL) || (content->n > 0 && content->p[content->n - 1] == '.');
    }
}

static void read_literal(struct str *in, struct buf *content, struct span *span)
{
    size_t at;

    span->from = span->to = in->p;
    if (!str_chr(str_take(*in, LITERAL_MAX), ']', &at))
        return;
    for (size_t i = 1; i < at; i++)
        if (!memchr("0123456789abcdefABCDEFIPv:.", in->p[i], 27))
            return;
    buf_add(content, in->p, at + 1);
    *in = str_skip(*in, at + 1);
    span->to = in->p;
    lex_cfws(in, NULL);
}

static struct spec read_spec(struct edit *e, struct str *in)
{
    struct spec s = {.words = 0}, ignored = {.words = 0};

    buf_clear(&e->local);
    buf_clear(&e->domain);
    lex_cfws(in, NULL);
    read_words(in, &e->local, &s.local, &s, true);
    if (in->n == 0 || in->p[0] != '@')
        return s;
    *in = str_skip(*in, 1);
    s.has_domain = true;
    lex_cfws(in, NULL);
    if (in->n > 0 && in->p[0] == '[')
        read_literal(in, &e->domain, &s.domain);
    else
        read_words(in, &e->domain, &s.domain, &ignored, false);
    return s;
}

/* ---- Writing */

static void copy_to(struct edit *e, const char *end)
{
    buf_add(e->out, e->copied, (size_t)(end - e->copied));
    e->copied = end;
}

/* Quoted where it needs that. */
static void put_local(struct edit *e, struct str local)
{
    struct address_path path = {.local = local, .domain = STR("x")};
    struct buf b;

    buf_init(&b, 2 * local.n + 8);
    if (address_path_format(&path, &b) == 0 && b.n > 2)
        buf_add(e->out, b.p, b.n - 2);
    buf_fini(&b);
}

static void found(struct edit *e, const struct spec *s)
{
    const struct address_parts was = {.local = buf_str(&e->local),
                                      .domain = s->has_domain ? buf_str(&e->domain) : STR_NULL};
    struct address_parts now = was;

    if (!e->fn(e->ctx, &now))
        return;
    copy_to(e, s->local.from);
    if (!str_eq(now.local, was.local)) {
        put_local(e, now.local);
        e->copied = s->local.to;
    }
    copy_to(e, s->local.to);
    if (s->has_domain && !str_eq(now.domain, was.domain)) {
        copy_to(e, s->domain.from);
        buf_add_str(e->out, now.domain);
        e->copied = s->domain.to;
    } else if (!s->has_domain && now.domain.n) {
        buf_add_char(e->out, '@');
        buf_add_str(e->out, now.domain);
    }
    e->n++;
}

/* ---- The list */

/* After '<'. A route (RFC 5322 4.4) is left as it is. */
static void read_angle(struct edit *e, struct str *in)
{
    size_t at;
    struct spec s;

    lex_cfws(in, NULL);
    if (in->n > 0 && in->p[0] == '@') {
        while (in->n > 0 && !memchr(":>,;", in->p[0], 4))
            *in = str_skip(*in, 1);
        while (in->n > 0 && in->p[0] == ',') /* "@a,@b:" */
            if (str_chr(str_take(*in, ROUTE_MAX), ':', &at) && !memchr(in->p, '>', at))
                *in = str_skip(*in, at);
            else
                return;
        if (in->n == 0 || in->p[0] != ':')
            return;
        *in = str_skip(*in, 1);
    }
    s = read_spec(e, in);
    if (s.words && in->n > 0 && in->p[0] == '>' && (!s.has_domain || e->domain.n))
        found(e, &s);
}

/* An entry without '<': an addr-spec, or a single word. Text is no address. */
static void read_bare(struct edit *e, struct str all, unsigned words)
{
    struct spec s = read_spec(e, &all);

    lex_cfws(&all, NULL);
    if (all.n == 0 && s.words &&
        (s.has_domain ? e->domain.n > 0 : words == 1 && s.words == 1 && !s.quoted))
        found(e, &s);
}

/* One entry, to the ',' or ';' after it, or the ':' of a group's name. */
static void read_entry(struct edit *e, struct str *in)
{
    struct buf ignored;
    struct str start;
    unsigned words = 0;
    bool angled = false, group = false;

    buf_init(&ignored, in->n + 1);
    lex_cfws(in, NULL);
    start = *in;
    while (lex_cfws(in, NULL), in->n > 0 && in->p[0] != ',' && in->p[0] != ';' && !group) {
        char c = in->p[0];
        if (c == '<') {
            *in = str_skip(*in, 1);
            read_angle(e, in);
            angled = true;
        } else if (c == '"') {
            lex_quoted(in, &ignored);
            words++;
        } else if (c == ':' && words && !angled) {
            group = true;
        } else {
            words++;
            if (lex_run(in, "()<,;:\"").n == 0)
                *in = str_skip(*in, 1);
        }
    }
    if (!angled && !group)
        read_bare(e, str_take(start, start.n - in->n), words);
    *in = str_skip(*in, 1);
    buf_fini(&ignored);
}

unsigned address_list_edit(struct str value, address_edit_fn fn, void *ctx, struct buf *out)
{
    struct edit e = {.fn = fn, .ctx = ctx, .out = out, .copied = value.p};
    struct str in = value;

    buf_init(&e.local, value.n + 1);
    buf_init(&e.domain, value.n + 1);
    while (in.n > 0)
        read_entry(&e, &in);
    if (e.n)
        copy_to(&e, value.p + value.n);
    buf_fini(&e.local);
    buf_fini(&e.domain);
    return e.n;
}
