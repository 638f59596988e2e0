/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "imap/cursor.h"

/* Longer ones go as literals: some clients' line buffers are small. */
enum { QUOTED_MAX = 1000 };

static bool can_be_quoted(struct str s)
{
    if (s.n > QUOTED_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if (ch >= 0x80 || ch == '\r' || ch == '\n' || ch == '\0')
            return false;
    }
    return true;
}

static void put_quoted(struct buf *b, struct str s)
{
    buf_add_char(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"' && s.p[i] != '\\')
            continue;
        buf_add(b, s.p + from, i - from);
        buf_add_char(b, '\\');
        from = i;
    }
    if (s.n)
        buf_add(b, s.p + from, s.n - from);
    buf_add_char(b, '"');
}

void imap_put_literal(struct buf *b, struct str s)
{
    buf_printf(b, "{%zu}\r\n", s.n);
    buf_add_str(b, s);
}

/* RFC 3501 9: a literal holds no NUL; a string that has one (a damaged header) is sent with '?' for
 * it. */
static void put_without_nul(struct buf *b, struct str s)
{
    buf_printf(b, "{%zu}\r\n", s.n);
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(b, s.p[i] ? s.p[i] : '?');
}

void imap_put_quoted_or_literal(struct buf *b, struct str s)
{
    if (can_be_quoted(s))
        put_quoted(b, s);
    else if (memchr(s.p, '\0', s.n))
        put_without_nul(b, s);
    else
        imap_put_literal(b, s);
}

void imap_put_string(struct buf *b, struct str s)
{
    if (s.p)
        imap_put_quoted_or_literal(b, s);
    else
        buf_add(b, "NIL", 3);
}

void imap_put_mailbox(struct buf *b, struct str utf8_name)
{
    struct buf name;
    buf_init(&name, 64 * 1024);
    if (text_utf7_encode(utf8_name, &name))
        buf_add_str(&name, utf8_name); /* not UTF-8: the store doesn't make such names */
    imap_put_quoted_or_literal(b, buf_str(&name));
    buf_fini(&name);
}
