/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/queue/schedule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct schedule normal = {
    .min_backoff = 300000, .max_backoff = 4000000, .delay_warning = 4 * 3600000};

static struct schedule_row row(int64_t now, uint32_t tries)
{
    return (struct schedule_row){
        .now_ms = now, .since_ms = 0, .expires_ms = 432000000, .tries = tries};
}

static void test_doubles(void **state)
{
    static const int64_t want[] = {300000, 600000, 1200000, 2400000, 4000000, 4000000};
    (void)state;
    for (uint32_t i = 0; i < 6; i++)
        for (uint64_t random = 0; random < 2000000; random += 99991) {
            struct schedule_row r = row(1000, i);
            int64_t wait = schedule_next(&normal, &r, 0, random) - 1000;
            assert_true(wait >= want[i] - want[i] / 10 && wait <= want[i] + want[i] / 10);
        }
    struct schedule_row many = row(1000, UINT32_MAX);
    assert_true(schedule_next(&normal, &many, 0, 0) > 3000000);
}

static void test_jitter(void **state)
{
    struct schedule_row r = row(0, 0);
    (void)state;
    assert_int_equal(schedule_next(&normal, &r, 0, 0), 270000);
    assert_int_equal(schedule_next(&normal, &r, 0, 60000), 330000);
    assert_int_equal(schedule_next(&normal, &r, 0, 60001), 270000);
}

static void test_last_try(void **state)
{
    struct schedule_row r = row(432000000 - 1000, 9);
    (void)state;
    assert_int_equal(schedule_next(&normal, &r, 0, 0), 432000000);
    r.now_ms = 432000000;
    assert_int_equal(schedule_next(&normal, &r, 0, 0), 0);
    r = (struct schedule_row){.now_ms = 50, .since_ms = 50, .expires_ms = 50}; /* lifetime 0 */
    assert_int_equal(schedule_next(&normal, &r, 0, 0), 0);
}

static void test_rest(void **state)
{
    struct schedule_row r = row(0, 0);
    (void)state;
    assert_int_equal(schedule_next(&normal, &r, 3600000, 0), 3600000);
    assert_int_equal(schedule_next(&normal, &r, 1000, 0), 270000);
    assert_int_equal(schedule_next(&normal, &r, 500000000, 0), 432000000);
}

static void test_odd_settings(void **state)
{
    struct schedule s = {.min_backoff = 5000, .max_backoff = 1000};
    struct schedule_row r = row(0, 3);
    (void)state;
    assert_int_equal(schedule_next(&s, &r, 0, 100), 1000);
    s = (struct schedule){0};
    assert_int_equal(schedule_next(&s, &r, 0, 77), 0); /* at once, that is */
}

static void test_warning(void **state)
{
    struct schedule off = normal;
    struct schedule_row r = row(4 * 3600000 - 1, 9);
    (void)state;
    assert_false(schedule_warns(&normal, &r));
    r.now_ms++;
    assert_true(schedule_warns(&normal, &r));
    off.delay_warning = 0;
    assert_false(schedule_warns(&off, &r));
    r.warned = true;
    assert_false(schedule_warns(&normal, &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles),  cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_last_try), cmocka_unit_test(test_rest),
        cmocka_unit_test(test_warning),  cmocka_unit_test(test_odd_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
