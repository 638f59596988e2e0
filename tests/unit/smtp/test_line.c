/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "smtp/line.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Everything that is said about the input, as text: [line] BAD LONG. */
static void take_all(struct str in, size_t piece, size_t limit, struct buf *said)
{
    struct smtp_line l = {0};
    struct buf held;
    size_t fed = 0;
    buf_init(&held, 1 << 20);
    while (fed < in.n) {
        struct str part = str_take(str_skip(in, fed), piece);
        buf_add_str(&held, part);
        fed += part.n;
        for (;;) {
            struct str line;
            size_t used;
            char *copy = mem_dup(held.p, held.n);
            enum smtp_line_end end = smtp_line_take(&l, str_of(copy, held.n), limit, &line, &used);
            if (end == SMTP_LINE_OK)
                buf_printf(said, "[" STR_FMT "]", STR_ARG(line));
            else if (end != SMTP_LINE_MORE)
                buf_add_z(said, end == SMTP_LINE_BAD ? "BAD " : "LONG ");
            mem_free(copy);
            buf_drop(&held, used);
            if (end == SMTP_LINE_MORE)
                break;
        }
    }
    buf_fini(&held);
}

struct row {
    struct str in;
    const char *said;
};
#define S(x)                                                                                       \
    {                                                                                              \
        x, sizeof(x) - 1                                                                           \
    }
static const struct row rows[] = {
    {S("NOOP\r\n"), "[NOOP]"},
    {S("A\r\nB\r\n"), "[A][B]"},
    {S("\r\n"), "[]"},
    {S("half"), ""},
    {S("a\r"), ""},
    {S("NOOP\nRSET\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("\nRSET\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("a\nb\nc\nd\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("NOOP\rRSET\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("NOOP\r\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("NO\0OP\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("01234567890123\r\n"), "[01234567890123]"},
    {S("012345678901234\r\nQUIT\r\n"), "LONG [QUIT]"},
    {S("01234567890123456789012345678901234567890\r\nQUIT\r\n"), "LONG [QUIT]"},
    {S("012345678901234\r\r\nQUIT\r\n"), "LONG [QUIT]"},
    {S("0123456789012345678\nRSET\r\nQUIT\r\n"), "LONG [QUIT]"},
    {S("012345678901234\nRSET\r\nQUIT\r\n"), "BAD [QUIT]"},
    {S("0123456789\r0123456789\nRSET\r\n[\r\n"), "LONG [[]"},
};

static void any_pieces_give_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece <= rows[i].in.n; piece++) {
            struct buf said;
            buf_init(&said, 4096);
            take_all(rows[i].in, piece, 16, &said);
            if (!str_eq(buf_str(&said), str_from(rows[i].said)))
                fail_msg("row %zu, pieces of %zu: %s", i, piece, buf_z(&said));
            buf_fini(&said);
        }
}

static enum smtp_line_end take_padded(const char *verb, size_t octets)
{
    static char line[16384];
    struct smtp_line l = {0};
    struct str out;
    size_t used;
    memset(line, 'x', sizeof line);
    memcpy(line, verb, strlen(verb));
    memcpy(line + octets - 2, "\r\n", 2);
    return smtp_line_take(&l, str_of(line, octets), 0, &out, &used);
}

/* RFC 5321 4.5.3.1.4 and the extensions' additions */
static void limits_by_verb(void **state)
{
    (void)state;
    assert_int_equal(take_padded("NOOP ", 512), SMTP_LINE_OK);
    assert_int_equal(take_padded("NOOP ", 513), SMTP_LINE_TOO_LONG);
    assert_int_equal(take_padded("RCPT ", 513), SMTP_LINE_TOO_LONG);
    assert_int_equal(take_padded("mail ", 1065), SMTP_LINE_OK);
    assert_int_equal(take_padded("MAIL ", 1066), SMTP_LINE_TOO_LONG);
    assert_int_equal(take_padded("auth ", 12288), SMTP_LINE_OK);
    assert_int_equal(take_padded("AUTH ", 12289), SMTP_LINE_TOO_LONG);
}

/* The limit of a line is its own, not that of what is discarded before it. */
static void limit_after_discard(void **state)
{
    (void)state;
    static char in[4096];
    struct smtp_line l = {0};
    struct str out;
    size_t used;
    memset(in, 'x', sizeof in);
    assert_int_equal(smtp_line_take(&l, str_of(in, 600), 0, &out, &used), SMTP_LINE_TOO_LONG);
    memcpy(in, "x\r\nMAIL ", 8);
    memcpy(in + 998, "\r\n", 2);
    assert_int_equal(smtp_line_take(&l, str_of(in, 1000), 0, &out, &used), SMTP_LINE_OK);
    assert_int_equal(out.n, 995);
    assert_int_equal(used, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces_give_the_same),
        cmocka_unit_test(limits_by_verb),
        cmocka_unit_test(limit_after_discard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
