/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "tests/unit/filters/world.h"

static struct world w;
static uint64_t mono;

static uint64_t now_mono(void)
{
    return mono;
}

static int64_t now_wall(void)
{
    return 1800000000000 + (int64_t)mono;
}

static int set_up(void **state)
{
    static const struct clock_source source = {now_mono, now_wall};
    (void)state;
    mono = 1000000;
    clock_replace(&source);
    world_init(&w);
    w.limits = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_fini(&w);
    clock_replace(NULL);
    return 0;
}

/* One client, one point; what came of it. */
static struct chain_answer ask_view(enum ph_point at, struct ph_view view)
{
    struct chain *c = chain_new(w.filters, 1);
    if (at != PH_CONNECT && at != PH_AUTH)
        chain_transaction(c, 2);
    assert_int_equal(chain_run(c, at, &view, NULL, NULL, world_on_answer, &w), CHAIN_DONE);
    struct chain_answer a = *chain_answer(c);
    chain_free(&c);
    return a;
}

static enum ph_verdict ask(enum ph_point at, const char *ip, const char *from, const char *account)
{
    return ask_view(at, (struct ph_view){.client_ip = ip,
                                         .mail_from = from,
                                         .auth_user = account,
                                         .rcpt = "b@example.com"})
        .verdict;
}

static unsigned until_refused(enum ph_point at, const char *ip, const char *from,
                              const char *account)
{
    unsigned n = 0;
    while (n < 1000 && ask(at, ip, from, account) == PH_PASS)
        n++;
    return n;
}

static void connections(void **state)
{
    (void)state;
    world_set(&w, "limits.address_connections=10");
    world_set(&w, "limits.network_connections=15");
    world_open(&w);
    assert_int_equal(until_refused(PH_CONNECT, "192.0.2.1", "", ""), 10);
    struct chain_answer a = ask_view(PH_CONNECT, (struct ph_view){.client_ip = "192.0.2.1"});
    assert_int_equal(a.code, 421);
    assert_string_equal(a.status, "4.7.0");
    assert_string_equal(a.text, "Too many connections from your address; try again in 6 s");
    assert_int_equal(until_refused(PH_CONNECT, "192.0.2.2", "", ""), 5); /* of the network */
    assert_int_equal(until_refused(PH_CONNECT, "2001:db8::1", "", ""), 10);
    assert_int_equal(until_refused(PH_CONNECT, "2001:db8::2", "", ""), 0);
    mono += 60 * 1000;
    assert_int_equal(until_refused(PH_CONNECT, "192.0.2.1", "", ""), 10);
}

static void messages_and_recipients_of_strangers(void **state)
{
    (void)state;
    world_set(&w, "limits.address_messages=5");
    world_set(&w, "limits.network_messages=0");
    world_set(&w, "limits.domain_messages=8");
    world_set(&w, "limits.domain_recipients=3");
    world_open(&w);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.1", "a@Example.net", ""), 5);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.2", "b@example.net", ""), 3);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.2", "b@example.org", ""), 2);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.3", "", ""), 5); /* bounces have no domain */
    assert_int_equal(until_refused(PH_RCPT, "192.0.2.1", "a@example.net", ""), 3);
    struct chain_answer a =
        ask_view(PH_RCPT, (struct ph_view){.client_ip = "192.0.2.9", .mail_from = "a@example.net"});
    assert_int_equal(a.code, 450);
    assert_string_equal(a.stage, "limits");
    assert_string_equal(a.reason, "over 3 recipients an hour of this sender's domain");
}

static void whoever_logged_in_has_the_accounts_rates(void **state)
{
    (void)state;
    world_set(&w, "limits.address_messages=5");
    world_set(&w, "limits.account_messages=7");
    world_open(&w);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.1", "karl@example.com", "karl@example.com"),
                     7);
    assert_int_equal(until_refused(PH_MAIL, "198.51.100.1", "karl@example.com", "Karl@example.com"),
                     0);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.1", "x@example.com", "x@example.com"), 7);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.1", "x@example.com", ""), 5);
}

static void failed_logins(void **state)
{
    (void)state;
    struct ph_view v = {
        .client_ip = "192.0.2.1", .auth_user = "karl@example.com", .auth_failed = true};
    world_set(&w, "limits.account_logins=4");
    world_open(&w);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask_view(PH_AUTH, v).verdict, PH_PASS);
    v.client_ip = "198.51.100.1";
    assert_int_equal(ask_view(PH_AUTH, v).verdict, PH_DEFER);
    v.auth_failed = false;
    assert_int_equal(ask_view(PH_AUTH, v).verdict, PH_PASS);
}

static void a_refusal_takes_nothing(void **state)
{
    (void)state;
    world_set(&w, "limits.address_messages=5");
    world_set(&w, "limits.domain_messages=6");
    world_open(&w);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.1", "a@example.net", ""), 5);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(PH_MAIL, "192.0.2.1", "a@example.net", ""), PH_DEFER);
    assert_int_equal(until_refused(PH_MAIL, "192.0.2.2", "a@example.net", ""), 1);
}

static void trusted_clients(void **state)
{
    (void)state;
    world_set(&w, "limits.address_connections=1");
    world_open(&w);
    for (int i = 0; i < 50; i++)
        assert_int_equal(
            ask_view(PH_CONNECT, (struct ph_view){.client_ip = "127.0.0.1", .trusted = true})
                .verdict,
            PH_PASS);
}

static void the_defaults_bear_a_busy_day(void **state)
{
    (void)state;
    world_open(&w);
    for (int minute = 0; minute < 120; minute++) {
        for (int i = 0; i < 60; i++)
            assert_int_equal(ask(PH_CONNECT, "192.0.2.1", "", ""), PH_PASS);
        for (int i = 0; i < 30; i++)
            assert_int_equal(ask(PH_MAIL, "192.0.2.1", "a@example.net", ""), PH_PASS);
        for (int i = 0; i < 60; i++)
            assert_int_equal(ask(PH_RCPT, "192.0.2.1", "k@example.com", "k@example.com"), PH_PASS);
        mono += 60 * 1000;
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connections),
        TEST(messages_and_recipients_of_strangers),
        TEST(whoever_logged_in_has_the_accounts_rates),
        TEST(failed_logins),
        TEST(a_refusal_takes_nothing),
        TEST(trusted_clients),
        TEST(the_defaults_bear_a_busy_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
