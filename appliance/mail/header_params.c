/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/header.h"
#include "appliance/mail/lex.h"

/* MAX_PIECES bounds the search for continuations (at most its square a field), MAX_BASE the names
 * compared there. */
enum { MAX_PARAMS = 64, MAX_PIECES = 128, MAX_BASE = 64 };

/* One "name=value" as written: name*3*=... has base "name", index 3 and is extended (RFC 2231 3 and
 * 4). */
struct piece {
    struct str name, base, value;
    int index; /* -1: none */
    bool extended, used;
};

static void piece_name(struct piece *p, struct str name)
{
    *p = (struct piece){.name = name, .base = name, .index = -1};
    struct str base = name;
    size_t star;
    uint64_t index;
    if (name.n > MAX_BASE || !str_rchr(name, '*', &star) || star == 0)
        return;
    if (star + 1 == name.n) {
        p->extended = true;
        p->base = base = str_take(name, star);
        if (!str_rchr(base, '*', &star) || star == 0)
            return;
    }
    struct str digits = str_skip(base, star + 1);
    if (str_to_u64(digits, MAX_PIECES, &index) == 0 && (digits.p[0] != '0' || digits.n == 1)) {
        p->index = (int)index;
        p->base = str_take(base, star);
    } else {
        p->extended = false; /* "a*x*": a name as it is */
        p->base = name;
    }
}

static bool has_charset(struct str value) /* RFC 2231 4: charset'language'text */
{
    size_t quote;
    return str_chr(value, '\'', &quote) && str_chr(str_skip(value, quote + 1), '\'', &quote);
}

static void percent_decode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%' && i + 2 < in.n && lex_hex(in.p[i + 1]) >= 0 && lex_hex(in.p[i + 2]) >= 0) {
            c = (char)(lex_hex(in.p[i + 1]) << 4 | lex_hex(in.p[i + 2]));
            i += 2;
        }
        buf_add_char(out, c);
    }
}

static void percent_encode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c > 32 && c < 127 && !strchr("*'%()<>@,;:\\\"/[]?=", c))
            buf_add_char(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
    }
}

/* A value without quotes: a token, or, as mailers write names of files, all up to the ';'. */
static struct str bare_value(struct str *in)
{
    struct str start = *in, token = lex_run(in, ";(");
    lex_cfws(in, NULL);
    if (in->n == 0 || in->p[0] == ';')
        return token;
    lex_until(in, ';'); /* from here, not from the start: a comment is read once */
    return str_trim(str_take(start, start.n - in->n));
}

/* Takes the next piece; false at the end. */
static bool piece_next(struct arena *a, struct str *in, struct buf *scratch, struct piece *out)
{
    for (;;) {
        lex_cfws(in, NULL);
        while (in->n > 0 && in->p[0] == ';') {
            *in = str_skip(*in, 1);
            lex_cfws(in, NULL);
        }
        if (in->n == 0)
            return false;
        struct str name = lex_run(in, ";=(\"");
        lex_cfws(in, NULL);
        if (name.n == 0 || in->n == 0 || in->p[0] != '=') {
            if (in->n > 0 && in->p[0] == '"') { /* a stray string may hold a ';' */
                buf_clear(scratch);
                lex_quoted(in, scratch);
            }
            lex_until(in, ';');
            continue;
        }
        *in = str_skip(*in, 1);
        lex_cfws(in, NULL);
        buf_clear(scratch);
        if (in->n > 0 && in->p[0] == '"') {
            lex_quoted(in, scratch);
            lex_until(in, ';');
        } else {
            buf_add_str(scratch, bare_value(in));
        }
        piece_name(out, arena_str(a, name));
        out->value = arena_str(a, buf_str(scratch));
        return true;
    }
}

static struct piece *piece_find(struct piece *list, size_t n, struct str base, int index)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].index == index && !list[i].used && str_ieq(list[i].base, base))
            return &list[i];
    return NULL;
}

static struct header_param piece_single(struct arena *a, const struct piece *p, struct buf *scratch)
{
    if (!p->extended || has_charset(p->value))
        return (struct header_param){p->name, p->value};
    buf_clear(scratch);
    percent_decode(p->value, scratch);
    return (struct header_param){p->base, arena_str(a, buf_str(scratch))};
}

/* Joins first (index 0) with what continues it. With a charset the result is one extended value, so
 * its plain pieces are written in that form too. */
static struct header_param piece_join(struct arena *a, struct piece *list, size_t n,
                                      struct piece *first, struct buf *scratch)
{
    bool charset = first->extended && has_charset(first->value);
    buf_clear(scratch);
    for (struct piece *p = first; p; p = piece_find(list, n, first->base, p->index + 1)) {
        p->used = true;
        if (p->extended == charset)
            buf_add_str(scratch, p->value);
        else if (charset)
            percent_encode(p->value, scratch);
        else
            percent_decode(p->value, scratch);
    }
    struct str name = charset ? arena_printf(a, STR_FMT "*", STR_ARG(first->base)) : first->base;
    return (struct header_param){name, arena_str(a, buf_str(scratch))};
}

/* "text / plain" -> "text/plain"; what follows without a ';' is passed over. */
static struct str main_parse(struct arena *a, struct str *in, struct buf *scratch)
{
    bool slash = true;
    lex_cfws(in, NULL);
    while (in->n > 0 && in->p[0] != ';') {
        struct str word = lex_run(in, ";/(");
        if (word.n > 0 && !slash)
            break;
        buf_add_str(scratch, word);
        lex_cfws(in, NULL);
        slash = in->n > 0 && in->p[0] == '/';
        if (slash) {
            buf_add_char(scratch, '/');
            *in = str_skip(*in, 1);
            lex_cfws(in, NULL);
        }
    }
    lex_until(in, ';');
    return arena_str(a, buf_str(scratch));
}

void header_params_parse(struct arena *a, struct str value, struct header_params *out)
{
    struct piece pieces[MAX_PIECES];
    size_t n = 0;
    struct buf scratch;
    buf_init(&scratch, value.n * 3 + 1); /* percent_encode makes three of one */
    *out = (struct header_params){.main = main_parse(a, &value, &scratch)};
    while (n < MAX_PIECES && piece_next(a, &value, &scratch, &pieces[n]))
        n++;
    out->list = ARENA_ARRAY(a, struct header_param, n < MAX_PARAMS ? n : MAX_PARAMS);
    for (size_t i = 0; i < n && out->n < MAX_PARAMS; i++) {
        struct piece *p = &pieces[i], *first;
        if (p->used)
            continue;
        if (p->index < 0) {
            out->list[out->n++] = piece_single(a, p, &scratch);
        } else if ((first = piece_find(pieces, n, p->base, 0))) {
            out->list[out->n++] = piece_join(a, pieces, n, first, &scratch);
            i -= !p->used; /* continues nothing after all (a gap): seen again, then as it is */
        } else {
            out->list[out->n++] = (struct header_param){p->name, p->value};
        }
    }
    buf_fini(&scratch);
}

bool header_param_get(const struct header_params *p, struct str name, struct str *out)
{
    for (size_t i = 0; i < p->n; i++) {
        if (str_ieq(p->list[i].name, name)) {
            *out = p->list[i].value;
            return true;
        }
    }
    return false;
}
