/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Names in other clothes: mailbox names in modified UTF-7, domains as A-labels. */
#include "appliance/base/text.h"
#include <idn2.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int letter_value(char c)
{
    const char *p = c ? strchr(letters, c) : NULL;
    return p ? (int)(p - letters) : -1;
}

static bool is_direct(uint32_t c)
{
    return c >= 0x20 && c <= 0x7e;
}

/* UTF-16 on its way to UTF-8. */
struct utf16 {
    uint32_t high; /* a high surrogate that waits for its other half, or 0 */
    bool any;
};

static int utf16_unit(struct utf16 *u, uint32_t unit, struct buf *out)
{
    char utf8[4];
    uint32_t cp = unit;
    bool low = unit >= 0xdc00 && unit < 0xe000;
    if (low != (u->high != 0))
        return -1;
    u->any = true;
    if (unit >= 0xd800 && unit < 0xdc00) {
        u->high = unit;
        return 0;
    }
    if (low)
        cp = 0x10000 + ((u->high - 0xd800) << 10) + (unit - 0xdc00);
    u->high = 0;
    if (cp == 0 || is_direct(cp)) /* RFC 3501 5.1.3: base64 only for what can't stand for itself */
        return -1;
    return buf_add(out, utf8, text_utf8_put(cp, utf8));
}

/* What is between "&" and "-". */
static int decode_shifted(struct str in, struct buf *out)
{
    struct utf16 u = {0, false};
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < in.n; i++) {
        int v = letter_value(in.p[i]);
        if (v < 0)
            return -1;
        bits = bits << 6 | (uint32_t)v;
        count += 6;
        if (count >= 16) {
            count -= 16;
            if (utf16_unit(&u, bits >> count & 0xffff, out))
                return -1;
        }
    }
    bool padded = count < 6 && (bits & ((1u << count) - 1)) == 0;
    return padded && u.any && !u.high ? 0 : -1;
}

static int utf7_decode(struct str in, struct buf *out)
{
    bool after_shift = false;
    while (in.n) {
        struct str coded, rest;
        if (!is_direct((unsigned char)*in.p))
            return -1;
        if (*in.p != '&') {
            if (buf_add_char(out, *in.p))
                return -1;
            in = str_skip(in, 1);
            after_shift = false;
            continue;
        }
        if (!str_cut(str_skip(in, 1), '-', &coded, &rest))
            return -1;
        /* "&AOk-&AOk-" would be a second spelling of "&AOkA6Q-" */
        if (coded.n ? after_shift || decode_shifted(coded, out) : buf_add_char(out, '&'))
            return -1;
        after_shift = coded.n > 0;
        in = rest;
    }
    return 0;
}

int text_utf7_decode(struct str in, struct buf *utf8_out)
{
    size_t before = utf8_out->n;
    if (utf7_decode(in, utf8_out) == 0)
        return 0;
    buf_truncate(utf8_out, before);
    return -1;
}

struct shift {
    uint32_t bits;
    unsigned count;
    bool on;
};

static int encode_unit(struct shift *s, uint32_t unit, struct buf *out)
{
    if (!s->on && buf_add_char(out, '&'))
        return -1;
    s->on = true;
    s->bits = s->bits << 16 | unit;
    for (s->count += 16; s->count >= 6;) {
        s->count -= 6;
        if (buf_add_char(out, letters[s->bits >> s->count & 63]))
            return -1;
    }
    return 0;
}

static int end_shift(struct shift *s, struct buf *out)
{
    if (s->on && s->count && buf_add_char(out, letters[s->bits << (6 - s->count) & 63]))
        return -1;
    if (s->on && buf_add_char(out, '-'))
        return -1;
    *s = (struct shift){0, 0, false};
    return 0;
}

static int encode_cp(struct shift *s, uint32_t cp, struct buf *out)
{
    if (is_direct(cp)) {
        if (end_shift(s, out))
            return -1;
        return cp == '&' ? buf_add(out, "&-", 2) : buf_add_char(out, (char)cp);
    }
    if (cp < 0x10000)
        return encode_unit(s, cp, out);
    cp -= 0x10000;
    return encode_unit(s, 0xd800 + (cp >> 10), out) || encode_unit(s, 0xdc00 + (cp & 0x3ff), out)
               ? -1
               : 0;
}

int text_utf7_encode(struct str utf8, struct buf *out)
{
    struct shift s = {0, 0, false};
    size_t before = out->n;
    uint32_t cp;
    unsigned n;
    while ((n = text_utf8_next(utf8, &cp)) != 0 && cp != 0 && encode_cp(&s, cp, out) == 0)
        utf8 = str_skip(utf8, n);
    if (utf8.n == 0 && end_shift(&s, out) == 0)
        return 0;
    buf_truncate(out, before);
    return -1;
}

static bool is_label(struct str s)
{
    if (s.n < 1 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

/* Letters, digits, hyphens; lower case already. libidn2 lets blanks, "_" and "a..b" pass. */
static bool is_domain(struct str s)
{
    struct str label;
    if (s.n > 253)
        return false;
    for (bool more = true; more;) {
        more = str_cut(s, '.', &label, &s);
        if (!is_label(label))
            return false;
    }
    return true;
}

static int add_domain(struct str s, struct buf *out)
{
    char lower[253];
    if (s.n > sizeof lower)
        return -1;
    for (size_t i = 0; i < s.n; i++)
        lower[i] = ascii_lower(s.p[i]);
    return is_domain(str_of(lower, s.n)) ? buf_add(out, lower, s.n) : -1;
}

int text_domain(struct str in, struct buf *out)
{
    /* A label written as xn-- is taken as it is: names registered under IDNA 2003 exist. */
    if (text_ascii(in))
        return add_domain(in, out);
    char name[1024], *ascii = NULL;
    if (in.n >= sizeof name || str_chr(in, '\0', NULL) || !text_utf8_valid(in))
        return -1;
    memcpy(name, in.p, in.n);
    name[in.n] = '\0';
    if (idn2_to_ascii_8z(name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return -1;
    int r = add_domain(str_from(ascii), out);
    idn2_free(ascii);
    return r;
}
