/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "smtp/data_parser.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct result {
    struct buf text;
    unsigned faults;
    uint64_t longest;
    bool ended, eight_bit;
    size_t used;
};

static void put(void *ctx, struct str run)
{
    assert_true(run.n > 0);
    buf_add_str(ctx, run);
}

/* Fed in pieces of n bytes, each in memory of its own so that sanitizers see an overread. */
static struct result parse(struct str in, size_t piece, bool dots, uint64_t limit)
{
    struct smtp_data d;
    struct result r = {0};
    buf_init(&r.text, 1 << 20);
    smtp_data_begin(&d, dots, limit);
    while (r.used < in.n && !r.ended) {
        struct str part = str_take(str_skip(in, r.used), piece);
        char *copy = mem_dup(part.p, part.n);
        r.used += smtp_data_feed(&d, str_of(copy, part.n), put, &r.text, &r.ended);
        mem_free(copy);
    }
    if (!dots)
        smtp_data_finish(&d);
    r.faults = d.faults;
    r.longest = d.longest;
    r.eight_bit = d.eight_bit;
    return r;
}

struct row {
    struct str in, out;
    bool ended;
    unsigned faults;
    size_t used; /* 0: all */
};
#define S(x)                                                                                       \
    {                                                                                              \
        x, sizeof(x) - 1                                                                           \
    }
static const struct row rows[] = {
    {S(".\r\n"), S(""), true, 0, 0},
    {S("a\r\n.\r\n"), S("a\r\n"), true, 0, 0},
    {S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"), true, 0, 6},
    {S("..\r\n.\r\n"), S(".\r\n"), true, 0, 0},
    {S("..x\r\n.y\r\n...\r\n.\r\n"), S(".x\r\ny\r\n..\r\n"), true, 0, 0},
    {S("a.\r\n.\r\n"), S("a.\r\n"), true, 0, 0},
    {S("\r\n\r\n.\r\n"), S("\r\n\r\n"), true, 0, 0},
    {S("a\r\n."), S("a\r\n"), false, 0, 0},
    {S("a\r\n.\r"), S("a\r\n"), false, 0, 0},
    /* none of these is an end of data */
    {S("a\n.\nb\r\n.\r\n"), S("a\n.\nb\r\n"), true, SMTP_DATA_BARE_LF, 0},
    {S("a\n.\r\nb\r\n.\r\n"), S("a\n.\r\nb\r\n"), true, SMTP_DATA_BARE_LF, 0},
    {S("a\r\n.\nb\r\n.\r\n"), S("a\r\n\nb\r\n"), true, SMTP_DATA_BARE_LF, 0},
    {S("a\r.\rb\r\n.\r\n"), S("a\r.\rb\r\n"), true, SMTP_DATA_BARE_CR, 0},
    {S("a\r\n.\rb\r\n.\r\n"), S("a\r\nb\r\n"), true, SMTP_DATA_BARE_CR, 0},
    {S("a\r.\r\nb\r\n.\r\n"), S("a\r.\r\nb\r\n"), true, SMTP_DATA_BARE_CR, 0},
    {S("a\r\n.\r\r\nb\r\n.\r\n"), S("a\r\n\r\nb\r\n"), true, SMTP_DATA_BARE_CR, 0},
    {S("a\r\n\0.\r\nb\r\n.\r\n"), S("a\r\n\0.\r\nb\r\n"), true, SMTP_DATA_NUL, 0},
    {S("a\r\n.\0\r\nb\r\n.\r\n"), S("a\r\n\0\r\nb\r\n"), true, SMTP_DATA_NUL, 0},
    {S("a\r\r\n.\r\n"), S("a\r\r\n"), true, SMTP_DATA_BARE_CR, 0},
    {S("a\n\r\n.\r\n"), S("a\n\r\n"), true, SMTP_DATA_BARE_LF, 0},
    {S("\n.\r\n.\r\n"), S("\n.\r\n"), true, SMTP_DATA_BARE_LF, 0},
    {S("a\n\n.\n\nb"), S("a\n\n.\n\nb"), false, SMTP_DATA_BARE_LF, 0},
    {S("\xff\xfe \x80\r\n.\r\n"), S("\xff\xfe \x80\r\n"), true, 0, 0},
};

static void any_pieces_give_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece <= rows[i].in.n; piece++) {
            struct result r = parse(rows[i].in, piece, true, 998);
            if (r.ended != rows[i].ended || r.faults != rows[i].faults ||
                r.used != (rows[i].used ? rows[i].used : rows[i].in.n) ||
                !str_eq(buf_str(&r.text), rows[i].out))
                fail_msg("row %zu, pieces of %zu: ended %d faults %x used %zu", i, piece, r.ended,
                         r.faults, r.used);
            buf_fini(&r.text);
        }
}

static void chunks_keep_every_octet(void **state)
{
    (void)state;
    static const struct row chunk[] = {
        {S(".\r\n"), S(".\r\n"), false, 0, 0},
        {S("a\r\n.\r\n..\r\n"), S("a\r\n.\r\n..\r\n"), false, 0, 0},
        {S("no end"), S("no end"), false, 0, 0},
        {S("a\r"), S("a\r"), false, SMTP_DATA_BARE_CR, 0},
        {S("a\nb"), S("a\nb"), false, SMTP_DATA_BARE_LF, 0},
        {S("a\rb"), S("a\rb"), false, SMTP_DATA_BARE_CR, 0},
        {S("a\0b"), S("a\0b"), false, SMTP_DATA_NUL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(chunk); i++)
        for (size_t piece = 1; piece <= chunk[i].in.n; piece++) {
            struct result r = parse(chunk[i].in, piece, false, 998);
            assert_false(r.ended);
            assert_int_equal(r.faults, chunk[i].faults);
            assert_true(str_eq(buf_str(&r.text), chunk[i].out));
            buf_fini(&r.text);
        }
}

static void line_length_is_without_crlf(void **state)
{
    (void)state;
    char line[1002];
    memset(line, 'x', sizeof line);
    memcpy(line + 998, "\r\n", 2);
    for (size_t piece = 1; piece < 1000; piece += 111) {
        struct result r = parse(str_of(line, 1000), piece, true, 998);
        assert_int_equal(r.faults, 0);
        assert_int_equal(r.longest, 998);
        buf_fini(&r.text);
    }
    memcpy(line + 998, "x\r\n", 3);
    for (size_t piece = 1; piece < 1000; piece += 111) {
        struct result r = parse(str_of(line, 1001), piece, true, 998);
        assert_int_equal(r.faults, SMTP_DATA_LONG_LINE);
        assert_int_equal(r.longest, 999);
        buf_fini(&r.text);
    }
}

static void count_runs(void *ctx, struct str run)
{
    (void)run;
    ++*(unsigned *)ctx;
}

static void runs_are_long(void **state)
{
    (void)state;
    static char text[64 * 1024];
    unsigned runs = 0;
    bool ended;
    struct smtp_data d;
    for (size_t i = 0; i < sizeof text; i += 64) {
        memset(text + i, 'x', 62);
        memcpy(text + i + 62, "\r\n", 2);
    }
    smtp_data_begin(&d, true, 998);
    assert_int_equal(smtp_data_feed(&d, str_of(text, sizeof text), count_runs, &runs, &ended),
                     sizeof text);
    assert_int_equal(runs, 1);
}

static void eight_bit(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        bool found;
    } texts[] = {{S("plain ~\x7f\r\n.\r\n"), false},
                 {S("\xc3\xa9\r\n.\r\n"), true},
                 {S("a\r\n..\x80\r\nb\r\n.\r\n"), true},
                 {S("a\r\n.\r\n\xff"), false}}; /* not of this message any more */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        for (size_t piece = 1; piece < 5; piece++) {
            struct result r = parse(texts[i].in, piece, true, 1000);
            assert_int_equal(r.eight_bit, texts[i].found);
            buf_fini(&r.text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces_give_the_same),
        cmocka_unit_test(chunks_keep_every_octet),
        cmocka_unit_test(line_length_is_without_crlf),
        cmocka_unit_test(runs_are_long),
        cmocka_unit_test(eight_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
