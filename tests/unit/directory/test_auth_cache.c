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
    struct auth_cache *c = auth_cache_new(1000, 10);
    (void)state;
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 0));
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), 0);
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
    struct auth_cache *c = auth_cache_new(1000, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), 5000);
    assert_true(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 5999));
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 6000));
    assert_int_equal(auth_cache_count(c), 0);
    auth_cache_free(&c);
}

static void off(void **state)
{
    struct auth_cache *c = auth_cache_new(0, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("pass"), STR("hash"), 0);
    assert_false(auth_cache_knows(c, KARL, STR("pass"), STR("hash"), 0));
    auth_cache_free(&c);
}

static void one_entry_an_account(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 10);
    (void)state;
    auth_cache_add(c, KARL, STR("old"), STR("hash"), 0);
    auth_cache_add(c, KARL, STR("new"), STR("hash2"), 1);
    assert_int_equal(auth_cache_count(c), 1);
    assert_false(auth_cache_knows(c, KARL, STR("old"), STR("hash"), 1));
    assert_true(auth_cache_knows(c, KARL, STR("new"), STR("hash2"), 1));
    auth_cache_free(&c);
}

static void bounded(void **state)
{
    struct auth_cache *c = auth_cache_new(1000, 100);
    char account[32];
    (void)state;
    for (int i = 0; i < 250; i++) {
        snprintf(account, sizeof account, "u%d@example.com", i);
        auth_cache_add(c, str_from(account), STR("pass"), STR("hash"), (uint64_t)i);
    }
    assert_int_equal(auth_cache_count(c), 100);
    assert_false(auth_cache_knows(c, STR("u149@example.com"), STR("pass"), STR("hash"), 250));
    assert_true(auth_cache_knows(c, STR("u150@example.com"), STR("pass"), STR("hash"), 250));
    auth_cache_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_exactly),    cmocka_unit_test(expires), cmocka_unit_test(off),
        cmocka_unit_test(one_entry_an_account), cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
