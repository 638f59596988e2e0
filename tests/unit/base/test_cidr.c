/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sets of networks. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "appliance/base/cidr.h"
#include "appliance/base/mem.h"

static bool has(const char *set, const char *ip)
{
    struct cidr_set s;
    struct err err;

    assert_int_equal(cidr_set_parse(str_from(set), &s, &err), 0);
    bool yes = cidr_set_has(&s, ip);
    cidr_set_free(&s);
    return yes;
}

static void test_networks(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.1.2"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("192.0.2.128/25", "192.0.2.129"));
    assert_false(has("192.0.2.128/25", "192.0.2.127"));
    assert_true(has("192.0.2.1", "192.0.2.1"));
    assert_false(has("192.0.2.1", "192.0.2.2"));
    assert_true(has("0.0.0.0/0", "203.0.113.9"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::1", "::1"));
    assert_true(has("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(has(" 10.0.0.0/8 ,, ::1,", "::1"));
}

static void test_nothing(void **state)
{
    (void)state;
    assert_false(has("", "10.0.0.1"));
    assert_false(has("10.0.0.0/8", ""));
    assert_false(has("10.0.0.0/8", "10.0.0.1.example"));
}

static void test_errors(void **state)
{
    static const char *const wrong[] = {
        "10.0.0.0/33",    "10.0.0.1/8",
        "::1/129",        "example.com",
        "10.0.0.0/",      "10.0.0.0/-1",
        "2001:db8::1/32", "10.0.0",
        "1.2.3.4/8/9",    "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct cidr_set s;
        struct err err;
        assert_int_equal(cidr_set_parse(str_from(wrong[i]), &s, &err), -1);
        assert_null(s.at);
        assert_non_null(strchr(err.text, '\''));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
