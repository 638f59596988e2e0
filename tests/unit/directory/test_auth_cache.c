/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/auth_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define KARL STR("karl@example.com")

static void remembers_exactly(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 0, 10);
    (void)state;
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 0));
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 0);
    assert_true(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 0));
    assert_false(auth_cache_knows(c, KARL, STR("pasS"), STR("hash"), 0));
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash2"), 0));
    assert_false(auth_cache_knows(c, STR("vivita@example.com"), STR("pass"), STR("hash"), 0));
    /* where one part ends and the next begins counts */
    assert_false(auth_cache_knows(c, KARL, STR("passh"), STR("ash"), 0));
    assert_false(auth_cache_knows(c, KARL, STR(""), STR("passhash"), 0));
    auth_cache_free(&c);
    assert_null(c);
}

static void expires(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 0, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 5000);
    assert_true(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 5999));
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 6000));
    assert_int_equal(auth_cache_count(c), 0);
    auth_cache_free(&c);
}

static void off(void **state)
{
    struct auth_cache *c = auth_cache_new(0, 0, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 0);
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 0));
    auth_cache_free(&c);
}

static void one_entry_an_account(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 0, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("old"), STR("hash"), false, 7, 0);
    auth_cache_add(c, KARL, STR("new"), STR("hash2"), false, 7, 1);
    assert_int_equal(auth_cache_count(c), 1);
    assert_false(auth_cache_knows(c, KARL, STR("old"), STR("hash"), 1));
    assert_true(auth_cache_knows(c, KARL, STR("new"), STR("hash2"), 1));
    auth_cache_free(&c);
}

static void app_passwords(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 0, 10);
    char word[16];
    (void)state;
    auth_cache_add(c, KARL, STR("main"), STR("hash"), false, 0, 0);
    for (int i = 0; i < 9; i++) {
        snprintf(word, sizeof word, "app%d", i);
        auth_cache_add(c, KARL, str_from(word), STR("row"), true, 0, (uint64_t)i);
    }
    assert_int_equal(auth_cache_count(c), 1);
    assert_true(auth_cache_knows(c, KARL, STR("main"), STR("hash"), 9)); /* stays beside them */
    assert_true(auth_cache_knows(c, KARL, STR("app8"), STR("row"), 9));
    assert_true(auth_cache_knows(c, KARL, STR("app4"), STR("row"), 9));
    assert_false(auth_cache_knows(c, KARL, STR("app0"), STR("row"), 9));
    auth_cache_add(c, KARL, STR("new"), STR("hash2"), false, 0, 10);
    assert_false(auth_cache_knows(c, KARL, STR("main"), STR("hash"), 10));
    assert_true(auth_cache_knows(c, KARL, STR("app8"), STR("row"), 10));
    auth_cache_free(&c);
}

static void stale(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 5000, 10);
    uint64_t quota = 0;
    (void)state;
    assert_false(auth_cache_recent(c, KARL, 0));
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 0);
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 1000));
    assert_true(auth_cache_recent(c, KARL, 1000));
    assert_true(auth_cache_stale(c, KARL, STR("pass"), &quota, 4999));
    assert_int_equal(quota, 7);
    assert_false(auth_cache_stale(c, KARL, STR("Pass"), &quota, 10));
    assert_false(auth_cache_stale(c, STR("x@example.com"), STR("pass"), &quota, 10));
    assert_false(auth_cache_stale(c, KARL, STR("pass"), &quota, 5000));
    /* A password that was seen to be changed isn't good any more, away or not. */
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 6000);
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash2"), 6001));
    assert_false(auth_cache_stale(c, KARL, STR("pass"), &quota, 6001));
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), false, 7, 6000);
    auth_cache_add(c, STR("vivita@example.com"), STR("pass"), STR("hash"), false, 7, 6000);
    auth_cache_add(c, STR("karl@example.net"), STR("pass"), STR("hash"), false, 7, 6000);
    auth_cache_forget(c, KARL);
    assert_false(auth_cache_stale(c, KARL, STR("pass"), &quota, 6001));
    auth_cache_forget(c, STR("@example.com"));
    assert_int_equal(auth_cache_count(c), 1);
    auth_cache_free(&c);
}

static void bounded(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 0, 100);
    char account[32];
    (void)state;
    for (int i = 0; i < 250; i++) {
        snprintf(account, sizeof account, "u%d@example.com", i);
        auth_cache_add(c, str_from(account), STR("pass"), STR("hash"), false, 7, (uint64_t)i);
    }
    assert_int_equal(auth_cache_count(c), 100);
    assert_false(auth_cache_knows(c, STR("u149@example.com"), STR("pass"), STR("hash"), 250));
    assert_true(auth_cache_knows(c, STR("u150@example.com"), STR("pass"), STR("hash"), 250));
    auth_cache_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_exactly),
        cmocka_unit_test(expires),
        cmocka_unit_test(off),
        cmocka_unit_test(one_entry_an_account),
        cmocka_unit_test(bounded),
        cmocka_unit_test(app_passwords),
        cmocka_unit_test(stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
