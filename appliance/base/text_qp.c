/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Quoted-printable (RFC 2045 6.7). What can't be judged yet is held: "=", "=A", "=" and blanks, a
 * CR behind these, or blanks that may turn out to end a line. A malformed "=" stands for itself. */
#include "appliance/base/text.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int flush(struct text_qp *st, struct buf *out)
{
    unsigned n = st->held;
    st->held = 0;
    return buf_add(out, st->hold, n);
}

static int hold(struct text_qp *st, char c, struct buf *out)
{
    /* No conforming line (76 characters) ends in so many blanks: they are text. */
    if (st->held == sizeof st->hold && flush(st, out))
        return -1;
    st->hold[st->held++] = c;
    return 0;
}

/* The line ended: blanks before the end and soft breaks vanish, a hard break stays as it came. */
static int end_line(struct text_qp *st, bool crlf, struct buf *out)
{
    bool soft = st->hold[0] == '=';
    st->held = 0;
    if (soft)
        return 0;
    return crlf ? buf_add(out, "\r\n", 2) : buf_add_char(out, '\n');
}

/* c after something held. *used_out false: the held bytes were literal, c is still to be read. */
static int step(struct text_qp *st, char c, bool *used_out, struct buf *out)
{
    bool cr = st->hold[st->held - 1] == '\r';
    bool escape = st->hold[0] == '=';
    *used_out = true;
    if (c == '\n' && (st->held < 2 || hex(st->hold[1]) < 0))
        return end_line(st, cr, out);
    if (!cr && escape && st->held == 1 && hex(c) >= 0)
        return hold(st, c, out);
    if (!cr && escape && st->held == 2 && hex(st->hold[1]) >= 0) {
        *used_out = hex(c) >= 0;
        if (!*used_out)
            return flush(st, out);
        st->held = 0;
        return buf_add_char(out, (char)((unsigned)hex(st->hold[1]) << 4 | (unsigned)hex(c)));
    }
    if (!cr && (is_blank(c) || c == '\r'))
        return hold(st, c, out);
    *used_out = false;
    return flush(st, out);
}

/* Text up to the next "=" or line end; blanks at its end are held. Returns the bytes read. */
static size_t plain_run(struct text_qp *st, struct str in, struct buf *out, int *r)
{
    size_t n = 0;
    while (n < in.n && in.p[n] != '=' && in.p[n] != '\r' && in.p[n] != '\n')
        n++;
    size_t text = n;
    if (n == in.n || in.p[n] != '=')
        while (text && is_blank(in.p[text - 1]))
            text--;
    *r = buf_add(out, in.p, text);
    for (; *r == 0 && text < n; text++)
        *r = hold(st, in.p[text], out);
    return n;
}

static int decode(struct text_qp *st, struct str in, struct buf *out)
{
    while (in.n) {
        int r = 0, high, low;
        bool used = true;
        if (st->held) {
            r = step(st, *in.p, &used, out);
            in = str_skip(in, used);
        } else if (in.n >= 3 && *in.p == '=' && (high = hex(in.p[1])) >= 0 &&
                   (low = hex(in.p[2])) >= 0) {
            r = buf_add_char(out, (char)(high << 4 | low));
            in = str_skip(in, 3);
        } else if (*in.p == '=' || *in.p == '\r') {
            r = hold(st, *in.p, out);
            in = str_skip(in, 1);
        } else if (*in.p == '\n') {
            r = buf_add_char(out, '\n');
            in = str_skip(in, 1);
        } else {
            in = str_skip(in, plain_run(st, in, out, &r));
        }
        if (r)
            return -1;
    }
    return 0;
}

int text_qp_decode(struct text_qp *st, struct str in, bool last, struct buf *out)
{
    if (decode(st, in, out))
        return -1;
    if (!last || !st->held)
        return 0;
    /* The end of the text is the end of its last line. */
    char first = st->hold[0], end = st->hold[st->held - 1];
    if (first == '=' && st->held == 2 && hex(end) >= 0)
        return flush(st, out);
    st->held = 0;
    return end == '\r' && first != '=' ? buf_add_char(out, '\r') : 0;
}
