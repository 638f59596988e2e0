/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* From a route to addresses and their TLS: MX, null MX, loops, local addresses, DANE, MTA-STS. */
#include "fake_dns.h"
#include "smtp/client/hosts.h"

static struct relay_conf relay;
static struct hosts_conf conf;
static struct hosts_answer *answer;
static struct cidr_set own;
static struct err err;

static void on_answer(void *ctx, struct hosts_answer *a)
{
    (void)ctx;
    hosts_free(&answer);
    answer = a;
}

static void wait_for(struct hosts_answer **a)
{
    for (int i = 0; i < 1000 && !*a; i++)
        loop_turn(conf.loop, false);
    assert_non_null(*a);
    assert_int_equal(dns_open, 0);
}

static void find_route(const struct route *r)
{
    hosts_free(&answer);
    hosts_find(&conf, &relay, r, on_answer, NULL);
    assert_null(answer);
    wait_for(&answer);
}

static void find_mx_tls(const char *domain, enum route_tls tls)
{
    find_route(&(struct route){.mx = true, .host = domain, .port = 25, .tls = tls, .name = "mx"});
}

static void find_mx(const char *domain)
{
    find_mx_tls(domain, ROUTE_TLS_AUTO);
}

static void fails(const char *domain, enum smtp_fault_kind kind, const char *status)
{
    find_mx(domain);
    if (answer->fault.kind != kind || strcmp(answer->fault.status, status) != 0)
        fail_msg("%s: %d %s %s", domain, answer->fault.kind, answer->fault.status,
                 answer->fault.text);
    assert_int_equal(answer->n, 0);
    assert_true(answer->fault.text[0]);
}

/* "name ip, name ip": the answer, in this order. */
static void list_is(const char *want)
{
    struct buf got;

    if (answer->fault.kind)
        fail_msg("%s: %s", want, answer->fault.text);
    buf_init(&got, 10000);
    for (size_t i = 0; i < answer->n; i++)
        buf_printf(&got, "%s%s %s", i ? ", " : "", answer->list[i].name, answer->list[i].ip);
    assert_string_equal(buf_z(&got), want);
    buf_fini(&got);
}

static void by_preference(void **state)
{
    (void)state;
    dns_mx("example.org", 20, "b.example.org", false);
    dns_mx("example.org", 10, "a.example.org", false);
    dns_mx("example.org", 10, "a.example.org", false);
    dns_mx("example.org", 30, "gone.example.org", false);
    dns_ip("a.example.org", "192.0.2.1", false);
    dns_ip("a.example.org", "2001:db8::1", false);
    dns_ip("b.example.org", "192.0.2.2", false);
    find_mx("example.org");
    list_is("a.example.org 2001:db8::1, a.example.org 192.0.2.1, b.example.org 192.0.2.2");
    assert_int_equal(answer->list[0].port, 25);
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    assert_int_equal(answer->list[2].preference, 20);
    assert_false(dns_was_asked("TLSA _25._tcp.a.example.org"));
    relay.inet = 4;
    find_mx("example.org");
    list_is("a.example.org 192.0.2.1, b.example.org 192.0.2.2");
    relay.inet = 6;
    find_mx("example.org");
    list_is("a.example.org 2001:db8::1");
}

static void shuffled(void **state)
{
    static const char *const names[] = {"a.example", "b.example", "c.example", "d.example"};
    bool first[4] = {false, false, false, false}, all = false;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        dns_mx("example.org", i == 3 ? 20 : 10, names[i], false);
        dns_ip(names[i], "192.0.2.1", false);
    }
    for (int round = 0; round < 1000 && !all; round++) {
        dns_asked = 0;
        find_mx("example.org");
        assert_int_equal(answer->n, 4);
        assert_string_equal(answer->list[3].name, "d.example");
        for (size_t i = 0; i < 4; i++)
            first[i] = first[i] || strcmp(answer->list[0].name, names[i]) == 0;
        all = first[0] && first[1] && first[2];
    }
    assert_true(all && !first[3]); /* 3 x (2/3)^1000 */
}

static void bounded(void **state)
{
    static char names[100][20], ips[40][20];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "mx%zu.example", i);
        dns_mx("example.org", (uint16_t)i, names[i], true);
    }
    for (size_t i = 0; i < 40; i++) {
        snprintf(ips[i], sizeof ips[i], "192.0.2.%zu", i + 1);
        dns_ip(i < 20 ? "mx0.example" : "mx1.example", ips[i], true);
    }
    find_mx("example.org");
    assert_int_equal(answer->n, 16); /* 8 of each */
    assert_true(dns_asked <= 60);
    assert_false(dns_was_asked("A mx12.example"));
}

static void no_hosts(void **state)
{
    (void)state;
    fails("nothing.example", SMTP_FAULT_PERM, "5.1.2");
    dns_mx("null.example", 0, ".", false);
    fails("null.example", SMTP_FAULT_PERM, "5.1.10");
    dns_txt("empty.example", "x");
    fails("empty.example", SMTP_FAULT_PERM, "5.1.2");
    dns_fail(RESOLVER_MX, "servfail.example", RESOLVER_FAILED);
    fails("servfail.example", SMTP_FAULT_TEMP, "4.4.3");
    dns_fail(RESOLVER_MX, "bogus.example", RESOLVER_BOGUS);
    fails("bogus.example", SMTP_FAULT_TEMP, "4.4.3");
    dns_mx("dangling.example", 10, "gone.example", false);
    fails("dangling.example", SMTP_FAULT_TEMP, "4.4.4");
    dns_mx("broken.example", 10, "gone.example", false);
    dns_mx("broken.example", 20, "bad.example", false);
    dns_fail(RESOLVER_A, "bad.example", RESOLVER_BOGUS);
    fails("broken.example", SMTP_FAULT_TEMP, "4.4.3");
    dns_fail(RESOLVER_A, "implicit.example", RESOLVER_FAILED);
    fails("implicit.example", SMTP_FAULT_TEMP, "4.4.3");
}

static void implicit_mx(void **state)
{
    (void)state;
    dns_ip("example.org", "192.0.2.9", false);
    find_mx("example.org");
    list_is("example.org 192.0.2.9");
    relay.inet = 6;
    fails("example.org", SMTP_FAULT_PERM, "5.1.2");
}

static void local_addresses(void **state)
{
    (void)state;
    dns_ip("lo.example", "127.0.0.1", false);
    fails("lo.example", SMTP_FAULT_PERM, "5.1.2");
    dns_ip("zero.example", "0.0.0.0", false);
    dns_ip("zero.example", "::", false);
    fails("zero.example", SMTP_FAULT_PERM, "5.1.2");
    dns_mx("meta.example", 10, "m.meta.example", false);
    dns_ip("m.meta.example", "169.254.169.254", false);
    fails("meta.example", SMTP_FAULT_PERM, "5.1.2");
    dns_mx("mixed.example", 10, "m.mixed.example", false);
    dns_ip("m.mixed.example", "::1", false);
    dns_ip("m.mixed.example", "10.0.0.1", false);
    find_mx("mixed.example");
    list_is("m.mixed.example 10.0.0.1");
    relay.local_hosts = true;
    find_mx("lo.example");
    list_is("lo.example 127.0.0.1");
}

static void ourselves(void **state)
{
    (void)state;
    dns_mx("backup.example", 10, "main.example", false);
    dns_mx("backup.example", 20, "other.example", false);
    dns_mx("backup.example", 20, "SELF.example", false);
    dns_mx("backup.example", 30, "worse.example", false);
    dns_ip("main.example", "192.0.2.1", false);
    dns_ip("other.example", "192.0.2.2", false);
    dns_ip("SELF.example", "192.0.2.3", false);
    dns_ip("worse.example", "192.0.2.4", false);
    find_mx("backup.example");
    list_is("main.example 192.0.2.1");
    dns_mx("loop.example", 10, "self.example", false);
    fails("loop.example", SMTP_FAULT_PERM, "5.4.6");
    dns_mx("alias.example", 10, "aka.example", false);
    dns_ip("aka.example", "198.51.100.7", false);
    fails("alias.example", SMTP_FAULT_PERM, "5.4.6");
    dns_mx("worse.only.example", 10, "gone.example", false);
    dns_mx("worse.only.example", 20, "aka.example", false);
    fails("worse.only.example", SMTP_FAULT_TEMP, "4.4.4");
}

static void named_host(void **state)
{
    static const struct smtp_credentials login = {"u", "p", ""};
    struct route r = {.host = "smtp.example", .port = 587, .tls = ROUTE_TLS_AUTO, .name = "relay"};

    (void)state;
    dns_ip("smtp.example", "127.0.0.1", false);
    find_route(&r);
    list_is("smtp.example 127.0.0.1");
    assert_int_equal(answer->list[0].port, 587);
    assert_false(dns_was_asked("MX smtp.example"));
    r.credentials = &login;
    find_route(&r);
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY); /* on loopback nobody listens in */
    dns_ip("far.example", "192.0.2.1", false);
    r.host = "far.example";
    find_route(&r);
    assert_int_equal(answer->list[0].use, SMTP_TLS_MUST);
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_PKIX);
    assert_string_equal(answer->list[0].demand.names[0], "far.example");
    r.host = "none.example";
    find_route(&r);
    assert_int_equal(answer->fault.kind, SMTP_FAULT_TEMP);
    dns_asked = 0;
    r.host = "2001:db8::7";
    find_route(&r);
    list_is("2001:db8::7 2001:db8::7");
    assert_int_equal(dns_asked, 0);
}

static void words_of_routes(void **state)
{
    static const struct {
        enum route_tls tls;
        enum smtp_tls_use use;
        enum tls_trust trust;
    } all[] = {{ROUTE_TLS_NONE, SMTP_TLS_OFF, TLS_TRUST_NONE},
               {ROUTE_TLS_ANY, SMTP_TLS_MAY, TLS_TRUST_NONE},
               {ROUTE_TLS_ENCRYPT, SMTP_TLS_MUST, TLS_TRUST_NONE},
               {ROUTE_TLS_VERIFY, SMTP_TLS_MUST, TLS_TRUST_PKIX},
               {ROUTE_TLS_IMPLICIT, SMTP_TLS_IMPLICIT, TLS_TRUST_PKIX}};

    (void)state;
    dns_mx("example.org", 10, "mx.example.org", true);
    dns_ip("mx.example.org", "192.0.2.1", true);
    dns_tlsa("_25._tcp.mx.example.org", 3, 1, 1, STR("0123456789abcdef0123456789abcdef"), true);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        find_mx_tls("example.org", all[i].tls);
        assert_int_equal(answer->list[0].use, all[i].use);
        assert_int_equal(answer->list[0].demand.trust, all[i].trust);
        assert_string_equal(answer->list[0].demand.names[0], "mx.example.org");
        assert_int_equal(answer->policy, HOSTS_POLICY_NONE);
    }
    assert_false(dns_was_asked("TLSA _25._tcp.mx.example.org"));
    find_mx_tls("example.org", ROUTE_TLS_DANE);
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_DANE);
}

#define SHA256 STR("0123456789abcdef0123456789abcdef")

static void dane(void **state)
{
    const struct host *h;

    (void)state;
    dns_mx("example.org", 10, "mx.example.net", true);
    dns_ip("mx.example.net", "192.0.2.1", true);
    dns_tlsa("_25._tcp.mx.example.net", 3, 1, 1, SHA256, true);
    dns_tlsa("_25._tcp.mx.example.net", 0, 0, 0, STR("x"), true);
    find_mx("example.org");
    h = &answer->list[0];
    assert_int_equal(h->use, SMTP_TLS_MUST);
    assert_int_equal(h->demand.trust, TLS_TRUST_DANE);
    assert_int_equal(h->demand.n_tlsa, 2);
    assert_string_equal(h->demand.names[0], "mx.example.net");
    assert_string_equal(h->demand.names[1], "example.org");
    assert_null(h->demand.names[2]);
    assert_int_equal(h->policy, HOSTS_POLICY_DANE);
    assert_int_equal(answer->policy, HOSTS_POLICY_DANE);
    assert_true(str_starts(str_from(h->policy_text), STR("3 1 1 30313233")));
    relay.dane = false;
    find_mx("example.org");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
}

static void no_dane_without_dnssec(void **state)
{
    (void)state;
    dns_mx("mx.insecure.example", 10, "a.example", false); /* the MX */
    dns_ip("a.example", "192.0.2.1", true);
    dns_tlsa("_25._tcp.a.example", 3, 1, 1, SHA256, true);
    find_mx("mx.insecure.example");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    dns_mx("host.insecure.example", 10, "b.example", true); /* the address */
    dns_ip("b.example", "192.0.2.1", false);
    dns_tlsa("_25._tcp.b.example", 3, 1, 1, SHA256, true);
    find_mx("host.insecure.example");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    dns_mx("one.insecure.example", 10, "d.example", true); /* one of two addresses */
    dns_ip("d.example", "192.0.2.1", true);
    dns_ip("d.example", "2001:db8::1", false);
    dns_tlsa("_25._tcp.d.example", 3, 1, 1, SHA256, true);
    find_mx("one.insecure.example");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    assert_false(dns_was_asked("TLSA _25._tcp.a.example") ||
                 dns_was_asked("TLSA _25._tcp.b.example") ||
                 dns_was_asked("TLSA _25._tcp.d.example"));
    dns_mx("tlsa.insecure.example", 10, "c.example", true); /* the TLSA */
    dns_ip("c.example", "192.0.2.1", true);
    dns_tlsa("_25._tcp.c.example", 3, 1, 1, SHA256, false);
    find_mx("tlsa.insecure.example");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    assert_true(dns_was_asked("TLSA _25._tcp.c.example"));
    find_mx_tls("tlsa.insecure.example", ROUTE_TLS_DANE);
    assert_int_equal(answer->list[0].unusable.kind, SMTP_FAULT_TLS);
    assert_int_equal(answer->list[0].failure, TLS_RESULT_DANE_REQUIRED);
}

static void dane_that_fails(void **state)
{
    (void)state;
    dns_mx("bogus.example", 10, "a.example", true);
    dns_mx("bogus.example", 20, "b.example", true);
    dns_ip("a.example", "192.0.2.1", true);
    dns_ip("b.example", "192.0.2.2", true);
    dns_fail(RESOLVER_TLSA, "_25._tcp.a.example", RESOLVER_BOGUS);
    find_mx("bogus.example");
    assert_int_equal(answer->n, 2);
    assert_int_equal(answer->list[0].unusable.kind, SMTP_FAULT_TLS);
    assert_string_equal(answer->list[0].unusable.status, "4.7.5");
    assert_int_equal(answer->list[0].failure, TLS_RESULT_DNSSEC_INVALID);
    assert_int_equal(answer->list[1].unusable.kind, SMTP_FAULT_NONE);
    assert_int_equal(answer->list[1].use, SMTP_TLS_MAY);
    dns_mx("unusable.example", 10, "c.example", true);
    dns_ip("c.example", "192.0.2.1", true);
    dns_tlsa("_25._tcp.c.example", 1, 1, 1, SHA256, true); /* RFC 7672 3.1.3: not with SMTP */
    find_mx("unusable.example");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MUST);
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_NONE);
    assert_int_equal(answer->list[0].unusable.kind, SMTP_FAULT_NONE);
}

static void dane_and_cname(void **state)
{
    (void)state;
    dns_mx("example.org", 10, "mx.example.org", true);
    dns_ip("mx.example.org", "192.0.2.1", true)->target = "real.example.net";
    dns_tlsa("_25._tcp.real.example.net", 3, 1, 1, SHA256, true);
    find_mx("example.org");
    assert_string_equal(answer->list[0].demand.names[0], "real.example.net");
    assert_string_equal(answer->list[0].demand.names[1], "mx.example.org");
    assert_string_equal(answer->list[0].demand.names[2], "example.org");
    assert_string_equal(answer->list[0].name, "mx.example.org");
    dns_rows[2].name = "_25._tcp.mx.example.org"; /* only under the name that was given */
    find_mx("example.org");
    assert_true(dns_was_asked("TLSA _25._tcp.real.example.net"));
    assert_string_equal(answer->list[0].demand.names[0], "mx.example.org");
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_DANE);
    dns_rows[1].secure = false; /* it leads out of signed zones */
    find_mx("example.org");
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    dns_add(RESOLVER_CNAME, "mx.example.org")->secure = true;
    find_mx("example.org");
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_DANE);
}

static void dane_for_a_named_host(void **state)
{
    struct route r = {.host = "smtp.example", .port = 587, .tls = ROUTE_TLS_AUTO, .name = "relay"};

    (void)state;
    dns_ip("smtp.example", "192.0.2.1", true);
    dns_tlsa("_587._tcp.smtp.example", 2, 0, 1, SHA256, true);
    find_route(&r);
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_DANE);
    assert_null(answer->list[0].demand.names[1]);
}

#define POLICY(mode) "version: STSv1\r\nmode: " mode "\r\nmx: *.good.example\r\nmax_age: 86400\r\n"

static void mta_sts(void **state)
{
    (void)state;
    conf.sts = sts_new(conf.loop, NULL, (struct http_client *)&conf, NULL);
    dns_mx("example.org", 10, "a.good.example", false);
    dns_mx("example.org", 20, "bad.example", false);
    dns_ip("a.good.example", "192.0.2.1", false);
    dns_ip("bad.example", "192.0.2.2", false);
    dns_txt("_mta-sts.example.org", "v=STSv1; id=1;");
    web_serves(200, "text/plain", POLICY("enforce"));
    find_mx("example.org");
    assert_string_equal(web_url, "https://mta-sts.example.org/.well-known/mta-sts.txt");
    assert_int_equal(answer->n, 2);
    assert_int_equal(answer->policy, HOSTS_POLICY_STS);
    assert_int_equal(answer->list[0].use, SMTP_TLS_MUST);
    assert_int_equal(answer->list[0].demand.trust, TLS_TRUST_PKIX);
    assert_string_equal(answer->list[0].demand.names[0], "a.good.example");
    assert_non_null(strstr(answer->list[0].policy_text, "mode: enforce"));
    assert_int_equal(answer->list[1].unusable.kind, SMTP_FAULT_TLS);
    assert_int_equal(answer->list[1].failure, TLS_RESULT_VALIDATION_FAILURE);
    relay.mta_sts = false;
    find_mx("example.org");
    assert_int_equal(answer->list[1].use, SMTP_TLS_MAY);
    relay.mta_sts = true;
    dns_rows[dns_n - 1].record.data = STR("v=STSv1; id=2;");
    web_serves(200, "text/plain; charset=utf-8", POLICY("testing"));
    find_mx("example.org");
    assert_int_equal(answer->policy, HOSTS_POLICY_STS_TESTING);
    assert_int_equal(answer->list[1].use, SMTP_TLS_MAY);
    assert_int_equal(answer->list[1].unusable.kind, SMTP_FAULT_NONE);
    assert_int_equal(answer->list[1].failure, TLS_RESULT_VALIDATION_FAILURE);
    sts_free(&conf.sts);
}

static void dane_before_mta_sts(void **state)
{
    (void)state;
    conf.sts = sts_new(conf.loop, NULL, (struct http_client *)&conf, NULL);
    dns_mx("example.org", 10, "bad.example", true);
    dns_ip("bad.example", "192.0.2.2", true);
    dns_tlsa("_25._tcp.bad.example", 3, 1, 1, SHA256, true);
    dns_txt("_mta-sts.example.org", "v=STSv1; id=1;");
    web_serves(200, "text/plain", POLICY("enforce"));
    find_mx("example.org");
    assert_int_equal(answer->policy, HOSTS_POLICY_DANE);
    assert_int_equal(answer->list[0].unusable.kind, SMTP_FAULT_NONE);
    dns_asked = 0;
    web_fails(ERR_WHY_UNTRUSTED);
    dns_txt("_mta-sts.failing.example", "v=STSv1; id=1;");
    dns_ip("failing.example", "192.0.2.3", true);
    find_mx("failing.example");
    assert_int_equal(answer->sts_failure, TLS_RESULT_STS_WEBPKI_INVALID);
    assert_int_equal(answer->list[0].use, SMTP_TLS_MAY);
    sts_free(&conf.sts);
}

/* Ended after any number of turns, nothing is left and nothing comes. */
static void cancelled(void **state)
{
    struct route r = {.mx = true, .host = "example.org", .port = 25, .name = "mx"};

    (void)state;
    conf.sts = sts_new(conf.loop, NULL, (struct http_client *)&conf, NULL);
    dns_mx("example.org", 10, "mx.example.org", true);
    dns_ip("mx.example.org", "192.0.2.1", true)->target = "real.example";
    dns_tlsa("_25._tcp.mx.example.org", 3, 1, 1, SHA256, true);
    dns_txt("_mta-sts.example.org", "v=STSv1; id=1;");
    web_silent = true;
    for (int turns = 0; turns < 8; turns++) {
        struct hosts_query *q = hosts_find(&conf, &relay, &r, on_answer, NULL);
        for (int i = 0; i < turns; i++)
            loop_turn(conf.loop, false);
        assert_null(answer);
        hosts_cancel(&q);
        assert_null(q);
        for (int i = 0; i < 4; i++)
            loop_turn(conf.loop, false);
        assert_int_equal(dns_open, 0);
    }
    assert_int_equal(web_open, 1); /* the policy is still being fetched, for the cache */
    sts_free(&conf.sts);
    assert_int_equal(web_open, 0);
}

static int begin(void **state)
{
    (void)state;
    memset(&relay, 0, sizeof relay);
    conf = (struct hosts_conf){.loop = loop_new(), .self = "self.example", .self_addresses = &own};
    fake_reset(conf.loop);
    if (cidr_set_parse(STR("198.51.100.7"), &own, &err))
        return -1;
    return settings_defaults(relay_settings, &relay, &err);
}

static int end(void **state)
{
    (void)state;
    hosts_free(&answer);
    settings_free(relay_settings, &relay);
    cidr_set_free(&own);
    loop_turn(conf.loop, false);
    loop_free(&conf.loop);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_preference),
        TEST(shuffled),
        TEST(bounded),
        TEST(no_hosts),
        TEST(implicit_mx),
        TEST(local_addresses),
        TEST(ourselves),
        TEST(named_host),
        TEST(words_of_routes),
        TEST(dane),
        TEST(no_dane_without_dnssec),
        TEST(dane_that_fails),
        TEST(dane_and_cname),
        TEST(dane_for_a_named_host),
        TEST(mta_sts),
        TEST(dane_before_mta_sts),
        TEST(cancelled),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
