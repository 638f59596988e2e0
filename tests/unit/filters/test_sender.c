/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `verify_sender`: who is asked about, who isn't, what is remembered; and ph_host.probe.
 */
#include "tests/unit/filters/finder.h"
#include "tests/unit/filters/stranger.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAY (24ull * HOUR)

/* Who is asked: answers at the loop's next turn, or never. */
static struct {
    struct loop_defer defer;
    enum ph_probe_result result;
    bool sender_refused, silent, busy;
    const char *text;
    unsigned asked, cancelled;
    char address[300], sender[300];
    uint64_t ms;
    void (*fn)(void *arg, const struct ph_probe_answer *a);
    void *arg;
} peer;

static void peer_answer(void *ctx)
{
    const struct ph_probe_answer a = {.size = sizeof a,
                                      .result = peer.result,
                                      .sender_refused = peer.sender_refused,
                                      .text = peer.text};
    (void)ctx;
    peer.fn(peer.arg, &a);
}

static void *peer_ask(void *ctx, const char *address, const char *sender, uint64_t ms,
                      void (*fn)(void *arg, const struct ph_probe_answer *), void *arg)
{
    peer.asked++;
    if (peer.busy)
        return NULL;
    snprintf(peer.address, sizeof peer.address, "%s", address);
    snprintf(peer.sender, sizeof peer.sender, "%s", sender);
    peer.ms = ms;
    peer.fn = fn;
    peer.arg = arg;
    peer.defer = (struct loop_defer){.fn = peer_answer};
    if (!peer.silent)
        loop_defer(w.loop, &peer.defer);
    return ctx;
}

static void peer_cancel(void *asked)
{
    (void)asked;
    loop_defer_cancel(&peer.defer);
    peer.cancelled++;
}

static const struct filters_prober prober = {.ask = peer_ask, .cancel = peer_cancel, .ctx = &peer};

static void begin(bool store, const char *const *settings)
{
    memset(&peer, 0, sizeof peer);
    peer.text = "mx.good.test said: 250 fine";
    stranger_begin();
    finder_add(&w);
    if (store)
        world_store(&w);
    world_set(&w, "verify_sender.clients=all");
    for (; settings && *settings; settings++)
        world_set(&w, *settings);
    stranger_open();
    filters_set_prober(w.filters, &prober);
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct chain_answer *comes(const char *from)
{
    view.mail_from = from;
    stranger_again();
    stranger_at(PH_MAIL);
    return stranger_at(PH_RCPT);
}

static void refuse(const char *text)
{
    peer.result = PH_PROBE_REFUSED;
    peer.text = text;
}

static void test_taken(void **state)
{
    (void)state;
    begin(false, NULL);
    assert_int_equal(comes("Ann@Good.Test")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("verify_sender.result"), "taken");
    assert_string_equal(peer.address, "ann@good.test");
    assert_string_equal(peer.sender, "");
    assert_int_equal(peer.ms, 20000);
    assert_int_equal(comes("ann@good.test")->verdict, PH_PASS);
    assert_int_equal(peer.asked, 1);
    elapsed += 30 * DAY + 1;
    comes("ann@good.test");
    assert_int_equal(peer.asked, 2);
    stranger_end();
}

static void test_refused(void **state)
{
    const struct chain_answer *a;

    (void)state;
    begin(false, NULL);
    refuse("mx.good.test said: 550 5.1.1 no\x7f\xffone (RCPT)");
    a = comes("x@good.test");
    assert_int_equal(a->verdict, PH_REJECT);
    assert_int_equal(a->code, 550);
    assert_string_equal(a->status, "5.1.8");
    assert_non_null(strstr(a->text, "mx.good.test said: 550 5.1.1 no??one (RCPT)"));
    peer.result = PH_PROBE_TAKEN;
    assert_int_equal(comes("x@good.test")->verdict, PH_REJECT); /* remembered */
    elapsed += 3 * HOUR + 1;
    assert_int_equal(comes("x@good.test")->verdict, PH_PASS);
    assert_int_equal(peer.asked, 2);
    stranger_end();
}

static void test_temporary(void **state)
{
    const struct chain_answer *a;

    (void)state;
    begin(false, NULL);
    peer.result = PH_PROBE_TEMPORARY;
    a = comes("x@good.test");
    assert_int_equal(a->verdict, PH_DEFER);
    assert_int_equal(a->code, 450);
    assert_string_equal(a->status, "4.1.8");
    peer.result = PH_PROBE_TAKEN;
    elapsed += 10 * MINUTE + 1;
    assert_int_equal(comes("x@good.test")->verdict, PH_PASS);
    stranger_end();
}

static void test_unknown(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.no_bounces=reject"));
    peer.result = PH_PROBE_UNKNOWN;
    assert_int_equal(comes("x@good.test")->verdict, PH_PASS);
    peer.sender_refused = true;
    assert_int_equal(comes("y@good.test")->verdict, PH_REJECT);
    assert_string_equal(stranger_fact("verify_sender.result"), "no_bounces");
    peer.busy = true;
    assert_int_equal(comes("z@good.test")->verdict, PH_PASS);
    filters_set_prober(w.filters, NULL);
    assert_int_equal(comes("a@good.test")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("verify_sender.result"), "unknown");
    assert_int_equal(peer.asked, 3);
    stranger_end();
}

static void test_wishes(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.refused=junk", "verify_sender.temporary=pass",
                          "verify_sender.ask_as=probe@example.org"));
    refuse("no");
    assert_int_equal(comes("x@good.test")->verdict, PH_JUNK);
    assert_string_equal(peer.sender, "probe@example.org");
    peer.result = PH_PROBE_TEMPORARY;
    assert_int_equal(comes("y@good.test")->verdict, PH_PASS);
    view.rcpt = "Probe@Example.org"; /* else two hosts might ask for ever */
    refuse("no");
    assert_int_equal(comes("z@good.test")->verdict, PH_PASS);
    assert_int_equal(peer.asked, 2);
    stranger_end();
}

/* Nobody is asked. */
static void test_excused(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.except=friend@good.test, @fine.test, @.deep.test"));
    refuse("no");
    comes("");
    comes("friend@good.test");
    comes("x@fine.test");
    comes("x@a.deep.test");
    view.client_ip = "10.0.0.1";
    comes("x@good.test");
    view.client_ip = "192.0.2.7";
    view.trusted = true;
    comes("x@good.test");
    view.trusted = false;
    view.auth_user = "ann@example.org";
    comes("x@good.test");
    view.auth_user = "";
    finder.accepts = true;
    comes("x@good.test");
    finder.accepts = false;
    finder.facts[0][0] = "dnslist.trusted";
    finder.facts[0][1] = "yes";
    comes("x@good.test");
    finder.facts[0][0] = "spf.result";
    finder.facts[0][1] = "pass";
    finder.facts[1][0] = "spf.identity";
    finder.facts[1][1] = "mailfrom";
    comes("x@good.test");
    assert_int_equal(peer.asked, 0);
    finder.facts[1][1] = "helo";
    comes("x@good.test");
    assert_int_equal(peer.asked, 1);
    comes("y@b.fine.test");
    comes("y@xdeep.test");
    assert_int_equal(peer.asked, 3);
    stranger_end();
}

static void test_domains(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.domains=good.test, .deep.test"));
    refuse("no");
    assert_int_equal(comes("x@good.test")->verdict, PH_REJECT);
    assert_int_equal(comes("x@a.deep.test")->verdict, PH_REJECT);
    assert_int_equal(comes("x@a.good.test")->verdict, PH_PASS);
    assert_int_equal(peer.asked, 2);
    stranger_end();
}

static void test_suspects(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.clients=suspects"));
    refuse("no");
    assert_int_equal(comes("x@good.test")->verdict, PH_PASS);
    finder.facts[0][0] = "rdns.result";
    finder.facts[0][1] = "none";
    assert_int_equal(comes("x@good.test")->verdict, PH_REJECT);
    stranger_end();
}

static void test_correspondents(void **state)
{
    static const char *const rcpts[] = {"Bob@good.test", NULL};

    (void)state;
    begin(false, NULL);
    refuse("no");
    view.route = "submission";
    view.rcpts = rcpts;
    view.n_rcpts = 1;
    view.auth_user = "ann@example.org";
    stranger_again();
    stranger_at(PH_OUTBOUND);
    view.auth_user = "";
    view.route = "";
    view.n_rcpts = 0;
    assert_int_equal(comes("bob@good.test")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("verify_sender.result"), "correspondent");
    assert_int_equal(comes("rob@good.test")->verdict, PH_REJECT);
    assert_int_equal(peer.asked, 1);
    stranger_end();
}

static void test_shadow(void **state)
{
    (void)state;
    begin(false, SETTINGS("verify_sender.mode=shadow"));
    refuse("no");
    assert_int_equal(comes("x@good.test")->verdict, PH_PASS);
    assert_int_equal(peer.asked, 1);
    stranger_end();
}

/* The client hangs up while its sender is asked about. */
static void test_gone(void **state)
{
    (void)state;
    begin(false, NULL);
    peer.silent = true;
    view.mail_from = "x@good.test";
    stranger_again();
    stranger_at(PH_MAIL);
    assert_int_equal(chain_run(chain, PH_RCPT, &view, NULL, NULL, NULL, NULL), CHAIN_WAIT);
    assert_int_equal(peer.asked, 1);
    chain_cancel(chain);
    assert_int_equal(peer.cancelled, 1);
    stranger_end();
}

static void test_restart(void **state)
{
    (void)state;
    begin(true, NULL);
    refuse("no");
    assert_int_equal(comes("x@good.test")->verdict, PH_REJECT);
    chain_free(&chain);
    filters_close(&w.filters);
    store_close(&w.store);
    world_store(&w);
    stranger_open();
    filters_set_prober(w.filters, &prober);
    assert_int_equal(comes("x@good.test")->verdict, PH_REJECT);
    assert_int_equal(peer.asked, 1);
    stranger_end();
}

static void bad(const char *setting)
{
    struct err err = {0};

    stranger_begin();
    world_set(&w, "verify_sender.clients=all");
    world_set(&w, setting);
    assert_int_equal(world_try_open(&w, &err), -1);
    world_fini(&w);
    clock_replace(NULL);
}

static void test_settings(void **state)
{
    (void)state;
    bad("verify_sender.domains=a@b@c");
    bad("verify_sender.except=example.org");
    bad("verify_sender.ask_as=nobody");
    bad("verify_sender.skip=300.1.1.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_temporary),      cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_wishes),         cmocka_unit_test(test_excused),
        cmocka_unit_test(test_domains),        cmocka_unit_test(test_suspects),
        cmocka_unit_test(test_correspondents), cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_gone),           cmocka_unit_test(test_restart),
        cmocka_unit_test(test_settings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
