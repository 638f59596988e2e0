/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/reply.h"
#include "appliance/base/text.h"
#include <stdarg.h>
#include <stdio.h>

enum { REPLY_LINE = 512 };

int smtp_refuse(struct smtp_refusal *why, unsigned code, const char *status, const char *fmt, ...)
{
    va_list ap;
    why->code = code;
    why->status = status;
    va_start(ap, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return -1;
}

static void add_clean(struct buf *out, struct str line, bool utf8)
{
    utf8 = utf8 && text_utf8_valid(line);
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        bool ok = (c >= 0x20 && c < 0x7f) || (c >= 0x80 && utf8);
        buf_add_char(out, ok ? line.p[i] : '?');
    }
}

void smtp_reply_format(struct buf *out, unsigned code, const char *status, struct str text,
                       bool utf8)
{
    bool more;
    do {
        struct str line;
        more = str_cut(text, '\n', &line, &text);
        size_t head = 4 + (status ? strlen(status) + 1 : 0);
        buf_printf(out, "%03u%c%s%s", code, more ? '-' : ' ', status ? status : "",
                   status ? " " : "");
        add_clean(out, str_take(line, REPLY_LINE - 2 - head), utf8);
        buf_add(out, "\r\n", 2);
    } while (more);
}
