/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Keys and states are kept in stores: these must stay as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/import_key.h"

static void key_is(struct arena *a, struct str key, const char *want)
{
    struct str s = import_key_of(a, key);

    assert_string_equal(s.p, want);
    assert_true(s.n <= IMPORT_KEY_MAX);
}

static void test_keys(void **state)
{
    struct arena *a = arena_new(0);
    char lengthy[300];

    (void)state;
    memset(lengthy, 'x', sizeof lengthy);
    key_is(a, STR("1700.M1P2.host,S=12"), "1700.M1P2.host,S=12");
    key_is(a, STR("a b%\xe4\x01"), "a%20b%25%E4%01");
    key_is(a, str_of(lengthy, 255), arena_str(a, str_of(lengthy, 255)).p);
    struct str digest = import_key_of(a, str_of(lengthy, 256));
    assert_true(str_starts(digest, STR("%sha256-")) && digest.n == 8 + 64);
    arena_free(&a);
}

static void test_states(void **state)
{
    const struct str one[] = {{"work", 4}, {"$Later", 6}}, other[] = {{"$Later", 6}, {"work", 4}};
    struct import_message m = {.flags = 3, .keywords = one, .n_keywords = 2};
    int64_t first = import_state_of(&m);

    (void)state;
    m.keywords = other; /* the order says nothing */
    assert_true(import_state_of(&m) == first);
    m.n_keywords = 1;
    assert_true(import_state_of(&m) != first);
    m.n_keywords = 2;
    m.flags = 1;
    assert_true(import_state_of(&m) != first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys), cmocka_unit_test(test_states)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
