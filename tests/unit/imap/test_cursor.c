/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/cursor.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct imap_cursor at(struct str s)
{
    return (struct imap_cursor){s, arena};
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_from(want)))
        fail_msg("got \"" STR_FMT "\", want \"%s\"", STR_ARG(got), want);
}

static void atoms(void **state)
{
    (void)state;
    struct str s;
    struct imap_cursor c = at(STR("FETCH 1:3"));
    assert_int_equal(imap_atom(&c, &s), 0);
    assert_str(s, "FETCH");
    assert_str(c.rest, " 1:3");
    static const char *const none[] = {"",  " a",  "(a", "\"a\"", "{1}",  "%",
                                       "*", "\\a", "]",  "\x01",  "\x7f", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        c = at(str_from(none[i]));
        assert_int_equal(imap_atom(&c, &s), -1);
        assert_str(c.rest, none[i]);
    }
}

static void words(void **state)
{
    (void)state;
    struct imap_cursor c = at(STR("body[TEXT]"));
    assert_int_equal(imap_word(&c, "BODY"), 0);
    assert_str(c.rest, "[TEXT]");
    c = at(STR("BODY.PEEK[]"));
    assert_int_equal(imap_word(&c, "BODY"), -1);
    assert_int_equal(imap_word(&c, "BODY.PEEK"), 0);
    c = at(STR("RFC822"));
    assert_int_equal(imap_word(&c, "RFC822.SIZE"), -1);
    assert_int_equal(imap_word(&c, "RFC822"), 0);
    assert_true(imap_at_end(&c));
}

static void quoted_strings(void **state)
{
    (void)state;
    struct str s;
    struct imap_cursor c = at(STR("\"a \\\"b\\\\\" x"));
    assert_int_equal(imap_string(&c, &s), 0);
    assert_str(s, "a \"b\\");
    assert_str(c.rest, " x");
    c = at(STR("\"\""));
    assert_int_equal(imap_string(&c, &s), 0);
    assert_int_equal(s.n, 0);
    c = at(STR("\"\xc3\xa4\""));
    assert_int_equal(imap_string(&c, &s), 0);
    assert_str(s, "\xc3\xa4");
    static const struct str bad[] = {{"\"a", 2},      {"\"", 1},      {"\"a\\", 3},
                                     {"\"a\\x\"", 5}, {"\"a\r\"", 4}, {"\"a\0\"", 4}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c = at(bad[i]);
        assert_int_equal(imap_string(&c, &s), -1);
        assert_int_equal(c.rest.n, bad[i].n);
    }
}

static void literals(void **state)
{
    (void)state;
    struct str s;
    struct imap_cursor c = at(STR("{3}\r\na)b x"));
    assert_int_equal(imap_astring(&c, &s), 0);
    assert_str(s, "a)b");
    assert_str(c.rest, " x");
    c = at(STR("{2+}\r\n\r\n"));
    assert_int_equal(imap_string(&c, &s), 0);
    assert_str(s, "\r\n");
    c = at(STR("{0}\r\n"));
    assert_int_equal(imap_string(&c, &s), 0);
    assert_int_equal(s.n, 0);
    static const struct str bad[] = {{"{4}\r\nabc", 8},
                                     {"{3}abc", 6},
                                     {"{-1}\r\n", 6},
                                     {"{}\r\n", 4},
                                     {"{99999999999999999999}\r\n", 24},
                                     {"{1}\r\n\0", 6},
                                     {"{1", 2},
                                     {"{+}\r\n", 5}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c = at(bad[i]);
        assert_int_equal(imap_string(&c, &s), -1);
        assert_int_equal(c.rest.n, bad[i].n);
    }
}

static void nil_and_numbers(void **state)
{
    (void)state;
    struct str s = STR("x");
    uint64_t n;
    struct imap_cursor c = at(STR("nil)"));
    assert_int_equal(imap_nstring(&c, &s), 0);
    assert_null(s.p);
    assert_str(c.rest, ")");
    c = at(STR("12345 "));
    assert_int_equal(imap_number(&c, 12345, &n), 0);
    assert_int_equal(n, 12345);
    c = at(STR("12345"));
    assert_int_equal(imap_number(&c, 12344, &n), -1);
    c = at(STR("-1"));
    assert_int_equal(imap_number(&c, 99, &n), -1);
    c = at(STR("99999999999999999999999"));
    assert_int_equal(imap_number(&c, UINT64_MAX, &n), -1);
}

static void flag_lists(void **state)
{
    (void)state;
    uint64_t flags;
    struct str *k;
    size_t n;
    struct imap_cursor c = at(STR("(\\Seen $Forwarded \\DELETED junk) x"));
    assert_int_equal(imap_flag_list(&c, false, &flags, &k, &n), 0);
    assert_int_equal(flags, MESSAGE_SEEN | MESSAGE_DELETED);
    assert_int_equal(n, 2);
    assert_str(k[0], "$Forwarded");
    assert_str(k[1], "junk");
    assert_str(c.rest, " x");
    c = at(STR("()"));
    assert_int_equal(imap_flag_list(&c, false, &flags, &k, &n), 0);
    assert_int_equal(flags + n, 0);
    c = at(STR("\\Flagged \\Recent"));
    assert_int_equal(imap_flag_list(&c, false, &flags, &k, &n), -1);
    assert_int_equal(imap_flag_list(&c, true, &flags, &k, &n), 0);
    assert_int_equal(flags, MESSAGE_FLAGGED);
    static const char *const bad[] = {"(\\Seen", "(\\Nonsense)", "(a  b)", "(a )",
                                      "(\\)",    "(\"a\")",      ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c = at(str_from(bad[i]));
        assert_int_equal(imap_flag_list(&c, true, &flags, &k, &n), -1);
        assert_str(c.rest, bad[i]);
    }
}

static void mailbox_names(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want; /* NULL: refused */
    } cases[] = {
        {"inbox", "INBOX"},
        {"\"InBox\"", "INBOX"},
        {"inbox/Work", "INBOX/Work"},
        {"inboxes", "inboxes"},
        {"foo]", "foo]"},
        {"\"a b\"", "a b"},
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"\"A &- B\"", "A & B"},
        {"\"A & B\"", NULL},
        {"&APw", NULL},
        {"&AGE-", NULL}, /* "a", which needs no encoding */
        {"\xc3\xbc", NULL},
        {"a*b", "a"}, /* '*' ends the atom; what follows is the caller's to refuse */
        {"(", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct imap_cursor c = at(str_from(cases[i].in));
        struct str s;
        assert_int_equal(imap_mailbox(&c, &s), cases[i].want ? 0 : -1);
        assert_str(cases[i].want ? s : c.rest, cases[i].want ? cases[i].want : cases[i].in);
    }
    struct imap_cursor c = at(STR("INBOX.*%]x y"));
    struct str s;
    assert_int_equal(imap_list_mailbox(&c, &s), 0);
    assert_str(s, "INBOX.*%]x");
}

static void dates(void **state)
{
    (void)state;
    struct date d;
    int64_t day, same;
    struct imap_cursor c = at(STR("\" 1-Feb-1994 21:52:25 -0800\" {3}"));
    assert_int_equal(imap_date_time(&c, &d), 0);
    assert_int_equal(d.at, 760168345);
    assert_int_equal(d.zone, -480);
    assert_str(c.rest, " {3}");
    c = at(STR("1-Feb-1994"));
    assert_int_equal(imap_date(&c, &day), 0);
    c = at(STR("\"1-Feb-1994\""));
    assert_int_equal(imap_date(&c, &same), 0);
    assert_int_equal(day, same);
    c = at(STR("\"yesterday\""));
    assert_int_equal(imap_date(&c, &day), -1);
    assert_int_equal(imap_date_time(&c, &d), -1);
    assert_str(c.rest, "\"yesterday\"");
}

static void assert_ranges(const struct imap_set *s, const uint32_t *want, size_t n)
{
    assert_int_equal(s->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->ranges[i].first, want[2 * i]);
        assert_int_equal(s->ranges[i].last, want[2 * i + 1]);
    }
}

static void sets(void **state)
{
    (void)state;
    struct imap_set s;
    struct imap_cursor c = at(STR("2,4:7,9,12:* x"));
    assert_int_equal(imap_set(&c, &s), 0);
    assert_ranges(&s, (const uint32_t[]){2, 2, 4, 7, 9, 9, 12, UINT32_MAX}, 4);
    assert_true(s.star);
    assert_str(c.rest, " x");
    c = at(STR("9,7:4,8,1:3,*:20"));
    assert_int_equal(imap_set(&c, &s), 0);
    assert_ranges(&s, (const uint32_t[]){1, 9, 20, UINT32_MAX}, 2);
    c = at(STR("5,5,5"));
    assert_int_equal(imap_set(&c, &s), 0);
    assert_ranges(&s, (const uint32_t[]){5, 5}, 1);
    assert_false(s.star);
    c = at(STR("*,4294967295,1:4294967295"));
    assert_int_equal(imap_set(&c, &s), 0);
    assert_ranges(&s, (const uint32_t[]){1, UINT32_MAX}, 1);
    static const char *const bad[] = {"",    "0", "1:",         ":1",   "1,", ",1",
                                      "1:0", "a", "4294967296", "1::2", "**", "$"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c = at(str_from(bad[i]));
        if (imap_set(&c, &s) == 0)
            assert_string_equal(bad[i], "**"); /* the first '*' is a set */
    }
}

static void too_many_ranges(void **state)
{
    (void)state;
    struct buf b;
    struct imap_set s;
    buf_init(&b, 1 << 20);
    for (unsigned i = 0; i < 100001; i++)
        buf_printf(&b, "%s%u", i ? "," : "", 3 + 2 * i);
    struct imap_cursor c = at(buf_str(&b));
    assert_int_equal(imap_set(&c, &s), -1);
    buf_truncate(&b, b.n - 7);
    c = at(buf_str(&b));
    assert_int_equal(imap_set(&c, &s), 0);
    assert_int_equal(s.n, 100000);
    buf_fini(&b);
}

static void output(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *want;
    } cases[] = {
        {{"abc", 3}, "\"abc\""},
        {{"", 0}, "\"\""},
        {{"a\"b\\", 4}, "\"a\\\"b\\\\\""},
        {{"a\r\nb", 4}, "{4}\r\na\r\nb"},
        {{"\xc3\xa4", 2}, "{2}\r\n\xc3\xa4"},
        {{"a\0b", 3}, "{3}\r\na?b"},
        {{NULL, 0}, "NIL"},
    };
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&b);
        imap_put_string(&b, cases[i].in);
        assert_str(buf_str(&b), cases[i].want);
    }
    buf_clear(&b);
    imap_put_mailbox(&b, STR("Entw\xc3\xbcrfe & mehr"));
    assert_str(buf_str(&b), "\"Entw&APw-rfe &- mehr\"");
    buf_clear(&b);
    imap_put_quoted_or_literal(&b, STR_NULL);
    assert_str(buf_str(&b), "\"\"");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(atoms),
        cmocka_unit_test(words),
        cmocka_unit_test(quoted_strings),
        cmocka_unit_test(literals),
        cmocka_unit_test(nil_and_numbers),
        cmocka_unit_test(flag_lists),
        cmocka_unit_test(mailbox_names),
        cmocka_unit_test(dates),
        cmocka_unit_test(sets),
        cmocka_unit_test(too_many_ranges),
        cmocka_unit_test(output),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
