/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_smtp_data.c - any bytes as the octets of DATA and of a chunk: whole, byte by byte and in odd
 * pieces they must give the same message, faults and end; and an end there is only behind CRLF (or
 * the beginning), dot, CRLF. */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "smtp/data_parser.h"

struct result {
    struct buf text;
    struct smtp_data d;
    size_t used;
    bool ended;
};

static void put(void *ctx, struct str run)
{
    CHECK(run.n > 0);
    buf_add_str(ctx, run);
}

static void parse(struct result *r, struct str in, size_t piece, bool dots)
{
    *r = (struct result){0};
    buf_init(&r->text, in.n + 1);
    smtp_data_begin(&r->d, dots, 80);
    while (r->used < in.n && !r->ended) {
        struct str part = str_take(str_skip(in, r->used), piece);
        size_t n = smtp_data_feed(&r->d, part, put, &r->text, &r->ended);
        CHECK(n == part.n || r->ended);
        r->used += n;
    }
    smtp_data_finish(&r->d);
}

static void check_end(const struct result *r, struct str in)
{
    struct str seen = str_take(in, r->used);
    CHECK(str_ends(seen, STR("\r\n.\r\n")) || str_eq(seen, STR(".\r\n")));
    if (r->d.faults == 0) {
        CHECK(r->text.n == 0 || str_ends(buf_str(&r->text), STR("\r\n")));
        size_t at;
        CHECK(!str_find(str_take(seen, seen.n - 3), STR("\r\n.\r\n"), &at));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 3, 7};
    struct str in = str_of(data, size);
    for (int dots = 0; dots < 2; dots++) {
        struct result whole, part;
        parse(&whole, in, size + 1, dots);
        if (whole.ended)
            check_end(&whole, in);
        if (!dots)
            CHECK(str_eq(buf_str(&whole.text), in));
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            parse(&part, in, pieces[i], dots);
            CHECK(str_eq(buf_str(&whole.text), buf_str(&part.text)));
            CHECK(whole.d.faults == part.d.faults && whole.ended == part.ended &&
                  whole.used == part.used);
            CHECK(whole.d.longest == part.d.longest);
            buf_fini(&part.text);
        }
        buf_fini(&whole.text);
    }
    return 0;
}
