/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stages `rdns` and `helo`: what the DNS and the client itself call it, and what comes of it.
 */
#include "filters/client_kind.h"
#include "filters/helo_name.h"
#include "tests/unit/filters/stranger.h"

#define GOOD "\4mail\4good\4test"
static struct stub_rule rules[] = {
    {"7.2.0.192.in-addr.arpa.", 12, STUB_ANSWER, PTR(GOOD)},
    {"mail.good.test.", 1, STUB_ANSWER, A("\xc0\0\2\7")},
    {"8.2.0.192.in-addr.arpa.", 12, STUB_ANSWER, PTR(GOOD)},
    {"10.2.0.192.in-addr.arpa.", 12, STUB_SERVFAIL, {{0}}},
    {"11.2.0.192.in-addr.arpa.", 12, STUB_SILENT, {{0}}},
    {"12.2.0.192.in-addr.arpa.", 12, STUB_ANSWER, PTR("\4slow\4test")},
    {"slow.test.", 0, STUB_SILENT, {{0}}},
    {"13.2.0.192.in-addr.arpa.",
     12,
     STUB_ANSWER,
     {{12, NULL, {"\3bad\4test\0", 10}}, {12, NULL, {"\4thir\4test\0", 11}}}},
    {"thir.test.", 1, STUB_ANSWER, {{1, NULL, {"\x0a\0\0\1", 4}}, {1, NULL, {"\xc0\0\2\x0d", 4}}}},
    {"14.2.0.192.in-addr.arpa.", 12, STUB_ANSWER,
     PTR("\3dsl\x0c"
         "192-0-2-14-x\4test")},
    {"dsl.192-0-2-14-x.test.", 1, STUB_ANSWER, A("\xc0\0\2\x0e")},
    {"15.2.0.192.in-addr.arpa.", 12, STUB_ANSWER, PTR("\6a\r\nX: \4test")},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", 12, STUB_ANSWER,
     PTR("\3six\4test")},
    {"six.test.", 28, STUB_ANSWER, AAAA("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")},
    {"loop.test.", 0, STUB_ANSWER, {{5, NULL, {"\4loop\4test\0", 11}}}},
    {"only-mx.test.", 15, STUB_ANSWER, {{15, NULL, {"\0\x0a\4mail\4good\4test\0", 18}}}},
    {"only-mx.test.", 0, STUB_ANSWER, {{0}}},
    {.name = NULL}};

static void begin(bool rdns, const char *const *settings)
{
    stranger_begin();
    w.rdns = rdns;
    w.helo = !rdns;
    for (; settings && *settings; settings++)
        world_set(&w, *settings);
    world_set(&w, "rdns.dns_time=60s");
    world_set(&w, "rdns.deadline=5min");
    world_set(&w, "helo.dns_time=60s");
    world_set(&w, "helo.deadline=5min");
    stranger_resolver();
    stranger_open();
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- rdns */

static const struct chain_answer *from(const char *ip)
{
    view.client_ip = ip;
    stranger_again();
    assert_int_equal(stranger_at(PH_CONNECT)->verdict, PH_PASS);
    return stranger_at(PH_MAIL);
}

static void test_names(void **state)
{
    (void)state;
    begin(true, NULL);
    assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
    assert_string_equal(stranger_fact("rdns.result"), "confirmed");
    assert_string_equal(stranger_fact("rdns.name"), "mail.good.test");
    assert_string_equal(stranger_fact("rdns.generic"), "");
    assert_string_equal(stranger_fact("iprev.authres"), "iprev=pass policy.iprev=192.0.2.7");
    assert_true(chain_score(chain) == 0);
    from("192.0.2.8");
    assert_string_equal(stranger_fact("rdns.result"), "unconfirmed");
    assert_string_equal(stranger_fact("rdns.name"), "");
    assert_string_equal(stranger_fact("rdns.claimed"), "mail.good.test");
    assert_true(chain_score(chain) == 1);
    from("192.0.2.9");
    assert_string_equal(stranger_fact("rdns.result"), "none");
    assert_true(chain_score(chain) == 1);
    from("192.0.2.10");
    assert_string_equal(stranger_fact("rdns.result"), "unanswered");
    assert_true(chain_score(chain) == 0);
    from("192.0.2.13"); /* two names, of which the second leads back */
    assert_string_equal(stranger_fact("rdns.name"), "thir.test");
    from("192.0.2.14");
    assert_string_equal(stranger_fact("rdns.generic"), "yes");
    from("192.0.2.15"); /* no name that could stand in a header field */
    assert_string_equal(stranger_fact("rdns.result"), "none");
    from("2001:db8::1");
    assert_string_equal(stranger_fact("rdns.name"), "six.test");
    from("2001:db8::2");
    assert_string_equal(stranger_fact("rdns.result"), "none");
    stranger_end();
}

static void test_refusals(void **state)
{
    (void)state;
    begin(true, SETTINGS("rdns.missing=refuse", "rdns.unconfirmed=defer", "rdns.generic=junk",
                         "rdns.unanswered=defer", "rdns.points=3"));
    const struct chain_answer *a = from("192.0.2.9");
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->status, "5.7.25");
    assert_string_equal(a->text, "Your address 192.0.2.9 has no name in the DNS: set a PTR record "
                                 "whose name has this address");
    assert_string_equal(stranger_reason(), "its address has no name");
    assert_true(chain_score(chain) == 3);
    a = from("192.0.2.8");
    assert_true(a->verdict == PH_DEFER && a->code == 450);
    assert_string_equal(a->status, "4.7.25");
    assert_non_null(strstr(a->text, "mail.good.test, which hasn't this address"));
    assert_int_equal(from("192.0.2.14")->verdict, PH_JUNK);
    assert_int_equal(from("192.0.2.10")->verdict, PH_DEFER);
    assert_int_equal(from("192.0.2.7")->verdict, PH_PASS);
    /* Whoever logs in after that is welcome. */
    from("192.0.2.9");
    view.auth_user = "ann@example.org";
    assert_int_equal(stranger_at(PH_MAIL)->verdict, PH_PASS);
    assert_string_equal(stranger_reason(), "not checked: logged in");
    stranger_end();
}

static void test_silence(void **state)
{
    (void)state;
    begin(true, NULL);
    world_set(&w, "rdns.dns_time=20s");
    view.client_ip = "192.0.2.11";
    stranger_at_late(PH_CONNECT, "11.2.0.192.in-addr.arpa.", 20000);
    assert_string_equal(stranger_fact("rdns.result"), "unanswered");
    view.client_ip = "192.0.2.12";
    stranger_again();
    stranger_at_late(PH_CONNECT, "slow.test.", 20000);
    assert_string_equal(stranger_fact("rdns.result"), "unanswered");
    assert_string_equal(stranger_fact("rdns.claimed"), "slow.test");
    stranger_end();
}

static void test_who_is_asked_about(void **state)
{
    (void)state;
    begin(true, NULL);
    uint64_t before = stranger_asked();
    from("10.9.8.7");
    assert_string_equal(stranger_reason(), "not checked: skip");
    from("");
    view.trusted = true;
    from("192.0.2.66");
    assert_string_equal(stranger_reason(), "not checked: guard.trusted");
    view.trusted = false;
    view.service = "submission";
    from("192.0.2.66");
    assert_string_equal(stranger_reason(), "not checked: no mail from outside");
    assert_string_equal(stranger_fact("rdns.result"), "");
    assert_int_equal(stranger_asked(), before);
    stranger_end();
}

static void test_gone(void **state)
{
    (void)state;
    begin(true, NULL);
    view.client_ip = "192.0.2.11";
    chain_transaction(chain, 0);
    assert_int_equal(chain_run(chain, PH_CONNECT, &view, NULL, NULL, world_on_answer, &w),
                     CHAIN_WAIT);
    chain_cancel(chain);
    stranger_end();
}

static void test_kinds_of_names(void **state)
{
    (void)state;
    assert_true(client_name_plain("mail_1.example.org"));
    assert_false(client_name_plain(""));
    assert_false(client_name_plain("a..b"));
    assert_false(client_name_plain(".a"));
    assert_false(client_name_plain("a."));
    assert_false(client_name_plain("a b"));
    assert_false(client_name_plain("a\\032b.test"));
    static const struct {
        const char *name, *ip;
        bool generic;
    } cases[] = {{"mail.example.org", "192.0.2.7", false},
                 {"mx4.example.org", "192.0.2.4", false},
                 {"mail7.dc2.example192.org", "192.0.2.7", false},
                 {"192-0-2-7.example.org", "192.0.2.7", true},
                 {"7.2.0.192.example.org", "192.0.2.7", true},
                 {"h192000002007.example.org", "192.0.2.7", true},
                 {"ipc0000207.example.org", "192.0.2.7", true},
                 {"dyn.example.org", "192.0.2.7", true},
                 {"p-adsl3.example.org", "192.0.2.7", true},
                 {"dynamo.example.org", "192.0.2.7", false},
                 {"a1.example.org", "1.1.1.1", false},
                 {"cust-20010db8abcd1234.example.org", "2001:db8::abcd:1234", true},
                 {"mail.example.org", "2001:db8::1", false},
                 {"x00000001.example.org", "2001:db8::1", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (client_name_generic(cases[i].name, cases[i].ip) != cases[i].generic)
            fail_msg("%s", cases[i].name);
}

/* ---- All clients are one. */

static void test_gateway(void **state)
{
    char name[40];

    (void)state;
    begin(true, SETTINGS("rdns.missing=refuse", "rdns.skip="));
    view.client_ip = "172.17.0.1";
    for (int i = 0; i < 20; i++) { /* a relay of one's own has one name */
        assert_int_equal(stranger_at(PH_CONNECT)->verdict, PH_PASS);
        assert_int_equal(stranger_at(PH_MAIL)->verdict, PH_REJECT);
    }
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "mx%d.example.net", i);
        view.helo = name;
        stranger_at(PH_MAIL);
    }
    assert_string_equal(stranger_reason(), "not checked: all clients come from 172.17.0.1, a "
                                           "gateway that hides their addresses");
    assert_int_equal(stranger_at(PH_MAIL)->verdict, PH_PASS);
    assert_int_equal(from("192.0.2.9")->verdict, PH_REJECT); /* one that has its own */
    assert_int_equal(from("172.17.0.1")->verdict, PH_REJECT);
    stranger_end();
}

/* What one stage has seen, the others know: rdns refused all, and helo wasn't asked. */
static void test_gateway_is_known_to_all(void **state)
{
    char name[40];

    (void)state;
    stranger_begin();
    w.rdns = w.helo = true;
    world_set(&w, "rdns.missing=refuse");
    world_set(&w, "rdns.skip=");
    world_set(&w, "helo.literal=refuse");
    world_set(&w, "helo.skip=");
    stranger_resolver();
    stranger_open();
    view.client_ip = "172.17.0.1";
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "mx%d.example.net", i);
        view.helo = name;
        assert_int_equal(stranger_at(PH_CONNECT)->verdict, PH_PASS);
        assert_int_equal(stranger_at(PH_MAIL)->verdict, i < 7 ? PH_REJECT : PH_PASS);
    }
    view.helo = "[10.9.9.9]";
    assert_int_equal(stranger_at(PH_MAIL)->verdict, PH_PASS);
    assert_string_equal(stranger_fact("helo.result"), "");
    stranger_end();
}

/* ---- helo */

static const char *said(const char *helo)
{
    view.helo = helo;
    stranger_at(PH_MAIL);
    return stranger_fact("helo.result");
}

static void test_helo(void **state)
{
    (void)state;
    begin(false, SETTINGS("helo.own=localhost, mx2.example.org, 203.0.113.9"));
    uint64_t before = stranger_asked();
    assert_string_equal(said("mail.good.test"), "ok");
    assert_string_equal(said("mail_1.good.test."), "ok");
    assert_string_equal(said("[192.0.2.7]"), "ok");
    assert_true(chain_score(chain) == 0);
    assert_string_equal(said("[192.0.2.8]"), "literal");
    assert_true(chain_score(chain) == 1);
    assert_string_equal(said("[192.0.2.7"), "literal");
    assert_string_equal(said("[IPv6:2001:db8::7]"), "literal");
    assert_string_equal(said("[2001:db8::7]"), "literal");
    assert_string_equal(said("MX.example.org"), "ours");
    assert_string_equal(said("mx2.example.org."), "ours");
    assert_string_equal(said("localhost"), "ours");
    assert_string_equal(said("203.0.113.9"), "ours");
    assert_string_equal(said("[203.0.113.9]"), "ours");
    assert_string_equal(said("windows-pc"), "unqualified");
    assert_string_equal(said("192.0.2.7"), "unqualified");
    assert_string_equal(said("a..b"), "unqualified");
    assert_string_equal(said("a?b.example"), "unqualified");
    assert_string_equal(said("."), "unqualified");
    assert_string_equal(said("unknown.test"), "ok");
    assert_int_equal(stranger_asked(), before); /* nobody was asked */
    view.client_ip = "2001:db8::7";
    assert_string_equal(said("[IPv6:2001:0db8::7]"), "ok");
    stranger_end();
}

static void test_helo_refusals(void **state)
{
    const struct chain_answer *a;

    (void)state;
    begin(false, SETTINGS("helo.ours=refuse", "helo.unqualified=defer", "helo.literal=junk"));
    said("mx.example.org");
    a = chain_answer(chain);
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->text, "You called yourself mx.example.org in HELO, but that is not you: "
                                 "say your own name");
    said("pc");
    assert_true(a->verdict == PH_DEFER && a->code == 450);
    assert_string_equal(a->status, "4.5.2");
    said("[198.51.100.1]");
    assert_int_equal(a->verdict, PH_JUNK);
    view.auth_user = "ann@example.org";
    said("pc");
    assert_int_equal(a->verdict, PH_PASS);
    stranger_end();
}

static void test_helo_in_the_dns(void **state)
{
    (void)state;
    begin(false, SETTINGS("helo.unresolvable=refuse"));
    assert_string_equal(said("mail.good.test"), "ok");
    assert_string_equal(said("six.test"), "ok");
    assert_string_equal(said("only-mx.test"), "ok");
    assert_string_equal(said("unknown.test"), "unresolvable");
    assert_int_equal(chain_answer(chain)->verdict, PH_REJECT);
    assert_string_equal(said("loop.test"), "unanswered");
    assert_int_equal(chain_answer(chain)->verdict, PH_PASS);
    world_set(&w, "helo.dns_time=20s");
    view.helo = "slow.test";
    stranger_at_late(PH_MAIL, "slow.test.", 20000);
    assert_string_equal(stranger_fact("helo.result"), "unanswered");
    stranger_end();
}

/* Another address of this host may say its name. */
static void test_helo_of_our_own(void **state)
{
    (void)state;
    stranger_begin();
    w.rdns = w.helo = true;
    stranger_resolver();
    stranger_open();
    view.host = "mail.good.test";
    from("192.0.2.7");
    assert_string_equal(stranger_fact("helo.result"), "ok");
    from("192.0.2.8");
    assert_string_equal(stranger_fact("helo.result"), "ours");
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
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_who_is_asked_about),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_kinds_of_names),
        cmocka_unit_test(test_gateway),
        cmocka_unit_test(test_gateway_is_known_to_all),
        cmocka_unit_test(test_helo),
        cmocka_unit_test(test_helo_refusals),
        cmocka_unit_test(test_helo_in_the_dns),
        cmocka_unit_test(test_helo_of_our_own),
    };

    return cmocka_run_group_tests(tests, start, names_stop);
}
