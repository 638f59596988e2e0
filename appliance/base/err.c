/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/err.h"
#include "appliance/base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line, and no half of a UTF-8 character where the text was cut. */
static void store(struct err *e, const char *text, bool cut)
{
    size_t n = strnlen(text, sizeof e->text - 1);
    if (cut) {
        size_t start = n;
        while (start && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
            start--;
        if (start && (unsigned char)text[start - 1] >= 0xc0)
            n = start - 1;
    }
    for (size_t i = 0; i < n; i++)
        e->text[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    e->text[n] = '\0';
}

void err_set(struct err *e, enum err_kind kind, enum err_why why, const char *fmt, ...)
{
    char text[sizeof e->text]; /* an argument may be e->text itself */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    e->kind = kind;
    e->why = why;
    store(e, text, (size_t)n >= sizeof text);
}

void err_clear(struct err *e)
{
    e->kind = ERR_NONE;
    e->why = ERR_WHY_OTHER;
    e->text[0] = '\0';
}

int err_context(struct err *e, const char *fmt, ...)
{
    char context[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    char text[2 * sizeof e->text + 2];
    size_t all = (size_t)snprintf(text, sizeof text, "%s: %s", context, e->text);
    store(e, text, all >= sizeof e->text || (size_t)n >= sizeof context);
    return -1;
}
