/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/data_parser.h"
#include "appliance/base/text.h"

enum state {
    LINE_START, /* after CRLF, and at the beginning (RFC 5321 4.1.1.4: the CRLF of the DATA command
                   counts) */
    IN_LINE,
    AFTER_CR, /* within a line, the last byte was CR */
    DOT,      /* a dot at the start of a line, held back */
    DOT_CR    /* the dot and CR, held back */
};

void smtp_data_begin(struct smtp_data *d, bool dots, uint64_t line_limit)
{
    *d = (struct smtp_data){.dots = dots, .line_limit = line_limit, .state = LINE_START};
}

static void line_grows(struct smtp_data *d, size_t n)
{
    d->line += n;
    if (d->line > d->longest)
        d->longest = d->line;
    if (d->line > d->line_limit)
        d->faults |= SMTP_DATA_LONG_LINE;
}

/* Looks at the bytes of one line up to its CRLF or the end of the piece; returns how many they are.
 * Leaves the state behind the last of them. */
static size_t take_line(struct smtp_data *d, struct str in)
{
    const char *lf = memchr(in.p, '\n', in.n);
    size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;
    struct str inner = str_take(in, lf ? n - 1 : n); /* without the LF */
    bool cr = inner.n && inner.p[inner.n - 1] == '\r';
    if (cr)
        inner.n--;
    if (inner.n && memchr(inner.p, '\r', inner.n))
        d->faults |= SMTP_DATA_BARE_CR;
    if (d->state == AFTER_CR) { /* a CR ended the piece before */
        if (n == 1 && lf) {
            d->state = LINE_START;
            d->line = 0;
            return n;
        }
        d->faults |= SMTP_DATA_BARE_CR;
        line_grows(d, 1);
    }
    line_grows(d, inner.n);
    d->state = cr ? AFTER_CR : IN_LINE;
    if (lf && cr) {
        d->state = LINE_START;
        d->line = 0;
    } else if (lf) {
        d->faults |= SMTP_DATA_BARE_LF;
        line_grows(d, 1);
    }
    return n;
}

static void flush(struct smtp_data *d, const char *from, const char *to, smtp_data_put_fn put,
                  void *ctx)
{
    struct str run = {from, (size_t)(to - from)};
    if (!run.n)
        return;
    if (memchr(run.p, '\0', run.n))
        d->faults |= SMTP_DATA_NUL;
    if (!d->eight_bit && !text_ascii(run))
        d->eight_bit = true;
    put(ctx, run);
}

size_t smtp_data_feed(struct smtp_data *d, struct str in, smtp_data_put_fn put, void *ctx,
                      bool *end_out)
{
    const char *p = in.p, *end = in.p + in.n, *run = in.p;
    *end_out = false;
    while (p < end) {
        switch (d->state) {
        case LINE_START:
            if (d->dots && *p == '.') {
                flush(d, run, p, put, ctx);
                run = ++p;
                d->state = DOT;
                break;
            }
            p += take_line(d, str_of(p, (size_t)(end - p)));
            break;
        case DOT:
            if (*p == '\r') {
                run = ++p;
                d->state = DOT_CR;
                break;
            }
            d->state = IN_LINE;
            break;
        case DOT_CR:
            if (*p == '\n') {
                *end_out = true;
                return (size_t)(p + 1 - in.p);
            }
            /* The CR stays out of the bytes handed on: the message is refused anyway. */
            d->faults |= SMTP_DATA_BARE_CR;
            d->state = *p == '\r' ? AFTER_CR : IN_LINE;
            p += *p == '\r';
            break;
        default:
            p += take_line(d, str_of(p, (size_t)(end - p)));
        }
    }
    flush(d, run, p, put, ctx);
    return in.n;
}

void smtp_data_finish(struct smtp_data *d)
{
    if (d->state == AFTER_CR)
        d->faults |= SMTP_DATA_BARE_CR;
}
