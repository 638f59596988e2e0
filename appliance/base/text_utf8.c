/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include <locale.h>
#include <wctype.h>

/* Length of the ASCII that s begins with, found eight bytes at a time. */
static inline size_t ascii_run(const char *p, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        if (w & 0x8080808080808080u)
            break;
    }
    while (i < n && (unsigned char)p[i] < 0x80)
        i++;
    return i;
}

bool text_ascii(struct str s)
{
    return ascii_run(s.p, s.n) == s.n;
}

unsigned text_utf8_next(struct str s, uint32_t *cp_out)
{
    const unsigned char *p = (const unsigned char *)s.p;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s.n == 0)
        return 0;
    if (*p < 0x80) {
        *cp_out = *p;
        return 1;
    }
    unsigned n = *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (n == 0 || n > s.n)
        return 0;
    uint32_t cp = *p & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    if (cp < smallest[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    *cp_out = cp;
    return n;
}

unsigned text_utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(0xf00u >> n | cp);
    return n;
}

bool text_utf8_valid(struct str s)
{
    for (;;) {
        s = str_skip(s, ascii_run(s.p, s.n));
        if (s.n == 0)
            return true;
        uint32_t cp;
        unsigned n = text_utf8_next(s, &cp);
        if (n == 0)
            return false;
        s = str_skip(s, n);
    }
}

/* Opened before main(): later the sandbox may hide the locale's file. */
static locale_t fold_locale;

static void open_fold_locale(void) __attribute__((constructor));
static void open_fold_locale(void)
{
    fold_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Through upper case first: so final sigma, long s and the micro sign fold as Unicode wants it. */
static uint32_t fold_wide(uint32_t cp)
{
    if (!fold_locale)
        return cp;
    return (uint32_t)towlower_l(towupper_l((wint_t)cp, fold_locale), fold_locale);
}

static int fold_ascii(struct str s, struct buf *out)
{
    char *to;
    if (buf_reserve(out, s.n, &to))
        return -1;
    for (size_t i = 0; i < s.n; i++)
        to[i] = ascii_lower(s.p[i]);
    buf_commit(out, s.n);
    return 0;
}

int text_fold(struct str utf8, struct buf *out)
{
    while (utf8.n) {
        size_t ascii = ascii_run(utf8.p, utf8.n);
        if (ascii && fold_ascii(str_take(utf8, ascii), out))
            return -1;
        utf8 = str_skip(utf8, ascii);
        char part[256];
        size_t n = 0;
        while (utf8.n && (unsigned char)*utf8.p >= 0x80 && n + 4 <= sizeof part) {
            uint32_t cp;
            unsigned length = text_utf8_next(utf8, &cp);
            n += text_utf8_put(length ? fold_wide(cp) : 0xfffd, part + n);
            utf8 = str_skip(utf8, length ? length : 1);
        }
        if (buf_add(out, part, n))
            return -1;
    }
    return 0;
}
