/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void compares(void **state)
{
    (void)state;
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_eq(STR("a\0b"), str_of("a\0b", 3)));
    assert_false(str_eq(STR("a\0b"), str_of("a\0c", 3)));
    assert_true(str_ieq(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_ieq(STR("@"), STR("`"))); /* differ by 0x20, but aren't letters */
    assert_false(str_ieq(STR("\xc4"), STR("\xe4")));
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR_NULL, STR("")), 0);
    assert_true(str_icmp(STR("ABC"), STR("abd")) < 0);
    assert_int_equal(str_icmp(STR("ABC"), STR("abc")), 0);
    assert_true(str_icmp(STR("a\xff"), STR("Ab")) > 0);
}

static void prefixes_and_suffixes(void **state)
{
    (void)state;
    assert_true(str_starts(STR("RCPT TO"), STR("RCPT")));
    assert_false(str_starts(STR("RCP"), STR("RCPT")));
    assert_true(str_starts(STR_NULL, STR("")));
    assert_true(str_istarts(STR("rcpt to"), STR("RCPT")));
    assert_false(str_istarts(STR("rcp"), STR("RCPT")));
    assert_true(str_ends(STR("a.eml"), STR(".eml")));
    assert_false(str_ends(STR("eml"), STR(".eml")));
    assert_true(str_iends(STR("a.EML"), STR(".eml")));
    assert_false(str_iends(STR("a.EML"), STR("b.EML")));
}

static void takes_apart(void **state)
{
    (void)state;
    struct str head, rest;
    assert_true(str_eq(str_trim(STR(" \t\r\na b\r\n")), STR("a b")));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
    assert_true(str_cut(STR("k=v=w"), '=', &head, &rest));
    assert_true(str_eq(head, STR("k")) && str_eq(rest, STR("v=w")));
    assert_false(str_cut(STR("kv"), '=', &head, &rest));
    assert_true(str_eq(head, STR("kv")) && rest.n == 0);
    assert_true(str_cut(STR("k="), '=', &head, &rest));
    assert_true(str_eq(head, STR("k")) && rest.n == 0);
    assert_false(str_cut(STR_NULL, '=', &head, &rest));
    assert_int_equal(str_skip(STR("abc"), 5).n, 0);
    assert_int_equal(str_skip(STR_NULL, 1).n, 0);
    assert_true(str_eq(str_take(STR("abc"), 2), STR("ab")));
    assert_int_equal(str_take(STR("abc"), 9).n, 3);
}

static void finds(void **state)
{
    (void)state;
    size_t at = 99;
    assert_true(str_find(STR("one two two"), STR("two"), &at));
    assert_int_equal(at, 4);
    assert_true(str_find(STR("x"), STR(""), &at));
    assert_int_equal(at, 0);
    assert_false(str_find(STR("tw"), STR("two"), NULL));
    assert_false(str_find(STR_NULL, STR("a"), NULL));
    assert_true(str_ifind(STR("a BOUNDARY=x"), STR("boundary"), &at));
    assert_int_equal(at, 2);
    assert_true(str_ifind(STR("xxAb"), STR("aB"), &at));
    assert_int_equal(at, 2);
    assert_false(str_ifind(STR("xxA"), STR("ab"), &at));
    assert_true(str_chr(STR("a@b@c"), '@', &at));
    assert_int_equal(at, 1);
    assert_true(str_rchr(STR("a@b@c"), '@', &at));
    assert_int_equal(at, 3);
    assert_false(str_rchr(STR_NULL, '@', &at));
}

static void numbers(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &v), -1);
    assert_int_equal(str_to_u64(STR("99999999999999999999"), UINT64_MAX, &v), -1);
    assert_int_equal(str_to_u64(STR("007"), 7, &v), 0);
    assert_int_equal(v, 7);
    static const char *const bad[] = {"", "8", "+1", "-1", " 1", "1 ", "0x1", "1a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_to_u64(str_from(bad[i]), 7, &v), -1);
}

static void a_hash_to_write_down(void **state)
{
    (void)state;
    assert_true(str_hash_fixed(STR("")) == 0xcbf29ce484222325);
    assert_true(str_hash_fixed(STR("foobar")) == 0x85944171f73967e8);
}

static void copies_and_hashes(void **state)
{
    (void)state;
    char *z = str_dup_z(str_take(STR("hello"), 4));
    assert_string_equal(z, "hell");
    mem_free(z);
    z = str_dup_z(STR_NULL);
    assert_string_equal(z, "");
    mem_free(z);

    /* every length counts, and every byte */
    char bytes[24] = {0};
    for (size_t n = 0; n < sizeof bytes; n++) {
        assert_true(str_hash(str_of(bytes, n)) == str_hash(str_of(bytes, n)));
        assert_true(str_hash_fixed(str_of(bytes, n)) != str_hash_fixed(str_of(bytes, n + 1)));
        assert_true(str_hash(str_of(bytes, n)) != str_hash(str_of(bytes, n + 1)));
        uint64_t before = str_hash(str_of(bytes, sizeof bytes));
        bytes[n] = 1;
        assert_true(str_hash(str_of(bytes, sizeof bytes)) != before);
        bytes[n] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(takes_apart),
        cmocka_unit_test(finds),
        cmocka_unit_test(numbers),
        cmocka_unit_test(copies_and_hashes),
        cmocka_unit_test(a_hash_to_write_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
