/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "appliance/mail/lex.h"

/* An encoded word, taken apart (RFC 2047 2). */
struct word {
    struct str charset, text;
    char encoding; /* 'b' or 'q' */
    size_t size;   /* of all of it, "=?" to "?=" */
};

/* Decoded bytes of neighbouring words of one charset, kept until the run ends: a character may be
 * split between two words, which RFC 2047 5 forbids and mailers do. */
struct decoder {
    struct buf *out;
    struct buf run, utf8;
    struct str charset;
};

/* Every part ends at the next '?', so a failed attempt looks at no more than three of them: linear
 * over a value. */
static bool word_parse(struct str s, struct word *w)
{
    size_t at;
    struct str rest = str_skip(s, 2);
    if (!str_chr(rest, '?', &at) || at == 0 || at > 64)
        return false;
    w->charset = str_take(rest, at);
    rest = str_skip(rest, at + 1);
    if (rest.n < 3 || rest.p[1] != '?')
        return false;
    w->encoding = ascii_lower(rest.p[0]);
    if (w->encoding != 'b' && w->encoding != 'q')
        return false;
    rest = str_skip(rest, 2);
    if (!str_chr(rest, '?', &at) || at + 1 >= rest.n || rest.p[at + 1] != '=')
        return false;
    w->text = str_take(rest, at);
    w->size = (size_t)(rest.p - s.p) + at + 2;
    if (str_chr(w->charset, '*', &at)) /* RFC 2231 5: a language */
        w->charset = str_take(w->charset, at);
    return true;
}

static void q_decode(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '=' && i + 2 < text.n && lex_hex(text.p[i + 1]) >= 0 &&
            lex_hex(text.p[i + 2]) >= 0) {
            c = (char)(lex_hex(text.p[i + 1]) << 4 | lex_hex(text.p[i + 2]));
            i += 2;
        } else if (c == '_') {
            c = ' '; /* RFC 2047 4.2 (2) */
        }
        buf_add_char(out, c);
    }
}

static void run_end(struct decoder *d)
{
    if (d->run.n == 0)
        return;
    buf_clear(&d->utf8);
    text_to_utf8(d->charset, buf_str(&d->run), &d->utf8);
    for (size_t i = 0; i < d->utf8.n; i++) /* what is shown on one line stays on one line */
        if (d->utf8.p[i] == '\r' || d->utf8.p[i] == '\n' || d->utf8.p[i] == '\0')
            d->utf8.p[i] = ' ';
    buf_add_str(d->out, buf_str(&d->utf8));
    buf_clear(&d->run);
}

static void word_add(struct decoder *d, const struct word *w)
{
    if (!str_ieq(d->charset, w->charset))
        run_end(d);
    d->charset = w->charset;
    if (w->encoding == 'q') {
        q_decode(w->text, &d->run);
    } else {
        struct text_b64 st = {0};
        text_b64_decode(&st, w->text, true, &d->run);
    }
}

static void plain_add(struct decoder *d, struct str text)
{
    if (text_ascii(text))
        buf_add_str(d->out, text);
    else
        text_to_utf8(STR(""), text, d->out); /* RFC 6532, or raw 8-bit */
}

static void decode(struct decoder *d, struct str in)
{
    size_t done = 0; /* what precedes is decoded */
    bool after_word = false;
    struct word w;
    for (size_t i = 0; i + 1 < in.n; i++) {
        const char *eq = memchr(in.p + i, '=', in.n - i);
        if (!eq)
            break;
        i = (size_t)(eq - in.p);
        if (i + 1 >= in.n || in.p[i + 1] != '?' || !word_parse(str_skip(in, i), &w))
            continue;
        struct str gap = str_of(in.p + done, i - done);
        if (!after_word ||
            str_trim(gap).n > 0) { /* RFC 2047 6.2: blanks between words are not shown */
            run_end(d);
            plain_add(d, gap);
        }
        word_add(d, &w);
        after_word = true;
        done = i + w.size;
        i = done - 1;
    }
    run_end(d);
    plain_add(d, str_skip(in, done));
}

int header_decode(struct str value, struct buf *out)
{
    if (!memchr(value.p ? value.p : "", '=', value.n) && text_ascii(value))
        return header_unfold(value, out);
    struct buf flat;
    struct decoder d = {.out = out};
    buf_init(&flat, value.n);
    buf_init(&d.run, value.n);
    buf_init(&d.utf8, value.n * 4 + 16);
    header_unfold(value, &flat);
    decode(&d, buf_str(&flat));
    buf_fini(&d.utf8);
    buf_fini(&d.run);
    buf_fini(&flat);
    return buf_ok(out) ? 0 : -1;
}
