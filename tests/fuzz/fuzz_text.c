/* room: base */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_text.c - every decoder of text.h on the same bytes. The first byte picks charset and piece
 * size. What one accepts must encode back to itself, pieces must give what the whole gives, and
 * bounds hold. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf out, again;

static void restart(size_t max)
{
    buf_fini(&out);
    buf_fini(&again);
    buf_init(&out, max);
    buf_init(&again, max);
}

static void check_base64_and_hex(struct str in)
{
    restart(1 << 20);
    if (text_base64_decode(in, &out) == 0) {
        CHECK(text_base64_encode(buf_str(&out), &again) == 0);
        CHECK(str_eq(buf_str(&again), in));
    }
    restart(1 << 20);
    if (text_hex_decode(in, &out) == 0) {
        CHECK(text_hex_encode(out.p, out.n, &again) == 0);
        CHECK(str_ieq(buf_str(&again), in));
    }
}

static void check_mime(struct str in, size_t piece)
{
    struct text_qp qp = {{0}, 0}, qp_pieces = qp;
    struct text_b64 b64 = {0}, b64_pieces = b64;
    restart(1 << 20);
    CHECK(text_qp_decode(&qp, in, true, &out) == 0);
    for (size_t at = 0; at < in.n; at += piece)
        CHECK(text_qp_decode(&qp_pieces, str_take(str_skip(in, at), piece), false, &again) == 0);
    CHECK(text_qp_decode(&qp_pieces, STR_NULL, true, &again) == 0);
    CHECK(str_eq(buf_str(&out), buf_str(&again)));
    CHECK(out.n <= in.n);
    restart(1 << 20);
    CHECK(text_b64_decode(&b64, in, true, &out) == 0);
    for (size_t at = 0; at < in.n; at += piece)
        CHECK(text_b64_decode(&b64_pieces, str_take(str_skip(in, at), piece), false, &again) == 0);
    CHECK(text_b64_decode(&b64_pieces, STR_NULL, true, &again) == 0);
    CHECK(str_eq(buf_str(&out), buf_str(&again)));
    CHECK(out.n <= in.n / 4 * 3 + 2);
}

static void check_charset(struct str in, unsigned which)
{
    static const char *const names[] = {
        "",       "utf-8",      "us-ascii", "iso-8859-1", "windows-1255", "iso-2022-jp",
        "big5",   "shift_jis",  "gb18030",  "euc-jp",     "euc-kr",       "iso-2022-kr",
        "utf-7",  "utf-16",     "utf-16le", "utf-32",     "koi8-r",       "windows-1258",
        "x-none", "iso-8859-8", "macintosh"};
    restart(1 << 22);
    CHECK(text_to_utf8(str_from(names[which % ARRAY_LEN(names)]), in, &out) == 0);
    CHECK(text_utf8_valid(buf_str(&out)));
    CHECK(text_fold(buf_str(&out), &again) == 0);
    CHECK(text_utf8_valid(buf_str(&again)));
    if (text_ascii(buf_str(&out)))
        CHECK(str_ieq(buf_str(&out), buf_str(&again)));
    restart(1 << 22);
    CHECK(text_fold(in, &out) == 0);
    CHECK(text_utf8_valid(buf_str(&out)));
}

static void check_names(struct str in)
{
    restart(1 << 20);
    if (text_utf7_decode(in, &out) == 0) {
        CHECK(text_utf8_valid(buf_str(&out)));
        CHECK(text_utf7_encode(buf_str(&out), &again) == 0);
        CHECK(str_eq(buf_str(&again), in));
    }
    restart(1 << 20);
    if (text_utf7_encode(in, &out) == 0) {
        CHECK(text_utf7_decode(buf_str(&out), &again) == 0);
        CHECK(str_eq(buf_str(&again), in));
    }
    restart(1 << 20);
    if (text_domain(in, &out) == 0) {
        CHECK(out.n > 0 && out.n <= 253);
        CHECK(text_domain(buf_str(&out), &again) == 0);
        CHECK(str_eq(buf_str(&out), buf_str(&again)));
    }
}

static void check_bounds(struct str in, unsigned which)
{
    struct text_qp qp = {{0}, 0};
    struct text_b64 b64 = {0};
    restart(which % 16);
    (void)text_qp_decode(&qp, in, true, &out);
    (void)text_b64_decode(&b64, in, true, &again);
    CHECK(out.n <= out.max && again.n <= again.max);
    restart(which % 16);
    (void)text_to_utf8(STR("utf-16"), in, &out);
    (void)text_fold(in, &again);
    CHECK(out.n <= out.max && again.n <= again.max);
    restart(which % 16);
    (void)!text_utf7_encode(in, &out);
    (void)text_base64_encode(in, &again);
    CHECK(out.n <= out.max && again.n <= again.max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 16)
        return 0;
    unsigned which = data[0];
    struct str in = str_of(data + 1, size - 1);
    check_base64_and_hex(in);
    check_mime(in, 1 + which % 5);
    check_charset(in, which);
    check_names(in);
    check_bounds(in, which);
    restart(0);
    return 0;
}
