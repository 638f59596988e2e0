/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_canon.h"

void dkim_body_begin(struct dkim_body *b, bool relaxed,
                     void (*put)(void *ctx, const char *p, size_t n), void *ctx)
{
    *b = (struct dkim_body){.relaxed = relaxed, .put = put, .ctx = ctx};
}

static void flush(struct dkim_body *b)
{
    if (b->put && b->n)
        b->put(b->ctx, b->out, b->n);
    b->n = 0;
}

static void out1(struct dkim_body *b, char c)
{
    if (b->n == sizeof b->out)
        flush(b);
    b->out[b->n++] = c;
    b->length++;
}

static void line_end(struct dkim_body *b)
{
    out1(b, '\r');
    out1(b, '\n');
}

/* Something that isn't a line end, nor a blank that may be at the end of one. */
static void put_char(struct dkim_body *b, char c)
{
    for (; b->lines; b->lines--)
        line_end(b);
    if (b->space)
        out1(b, ' ');
    b->space = false;
    b->any = true;
    out1(b, c);
}

static void take(struct dkim_body *b, char c)
{
    if (b->cr && c == '\n') {
        b->cr = b->space = false;
        b->lines++;
        return;
    }
    if (b->cr) { /* a CR of its own */
        b->cr = false;
        put_char(b, '\r');
    }
    if (c == '\r')
        b->cr = true;
    else if (b->relaxed && (c == ' ' || c == '\t'))
        b->space = true;
    else
        put_char(b, c);
}

void dkim_body_feed(struct dkim_body *b, struct str piece)
{
    for (size_t i = 0; i < piece.n; i++)
        take(b, piece.p[i]);
}

void dkim_body_end(struct dkim_body *b)
{
    if (b->cr)
        put_char(b, '\r');
    /* RFC 6376 3.4.3, 3.4.4: an empty body is CRLF in the simple form, nothing in the relaxed */
    if (b->any || !b->relaxed)
        line_end(b);
    flush(b);
}

int dkim_field_relaxed(struct str name, struct str value, struct buf *out)
{
    bool space = false, any = false;

    name = str_trim(name);
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(out, ascii_lower(name.p[i]));
    buf_add_char(out, ':');
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            space = any;
            continue;
        }
        if (space)
            buf_add_char(out, ' ');
        space = false;
        any = true;
        buf_add_char(out, c);
    }
    return buf_add_z(out, "\r\n");
}
