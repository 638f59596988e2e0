/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `dnslist`: how lists are written, what they weigh, which of them are believed. */
#include "filters/dnslist_lists.h"
#include "filters/dnslist_rules.h"
#include "tests/unit/filters/stranger.h"

#define V6_CLIENT "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
#define LISTED A("\x7f\0\0\2")
static struct stub_rule rules[] = {
    /* A good list of both families, with an explanation. */
    {"2.0.0.127.good.test.", 1, STUB_ANSWER, LISTED},
    {"2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.good.test.", 1, STUB_ANSWER,
     LISTED},
    {"7.2.0.192.good.test.", 1, STUB_ANSWER, LISTED},
    {"7.2.0.192.good.test.",
     16,
     STUB_ANSWER,
     {{16, NULL, {"\x18See https://good/?\x01\xff now", 25}}}},
    {V6_CLIENT "good.test.", 1, STUB_ANSWER, LISTED},
    /* One of IPv4 alone, with several answers. */
    {"2.0.0.127.four.test.", 1, STUB_ANSWER, LISTED},
    {"7.2.0.192.four.test.",
     1,
     STUB_ANSWER,
     {{1, NULL, {"\x7f\0\0\5", 4}}, {1, NULL, {"\x7f\0\0\x0a", 4}}}},
    {V6_CLIENT "four.test.", 1, STUB_ANSWER, LISTED},
    /* One that speaks for clients. */
    {"2.0.0.127.white.test.", 1, STUB_ANSWER, A("\x7f\0\x0a\0")},
    {"8.2.0.192.white.test.", 1, STUB_ANSWER, A("\x7f\0\x0a\3")},
    /* Lists that are of no use. */
    {"2.0.0.127.all.test.", 1, STUB_ANSWER, LISTED},
    {"1.0.0.127.all.test.", 1, STUB_ANSWER, LISTED},
    {"7.2.0.192.all.test.", 1, STUB_ANSWER, LISTED},
    {"2.0.0.127.refuses.test.", 1, STUB_ANSWER, A("\x7f\xff\xff\xfe")},
    {"1.0.0.127.refuses.test.", 1, STUB_ANSWER, A("\x7f\xff\xff\xfe")},
    {"7.2.0.192.refuses.test.", 1, STUB_ANSWER, A("\x7f\xff\xff\xfe")},
    {"2.0.0.127.parked.test.", 1, STUB_ANSWER, A("\x0a\0\0\1")},
    {"1.0.0.127.parked.test.", 1, STUB_ANSWER, A("\x0a\0\0\1")},
    {"2.0.0.127.broken.test.", 0, STUB_SERVFAIL, {{0}}},
    {"1.0.0.127.broken.test.", 0, STUB_SERVFAIL, {{0}}},
    /* Good ones whose answers about clients are not. */
    {"2.0.0.127.odd.test.", 1, STUB_ANSWER, LISTED},
    {"7.2.0.192.odd.test.", 1, STUB_ANSWER, A("\x7f\xff\xff\xfe")},
    {"8.2.0.192.odd.test.", 1, STUB_ANSWER, A("\x0a\0\0\1")},
    {"9.2.0.192.odd.test.", 1, STUB_SILENT, {{0}}},
    {"10.2.0.192.odd.test.", 1, STUB_SERVFAIL, {{0}}},
    {"11.2.0.192.odd.test.", 1, STUB_ANSWER, {{5, NULL, {"\4loop\4test\0", 11}}}},
    {"loop.test.", 0, STUB_ANSWER, {{5, NULL, {"\4loop\4test\0", 11}}}},
    /* A list that the test lets recover. */
    {"2.0.0.127.late.test.", 1, STUB_HELD, LISTED},
    /* Domain names. */
    {"test.names.test.", 1, STUB_ANSWER, LISTED},
    {"evil.test.names.test.", 1, STUB_ANSWER, LISTED},
    {"evil.test.names.test.", 16, STUB_ANSWER, {{16, NULL, {"\4Evil", 5}}}},
    {.name = NULL}};

static void begin(const char *lists, const char *const *settings)
{
    char assignment[300];

    stranger_begin();
    snprintf(assignment, sizeof assignment, "dnslist.lists=%s", lists);
    world_set(&w, assignment);
    world_set(&w, "dnslist.dns_time=60s");
    world_set(&w, "dnslist.deadline=5min");
    for (; settings && *settings; settings++)
        world_set(&w, *settings);
    stranger_resolver();
    stranger_open();
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct chain_answer *from(const char *ip)
{
    view.client_ip = ip;
    world_turn(&w); /* tests of lists go on */
    stranger_again();
    return stranger_at(PH_MAIL);
}

static void wait_for_answers(void)
{
    struct resolver_stats stats;

    do {
        world_turn(&w);
        resolver_stats(w.resolver, &stats);
    } while (stats.running || stats.waiting);
}

/* The tests are over when no list says that it wasn't tested yet: the clock stands until all that
 * they asked is answered, so that none fails for want of time. What nobody answered is asked again
 * when the clock says so. */
static void settle(void)
{
    do {
        elapsed += 60000;
        from("192.0.2.200");
        wait_for_answers();
        from("192.0.2.200");
    } while (strstr(stranger_reason(), "isn't tested yet"));
}

/* ---- How they are written. */

static int parse(const char *lists, struct dnslist_zone *zones, size_t *n, struct err *err)
{
    return dnslist_parse(lists, "", zones, n, err);
}

static void test_rules(void **state)
{
    static struct dnslist_zone z[DNSLIST_ZONES];
    struct err err = {0};
    size_t n;

    (void)state;
    assert_int_equal(parse("Zen.Example=5, bl.example=127.0.0.2:4, bl.example=127.0.0.4-7:2.5, "
                           "white.example=127.0.*.2-3:-0.25",
                           z, &n, &err),
                     0);
    assert_int_equal(n, 3);
    assert_string_equal(z[0].name, "zen.example");
    assert_int_equal(dnslist_weight(&z[0], (const uint8_t[]){127, 0, 0, 9}), 500);
    assert_int_equal(dnslist_weight(&z[1], (const uint8_t[]){127, 0, 0, 2}), 400);
    assert_int_equal(dnslist_weight(&z[1], (const uint8_t[]){127, 0, 0, 7}), 250);
    assert_int_equal(dnslist_weight(&z[1], (const uint8_t[]){127, 0, 0, 8}), 0);
    assert_int_equal(dnslist_weight(&z[2], (const uint8_t[]){127, 0, 200, 3}), -25);
    assert_string_equal(dnslist_points(-25).z, "-0.25");
    assert_string_equal(dnslist_points(250).z, "2.5");
    assert_string_equal(dnslist_points(-400).z, "-4");
    assert_int_equal(parse("", z, &n, &err), 0);
    assert_int_equal(n, 0);
    static const char *const bad[] = {"bl.example",
                                      "bl.example=",
                                      "bl.example=0",
                                      "bl.example=x",
                                      "bl.example=1001",
                                      "bl.example=1.234",
                                      "bl.example=1.",
                                      "bl.example=--1",
                                      "=5",
                                      "b l=5",
                                      "bl.example=10.0.0.1:4",
                                      "bl.example=127.0.0:4",
                                      "bl.example=127.0.0.1.2:4",
                                      "bl.example=127.0.0.7-4:4",
                                      "bl.example=127.0.0.256:4",
                                      "bl.example=:4",
                                      "bl..example=4"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (parse(bad[i], z, &n, &err) == 0)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(parse("bl..example=4", z, &n, &err), -1);
    assert_string_equal(err.text, "lists: 'bl..example=4' isn't ZONE=WEIGHT or "
                                  "ZONE=127.0.0.2:WEIGHT, with a weight of up to 1000 that isn't "
                                  "0");
    char many[2000] = "";
    for (size_t i = 0; i <= DNSLIST_ZONES; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "z%zu.example=1, ", i);
    assert_int_equal(parse(many, z, &n, &err), -1);
    many[0] = '\0';
    for (size_t i = 0; i <= DNSLIST_RULES; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "z.example=127.0.0.%zu:1, ", i);
    assert_int_equal(parse(many, z, &n, &err), -1);
}

static void test_names(void **state)
{
    char name[400], zone[DNSLIST_NAME];

    (void)state;
    assert_true(dnslist_address_name("192.0.2.7", "bl.example", name, sizeof name));
    assert_string_equal(name, "7.2.0.192.bl.example");
    assert_true(dnslist_address_name("2001:db8::7", "bl.example", name, sizeof name));
    assert_string_equal(name, V6_CLIENT "bl.example");
    assert_false(dnslist_address_name("", "bl.example", name, sizeof name));
    memset(zone, 'a', sizeof zone - 1);
    zone[sizeof zone - 1] = '\0';
    assert_false(dnslist_address_name("192.0.2.7", zone, name, sizeof name));
}

/* ---- What they weigh. */

static void test_sums(void **state)
{
    (void)state;
    begin("good.test=3, four.test=127.0.0.4-7:2.5, four.test=127.0.0.10:1, white.test=127.0.*.3:-4",
          SETTINGS("dnslist.refuse=5", "dnslist.junk=3"));
    settle();
    const struct chain_answer *a = from("192.0.2.7"); /* 3 + 2.5 */
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->status, "5.7.1");
    assert_string_equal(a->text, "192.0.2.7 is listed by good.test: See https://good/??? now");
    assert_string_equal(stranger_reason(), "good.test 3 (127.0.0.2), four.test 2.5 (127.0.0.5)");
    assert_string_equal(stranger_fact("dnslist.score"), "5.5");
    assert_string_equal(stranger_fact("dnslist.lists"), "good.test, four.test");
    assert_true(chain_score(chain) == 5.5);
    assert_int_equal(from("192.0.2.8")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("dnslist.score"), "-4");
    assert_string_equal(stranger_fact("dnslist.trusted"), "yes");
    assert_int_equal(from("192.0.2.9")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("dnslist.score"), "0");
    assert_string_equal(stranger_reason(), "not listed");
    /* four.test has no test entry of IPv6: it isn't asked about such clients. */
    assert_int_equal(from("2001:db8::7")->verdict, PH_JUNK);
    assert_string_equal(stranger_fact("dnslist.lists"), "good.test");
    stranger_end();
}

static void test_thresholds(void **state)
{
    (void)state;
    begin("good.test=3, white.test=-4",
          SETTINGS("dnslist.refuse=0", "dnslist.junk=0", "dnslist.defer=3", "dnslist.accept=4",
                   "dnslist.trust=0"));
    settle();
    const struct chain_answer *a = from("192.0.2.7");
    assert_true(a->verdict == PH_DEFER && a->code == 450);
    assert_int_equal(from("192.0.2.8")->verdict, PH_ACCEPT);
    assert_string_equal(stranger_fact("dnslist.trusted"), "");
    stranger_end();
}

static void test_domains(void **state)
{
    (void)state;
    begin("", SETTINGS("dnslist.domain_lists=names.test=9"));
    settle();
    assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
    view.mail_from = "a@Evil.test";
    view.helo = "evil.test"; /* asked once */
    const struct chain_answer *a = from("192.0.2.7");
    assert_int_equal(a->verdict, PH_REJECT);
    assert_string_equal(a->text, "evil.test is listed by names.test: Evil");
    assert_string_equal(stranger_fact("dnslist.score"), "9");
    view.mail_from = "";
    view.helo = "[192.0.2.7]";
    assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
    view.helo = "evil.test";
    assert_int_equal(from("192.0.2.7")->verdict, PH_REJECT);
    stranger_end();
}

/* ---- Which are believed. */

static void test_useless_lists(void **state)
{
    static const char *const cases[][2] = {
        {"good.test=1, all.test=9", "all.test: off, it lists 127.0.0.1, so it lists everything"},
        {"good.test=1, refuses.test=9", "refuses.test: off, it refuses to answer this resolver"},
        {"good.test=1, parked.test=9", "parked.test: off, it answers with addresses that no list"},
        {"good.test=1, nothing.test=9", "nothing.test: off, it doesn't list its test entry"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(cases[i][0], NULL);
        settle();
        assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
        assert_string_equal(stranger_fact("dnslist.score"), "1");
        assert_non_null(strstr(stranger_reason(), cases[i][1]));
        stranger_end();
    }
}

/* Until it has passed its test a list says nothing; then it is asked. */
static void test_untested(void **state)
{
    (void)state;
    begin("late.test=9, broken.test=9, good.test=1", SETTINGS("dnslist.test_every=100ms"));
    for (int i = 0; i < 20; i++)
        from("192.0.2.7");
    assert_non_null(strstr(stranger_reason(), "late.test: off, it isn't tested yet"));
    stub_tell(&stub, 'r');
    while (strstr(stranger_reason(), "late.test")) {
        elapsed += 100;
        from("192.0.2.7");
    }
    assert_non_null(strstr(stranger_reason(), "broken.test: off, it isn't tested yet"));
    stranger_end();
    begin("all.test=9", SETTINGS("dnslist.test=no"));
    assert_int_equal(from("192.0.2.7")->verdict, PH_REJECT);
    stranger_end();
}

/* The same list with other answers, none of them cached; when its next test is over. */
static void becomes(const struct stub_rule *answers)
{
    static char before[600];

    snprintf(before, sizeof before, "%s", stranger_reason());
    wait_for_answers();
    resolver_close(&w.resolver);
    stub_stop(&stub);
    stub_start(&stub, answers);
    stranger_resolver();
    w.filters->env.resolver = w.resolver;
    do {
        elapsed += 100;
        from("192.0.2.7");
    } while (strcmp(stranger_reason(), before) == 0 || strstr(stranger_reason(), "no answer"));
}

static void test_again(void **state)
{
    static const struct stub_rule good[] = {{"2.0.0.127.fickle.test.", 1, STUB_ANSWER, LISTED},
                                            {"7.2.0.192.fickle.test.", 1, STUB_ANSWER, LISTED},
                                            {.name = NULL}};
    static const struct stub_rule all[] = {{"2.0.0.127.fickle.test.", 1, STUB_ANSWER, LISTED},
                                           {"1.0.0.127.fickle.test.", 1, STUB_ANSWER, LISTED},
                                           {"7.2.0.192.fickle.test.", 1, STUB_ANSWER, LISTED},
                                           {.name = NULL}};

    (void)state;
    begin("fickle.test=9", SETTINGS("dnslist.test_every=100ms"));
    settle();
    assert_non_null(strstr(stranger_reason(), "lists nothing"));
    becomes(good);
    assert_string_equal(stranger_reason(), "fickle.test 9 (127.0.0.2)");
    becomes(all);
    assert_non_null(strstr(stranger_reason(), "lists everything"));
    stranger_end();
    stub_stop(&stub);
    stub_start(&stub, rules);
}

static void test_odd_answers(void **state)
{
    (void)state;
    begin("odd.test=9", NULL);
    settle();
    from("192.0.2.7");
    assert_string_equal(stranger_reason(), "odd.test: no answer");
    assert_string_equal(stranger_fact("dnslist.score"), "0");
    static const char *const ips[] = {"192.0.2.8", "192.0.2.10", "192.0.2.11"};
    for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
        assert_int_equal(from(ips[i])->verdict, PH_PASS);
        assert_string_equal(stranger_reason(), "odd.test: no answer");
    }
    world_set(&w, "dnslist.dns_time=20s");
    view.client_ip = "192.0.2.9";
    stranger_again();
    stranger_at_late(PH_MAIL, "9.2.0.192.odd.test.", 20000);
    assert_string_equal(stranger_reason(), "odd.test: no answer");
    /* A client that goes while it waits. */
    world_set(&w, "dnslist.dns_time=60s");
    view.client_ip = "192.0.2.9";
    chain_transaction(chain, 2);
    assert_int_equal(chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    chain_cancel(chain);
    stranger_end();
}

static void test_nobody_is_asked(void **state)
{
    (void)state;
    begin("", NULL);
    uint64_t before = stranger_asked();
    assert_false(filters_at(w.filters, PH_MAIL));
    assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
    stranger_end();
    begin("good.test=9", NULL);
    settle();
    before = stranger_asked();
    view.auth_user = "ann@example.org";
    from("192.0.2.77");
    view.auth_user = "";
    from("10.1.2.3");
    assert_string_equal(stranger_reason(), "not checked: skip");
    assert_int_equal(stranger_asked(), before);
    stranger_end();
}

static void test_reload(void **state)
{
    struct filters_config *next;
    struct err err = {0};
    struct ph_err why;

    (void)state;
    (void)why;
    begin("odd.test=9", NULL);
    settle();
    view.client_ip = "192.0.2.9"; /* one that waits keeps its lists */
    stranger_again();
    chain_transaction(chain, 2);
    assert_int_equal(chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    assert_int_equal(filters_config_new(w.registry, &next, &err), 0);
    static const char *const assignments[] = {"dnslist.lists=odd.test=9, good.test=9",
                                              "limits.mode=off", "headers.mode=off"};
    for (size_t i = 0; i < ARRAY_LEN(assignments); i++)
        assert_int_equal(settings_assign(filters_registry_sections(w.registry),
                                         filters_config_object(next), str_from(assignments[i]),
                                         &err),
                         0);
    if (filters_reload(w.filters, next, &err))
        fail_msg("%s", err.text);
    chain_cancel(chain);
    settle();
    assert_int_equal(from("192.0.2.7")->verdict, PH_REJECT);
    assert_int_equal(settings_assign(filters_registry_sections(w.registry),
                                     filters_config_object(next), STR("dnslist.lists=x"), &err),
                     0);
    assert_int_equal(filters_reload(w.filters, next, &err), -1);
    assert_non_null(strstr(err.text, "isn't ZONE=WEIGHT"));
    filters_config_unref(&next);
    stranger_end();
}

static int start(void **state)
{
    (void)state;
    return names_start(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_sums),        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_domains),     cmocka_unit_test(test_useless_lists),
        cmocka_unit_test(test_untested),    cmocka_unit_test(test_again),
        cmocka_unit_test(test_odd_answers), cmocka_unit_test(test_nobody_is_asked),
        cmocka_unit_test(test_reload),
    };

    return cmocka_run_group_tests(tests, start, names_stop);
}
