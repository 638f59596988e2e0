/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* text_xml.c - text within XML 1.0. */
#include "appliance/base/text.h"

/* XML 1.0 2.2: the characters that a document may hold at all. */
static bool allowed(uint32_t cp)
{
    return cp == '\t' || cp == '\n' || (cp >= 0x20 && cp < 0xfffe) || cp > 0xffff;
}

static int add_char(struct buf *out, struct str s, unsigned n)
{
    switch (s.p[0]) {
    case '&':
        return buf_add_z(out, "&amp;");
    case '<':
        return buf_add_z(out, "&lt;");
    case '>':
        return buf_add_z(out, "&gt;");
    case '"':
        return buf_add_z(out, "&quot;");
    case '\'':
        return buf_add_z(out, "&apos;");
    default:
        return buf_add(out, s.p, n);
    }
}

int text_xml(struct str s, struct buf *out)
{
    uint32_t cp;

    while (s.n) {
        unsigned n = text_utf8_next(s, &cp);
        int rc = n && allowed(cp) ? add_char(out, s, n) : buf_add_char(out, '?');
        if (rc)
            return -1;
        s = str_skip(s, n ? n : 1);
    }
    return 0;
}
