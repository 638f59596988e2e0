/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "filters/bucket.h"
#include "filters/client.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct bucket_rate ten_a_second = {10, 1000};
static struct bucket_table *table;

static int set_up(void **state)
{
    (void)state;
    table = bucket_table_new(64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bucket_table_free(&table);
    return 0;
}

static void gives_what_it_holds_and_then_at_its_rate(void **state)
{
    (void)state;
    uint64_t now = 5000;
    for (int i = 0; i < 10; i++)
        assert_true(bucket_take(table, 1, &ten_a_second, 1, now));
    assert_false(bucket_take(table, 1, &ten_a_second, 1, now));
    assert_int_equal(bucket_wait(table, 1, &ten_a_second, 1, now), 100);
    assert_int_equal(bucket_used(table, 1, &ten_a_second, now), 10);
    assert_false(bucket_take(table, 1, &ten_a_second, 1, now + 99));
    assert_true(bucket_take(table, 1, &ten_a_second, 1, now + 100));
    assert_false(bucket_take(table, 1, &ten_a_second, 1, now + 100));
    assert_true(bucket_take(table, 2, &ten_a_second, 1, now)); /* another one has its own */
    unsigned taken = 0;
    for (uint64_t t = now + 101; t <= now + 10100; t++)
        taken += bucket_take(table, 1, &ten_a_second, 1, t);
    assert_int_equal(taken, 100);
}

static void takes_all_or_nothing(void **state)
{
    (void)state;
    assert_true(bucket_take(table, 1, &ten_a_second, 8, 0));
    assert_false(bucket_take(table, 1, &ten_a_second, 3, 0));
    assert_int_equal(bucket_used(table, 1, &ten_a_second, 0), 8);
    assert_true(bucket_take(table, 1, &ten_a_second, 2, 0));
    bucket_give(table, 1, &ten_a_second, 5, 0);
    assert_int_equal(bucket_used(table, 1, &ten_a_second, 0), 5);
    bucket_give(table, 1, &ten_a_second, 50, 0);
    assert_int_equal(bucket_table_count(table), 0);
    assert_true(bucket_take(table, 1, &ten_a_second, 1000, 0)); /* as much as it can ever give */
    assert_int_equal(bucket_wait(table, 1, &ten_a_second, 1000, 0), 1000);
    bucket_fill(table, 1);
    assert_int_equal(bucket_used(table, 1, &ten_a_second, 0), 0);
}

static void no_limit_takes_no_place(void **state)
{
    (void)state;
    const struct bucket_rate none = {0, 1000};
    assert_true(bucket_take(table, 1, &none, 1, 0));
    assert_int_equal(bucket_wait(table, 1, &none, 5, 0), 0);
    assert_int_equal(bucket_table_count(table), 0);
}

static void a_changed_rate_holds_at_once(void **state)
{
    (void)state;
    const struct bucket_rate two = {2, 1000};
    assert_true(bucket_take(table, 1, &ten_a_second, 10, 0));
    assert_int_equal(bucket_wait(table, 1, &two, 1, 0), 500);
    assert_true(bucket_take(table, 1, &two, 1, 500));
}

static void a_flood_of_keys_stays_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100000; i++)
        bucket_take(table, bucket_key(1, &i, sizeof i), &ten_a_second, 10, 0);
    assert_int_equal(bucket_table_count(table), 64);
    uint64_t last = 99999, first = 0;
    assert_false(bucket_take(table, bucket_key(1, &last, sizeof last), &ten_a_second, 1, 0));
    assert_true(bucket_take(table, bucket_key(1, &first, sizeof first), &ten_a_second, 1, 0));
}

static void who_is_in_use_is_not_forgotten(void **state)
{
    (void)state;
    const struct bucket_rate hourly = {1000, 3600000};
    bucket_take(table, 7, &hourly, 1000, 0);
    for (uint64_t i = 100; i < 1000; i++) {
        bucket_take(table, bucket_key(1, &i, sizeof i), &hourly, 1, 1);
        bucket_give(table, 7, &hourly, 1, 1);
        assert_true(bucket_take(table, 7, &hourly, 1, 1));
    }
    assert_int_equal(bucket_used(table, 7, &hourly, 1), 1000);
}

static void what_is_full_again_makes_room_first(void **state)
{
    (void)state;
    struct bucket_table *large = bucket_table_new(1 << 16);
    for (uint64_t i = 0; i < 10000; i++)
        bucket_take(large, i + 1, &ten_a_second, 1, i * 200);
    assert_true(bucket_table_count(large) < 3);
    bucket_table_free(&large);
}

/* ---- client.h */

static const char *text_of(struct cidr net)
{
    static struct client_text text;
    text = client_text(&net);
    return text.z;
}

static void clients_and_their_networks(void **state)
{
    (void)state;
    uint8_t ip[16];
    assert_false(client_parse("", ip));
    assert_false(client_parse("192.0.2.1/24", ip));
    assert_true(client_parse("192.0.2.77", ip));
    assert_string_equal(text_of(client_host(ip)), "192.0.2.77");
    assert_string_equal(text_of(client_network(ip)), "192.0.2.0/24");
    assert_string_equal(text_of(client_mask(ip, 96 + 12)), "192.0.0.0/12");
    assert_true(client_parse("2001:db8:1:2:3:4:5:6", ip));
    assert_string_equal(text_of(client_host(ip)), "2001:db8:1:2::/64");
    assert_string_equal(text_of(client_network(ip)), "2001:db8:1:2::/64");
    assert_string_equal(text_of(client_mask(ip, 128)), "2001:db8:1:2:3:4:5:6");
}

static void networks_as_text(void **state)
{
    (void)state;
    static const char *const good[] = {"192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "2001:db8::1"};
    static const char *const bad[] = {
        "",        "192.0.2.7/24",         "192.0.2.7/33", "host.example",
        "::1/129", "192.0.2.1, 192.0.2.2", "1.2.3",        "10.0.0.0/"};
    struct cidr net;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(client_net_parse(str_from(good[i]), &net, &err), 0);
        assert_string_equal(text_of(net), good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(client_net_parse(str_from(bad[i]), &net, &err), -1);
    assert_int_equal(client_net_parse(STR("192.0.2.0/24"), &net, &err), 0);
    uint8_t ip[16];
    assert_true(client_parse("192.0.2.255", ip));
    assert_true(client_within(ip, &net));
    assert_true(client_parse("192.0.3.0", ip));
    assert_false(client_within(ip, &net));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_what_it_holds_and_then_at_its_rate, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(takes_all_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_limit_takes_no_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_rate_holds_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_of_keys_stays_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_in_use_is_not_forgotten, set_up, tear_down),
        cmocka_unit_test(what_is_full_again_makes_room_first),
        cmocka_unit_test(clients_and_their_networks),
        cmocka_unit_test(networks_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
