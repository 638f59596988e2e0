/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/mail/maildir.h"

static void is(struct str s, const char *want)
{
    if (!str_eq(s, str_from(want)))
        fail_msg("'" STR_FMT "' is not '%s'", STR_ARG(s), want);
}

static void test_names(void **state)
{
    struct maildir_name n;

    (void)state;
    assert_true(maildir_name_parse(STR("1700.M1P2.host,S=12,W=13:2,RSab"), &n));
    is(n.base, "1700.M1P2.host,S=12,W=13");
    assert_int_equal(n.flags, MAILDIR_REPLIED | MAILDIR_SEEN);
    assert_int_equal(n.keywords, 3);
    assert_true(maildir_name_parse(STR("1700.M1P2.host"), &n));
    assert_int_equal(n.flags, 0);
    assert_true(maildir_name_parse(STR("1700.host:1,S"), &n)); /* experimental info */
    assert_int_equal(n.flags, 0);
    assert_false(maildir_name_parse(STR(".nfs0001"), &n));
    assert_false(maildir_name_parse(STR(""), &n));
    assert_false(maildir_name_parse(STR(":2,S"), &n));
}

static void test_flags_are_written_in_order(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_int_equal(maildir_flags_format(MAILDIR_SEEN | MAILDIR_DRAFT | MAILDIR_TRASHED |
                                              MAILDIR_FLAGGED | MAILDIR_REPLIED | MAILDIR_PASSED,
                                          1u << 25 | 1, &b),
                     0);
    is(buf_str(&b), ":2,DFPRSTaz");
    buf_fini(&b);
}

static void test_uidlists(void **state)
{
    struct maildir_uidlist l;
    struct str base;
    uint32_t uid;

    (void)state;
    assert_int_equal(maildir_uidlist_header(STR("3 V1700000000 N42 G0123abcd\n"), &l), 0);
    assert_int_equal(l.uidvalidity, 1700000000);
    assert_int_equal(l.uidnext, 42);
    assert_true(maildir_uidlist_line(&l, STR("7 W120 G12 :1700.M1.host,S=118:2,S"), &uid, &base));
    assert_int_equal(uid, 7);
    is(base, "1700.M1.host,S=118");
    assert_true(maildir_uidlist_line(&l, STR("8 :x"), &uid, &base));
    is(base, "x");
    assert_false(maildir_uidlist_line(&l, STR("9 x"), &uid, &base));
    assert_false(maildir_uidlist_line(&l, STR("0 :x"), &uid, &base));
    assert_false(maildir_uidlist_line(&l, STR("99999999999 :x"), &uid, &base));
    assert_int_equal(maildir_uidlist_header(STR("1 1150000000 9\n"), &l), 0);
    assert_int_equal(l.uidnext, 9);
    assert_true(maildir_uidlist_line(&l, STR("3 1150.host,S=9"), &uid, &base));
    is(base, "1150.host,S=9");
    assert_int_equal(maildir_uidlist_header(STR("2 V1 N2"), &l), -1);
    assert_int_equal(maildir_uidlist_header(STR("3 N2"), &l), -1);
    assert_int_equal(maildir_uidlist_header(STR(""), &l), -1);
}

static void test_keywords(void **state)
{
    unsigned n;
    struct str name;

    (void)state;
    assert_true(maildir_keyword_line(STR("25 $Forwarded\n"), &n, &name));
    assert_int_equal(n, 25);
    is(name, "$Forwarded");
    assert_false(maildir_keyword_line(STR("26 too-many"), &n, &name));
    assert_false(maildir_keyword_line(STR("x y"), &n, &name));
    assert_false(maildir_keyword_line(STR("1"), &n, &name));
}

static void test_folders(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 200);
    assert_int_equal(maildir_path_decode(STR(".Lists.B&APY-rse"), '.', &b), 0);
    is(buf_str(&b), "Lists/B\xc3\xb6rse");
    buf_clear(&b);
    assert_int_equal(maildir_path_decode(STR(".B\xc3\xb6rse"), '.', &b), 0);
    is(buf_str(&b), "B\xc3\xb6rse");
    buf_clear(&b);
    assert_int_equal(maildir_path_decode(STR("a.b/B\xf6rse"), '/', &b), 0);
    is(buf_str(&b), "a.b/B\xc3\xb6rse");
    buf_clear(&b);
    assert_int_equal(maildir_path_decode(STR(".a..b"), '.', &b), -1);
    buf_clear(&b);
    assert_int_equal(maildir_path_decode(STR("."), '.', &b), -1);
    buf_clear(&b);
    assert_int_equal(maildir_folder_encode(STR("Lists/B\xc3\xb6rse v1.2"), &b), 0);
    is(buf_str(&b), ".Lists.B&APY-rse v1_2");
    buf_clear(&b);
    assert_int_equal(maildir_folder_encode(STR("INBOX"), &b), 0);
    is(buf_str(&b), "");
    buf_fini(&b);
}

static void test_subscriptions(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 200);
    assert_true(maildir_subscription(STR("Lists.a\n"), '.', &b));
    is(buf_str(&b), "Lists/a");
    assert_true(maildir_subscription(STR("INBOX.Sent\n"), '.', &b));
    is(buf_str(&b), "Sent");
    assert_true(maildir_subscription(STR("INBOX"), '.', &b));
    is(buf_str(&b), "INBOX");
    assert_false(maildir_subscription(STR("V\t2\n"), '.', &b));
    assert_false(maildir_subscription(STR("\n"), '.', &b));
    assert_true(maildir_subscription(STR("Lists\tv1.2"), '.', &b));
    is(buf_str(&b), "Lists/v1.2");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_flags_are_written_in_order),
        cmocka_unit_test(test_uidlists), cmocka_unit_test(test_keywords),
        cmocka_unit_test(test_folders),  cmocka_unit_test(test_subscriptions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
