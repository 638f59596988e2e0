/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of each letter; BAD has the top bits set, so one OR tells whether all of several are good.
 */
enum { BAD = 0xff };
#define ROW16 BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD
// clang-format off
static const unsigned char values[256] = {
    ROW16, ROW16,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, 62, BAD, BAD, BAD, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, BAD, BAD, BAD, BAD, BAD,
    BAD, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, BAD, BAD, BAD, BAD, BAD,
    ROW16, ROW16, ROW16, ROW16, ROW16, ROW16, ROW16, ROW16};
// clang-format on

/* Four letters at p to 24 bits; a value of 1 << 24 or more means a bad letter. */
static inline uint32_t quad(const unsigned char *p)
{
    uint32_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
    uint32_t bad = (a | b | c | d) & 0xc0;
    return a << 18 | b << 12 | c << 6 | d | bad << 20;
}

static inline char *put3(char *to, uint32_t v)
{
    to[0] = (char)(v >> 16);
    to[1] = (char)(v >> 8);
    to[2] = (char)v;
    return to + 3;
}

/* The last group, with its padding; the bits that stand for nothing must be 0 (RFC 4648 3.5).
 * Returns the bytes it holds, or 0. */
static unsigned last_group(const unsigned char *p, char out[3])
{
    unsigned pad = p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
    unsigned char group[4] = {p[0], p[1], pad == 2 ? 'A' : p[2], pad ? 'A' : p[3]};
    uint32_t v = quad(group);
    if (v >> 24 || (pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff))
        return 0;
    put3(out, v);
    return 3 - pad;
}

int text_base64_decode(struct str in, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    char *start, *to, tail[3];
    unsigned tail_n;
    if (in.n == 0)
        return 0;
    if (in.n % 4 || (tail_n = last_group(p + in.n - 4, tail)) == 0)
        return -1;
    size_t groups = in.n / 4 - 1;
    if (buf_reserve(out, groups * 3 + tail_n, &start))
        return -1;
    to = start;
    for (size_t i = 0; i < groups; i++, p += 4) {
        uint32_t v = quad(p);
        if (v >> 24)
            return -1;
        to = put3(to, v);
    }
    memcpy(to, tail, tail_n);
    buf_commit(out, groups * 3 + tail_n);
    return 0;
}

int text_base64_encode(struct str in, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t left = in.n;
    char *to;
    if (in.n > SIZE_MAX / 2 || buf_reserve(out, (in.n + 2) / 3 * 4, &to))
        return -1;
    for (; left >= 3; left -= 3, p += 3, to += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        to[0] = letters[v >> 18];
        to[1] = letters[v >> 12 & 63];
        to[2] = letters[v >> 6 & 63];
        to[3] = letters[v & 63];
    }
    if (left) {
        uint32_t v = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);
        to[0] = letters[v >> 18];
        to[1] = letters[v >> 12 & 63];
        to[2] = left == 2 ? letters[v >> 6 & 63] : '=';
        to[3] = '=';
    }
    buf_commit(out, (in.n + 2) / 3 * 4);
    return 0;
}

/* The 1 to 3 letters of an unfinished group: as many whole bytes as they hold. */
static int flush_partial(struct text_b64 *st, struct buf *out)
{
    char bytes[3];
    put3(bytes, st->bits << (6 * (4 - st->count)));
    unsigned n = st->count > 1 ? st->count - 1 : 0;
    st->bits = st->count = 0;
    return buf_add(out, bytes, n);
}

/* One byte of input that may be anything; to has room for 3. */
static char *b64_byte(struct text_b64 *st, unsigned char c, char *to)
{
    if (values[c] == BAD) {
        if (c == '=' && st->count > 1)
            st->ended = true;
        return to; /* RFC 2045 6.8: all other characters are ignored */
    }
    st->bits = st->bits << 6 | values[c];
    if (++st->count == 4) {
        to = put3(to, st->bits & 0xffffff);
        st->bits = st->count = 0;
    }
    return to;
}

int text_b64_decode(struct text_b64 *st, struct str in, bool last, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    const unsigned char *end = in.n ? p + in.n : p;
    char part[768];
    while (p < end && !st->ended) {
        char *to = part;
        const char *limit = part + sizeof part - 3;
        while (p < end && to <= limit && !st->ended) {
            uint32_t v;
            if (st->count == 0 && end - p >= 4 && (v = quad(p)) >> 24 == 0) {
                to = put3(to, v);
                p += 4;
            } else {
                to = b64_byte(st, *p++, to);
            }
        }
        if (buf_add(out, part, (size_t)(to - part)))
            return -1;
    }
    return (last || st->ended) && st->count ? flush_partial(st, out) : 0;
}

int text_hex_encode(const void *p, size_t n, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = p;
    char *to;
    if (n > SIZE_MAX / 2 || buf_reserve(out, 2 * n, &to))
        return -1;
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[from[i] >> 4];
        *to++ = digits[from[i] & 15];
    }
    buf_commit(out, 2 * n);
    return 0;
}

static unsigned hex_value(char c)
{
    unsigned d = (unsigned char)c - (unsigned)'0',
             x = (unsigned char)ascii_lower(c) - (unsigned)'a';
    return d < 10 ? d : x < 6 ? x + 10 : 16;
}

int text_hex_decode(struct str in, struct buf *out)
{
    char *to;
    if (in.n % 2 || buf_reserve(out, in.n / 2, &to))
        return -1;
    for (size_t i = 0; i < in.n; i += 2) {
        unsigned high = hex_value(in.p[i]), low = hex_value(in.p[i + 1]);
        if (high > 15 || low > 15)
            return -1;
        to[i / 2] = (char)(high << 4 | low);
    }
    buf_commit(out, in.n / 2);
    return 0;
}
