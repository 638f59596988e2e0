/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The resolver before a name server that says what it is told to: answers and failures of every
 * kind, budgets, deadlines, limits, cancelling, reloading. */
#include "appliance/io/resolver.h"
#include "dns_stub.h"
#include <stdio.h>
#include <stdlib.h>

static char big_text[3000]; /* ten strings and more: no UDP datagram of ours holds it */

static struct stub_rule rules[] = {
    {"a.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x09", 4}}, {1, NULL, {"\x7f\0\0\x08", 4}}}},
    {"a.test.", 28, STUB_ANSWER, {{28, NULL, {"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}}}},
    {"mx.test.",
     15,
     STUB_ANSWER,
     {{15, NULL, {"\0\x14\1b\4test\0", 10}}, {15, NULL, {"\0\x0a\1A\4TesT\0", 10}}}},
    {"null.test.", 15, STUB_ANSWER, {{15, NULL, {"\0\0\0", 3}}}},
    {"odd.test.", 15, STUB_ANSWER, {{15, NULL, {"\0\1\6 \0\n.\\Q\4test\0", 15}}}},
    {"txt.test.", 16, STUB_ANSWER, {{16, NULL, {"\4v=sp\5f1 -a\2ll", 14}}}},
    {"_25._tcp.mx.test.", 52, STUB_ANSWER, {{52, NULL, {"\3\1\1\xab\xcd", 5}}}},
    {"9.0.0.127.in-addr.arpa.", 12, STUB_ANSWER, {{12, NULL, {"\1a\4test\0", 8}}}},
    {"alias.test.", 0, STUB_ANSWER, {{5, NULL, {"\4Real\4test\0", 11}}}},
    {"real.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x07", 4}}}},
    {"dead-alias.test.", 0, STUB_ANSWER, {{5, NULL, {"\4gone\4test\0", 11}}}},
    {"nodata.test.", 0, STUB_ANSWER, {{0}}},
    {"broken.test.", 0, STUB_SERVFAIL, {{0}}},
    {"silent.test.", 0, STUB_SILENT, {{0}}},
    {"held.test.", 0, STUB_HELD, {{1, NULL, {"\x7f\0\0\x06", 4}}}},
    {"big.test.", 16, STUB_TCP, {{16, NULL, {big_text, sizeof(big_text)}}}},
    {.name = NULL}};
static const struct stub_rule other_rules[] = {
    {"a.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x63", 4}}}},
    {"held.test.", 0, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x63", 4}}}},
    {.name = NULL}};

static struct loop *loop;
static struct resolver *resolver;
static struct stub stub, other;
static struct err err;
static char forwarder[32];
static struct resolver_conf conf;
static uint64_t fake_ms;

static uint64_t fake_mono(void)
{
    return fake_ms;
}

struct reply {
    struct resolver_query *query;
    unsigned calls;
    enum resolver_status status;
    bool secure;
    uint32_t ttl;
    size_t n;
    char name[300], why[200];
    struct resolver_record first, second;
    char first_name[300], first_data[4000], second_name[300];
    void (*hook)(struct reply *p);
};

static void keep(char *out, size_t cap, struct str s)
{
    snprintf(out, cap, STR_FMT, STR_ARG(s));
}

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct reply *p = ctx;
    p->query = NULL;
    p->calls++;
    p->status = a->status;
    p->secure = a->secure;
    p->ttl = a->ttl;
    p->n = a->n;
    keep(p->name, sizeof(p->name), a->name);
    keep(p->why, sizeof(p->why), str_from(a->why));
    if (a->n) {
        p->first = a->records[0];
        keep(p->first_name, sizeof(p->first_name), p->first.name);
        keep(p->first_data, sizeof(p->first_data), p->first.data);
    }
    if (a->n > 1) {
        p->second = a->records[1];
        keep(p->second_name, sizeof(p->second_name), p->second.name);
    }
    if (p->hook)
        p->hook(p);
}

static bool ask(struct reply *p, enum resolver_type type, const char *name)
{
    p->query = resolver_ask(resolver, type, str_from(name), NULL, on_answer, p);
    assert_int_equal(p->calls, 0);
    return p->query != NULL;
}

static void await(struct reply *p)
{
    while (!p->calls)
        loop_turn(loop, true);
}

static struct reply asked(enum resolver_type type, const char *name)
{
    struct reply p = {.calls = 0};
    assert_true(ask(&p, type, name));
    await(&p);
    assert_int_equal(p.calls, 1);
    assert_false(p.secure);
    return p;
}

static int open_with(void)
{
    snprintf(forwarder, sizeof(forwarder), "127.0.0.1@%u", stub.port);
    return resolver_open(&conf, loop, &resolver, &err);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    stub_start(&stub, rules);
    conf = (struct resolver_conf){.forwarders = forwarder,
                                  .trust_anchor = "",
                                  .local_zones = "test, 127.in-addr.arpa",
                                  .cache = 1 << 20,
                                  .timeout = 60000,
                                  .queries = 100};
    return open_with();
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    resolver_close(&resolver);
    loop_free(&loop);
    stub_stop(&stub);
    return 0;
}

static void finds_records(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "a.test");
    assert_int_equal(p.status, RESOLVER_FOUND);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.first.ip, "127.0.0.9");
    assert_string_equal(p.second.ip, "127.0.0.8");
    assert_int_equal(p.ttl, 300);
    assert_string_equal(p.name, "");
    p = asked(RESOLVER_AAAA, "A.Test.");
    assert_string_equal(p.first.ip, "2001:db8::1");
    assert_string_equal(p.name, "");
    p = asked(RESOLVER_MX, "mx.test");
    assert_int_equal(p.n, 2);
    assert_int_equal(p.first.preference, 20);
    assert_string_equal(p.first_name, "b.test");
    assert_int_equal(p.second.preference, 10);
    assert_string_equal(p.second_name, "a.test");
    p = asked(RESOLVER_MX, "null.test");
    assert_int_equal(p.n, 1);
    assert_string_equal(p.first_name, ".");
    p = asked(RESOLVER_TXT, "txt.test");
    assert_string_equal(p.first_data, "v=spf1 -all");
    p = asked(RESOLVER_TLSA, "_25._tcp.mx.test");
    assert_true(p.first.usage == 3 && p.first.selector == 1 && p.first.matching == 1);
    assert_int_equal(p.first.data.n, 2);
    p = asked(RESOLVER_PTR, "9.0.0.127.in-addr.arpa");
    assert_string_equal(p.first_name, "a.test");
}

static void follows_aliases(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "alias.test");
    assert_int_equal(p.status, RESOLVER_FOUND);
    assert_string_equal(p.first.ip, "127.0.0.7");
    assert_string_equal(p.name, "real.test");
    p = asked(RESOLVER_CNAME, "alias.test");
    assert_string_equal(p.first_name, "real.test");
    p = asked(RESOLVER_A, "dead-alias.test");
    assert_int_equal(p.status, RESOLVER_NO_NAME);
    assert_string_equal(p.name, "gone.test");
}

static void tells_absence_from_failure(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "nothing.test");
    assert_int_equal(p.status, RESOLVER_NO_NAME);
    p = asked(RESOLVER_MX, "nodata.test");
    assert_int_equal(p.status, RESOLVER_NO_DATA);
    assert_int_equal(p.n, 0);
    p = asked(RESOLVER_A, "broken.test");
    assert_int_equal(p.status, RESOLVER_FAILED);
    assert_string_equal(p.why, "SERVFAIL");
    struct resolver_stats s;
    resolver_stats(resolver, &s);
    assert_true(s.asked == 3 && s.answered == 3 && s.failed == 1 && s.bogus == 0);
    assert_true(s.waiting == 0 && s.running == 0 && s.us_max > 0 && s.us_total >= s.us_max);
}

static void takes_large_answers_by_tcp(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_TXT, "big.test");
    assert_int_equal(p.status, RESOLVER_FOUND);
    assert_int_equal(strlen(p.first_data), sizeof(big_text) - sizeof(big_text) / 250);
    assert_int_equal(strspn(p.first_data, "x"), strlen(p.first_data));
}

static void makes_names_harmless(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_MX, "odd.test"), none = {.calls = 0};
    assert_string_equal(p.first_name, "\\032\\000\\010\\046\\092q.test");
    assert_false(ask(&none, RESOLVER_A, p.first_name)); /* not a name to ask for */
}

static void remembers(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "a.test");
    atomic_store(&stub.mute, true);
    p = asked(RESOLVER_A, "A.Test");
    assert_int_equal(p.status, RESOLVER_FOUND);
    assert_string_equal(p.first.ip, "127.0.0.9");
}

static void refuses_what_is_no_name(void **state)
{
    (void)state;
    char label[65], name[300];
    struct reply p = {.calls = 0};
    static const char *const bad[] = {"a..b", ".a",      "a\nb",  "\xc3\xa4.test",
                                      "..",   "a\\.b.c", "a\tb.c"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(ask(&p, RESOLVER_A, bad[i]));
    memset(label, 'a', 64);
    label[64] = '\0';
    assert_false(ask(&p, RESOLVER_A, label));
    snprintf(name, sizeof(name), "%.63s.%.63s.%.63s.%.62s", label, label, label, label);
    assert_int_equal(strlen(name), 254);
    assert_false(ask(&p, RESOLVER_A, name));
    assert_true(ask(&p, RESOLVER_A, name + 1));
    await(&p);
    assert_int_equal(p.status, RESOLVER_NO_NAME);
    p = asked(RESOLVER_MX, "");
    assert_int_equal(p.status, RESOLVER_NO_NAME);
}

static void use_fake_clock(void)
{
    static const struct clock_source fake = {.mono_ms = fake_mono};
    fake_ms = clock_mono_ms();
    clock_replace(&fake);
}

static void is_late_on_time(void **state)
{
    (void)state;
    use_fake_clock();
    struct reply p = {.calls = 0}, q = {.calls = 0};
    assert_true(ask(&p, RESOLVER_A, "silent.test"));
    fake_ms += 59999;
    spin(loop);
    assert_int_equal(p.calls, 0);
    fake_ms += 1;
    spin(loop);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.status, RESOLVER_FAILED);
    assert_string_equal(p.why, "no answer in time");
    /* What comes after that is dropped. */
    assert_true(ask(&q, RESOLVER_A, "held.test"));
    while (!stub_asked(&stub, "held.test."))
        sched_yield();
    fake_ms += 60000;
    spin(loop);
    assert_int_equal(q.calls, 1);
    stub_tell(&stub, 'r');
    q = (struct reply){.calls = 0};
    assert_true(ask(&q, RESOLVER_A, "held.test"));
    await(&q);
    assert_string_equal(q.first.ip, "127.0.0.6");
    assert_int_equal(p.calls, 1);
}

static void keeps_deadlines_of_budgets(void **state)
{
    (void)state;
    use_fake_clock();
    struct reply p = {.calls = 0};
    struct resolver_budget b = {.deadline_ms = loop_now_ms(loop) + 500};
    assert_non_null(resolver_ask(resolver, RESOLVER_A, STR("silent.test"), &b, on_answer, &p));
    fake_ms += 499;
    spin(loop);
    assert_int_equal(p.calls, 0);
    fake_ms += 1;
    spin(loop);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.status, RESOLVER_FAILED);
    p.calls = 0; /* it is over: no waiting at all */
    assert_non_null(resolver_ask(resolver, RESOLVER_A, STR("silent.test"), &b, on_answer, &p));
    assert_int_equal(p.calls, 0);
    spin(loop);
    assert_int_equal(p.calls, 1);
}

static void ends_budgets(void **state)
{
    (void)state;
    struct reply p = {.calls = 0};
    struct resolver_budget b = {.queries = 2};
    for (unsigned i = 1; i <= 2; i++) {
        assert_non_null(resolver_ask(resolver, RESOLVER_A, STR("a.test"), &b, on_answer, &p));
        while (p.calls < i)
            loop_turn(loop, true);
    }
    assert_null(resolver_ask(resolver, RESOLVER_A, STR("a.test"), &b, on_answer, &p));
    b = (struct resolver_budget){.voids = 1};
    const enum resolver_status want[] = {RESOLVER_NO_DATA, RESOLVER_FOUND, RESOLVER_FAILED,
                                         RESOLVER_OVER_BUDGET};
    const char *const names[] = {"nodata.test", "a.test", "broken.test", "nothing.test"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        p.calls = 0;
        assert_non_null(resolver_ask(resolver, RESOLVER_A, str_from(names[i]), &b, on_answer, &p));
        await(&p);
        assert_int_equal(p.status, want[i]);
    }
    assert_null(resolver_ask(resolver, RESOLVER_A, STR("a.test"), &b, on_answer, &p));
}

static void cancels(void **state)
{
    (void)state;
    struct reply p = {.calls = 0}, q = {.calls = 0};
    struct resolver_query *none = NULL;
    resolver_cancel(&none);
    assert_true(ask(&p, RESOLVER_A, "a.test"));
    resolver_cancel(&p.query);
    assert_null(p.query);
    assert_true(ask(&p, RESOLVER_A, "held.test"));
    assert_true(ask(&q, RESOLVER_A, "a.test"));
    while (!stub_asked(&stub, "held.test."))
        loop_turn(loop, false);
    resolver_cancel(&p.query);
    await(&q);
    assert_int_equal(p.calls, 0);
    struct resolver_stats s;
    resolver_stats(resolver, &s);
    assert_true(s.asked == 3 && s.answered == 1 && s.running == 0 && s.waiting == 0);
}

static struct reply *partner;

static void cancel_partner(struct reply *p)
{
    (void)p;
    if (partner->query)
        resolver_cancel(&partner->query);
}

/* Both are answered in one turn, the first answer cancels the second. */
static void cancels_from_an_answer(void **state)
{
    (void)state;
    use_fake_clock();
    struct reply p = {.hook = cancel_partner}, q = {.hook = cancel_partner};
    partner = &q;
    assert_true(ask(&p, RESOLVER_A, "silent.test"));
    assert_true(ask(&q, RESOLVER_A, "silent.test"));
    fake_ms += 60000;
    spin(loop);
    assert_int_equal(p.calls + q.calls, 1);
}

static void ask_again(struct reply *p)
{
    if (p->calls < 3)
        p->query = resolver_ask(resolver, RESOLVER_A, STR("a.test"), NULL, on_answer, p);
    else
        resolver_close(&resolver);
}

static void asks_and_closes_from_an_answer(void **state)
{
    (void)state;
    struct reply p = {.hook = ask_again};
    assert_true(ask(&p, RESOLVER_A, "a.test"));
    while (p.calls < 3)
        loop_turn(loop, true);
    assert_null(resolver);
}

static void lets_others_wait(void **state)
{
    (void)state;
    struct reply held[2] = {{.calls = 0}}, q = {.calls = 0}, more[8] = {{.calls = 0}};
    resolver_close(&resolver);
    conf.queries = 1;
    assert_int_equal(open_with(), 0);
    assert_true(ask(&held[0], RESOLVER_A, "held.test"));
    assert_true(ask(&q, RESOLVER_A, "a.test"));
    for (size_t i = 0; i < 7; i++)
        assert_true(ask(&more[i], RESOLVER_A, "nodata.test"));
    assert_false(ask(&more[7], RESOLVER_A, "nodata.test")); /* eight times what may run */
    struct resolver_stats s;
    resolver_stats(resolver, &s);
    assert_true(s.running == 1 && s.waiting == 8);
    resolver_cancel(&more[2].query);
    assert_true(ask(&more[7], RESOLVER_A, "nodata.test"));
    while (!stub_asked(&stub, "held.test."))
        sched_yield();
    spin(loop);
    assert_int_equal(q.calls, 0);
    stub_tell(&stub, 'r');
    for (size_t i = 0; i < 8; i++)
        if (i != 2)
            await(&more[i]);
    assert_true(held[0].calls == 1 && q.calls == 1 && more[2].calls == 0);
    assert_string_equal(q.first.ip, "127.0.0.9");
}

static void waits_no_longer_than_allowed(void **state)
{
    (void)state;
    struct reply p = {.calls = 0}, q = {.calls = 0};
    resolver_close(&resolver);
    conf.queries = 1;
    assert_int_equal(open_with(), 0);
    use_fake_clock();
    assert_true(ask(&p, RESOLVER_A, "silent.test"));
    assert_true(ask(&q, RESOLVER_A, "a.test"));
    fake_ms += 60000;
    spin(loop);
    assert_true(p.calls == 1 && q.calls == 1);
    assert_int_equal(q.status, RESOLVER_FAILED);
    struct resolver_stats s;
    resolver_stats(resolver, &s);
    assert_true(s.running == 0 && s.waiting == 0);
}

static void reloads(void **state)
{
    (void)state;
    struct reply before = {.calls = 0}, after;
    stub_start(&other, other_rules);
    assert_true(ask(&before, RESOLVER_A, "held.test"));
    while (!stub_asked(&stub, "held.test."))
        loop_turn(loop, false);
    conf.forwarders = "nonsense";
    assert_int_equal(resolver_reload(resolver, &conf, &err), -1);
    after = asked(RESOLVER_A, "a.test");
    assert_string_equal(after.first.ip, "127.0.0.9"); /* all is as it was */
    snprintf(forwarder, sizeof(forwarder), "127.0.0.1@%u", other.port);
    conf.forwarders = forwarder;
    assert_int_equal(resolver_reload(resolver, &conf, &err), 0);
    after = asked(RESOLVER_A, "a.test");
    assert_string_equal(after.first.ip, "127.0.0.99");
    assert_int_equal(before.calls, 0);
    stub_tell(&stub, 'r');
    await(&before);
    assert_string_equal(before.first.ip, "127.0.0.6");
    /* And again, with a question under way that is given up then. */
    before = (struct reply){.calls = 0};
    assert_true(ask(&before, RESOLVER_A, "nothing.test"));
    assert_int_equal(resolver_reload(resolver, &conf, &err), 0);
    resolver_cancel(&before.query);
    spin(loop);
    stub_stop(&other);
}

static void refuses(const char *forwarders, const char *zones, int inet, const char *want)
{
    struct resolver_conf c = {.forwarders = forwarders, .local_zones = zones, .inet = inet};
    assert_int_equal(resolver_check(&c, &err), -1);
    assert_non_null(strstr(err.text, want));
}

static void checks_settings(void **state)
{
    (void)state;
    refuses("192.0.2.1, example.com", "", 0, "\"example.com\" is no IP address");
    refuses("192.0.2.1:53", "", 0, "ADDRESS@PORT");
    refuses("192.0.2.1@0", "", 0, "1 to 65535");
    refuses("192.0.2.1@", "", 0, "1 to 65535");
    refuses("::1@65536", "", 0, "1 to 65535");
    refuses("192.0.2.1", "", 6, "main.inet is ipv6");
    refuses("2001:db8::1@53", "", 4, "main.inet is ipv4");
    refuses("", "a..b", 0, "\"a..b\" is no domain name");
    struct resolver_conf good = {.forwarders = "192.0.2.1, 2001:db8::1@5353",
                                 .local_zones = "test, 10.in-addr.arpa"};
    assert_int_equal(resolver_check(&good, &err), 0);
}

static void anchors_from(const char *text, const char *want)
{
    char path[] = "/tmp/posthouse-anchor-XXXXXX";
    struct resolver *r = NULL;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    conf.trust_anchor = path;
    int rc = resolver_open(&conf, loop, &r, &err);
    unlink(path);
    assert_int_equal(rc, want ? -1 : 0);
    if (want)
        assert_non_null(strstr(err.text, want));
    resolver_close(&r);
}

#define KEY_20326 "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"

static void reads_anchors(void **state)
{
    (void)state;
    struct resolver *r;
    conf.trust_anchor = "/nowhere/root.key";
    assert_int_equal(resolver_open(&conf, loop, &r, &err), -1);
    assert_non_null(strstr(err.text, "/nowhere/root.key"));
    anchors_from("", "holds no key");
    anchors_from("; nothing\n\n", "holds no key");
    anchors_from(". IN A 127.0.0.1\n", "not a DS or DNSKEY record");
    anchors_from(". IN DS ( 20326 8\n 2 )\n", "not a DS or DNSKEY record");
    anchors_from(". IN DS nonsense\n", "damaged");
    anchors_from("; the root's\n.\t3600 IN DS " KEY_20326 " ; of 2017\n", NULL);
}

static void names_networks_backwards(void **state)
{
    (void)state;
    char out[80];
    assert_true(resolver_reverse_name("192.0.2.10", out, sizeof(out)));
    assert_string_equal(out, "10.2.0.192.in-addr.arpa");
    assert_true(resolver_reverse_name("2001:db8::567:89ab", out, sizeof(out)));
    assert_string_equal(out,
                        "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    assert_false(resolver_reverse_name("2001:db8::567:89ab", out, 72));
    assert_false(resolver_reverse_name("192.0.2.10", out, 23));
    assert_false(resolver_reverse_name("example.com", out, sizeof(out)));
}

int main(void)
{
    stub_stay_inside();
    for (size_t at = 0; at < sizeof(big_text); at += 250) {
        memset(big_text + at, 'x', 250);
        big_text[at] = (char)249;
    }
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(finds_records),
                                       T(follows_aliases),
                                       T(tells_absence_from_failure),
                                       T(takes_large_answers_by_tcp),
                                       T(makes_names_harmless),
                                       T(remembers),
                                       T(refuses_what_is_no_name),
                                       T(is_late_on_time),
                                       T(keeps_deadlines_of_budgets),
                                       T(ends_budgets),
                                       T(cancels),
                                       T(cancels_from_an_answer),
                                       T(asks_and_closes_from_an_answer),
                                       T(lets_others_wait),
                                       T(waits_no_longer_than_allowed),
                                       T(reloads),
                                       T(checks_settings),
                                       T(reads_anchors),
                                       T(names_networks_backwards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
