/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What others wrote, shown to people: nothing in it may act on a terminal, nor turn what is read
 * around (C0, DEL, C1; the marks, embeddings, overrides and isolates of UAX #9). */
#include "appliance/base/text.h"

static bool is_active(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x061c || cp == 0x200e || cp == 0x200f ||
           cp == 0x2028 || cp == 0x2029 || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}

bool text_is_printable(struct str s)
{
    uint32_t cp;
    while (s.n) {
        unsigned step = text_utf8_next(s, &cp);
        if (!step || is_active(cp))
            return false;
        s = str_skip(s, step);
    }
    return true;
}

bool text_has_c1(struct str s)
{
    for (size_t i = 0; i + 1 < s.n; i++)
        if ((unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
            return true;
    return false;
}

/* The length of the line break of a fold (RFC 5322 2.2.3) that s begins with. */
static size_t fold(struct str s)
{
    size_t n = s.n > 1 && s.p[0] == '\r' ? 2 : 1;
    return s.n > n && s.p[n - 1] == '\n' && (s.p[n] == ' ' || s.p[n] == '\t') ? n : 0;
}

int text_printable(struct str s, struct buf *out)
{
    uint32_t cp;
    while (s.n) {
        unsigned step = text_utf8_next(s, &cp);
        size_t n = fold(s);
        if (!n && !step)
            buf_printf(out, "\\x%02x", (unsigned char)s.p[0]);
        else if (!n && cp == '\t')
            buf_add_char(out, ' ');
        else if (!n && is_active(cp))
            buf_printf(out, "\\u%04x", (unsigned)cp);
        else if (!n)
            buf_add(out, s.p, step);
        s = str_skip(s, n ? n : step ? step : 1);
    }
    return buf_ok(out) ? 0 : -1;
}
