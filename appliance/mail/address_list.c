/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/address_vec.h"
#include "appliance/mail/lex.h"

#define SPECIALS                                                                                   \
    "()<>@,;:\\\"" /* RFC 5322 3.2.3, without '[' and ']', which unquoted names contain */

#define NO_ROUTE STR("INVALID_ROUTE")

struct parser {
    struct arena *a;
    struct address_vec *v;
    struct str in;
    struct buf text, local, domain; /* of the entry at hand; never longer than the value */
    struct str comment;
    bool in_group, no_close; /* no_close: there is no further '>' in the value */
};

/* An addr-spec, as far as it goes (RFC 5322 3.4.1 and 4.4). */
struct spec {
    bool has_domain, quoted;
    unsigned words;
};

static void vec_push(struct arena *a, struct address_vec *v, struct address entry)
{
    if (v->n == v->max)
        return;
    if (v->n == v->cap) {
        size_t cap = v->cap ? v->cap * 2 : 4;
        struct address *list = ARENA_ARRAY(a, struct address, cap);
        if (v->n > 0)
            memcpy(list, v->list, v->n * sizeof *list);
        v->list = list;
        v->cap = cap;
    }
    v->list[v->n++] = entry;
}

static struct str keep(struct parser *p, const struct buf *b)
{
    return b->n > 0 ? arena_str(p->a, buf_str(b)) : STR_NULL;
}

static struct str comment_text(struct parser *p)
{
    struct buf plain;
    struct str rest = p->comment, out;
    buf_init(&plain, rest.n);
    while (rest.n > 0) {
        struct str part = lex_until(&rest, '\\');
        buf_add_str(&plain, part);
        rest = str_skip(rest, 1);
        if (rest.n > 0)
            buf_add_char(&plain, rest.p[0]);
        rest = str_skip(rest, 1);
    }
    out = plain.n > 0 ? lex_unfold(p->a, buf_str(&plain)) : STR_NULL;
    buf_fini(&plain);
    return out;
}

/* Words of a local part or domain up to what can't belong to it; blanks only around dots and '@'.
 */
static void spec_words(struct str *in, struct buf *out, struct spec *s, struct str *comment)
{
    bool glue = true;
    while (in->n > 0) {
        if (!glue && in->p[0] != '.')
            return;
        if (in->p[0] == '"') {
            lex_quoted(in, out);
            s->quoted = true;
        } else {
            struct str run = lex_run(in, SPECIALS);
            if (run.n == 0)
                return;
            buf_add_str(out, run);
        }
        s->words++;
        glue = !lex_cfws(in, comment) || (out->n > 0 && out->p[out->n - 1] == '.');
    }
}

static void spec_domain(struct str *in, struct buf *out, struct str *comment)
{
    struct spec ignored = {0};
    lex_cfws(in, comment);
    if (in->n > 0 && in->p[0] == '[') {
        size_t at;
        struct str literal = str_chr(*in, ']', &at) ? str_take(*in, at + 1) : STR_NULL;
        for (size_t i = 0; i < literal.n; i++)
            if (!lex_blank(literal.p[i]))
                buf_add_char(out, literal.p[i]);
        *in = str_skip(*in, literal.n);
        lex_cfws(in, comment);
    } else {
        spec_words(in, out, &ignored, comment);
    }
}

static struct spec spec_parse(struct parser *p, struct str *in)
{
    struct spec s = {0};
    buf_clear(&p->local);
    buf_clear(&p->domain);
    lex_cfws(in, &p->comment);
    spec_words(in, &p->local, &s, &p->comment);
    if (in->n > 0 && in->p[0] == '@') {
        *in = str_skip(*in, 1);
        s.has_domain = true;
        spec_domain(in, &p->domain, &p->comment);
    }
    return s;
}

static void push(struct parser *p, struct str name, struct str route, bool mailbox)
{
    struct address e = {.name = name, .route = route};
    e.mailbox = mailbox ? arena_str(p->a, buf_str(&p->local)) : ADDRESS_NO_MAILBOX;
    e.host = p->domain.n > 0 ? keep(p, &p->domain) : ADDRESS_NO_DOMAIN;
    vec_push(p->a, p->v, e);
}

/* "@a,@b:" of RFC 5322 4.4. */
static struct str route_take(struct parser *p)
{
    bool first = true;
    buf_clear(&p->text);
    while (p->in.n > 0 && (p->in.p[0] == '@' || p->in.p[0] == ',')) {
        bool at = p->in.p[0] == '@';
        p->in = str_skip(p->in, 1);
        lex_cfws(&p->in, NULL);
        if (!at)
            continue;
        buf_add_z(&p->text, first ? "@" : ",@");
        first = false;
        spec_domain(&p->in, &p->text, NULL);
    }
    if (p->in.n == 0 || p->in.p[0] != ':')
        return NO_ROUTE;
    p->in = str_skip(p->in, 1);
    return keep(p, &p->text);
}

/* Something between '<' and '>' that is no addr-spec: split at the last '@', so that it still can
 * be answered. The end is looked for after what was read already, never before: the whole stays
 * linear. */
static void angle_salvage(struct parser *p, struct str from)
{
    size_t at = 0;
    struct str local, domain;
    p->no_close = p->no_close || !str_chr(p->in, '>', &at);
    if (p->no_close)
        lex_run(&p->in, ",;");
    else
        p->in = str_skip(p->in, at);
    address_split(str_take(from, from.n - p->in.n), &local, &domain);
    buf_clear(&p->local);
    buf_clear(&p->domain);
    buf_add_str(&p->local, lex_unfold(p->a, local));
    if (domain.p)
        buf_add_str(&p->domain, lex_unfold(p->a, domain));
}

/* After '<', through '>'. */
static void angle_parse(struct parser *p)
{
    struct str name = keep(p, &p->text), route = STR_NULL;
    p->in = str_skip(p->in, 1);
    lex_cfws(&p->in, NULL);
    if (p->in.n > 0 && p->in.p[0] == '@')
        route = route_take(p);
    struct str from = p->in;
    struct spec s = spec_parse(p, &p->in);
    if (p->in.n > 0 && !memchr(">,;", p->in.p[0], 3)) {
        angle_salvage(p, from);
        s.words = p->local.n > 0;
    }
    if (p->in.n > 0 && p->in.p[0] == '>')
        p->in = str_skip(p->in, 1);
    while (p->in.n > 0 &&
           !memchr(",;", p->in.p[0], 2)) { /* a comment, or what doesn't belong here */
        if (lex_cfws(&p->in, &p->comment))
            continue;
        if (p->in.p[0] == '"') {
            buf_clear(&p->text);
            lex_quoted(&p->in, &p->text);
        } else if (p->in.p[0] == '<') {
            break; /* the comma was forgotten */
        } else {
            p->in = str_skip(p->in, 1);
        }
    }
    push(p, name.p ? name : comment_text(p), route, s.words > 0);
}

/* An entry without '<': an addr-spec, a single word, or text that is kept as a name. */
static void bare_parse(struct parser *p, struct str all, unsigned words)
{
    struct spec s = spec_parse(p, &all);
    bool whole = all.n == 0;
    if (whole && (s.has_domain || (words == 1 && !s.quoted))) {
        push(p, comment_text(p), STR_NULL, s.words > 0);
        return;
    }
    struct str name = keep(p, &p->text);
    buf_clear(&p->domain);
    push(p, name.p ? name : comment_text(p), STR_NULL, false);
}

static void group_end(struct parser *p)
{
    p->in_group = false;
    vec_push(p->a, p->v, (struct address){.name = STR_NULL});
}

/* Begins a group, unless the list has no room for the mark of its end. */
static bool group_begin(struct parser *p)
{
    if (p->in_group || p->text.n == 0 || p->v->n + 2 > p->v->max)
        return false;
    vec_push(p->a, p->v, (struct address){.mailbox = keep(p, &p->text)});
    p->v->max--; /* kept for the end */
    p->in_group = true;
    return true;
}

/* Reads one entry and the ',' or ';' after it. */
static void entry_parse(struct parser *p)
{
    unsigned words = 0;
    struct str start;
    buf_clear(&p->text);
    p->comment = STR_NULL;
    lex_cfws(&p->in, &p->comment);
    start = p->in;
    while (p->in.n > 0) {
        bool blank = lex_cfws(&p->in, &p->comment);
        if (p->in.n == 0 || p->in.p[0] == ',' || p->in.p[0] == ';')
            break;
        if (p->in.p[0] == '<') {
            angle_parse(p);
            return;
        }
        if (p->in.p[0] == ':' && group_begin(p)) {
            p->in = str_skip(p->in, 1);
            return;
        }
        if (blank && p->text.n > 0)
            buf_add_char(&p->text, ' ');
        words++;
        if (p->in.p[0] == '"') {
            lex_quoted(&p->in, &p->text);
            continue;
        }
        struct str run = lex_run(&p->in, "()<,;:\"");
        if (run.n == 0) { /* a ':' or ')' that means nothing here */
            run = str_take(p->in, 1);
            p->in = str_skip(p->in, 1);
        }
        buf_add_str(&p->text, run);
    }
    struct str all = str_take(start, start.n - p->in.n);
    if (words > 0 || p->comment.n > 0)
        bare_parse(p, all, words);
}

void address_vec_add(struct arena *a, struct address_vec *v, struct str value)
{
    struct parser p = {.a = a, .v = v, .in = value};
    buf_init(&p.text, value.n + 1);
    buf_init(&p.local, value.n + 1);
    buf_init(&p.domain, value.n + 1);
    while (p.in.n > 0 && v->n < v->max) {
        entry_parse(&p);
        lex_cfws(&p.in, NULL);
        if (p.in.n == 0 || (p.in.p[0] != ',' && p.in.p[0] != ';'))
            continue;
        if (p.in.p[0] == ';' && p.in_group) {
            v->max++;
            group_end(&p);
        }
        p.in = str_skip(p.in, 1);
    }
    if (p.in_group) {
        v->max++;
        group_end(&p);
    }
    buf_fini(&p.domain);
    buf_fini(&p.local);
    buf_fini(&p.text);
}

size_t address_list_parse(struct arena *a, struct str value, size_t max, struct address **out)
{
    struct address_vec v = {.max = max};
    address_vec_add(a, &v, value);
    *out = v.list;
    return v.n;
}
