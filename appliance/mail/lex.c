/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/lex.h"

static size_t comment_skip(struct str in) /* in.p[0] is '('; the size of the comment */
{
    unsigned depth = 0;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\\')
            i++;
        else if (in.p[i] == '(')
            depth++;
        else if (in.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return in.n;
}

bool lex_cfws(struct str *in, struct str *comment_out)
{
    const char *start = in->p;
    while (in->n > 0) {
        if (lex_blank(in->p[0])) {
            *in = str_skip(*in, 1);
        } else if (in->p[0] == '(') {
            struct str all = str_take(*in, comment_skip(*in));
            struct str inside = str_skip(all, 1);
            if (inside.n > 0 && inside.p[inside.n - 1] == ')')
                inside.n--;
            inside = str_trim(inside);
            if (comment_out && inside.n > 0)
                *comment_out = inside;
            *in = str_skip(*in, all.n);
        } else {
            break;
        }
    }
    return in->p != start;
}

void lex_quoted(struct str *in, struct buf *out)
{
    size_t i = 1, plain = 1; /* [plain, i) is yet to be copied */
    for (; i < in->n && in->p[i] != '"'; i++) {
        char c = in->p[i];
        if (c != '\\' && c != '\r' && c != '\n')
            continue;
        buf_add(out, in->p + plain, i - plain);
        plain = i + 1;
        if (c == '\\' && plain < in->n && in->p[plain] != '\r' && in->p[plain] != '\n')
            i++; /* what is quoted is content, whatever it is */
    }
    if (i > in->n)
        i = in->n;
    if (plain < i)
        buf_add(out, in->p + plain, i - plain);
    *in = str_skip(*in, i + 1);
}

struct str lex_run(struct str *in, const char *stops)
{
    size_t i = 0;
    while (i < in->n && !lex_blank(in->p[i]) && (!in->p[i] || !strchr(stops, in->p[i])))
        i++;
    struct str run = str_take(*in, i);
    *in = str_skip(*in, i);
    return run;
}

struct str lex_until(struct str *in, char stop)
{
    size_t at;
    struct str head = str_chr(*in, stop, &at) ? str_take(*in, at) : *in;
    *in = str_skip(*in, head.n);
    return head;
}

struct str lex_unfold(struct arena *a, struct str value)
{
    value = str_trim(value);
    char *to = arena_alloc(a, value.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        bool crlf = value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n';
        if (value.p[i] != '\n' && !crlf)
            to[n++] = value.p[i];
    }
    return str_of(to, n);
}
