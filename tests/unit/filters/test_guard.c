/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/client.h"
#include "filters/guard.h"
#include "tests/unit/store/bed.h"

static struct bed *bed;
static struct guard *guard;
static struct guard_conf conf;
static struct guard_text why;
static _Atomic uint64_t mono; /* threads of the store look at it */
static _Atomic int64_t wall;
static unsigned told;

static uint64_t now_mono(void)
{
    return mono;
}

static int64_t now_wall(void)
{
    return wall;
}

static void pass(uint64_t ms)
{
    mono += ms;
    wall += (int64_t)ms;
}

static const struct clock_source source = {now_mono, now_wall};

static void open_guard(void)
{
    const struct guard_env env = {.loop = bed->loop, .store = bed->store, .conf = &conf};
    struct err err;
    if (guard_open(&env, &guard, &err))
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    mono = 1000000;
    wall = 1800000000000;
    told = 0;
    clock_replace(&source);
    bed = bed_new();
    assert_int_equal(settings_defaults(guard_settings, &conf, &err), 0);
    conf.ban_logins = 5;
    open_guard();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guard_close(&guard);
    settings_free(guard_settings, &conf);
    bed_free(&bed);
    clock_replace(NULL);
    return 0;
}

static void restart(void)
{
    guard_close(&guard);
    bed_reopen(bed);
    open_guard();
}

static enum guard_verdict try(const char *ip, bool logins)
{
    struct guard_client c;
    enum guard_verdict v = guard_connect(guard, &c, ip, logins, &why);
    guard_leave(&c);
    return v;
}

static uint64_t wrong(const char *ip, const char *account)
{
    struct guard_client c;
    assert_int_equal(guard_connect(guard, &c, ip, true, &why), GUARD_OK);
    assert_true(guard_login_ask(&c, str_from(account), &why));
    uint64_t ms = guard_login_failed(&c, str_from(account));
    guard_leave(&c);
    return ms;
}

static bool may_try(const char *ip, const char *account)
{
    struct guard_client c;
    assert_int_equal(guard_connect(guard, &c, ip, true, &why), GUARD_OK);
    bool yes = guard_login_ask(&c, str_from(account), &why);
    if (yes)
        guard_login_undecided(&c, str_from(account));
    guard_leave(&c);
    return yes;
}

static void right(const char *ip, const char *account)
{
    struct guard_client c;
    assert_int_equal(guard_connect(guard, &c, ip, true, &why), GUARD_OK);
    assert_true(guard_login_ask(&c, str_from(account), &why));
    guard_login_ok(&c, str_from(account), str_from(account));
    guard_leave(&c);
}

static void ban_by_failures(const char *ip)
{
    for (int i = 0; i < 5; i++)
        wrong(ip, "nobody@example.com");
}

/* ---- */

static void no_guard_refuses_nothing(void **state)
{
    (void)state;
    struct guard_client c;
    assert_int_equal(guard_connect(NULL, &c, "192.0.2.1", true, &why), GUARD_OK);
    assert_true(guard_login_ask(&c, STR("a@example.com"), &why));
    assert_int_equal(guard_login_failed(&c, STR("a@example.com")), 0);
    guard_fault(&c, GUARD_ERROR);
    assert_false(guard_is_banned(&c));
    guard_leave(&c);
}

static void counts_connections_before_a_login(void **state)
{
    (void)state;
    struct guard_client c[6], other;
    conf.address_connections = 5;
    for (int i = 0; i < 5; i++)
        assert_int_equal(guard_connect(guard, &c[i], "192.0.2.1", true, &why), GUARD_OK);
    assert_int_equal(guard_connect(guard, &c[5], "192.0.2.1", true, &why), GUARD_CROWDED);
    assert_int_equal(guard_connect(guard, &other, "192.0.2.2", true, &why), GUARD_OK);
    guard_leave(&other);
    assert_true(guard_login_ask(&c[0], STR("a@example.com"), &why));
    guard_login_ok(&c[0], STR("a@example.com"), STR("a@example.com"));
    assert_int_equal(guard_connect(guard, &c[5], "192.0.2.1", true, &why), GUARD_OK);
    for (int i = 0; i < 6; i++)
        guard_leave(&c[i]);
    guard_leave(&c[0]); /* again is harmless */
    struct guard_stats stats;
    guard_stats(guard, &stats);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.refused_crowded, 1);
}

static void counts_networks_and_ipv6_hosts(void **state)
{
    (void)state;
    struct guard_client c[8];
    char ip[64];
    conf.network_connections = 6;
    conf.address_connections = 5;
    for (int i = 0; i < 6; i++) {
        snprintf(ip, sizeof ip, "192.0.2.%d", i + 1);
        assert_int_equal(guard_connect(guard, &c[i], ip, true, &why), GUARD_OK);
    }
    assert_int_equal(try("192.0.2.77", true), GUARD_CROWDED);
    assert_int_equal(try("192.0.3.77", true), GUARD_OK);
    for (int i = 0; i < 6; i++)
        guard_leave(&c[i]);
    for (int i = 0; i < 5; i++) {
        snprintf(ip, sizeof ip, "2001:db8::%d", i + 1);
        assert_int_equal(guard_connect(guard, &c[i], ip, true, &why), GUARD_OK);
    }
    assert_int_equal(try("2001:db8::ffff", true), GUARD_CROWDED);
    for (int i = 0; i < 5; i++)
        guard_leave(&c[i]);
}

static void a_flood_leaves_room(void **state)
{
    (void)state;
    struct guard_client c[75], trusted[30];
    conf.connections = 100;
    for (int i = 0; i < 75; i++)
        assert_int_equal(guard_connect(guard, &c[i], "192.0.2.1", true, &why), GUARD_OK);
    assert_true(guard_pressed(guard));
    assert_int_equal(try("192.0.2.1", true), GUARD_CROWDED);
    assert_int_equal(try("198.51.100.1", true), GUARD_OK);
    right("203.0.113.1", "karl@example.com");
    for (int i = 0; i < 13; i++)
        assert_int_equal(guard_connect(guard, &trusted[i], "127.0.0.1", true, &why), GUARD_OK);
    assert_int_equal(try("198.51.100.1", true), GUARD_FULL);
    assert_int_equal(try("203.0.113.2", true), GUARD_OK); /* of a network of our users */
    for (int i = 13; i < 30; i++)
        assert_int_equal(guard_connect(guard, &trusted[i], "127.0.0.1", true, &why), GUARD_OK);
    assert_int_equal(try("203.0.113.2", true), GUARD_FULL);
    assert_int_equal(try("198.51.100.1", true), GUARD_FULL);
    for (int i = 0; i < 75; i++)
        guard_leave(&c[i]);
    for (int i = 0; i < 30; i++)
        guard_leave(&trusted[i]);
    assert_false(guard_pressed(guard));
}

static void answers_to_failures_come_later_and_later(void **state)
{
    (void)state;
    static const uint64_t want[] = {1000, 2000, 4000, 8000, 15000};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(wrong("192.0.2.1", "a@example.com"), want[i]);
    assert_int_equal(wrong("192.0.2.2", "a@example.com"), 1000);
}

static void failures_ban_and_the_next_ban_is_longer(void **state)
{
    (void)state;
    ban_by_failures("192.0.2.1");
    assert_int_equal(try("192.0.2.1", true), GUARD_BANNED);
    assert_non_null(strstr(why.z, "192.0.2.1 is blocked for another 10 minutes"));
    assert_int_equal(try("192.0.2.2", true), GUARD_OK);
    pass(10 * 60 * 1000 - 1);
    assert_int_equal(try("192.0.2.1", true), GUARD_BANNED);
    pass(1);
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
    ban_by_failures("192.0.2.1");
    pass(39 * 60 * 1000);
    assert_int_equal(try("192.0.2.1", true), GUARD_BANNED);
    pass(60 * 1000);
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
    pass(8LL * 24 * 3600 * 1000); /* forgotten */
    ban_by_failures("192.0.2.1");
    pass(10 * 60 * 1000);
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
}

static void slow_failures_do_not_ban(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        wrong("192.0.2.1", "a@example.com");
        pass(7 * 60 * 1000); /* five in half an hour would ban */
    }
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
}

static void a_known_pair_has_as_many_tries_at_once_as_tokens(void **state)
{
    (void)state;
    struct guard_client c[6];
    conf.pair_logins = 5;
    right("192.0.2.1", "a@example.com");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(guard_connect(guard, &c[i], "192.0.2.1", true, &why), GUARD_OK);
        assert_int_equal(guard_login_ask(&c[i], STR("a@example.com"), &why), i < 5);
    }
    for (int i = 0; i < 4; i++)
        guard_login_undecided(&c[i], STR("a@example.com"));
    guard_login_ok(&c[4], STR("a@example.com"), STR("a@example.com"));
    for (int i = 0; i < 6; i++)
        guard_leave(&c[i]);
    assert_true(may_try("192.0.2.1", "b@example.com"));
}

static void many_users_come_at_once(void **state)
{
    (void)state;
    struct guard_client c[80];
    char name[32];
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof name, "u%d@example.com", i);
        assert_int_equal(guard_connect(guard, &c[i], "192.0.2.1", true, &why), GUARD_OK);
        assert_true(guard_login_ask(&c[i], str_from(name), &why));
    }
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof name, "u%d@example.com", i);
        guard_login_ok(&c[i], str_from(name), str_from(name));
        guard_leave(&c[i]);
    }
}

static void a_known_pair_is_slowed_and_never_banned(void **state)
{
    (void)state;
    right("192.0.2.1", "karl@example.com");
    unsigned tried = 0;
    for (int i = 0; i < 200 && may_try("192.0.2.9", "Karl@Example.com"); i++, tried++)
        assert_true(wrong("192.0.2.9", "Karl@Example.com") <= 15000);
    assert_int_equal(tried, 120); /* an hour */
    assert_int_equal(try("192.0.2.9", true), GUARD_OK);
    assert_int_equal(try("192.0.2.9", false), GUARD_OK); /* and no ban at all */
    pass(60 * 1000);
    right("192.0.2.9", "karl@example.com"); /* the next one after half a minute */
    assert_true(may_try("192.0.2.1", "karl@example.com"));
}

static void a_ban_leaves_known_pairs_of_the_network_in(void **state)
{
    (void)state;
    right("192.0.2.1", "karl@example.com");
    ban_by_failures("192.0.2.1");
    assert_int_equal(try("192.0.2.1", false), GUARD_BANNED); /* where nobody logs in */
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
    assert_true(may_try("192.0.2.1", "karl@example.com"));
    assert_false(may_try("192.0.2.1", "nobody@example.com"));
    assert_true(may_try("192.0.2.2", "nobody@example.com")); /* a neighbour isn't banned */
    right("192.0.2.1", "karl@example.com");
    restart();
    assert_true(may_try("192.0.2.1", "karl@example.com"));
    assert_false(may_try("192.0.2.1", "nobody@example.com"));
}

static void the_administrator_bans_everybody(void **state)
{
    (void)state;
    struct cidr net;
    struct err err;
    right("192.0.2.1", "karl@example.com");
    assert_int_equal(client_net_parse(STR("192.0.2.0/28"), &net, &err), 0);
    assert_int_equal(guard_ban_add(guard, &net, 0, STR("spam \n wave"), &err), 0);
    assert_int_equal(try("192.0.2.1", true), GUARD_BANNED);
    assert_int_equal(try("192.0.2.15", true), GUARD_BANNED);
    assert_int_equal(try("192.0.2.16", true), GUARD_OK);
    restart();
    assert_int_equal(try("192.0.2.15", true), GUARD_BANNED);
    assert_true(guard_ban_remove(guard, &net));
    assert_false(guard_ban_remove(guard, &net));
    assert_int_equal(try("192.0.2.1", true), GUARD_OK);
    restart();
    assert_int_equal(try("192.0.2.15", true), GUARD_OK);
    assert_int_equal(client_net_parse(STR("0.0.0.0/0"), &net, &err), 0);
    assert_int_equal(guard_ban_add(guard, &net, 0, STR(""), &err), -1);
    assert_int_equal(client_net_parse(STR("::/8"), &net, &err), 0);
    assert_int_equal(guard_ban_add(guard, &net, 0, STR(""), &err), -1);
}

static void a_restart_keeps_bans_and_how_often(void **state)
{
    (void)state;
    ban_by_failures("2001:db8::1");
    restart();
    assert_int_equal(try("2001:db8::ffff", true), GUARD_BANNED); /* its /64 */
    pass(10 * 60 * 1000);
    assert_int_equal(try("2001:db8::1", true), GUARD_OK);
    restart();
    ban_by_failures("2001:db8::1");
    pass(11 * 60 * 1000);
    assert_int_equal(try("2001:db8::1", true), GUARD_BANNED);
}

static void other_faults(void **state)
{
    (void)state;
    struct guard_client c, known;
    conf.ban_recipients = 10;
    conf.ban_errors = 20;
    assert_int_equal(guard_connect(guard, &known, "198.51.100.1", true, &why), GUARD_OK);
    assert_true(guard_login_ask(&known, STR("karl@example.com"), &why));
    guard_login_ok(&known, STR("karl@example.com"), STR("karl@example.com"));
    assert_int_equal(guard_connect(guard, &c, "192.0.2.1", false, &why), GUARD_OK);
    for (int i = 0; i < 9; i++)
        guard_fault(&c, GUARD_UNKNOWN_RECIPIENT);
    for (int i = 0; i < 19; i++)
        guard_fault(&c, GUARD_ERROR);
    for (int i = 0; i < 100; i++)
        guard_fault(&known, GUARD_ERROR); /* whoever is logged in */
    assert_false(guard_is_banned(&c));
    guard_fault(&c, GUARD_UNKNOWN_RECIPIENT);
    assert_true(guard_is_banned(&c));
    assert_false(guard_is_banned(&known));
    guard_leave(&c);
    guard_leave(&known);
    assert_int_equal(try("192.0.2.1", false), GUARD_BANNED);
}

static void trusted_networks_are_left_alone(void **state)
{
    (void)state;
    struct cidr net;
    struct err err;
    struct guard_client c[200];
    conf.address_connections = 5;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(guard_connect(guard, &c[i], i % 2 ? "::1" : "127.0.0.1", true, &why),
                         GUARD_OK);
        assert_true(guard_trusts(&c[i]));
        assert_true(guard_login_ask(&c[i], STR("a@example.com"), &why));
        assert_int_equal(guard_login_failed(&c[i], STR("a@example.com")), 0);
    }
    assert_int_equal(client_net_parse(STR("127.0.0.1"), &net, &err), 0);
    assert_int_equal(guard_ban_add(guard, &net, 1000, STR(""), &err), 0);
    assert_false(guard_is_banned(&c[0]));
    for (int i = 0; i < 200; i++)
        guard_leave(&c[i]);
    assert_int_equal(try("127.0.0.1", false), GUARD_OK);
    struct guard_conf other = conf;
    other.trusted = "10.0.0.0/8";
    assert_int_equal(guard_set_conf(guard, &other, NULL, &err), 0);
    assert_int_equal(try("127.0.0.1", false), GUARD_BANNED);
    assert_int_equal(guard_trusts_net(guard, &net), GUARD_TRUSTS_NONE);
    assert_int_equal(client_net_parse(STR("10.0.0.0/8"), &net, &err), 0);
    assert_int_equal(guard_trusts_net(guard, &net), GUARD_TRUSTS_ALL);
    assert_int_equal(client_net_parse(STR("10.1.2.3"), &net, &err), 0);
    assert_int_equal(guard_trusts_net(guard, &net), GUARD_TRUSTS_ALL);
    net = client_mask(net.address, 96 + 7);
    assert_int_equal(guard_trusts_net(guard, &net), GUARD_TRUSTS_SOME);
    other.trusted = "somewhere";
    assert_int_equal(guard_set_conf(guard, &other, NULL, &err), -1);
    assert_non_null(strstr(err.text, "guard.trusted"));
    assert_int_equal(guard_set_conf(guard, &conf, NULL, &err), 0);
}

static void on_ban(struct guard_watch *w)
{
    (void)w;
    told++;
}

static void watchers_are_told_later(void **state)
{
    (void)state;
    struct guard_watch w = {.on_ban = on_ban};
    guard_watch_add(guard, &w);
    ban_by_failures("192.0.2.1");
    assert_int_equal(told, 0);
    bed_turn(bed);
    bed_turn(bed);
    assert_int_equal(told, 1);
    guard_watch_del(&w);
}

static void count(void *ctx, const struct guard_ban *b)
{
    assert_string_equal(b->reason, "failed logins");
    ++*(unsigned *)ctx;
}

static void a_flood_of_bans_and_pairs_is_bounded(void **state)
{
    (void)state;
    char ip[64], account[64];
    unsigned n = 0;
    conf.ban_logins = 1;
    for (unsigned i = 0; i < 12000; i++) {
        snprintf(ip, sizeof ip, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        wrong(ip, "a@example.com");
    }
    guard_ban_each(guard, count, &n);
    assert_int_equal(n, 10000);
    for (unsigned i = 0; i < 52000; i++) {
        snprintf(account, sizeof account, "a%u@example.com", i);
        snprintf(ip, sizeof ip, "11.%u.%u.1", i >> 8, i & 255);
        right(ip, account);
    }
    struct guard_stats stats;
    guard_stats(guard, &stats);
    assert_int_equal(stats.pairs, 50000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
/* ---- Two nodes on one database. */

static void bans_of_others(void **state)
{
    (void)state;
    struct guard_conf other_conf = {0};
    struct bed *a, *b;
    struct guard *ga, *gb;
    struct guard_client here = {0}, there = {0};
    struct guard_text text;
    struct cidr net;
    struct err err;

    assert_int_equal(settings_defaults(guard_settings, &other_conf, &err), 0);
    a = bed_new_node(NULL);
    b = bed_new_node(a);
    const struct guard_env ea = {.loop = a->loop, .store = a->store, .conf = &other_conf};
    const struct guard_env eb = {.loop = b->loop, .store = b->store, .conf = &other_conf};
    assert_int_equal(guard_open(&ea, &ga, &err), 0);
    assert_int_equal(guard_open(&eb, &gb, &err), 0);
    assert_int_equal(client_net_parse(STR("203.0.113.9"), &net, &err), 0);
    assert_int_equal(guard_ban_add(ga, &net, 3600000, STR("test"), &err), 0);
    while (guard_check(gb, "203.0.113.9", false, &text) != GUARD_BANNED) {
        bed_turn(a);
        bed_turn(b);
    }
    assert_true(guard_ban_remove(ga, &net));
    while (guard_check(gb, "203.0.113.9", false, &text) != GUARD_OK) {
        bed_turn(a);
        bed_turn(b);
    }
    assert_int_equal(guard_check(ga, "203.0.113.9", false, &text), GUARD_OK);
    /* From where an account has logged in, too. */
    assert_int_equal(guard_connect(gb, &there, "198.51.100.9", true, &text), GUARD_OK);
    assert_true(guard_login_ask(&there, STR("ann@example.org"), &text));
    guard_login_ok(&there, STR("ann@example.org"), STR("ann@example.org"));
    guard_leave(&there);
    assert_int_equal(guard_connect(ga, &here, "198.51.100.10", true, &text), GUARD_OK);
    while (!guard_login_known(&here, STR("ann@example.org"))) {
        bed_turn(a);
        bed_turn(b);
    }
    guard_leave(&here);
    guard_close(&gb);
    guard_close(&ga);
    bed_free(&b);
    bed_free(&a);
    settings_free(guard_settings, &other_conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_guard_refuses_nothing),
        cmocka_unit_test(bans_of_others),
        TEST(counts_connections_before_a_login),
        TEST(counts_networks_and_ipv6_hosts),
        TEST(a_flood_leaves_room),
        TEST(answers_to_failures_come_later_and_later),
        TEST(failures_ban_and_the_next_ban_is_longer),
        TEST(slow_failures_do_not_ban),
        TEST(a_known_pair_has_as_many_tries_at_once_as_tokens),
        TEST(many_users_come_at_once),
        TEST(a_known_pair_is_slowed_and_never_banned),
        TEST(a_ban_leaves_known_pairs_of_the_network_in),
        TEST(the_administrator_bans_everybody),
        TEST(a_restart_keeps_bans_and_how_often),
        TEST(other_faults),
        TEST(trusted_networks_are_left_alone),
        TEST(watchers_are_told_later),
        TEST(a_flood_of_bans_and_pairs_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
