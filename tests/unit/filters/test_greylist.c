/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `greylist`: who has to come again, when, and who needn't; what is remembered, for how
 * long, and over a restart. */
#include "filters/greylist_table.h"
#include "tests/unit/filters/finder.h"
#include "tests/unit/filters/stranger.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAY (24ull * HOUR)

static void found(size_t i, const char *name, const char *value)
{
    finder.facts[i][0] = name;
    finder.facts[i][1] = value;
}

static void begin(bool store, const char *const *settings)
{
    stranger_begin();
    finder_add(&w);
    if (store)
        world_store(&w);
    world_set(&w, "greylist.clients=all");
    for (; settings && *settings; settings++)
        world_set(&w, *settings);
    stranger_open();
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* One transaction of one recipient; what became of it. */
static const char *brings(const char *ip, const char *from, const char *to)
{
    view.client_ip = ip;
    view.mail_from = from;
    view.rcpt = to;
    stranger_again();
    assert_int_equal(stranger_at(PH_MAIL)->verdict, finder.accepts ? PH_ACCEPT : PH_PASS);
    stranger_at(PH_RCPT);
    return stranger_fact("greylist.result");
}

static enum ph_verdict verdict(void)
{
    return chain_answer(chain)->verdict;
}

static const char *ann(const char *ip)
{
    return brings(ip, "a@good.test", "ann@example.org");
}

static void test_waiting(void **state)
{
    (void)state;
    begin(false, NULL);
    assert_string_equal(ann("192.0.2.7"), "new");
    const struct chain_answer *a = chain_answer(chain);
    assert_true(a->verdict == PH_DEFER && a->code == 450);
    assert_string_equal(a->status, "4.7.1");
    assert_string_equal(a->text, "Greylisted: this server takes mail of senders it doesn't know "
                                 "yet at a later attempt; try again in 300 s");
    elapsed += 100 * SECOND;
    assert_string_equal(ann("192.0.2.7"), "waiting");
    assert_non_null(strstr(chain_answer(chain)->text, "try again in 200 s"));
    elapsed += 200 * SECOND;
    assert_string_equal(ann("192.0.2.99"), "passed"); /* of the same network */
    assert_int_equal(verdict(), PH_PASS);
    elapsed += 30 * DAY;
    assert_string_equal(ann("192.0.2.7"), "passed");
    elapsed += 30 * DAY; /* since it was last seen */
    assert_string_equal(ann("192.0.2.7"), "passed");
    elapsed += 36 * DAY;
    assert_string_equal(ann("192.0.2.7"), "new");
    stranger_end();
}

static void test_what_a_triplet_is(void **state)
{
    (void)state;
    begin(false, NULL);
    ann("192.0.2.7");
    elapsed += 6 * MINUTE;
    assert_string_equal(brings("192.0.3.7", "a@good.test", "ann@example.org"), "new");
    assert_string_equal(brings("192.0.2.7", "b@good.test", "ann@example.org"), "new");
    assert_string_equal(brings("192.0.2.7", "a@good.test", "bob@example.org"), "new");
    assert_string_equal(brings("192.0.2.7", "", "ann@example.org"), "new");
    assert_string_equal(brings("192.0.2.7", "A@Good.test", "Ann@example.org"), "passed");
    assert_string_equal(brings("2001:db8::1", "a@good.test", "ann@example.org"), "new");
    elapsed += 6 * MINUTE;
    assert_string_equal(brings("2001:db8::2:1", "a@good.test", "ann@example.org"), "passed");
    assert_string_equal(brings("2001:db8:0:1::1", "a@good.test", "ann@example.org"), "new");
    stranger_end();
    begin(false, SETTINGS("greylist.by=domain"));
    brings("192.0.2.7", "a-1@good.test", "ann@example.org");
    elapsed += 6 * MINUTE;
    assert_string_equal(brings("192.0.2.7", "a-2@good.test", "ann@example.org"), "passed");
    assert_string_equal(brings("192.0.2.7", "a@bad.test", "ann@example.org"), "new");
    stranger_end();
}

static void test_window(void **state)
{
    (void)state;
    begin(false, NULL);
    ann("192.0.2.7");
    elapsed += 2 * DAY + SECOND;
    assert_string_equal(ann("192.0.2.7"), "new");
    elapsed += 2 * DAY - SECOND;
    assert_string_equal(ann("192.0.2.7"), "passed");
    stranger_end();
}

static void test_known_networks(void **state)
{
    char to[40];

    (void)state;
    begin(false, SETTINGS("greylist.successes=3"));
    for (int i = 0; i < 3; i++) {
        snprintf(to, sizeof to, "u%d@example.org", i);
        assert_string_equal(brings("192.0.2.7", "a@good.test", to), "new");
    }
    elapsed += 6 * MINUTE;
    for (int i = 0; i < 3; i++) {
        snprintf(to, sizeof to, "u%d@example.org", i);
        assert_string_equal(brings("192.0.2.7", "a@good.test", to), "passed");
        brings("192.0.2.7", "a@good.test", to); /* the same ones count once */
    }
    assert_string_equal(brings("192.0.2.8", "x@other.test", "u9@example.org"), "client");
    assert_int_equal(verdict(), PH_PASS);
    elapsed += 36 * DAY;
    assert_string_equal(brings("192.0.2.8", "x@other.test", "u9@example.org"), "new");
    stranger_end();
}

static void test_known_senders(void **state)
{
    (void)state;
    begin(false, NULL);
    found(0, "spf.result", "pass");
    found(1, "spf.identity", "mailfrom");
    found(2, "spf.domain", "good.test");
    ann("192.0.2.7");
    assert_string_equal(ann("198.51.100.7"), "new");
    elapsed += 6 * MINUTE;
    assert_string_equal(ann("192.0.2.7"), "passed");
    assert_string_equal(brings("203.0.113.7", "b@good.test", "bob@example.org"), "sender");
    found(0, "spf.result", "softfail");
    assert_string_equal(brings("203.0.113.7", "b@good.test", "bob@example.org"), "new");
    found(0, "spf.result", "pass");
    found(1, "spf.identity", "helo");
    assert_string_equal(brings("203.0.113.8", "c@good.test", "bob@example.org"), "new");
    stranger_end();
}

static void sends(const char *account, const char *from, const char *to)
{
    const char *const rcpts[] = {"local@example.org", to, NULL};
    struct ph_view stranger = view;

    view.auth_user = account;
    view.service = "submission";
    view.route = "submission";
    view.mail_from = from;
    view.rcpts = rcpts;
    view.n_rcpts = 2;
    stranger_again();
    stranger_at(PH_MAIL);
    assert_int_equal(stranger_at(PH_OUTBOUND)->verdict, PH_PASS);
    view = stranger;
}

static void test_correspondents(void **state)
{
    (void)state;
    begin(false, NULL);
    sends("ann@example.org", "ann+list@example.org", "Friend@far.test");
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "ann@example.org"), "correspondent");
    assert_string_equal(brings("192.0.2.7", "friend+x@far.test", "ann+y@example.org"),
                        "correspondent");
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "bob@example.org"), "new");
    assert_string_equal(brings("192.0.2.7", "foe@far.test", "ann@example.org"), "new");
    sends("ann@example.org", "info@example.org", "friend@far.test");
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "info@example.org"),
                        "correspondent");
    view.route = "forward"; /* what others send through here says nothing about our people */
    view.mail_from = "x@far.test";
    stranger_at(PH_OUTBOUND);
    view.route = "";
    elapsed += 91 * DAY;
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "ann@example.org"), "new");
    stranger_end();
    begin(false, SETTINGS("greylist.correspondents=0"));
    sends("ann@example.org", "ann@example.org", "friend@far.test");
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "ann@example.org"), "new");
    stranger_end();
}

static void test_others_that_pass(void **state)
{
    (void)state;
    begin(false, SETTINGS("greylist.skip=203.0.113.0/24"));
    assert_string_equal(ann("203.0.113.1"), "");
    assert_int_equal(verdict(), PH_PASS);
    view.auth_user = "ann@example.org";
    assert_string_equal(ann("192.0.2.7"), "");
    view.auth_user = "";
    view.trusted = true;
    assert_string_equal(ann("192.0.2.7"), "");
    view.trusted = false;
    view.service = "submission";
    assert_string_equal(ann("192.0.2.7"), "");
    view.service = "reception";
    finder.accepts = true;
    assert_string_equal(ann("192.0.2.7"), "");
    assert_int_equal(verdict(), PH_ACCEPT);
    finder.accepts = false;
    found(0, "dnslist.trusted", "yes");
    assert_string_equal(ann("192.0.2.7"), "trusted");
    assert_int_equal(verdict(), PH_PASS);
    stranger_end();
}

static void test_suspects(void **state)
{
    static const char *const bad[][2] = {{"rdns.result", "none"},    {"rdns.result", "unconfirmed"},
                                         {"rdns.generic", "yes"},    {"helo.result", "literal"},
                                         {"helo.result", "ours"},    {"helo.result", "unqualified"},
                                         {"spf.result", "softfail"}, {"dnslist.score", "0.5"}};
    static const char *const good[][2] = {
        {"rdns.result", "confirmed"}, {"rdns.result", "unanswered"}, {"helo.result", "ok"},
        {"spf.result", "none"},       {"dnslist.score", "0"},        {"dnslist.score", "-3"}};

    (void)state;
    begin(false, SETTINGS("greylist.clients=suspects"));
    assert_string_equal(ann("192.0.2.7"), "unsuspected");
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        found(0, good[i][0], good[i][1]);
        assert_string_equal(ann("192.0.2.7"), "unsuspected");
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        found(0, bad[i][0], bad[i][1]);
        assert_string_equal(ann("192.0.2.7"), i ? "waiting" : "new");
    }
    stranger_end();
}

static void test_off(void **state)
{
    (void)state;
    begin(false, SETTINGS("greylist.clients=nobody"));
    assert_false(filters_at(w.filters, PH_RCPT));
    assert_false(filters_at(w.filters, PH_OUTBOUND));
    stranger_end();
}

static void test_gateway(void **state)
{
    char name[40];

    (void)state;
    begin(false, SETTINGS("greylist.skip="));
    assert_string_equal(ann("172.17.0.1"), "new");
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "mx%d.example.net", i);
        view.helo = name;
        ann("172.17.0.1");
    }
    assert_int_equal(verdict(), PH_PASS);
    assert_non_null(strstr(stranger_reason(), "a gateway that hides their addresses"));
    stranger_end();
}

/* ---- What is remembered. */

static void test_restart(void **state)
{
    (void)state;
    begin(true, NULL);
    ann("192.0.2.7");
    sends("bob@example.org", "bob@example.org", "friend@far.test");
    elapsed += 6 * MINUTE;
    chain_free(&chain);
    filters_close(&w.filters);
    stranger_open();
    assert_string_equal(ann("192.0.2.7"), "passed");
    assert_string_equal(brings("192.0.2.7", "friend@far.test", "bob@example.org"), "correspondent");
    stranger_end();
}

static const struct ph_host *host_of(const char *name)
{
    for (size_t i = 0; i < w.filters->n; i++)
        if (strcmp(w.filters->stages[i].stats.name, name) == 0)
            return &w.filters->stages[i].host;
    return NULL;
}

static size_t fill(struct greylist_table *t, const struct greylist_rules *r, size_t n,
                   const char *who)
{
    char rcpt[40];
    uint64_t wait;
    size_t fresh = 0;

    for (size_t i = 0; i < n; i++) {
        snprintf(rcpt, sizeof rcpt, "%s%zu@example.org", who, i);
        fresh += greylist_ask(t, r, "192.0.2.0/24", "a@bad.test", rcpt, clock_wall_ms(), &wait) ==
                 GREYLIST_NEW;
    }
    return fresh;
}

static void test_bounds(void **state)
{
    const struct greylist_rules r = {.delay_ms = 5 * MINUTE,
                                     .window_ms = 2 * DAY,
                                     .keep_ms = 35 * DAY,
                                     .pair_ms = 90 * DAY,
                                     .successes = 5,
                                     .entries = 1000};
    uint64_t wait;

    (void)state;
    begin(false, NULL);
    struct greylist_table *t = greylist_table_new(host_of("greylist"));
    for (int i = 0; i < 10; i++) { /* people, who stay */
        char name[32];
        snprintf(name, sizeof name, "friend%d@far.test", i);
        greylist_pair_add(t, &r, "ann@example.org", name, clock_wall_ms());
    }
    assert_int_equal(fill(t, &r, 600, "old"), 600);
    elapsed += MINUTE;
    assert_int_equal(fill(t, &r, 390, "young"), 390);
    assert_int_equal(greylist_table_count(t), 1000);
    assert_int_equal(fill(t, &r, 5000, "flood"), 5000); /* there is always room for a new one */
    assert_true(greylist_table_count(t) <= 1000);
    assert_true(greylist_pair_known(t, &r, "ann@example.org", "friend3@far.test", clock_wall_ms()));
    /* Nothing but what has proved itself: there is no room. */
    struct greylist_rules tight = r;
    tight.entries = 10;
    elapsed += 3 * DAY;
    while (greylist_prune(t, &r, clock_wall_ms()))
        ;
    assert_int_equal(greylist_table_count(t), 10);
    assert_int_equal(greylist_ask(t, &tight, "198.51.100.0/24", "a@b.test", "c@example.org",
                                  clock_wall_ms(), &wait),
                     GREYLIST_FULL);
    elapsed += 91 * DAY;
    assert_false(greylist_prune(t, &r, clock_wall_ms()));
    assert_int_equal(greylist_table_count(t), 0);
    greylist_table_free(&t);
    stranger_end();
}

/* ---- What two servers have each seen of one. */

static const char *together(const struct greylist_rules *r, char kind, const char *own,
                            const char *other, int64_t now)
{
    static char both[4096];
    char key[17] = {kind};
    size_t n =
        greylist_merge(r, key, sizeof key, own, strlen(own), other, strlen(other), both, now);

    both[n] = '\0';
    return both;
}

static void assert_together(const struct greylist_rules *r, char kind, const char *a, const char *b,
                            const char *both, int64_t now)
{
    char copy[80];

    assert_string_equal(together(r, kind, a, b, now), both);
    assert_string_equal(together(r, kind, b, a, now), both);
    snprintf(copy, sizeof copy, "%s", both);
    assert_string_equal(together(r, kind, copy, a, now), both);
    assert_string_equal(together(r, kind, copy, copy, now), both);
}

static void test_two_servers(void **state)
{
    const struct greylist_rules r = {
        .delay_ms = 100, .window_ms = 1000, .keep_ms = 5000, .pair_ms = 2000, .entries = 10};

    (void)state;
    assert_together(&r, 't', "100 100 0", "150 150 0", "100 150 0",
                    200); /* who waits, since when */
    assert_together(&r, 't', "100 100 0", "150 300 1", "100 300 1", 310);
    assert_together(&r, 'c', "100 200 3", "120 180 4", "100 200 4", 310);
    /* What was over has begun anew. */
    assert_together(&r, 't', "100 100 0", "1200 1200 0", "1200 1200 0", 1300);
    assert_together(&r, 'p', "100 200 1", "2300 2300 1", "2300 2300 1", 2400);
    assert_together(&r, 'd', "100 200 1", "2300 2300 1", "100 2300 1", 2400);
    /* Nobody's: the other's stays. */
    assert_string_equal(together(&r, 't', "1 2 3", "rubbish", 10), "rubbish");
    assert_string_equal(together(&r, 't', "rubbish", "1 2 3", 10), "1 2 3");
}

/* The wall clock went back: nobody waits for hours. */
static void test_clock(void **state)
{
    const struct greylist_rules r = {
        .delay_ms = 5 * MINUTE, .window_ms = 2 * DAY, .keep_ms = 35 * DAY, .entries = 1000};
    int64_t now = clock_wall_ms();
    uint64_t wait;

    (void)state;
    begin(false, NULL);
    struct greylist_table *t = greylist_table_new(host_of("greylist"));
    assert_int_equal(greylist_ask(t, &r, "c", "s", "r", now, &wait), GREYLIST_NEW);
    assert_int_equal(greylist_ask(t, &r, "c", "s", "r", now - HOUR, &wait), GREYLIST_NEW);
    assert_int_equal(wait, 5 * MINUTE);
    assert_int_equal(greylist_ask(t, &r, "c", "s", "r", now - HOUR + 6 * MINUTE, &wait),
                     GREYLIST_PASSED);
    greylist_table_free(&t);
    stranger_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_what_a_triplet_is),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_known_networks),
        cmocka_unit_test(test_known_senders),
        cmocka_unit_test(test_correspondents),
        cmocka_unit_test(test_others_that_pass),
        cmocka_unit_test(test_suspects),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_gateway),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_two_servers),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
