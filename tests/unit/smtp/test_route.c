/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Where mail goes, by the settings alone: routes, sites and back, addresses. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "smtp/client/route.h"
#include "smtp/client/route_address.h"

static struct relay_conf conf;
static struct arena *arena;
static struct route got;
static struct err err;

static void set(const char *name, const char *value)
{
    if (settings_set(relay_settings, &conf, str_from(name), str_from(value), &err))
        fail_msg("%s", err.text);
}

/* settings: "name=value;name=value" */
static void add_route(const char *name, const char *settings)
{
    struct str rest = str_from(settings), one, key, value;

    conf.routes = mem_realloc(conf.routes, (conf.n_routes + 1) * sizeof *conf.routes);
    struct route_conf *r = memset(&conf.routes[conf.n_routes++], 0, sizeof *r);
    r->name = str_dup_z(str_from(name));
    assert_int_equal(settings_defaults(route_settings, r, &err), 0);
    while (rest.n) {
        str_cut(rest, ';', &one, &rest);
        str_cut(one, '=', &key, &value);
        if (settings_set(route_settings, r, key, value, &err))
            fail_msg("%s", err.text);
    }
    if (route_check(r, &err))
        fail_msg("%s", err.text);
}

static int choose(const char *sender, const char *domain)
{
    return route_choose(&conf, arena, str_from(sender), str_from(domain), &got, &err);
}

/* Goes to this site in these words, and the site leads to the same again. */
static void goes(const char *sender, const char *domain, const char *site, const char *text)
{
    struct route again;
    struct buf words;

    buf_init(&words, 1000);
    if (choose(sender, domain))
        fail_msg("%s: %s", domain, err.text);
    assert_true(str_eq(got.site, str_from(got.site.p)));
    assert_string_equal(got.site.p, site);
    route_text(&got, &words);
    assert_string_equal(buf_z(&words), text);
    if (route_of_site(&conf, arena, got.site, &again, &err))
        fail_msg("%s: %s", site, err.text);
    assert_string_equal(again.site.p, site);
    assert_string_equal(again.host, got.host);
    assert_true(again.port == got.port && again.tls == got.tls && again.mx == got.mx);
    assert_true(!again.credentials == !got.credentials);
    if (got.credentials) {
        assert_string_equal(again.credentials->user, got.credentials->user);
        assert_string_equal(again.credentials->password, got.credentials->password);
    }
    buf_fini(&words);
}

static void by_mx(void **state)
{
    (void)state;
    goes("a@b.example", "Example.ORG", "example.org", "mx example.org");
    assert_true(got.mx && got.port == 25 && got.tls == ROUTE_TLS_AUTO && !got.credentials);
    goes("", "example.org.", "example.org", "mx example.org");
    goes("", "b\u00fccher.example", "xn--bcher-kva.example", "mx xn--bcher-kva.example");
    assert_int_equal(choose("", "a..b"), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(choose("", "a_b.example"), -1);
    assert_int_equal(choose("", ""), -1);
    set("mx_port", "2525");
    goes("", "example.org", "example.org", "mx example.org");
    assert_int_equal(got.port, 2525);
}

static void literals(void **state)
{
    static const char *const refused[] = {
        "[127.0.0.1]", "[127.9.9.9]", "[10.0.0.1]", "[192.168.1.1]", "[169.254.169.254]",
        "[0.0.0.0]", "[224.0.0.1]", "[255.255.255.255]", "[IPv6:::1]", "[IPv6:::]",
        "[IPv6:fe80::1]", "[IPv6:fd00::1]", "[IPv6:ff02::1]", "[IPv6:::ffff:127.0.0.1]",
        "[IPv6:64:ff9b::10.0.0.1]", "[IPv6:::127.0.0.1]",
        /* no literals */
        "[]", "[", "[x]", "[192.0.2.1", "[192.0.2.1]x", "[2001:db8::1]", "[IPv6:192.0.2.1]",
        "[IPv6:]", "[192.0.2.1 ]"};

    (void)state;
    goes("", "[192.0.2.1]", "[192.0.2.1]", "host 192.0.2.1:25");
    assert_false(got.mx);
    goes("", "[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]", "host [2001:db8::1]:25");
    assert_string_equal(got.host, "2001:db8::1");
    goes("", "[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]", "host 192.0.2.1:25");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (choose("", refused[i]) == 0)
            fail_msg("%s is taken", refused[i]);
        assert_int_equal(err.kind, ERR_PERM);
        assert_int_equal(route_of_site(&conf, arena, str_from(refused[i]), &got, &err), -1);
    }
    set("local_hosts", "yes");
    goes("", "[127.0.0.1]", "[127.0.0.1]", "host 127.0.0.1:25");
    set("local_hosts", "no");
    add_route("own", "domains=[10.0.0.1];host=10.0.0.1");
    goes("", "[10.0.0.1]", "relay:10.0.0.1:25", "host 10.0.0.1:25 (route own)");
    assert_int_equal(choose("", "[10.0.0.2]"), -1);
}

static void relay_host(void **state)
{
    (void)state;
    set("host", "Smtp.Example");
    set("user", "me");
    set("password", "pw");
    set("tls", "verify");
    goes("a@b.example", "example.org", "relay:smtp.example:587", "host smtp.example:587 (relay)");
    assert_string_equal(got.credentials->user, "me");
    assert_int_equal(got.tls, ROUTE_TLS_VERIFY);
    goes("", "[10.0.0.1]", "relay:smtp.example:587", "host smtp.example:587 (relay)");
    set("host", "2001:DB8::1");
    goes("", "example.org", "relay:[2001:db8::1]:587", "host [2001:db8::1]:587 (relay)");
    assert_string_equal(got.host, "2001:db8::1");
}

static void patterns(void **state)
{
    (void)state;
    set("host", "relay.example");
    add_route("exact", "domains=example.org, B\u00fccher.example;host=one.example");
    add_route("below", "domains=.example.net;host=two.example");
    add_route("senders", "senders=Boss@Example.com, @news.example;host=three.example");
    add_route("direct", "domains=.direct.example;tls=verify");
    goes("", "EXAMPLE.org", "relay:one.example:25", "host one.example:25 (route exact)");
    goes("", "xn--bcher-kva.example", "relay:one.example:25", "host one.example:25 (route exact)");
    goes("", "a.example.org", "relay:relay.example:587", "host relay.example:587 (relay)");
    goes("", "example.net", "relay:two.example:25", "host two.example:25 (route below)");
    goes("", "a.b.example.net", "relay:two.example:25", "host two.example:25 (route below)");
    goes("", "badexample.net", "relay:relay.example:587", "host relay.example:587 (relay)");
    goes("boss@example.COM", "x.example", "relay:three.example:25",
         "host three.example:25 (route senders)");
    goes("worker@example.com", "x.example", "relay:relay.example:587",
         "host relay.example:587 (relay)");
    goes("any@news.example", "x.example", "relay:three.example:25",
         "host three.example:25 (route senders)");
    goes("any@news.example", "example.org", "relay:one.example:25", /* the first that fits */
         "host one.example:25 (route exact)");
    goes("x@sub.news.example", "x.example", "relay:relay.example:587",
         "host relay.example:587 (relay)");
    goes("", "a.direct.example", "a.direct.example", "mx a.direct.example (route direct)");
    assert_int_equal(got.tls, ROUTE_TLS_VERIFY);
}

static void other_logins(void **state)
{
    (void)state;
    set("host", "smtp.example");
    set("user", "all");
    set("password", "1");
    add_route("same", "senders=@same.example;host=SMTP.example;port=587;user=all;password=1");
    add_route("other", "senders=@other.example;host=smtp.example;port=587;user=other;password=2");
    add_route("port", "senders=@port.example;host=smtp.example;port=25");
    goes("", "x.example", "relay:smtp.example:587", "host smtp.example:587 (relay)");
    goes("a@same.example", "x.example", "relay:smtp.example:587",
         "host smtp.example:587 (route same)");
    goes("a@other.example", "x.example", "relay:smtp.example:587/other",
         "host smtp.example:587 (route other)");
    assert_string_equal(got.credentials->user, "other");
    goes("a@port.example", "x.example", "relay:smtp.example:25",
         "host smtp.example:25 (route port)");
    assert_null(got.credentials);
}

static void senders_with_other_tls(void **state)
{
    (void)state;
    add_route("strict", "senders=@bank.example;tls=verify");
    add_route("all", "domains=example.org;tls=encrypt");
    goes("a@bank.example", "example.org", "example.org/strict", "mx example.org (route strict)");
    assert_int_equal(got.tls, ROUTE_TLS_VERIFY);
    goes("a@else.example", "example.org", "example.org", "mx example.org (route all)");
    assert_int_equal(got.tls, ROUTE_TLS_ENCRYPT);
    goes("a@else.example", "example.net", "example.net", "mx example.net");
}

static void sites(void **state)
{
    static const char *const bad[] = {"relay:",
                                      "relay::25",
                                      "relay:a.example",
                                      "relay:a.example:0",
                                      "relay:a.example:65536",
                                      "relay:a b:25",
                                      "a b",
                                      ""};

    (void)state;
    add_route("x", "host=x.example;user=u;password=p;port=26");
    assert_int_equal(route_of_site(&conf, arena, STR("relay:y.example:2525"), &got, &err), 0);
    assert_string_equal(got.host, "y.example");
    assert_int_equal(got.port, 2525);
    assert_null(got.credentials);
    assert_int_equal(route_of_site(&conf, arena, STR("relay:[2001:db8::1]:25"), &got, &err), 0);
    assert_string_equal(got.host, "2001:db8::1");
    assert_int_equal(route_of_site(&conf, arena, STR("relay:x.example:26"), &got, &err), 0);
    assert_string_equal(got.credentials->password, "p");
    assert_int_equal(route_of_site(&conf, arena, STR("relay:x.example:26/gone"), &got, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(route_of_site(&conf, arena, STR("example.org/gone"), &got, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (route_of_site(&conf, arena, str_from(bad[i]), &got, &err) == 0)
            fail_msg("%s is a site", bad[i]);
}

static void scopes(void **state)
{
    static const struct {
        const char *ip;
        enum route_scope scope;
    } all[] = {{"8.8.8.8", ROUTE_SCOPE_GLOBAL},
               {"126.255.255.255", ROUTE_SCOPE_GLOBAL},
               {"128.0.0.1", ROUTE_SCOPE_GLOBAL},
               {"172.15.0.1", ROUTE_SCOPE_GLOBAL},
               {"172.31.255.255", ROUTE_SCOPE_PRIVATE},
               {"172.32.0.0", ROUTE_SCOPE_GLOBAL},
               {"100.63.0.1", ROUTE_SCOPE_GLOBAL},
               {"100.127.0.1", ROUTE_SCOPE_PRIVATE},
               {"223.255.255.255", ROUTE_SCOPE_GLOBAL},
               {"239.1.1.1", ROUTE_SCOPE_LOCAL},
               {"240.0.0.1", ROUTE_SCOPE_LOCAL},
               {"2001:db8::1", ROUTE_SCOPE_GLOBAL},
               {"::2", ROUTE_SCOPE_GLOBAL},
               {"::1", ROUTE_SCOPE_LOCAL},
               {"febf::1", ROUTE_SCOPE_LOCAL},
               {"fec0::1", ROUTE_SCOPE_PRIVATE},
               {"fdff::1", ROUTE_SCOPE_PRIVATE},
               {"fbff::1", ROUTE_SCOPE_GLOBAL},
               {"64:ff9b::127.0.0.1", ROUTE_SCOPE_LOCAL},
               {"64:ff9b::8.8.8.8", ROUTE_SCOPE_GLOBAL},
               {"no address", ROUTE_SCOPE_LOCAL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (route_scope(all[i].ip) != all[i].scope)
            fail_msg("%s: %d", all[i].ip, route_scope(all[i].ip));
    assert_true(route_is_loopback("127.1.2.3") && route_is_loopback("::1") &&
                route_is_loopback("::ffff:127.0.0.1"));
    assert_false(route_is_loopback("128.0.0.1") || route_is_loopback("::2") ||
                 route_is_loopback("x"));
}

/* Reports about TLS: by MX whatever the settings say of TLS, or of a host by now. */
static void any_tls(void **state)
{
    struct str site;
    struct route at;

    (void)state;
    add_route("strict", "domains=example.org;tls=verify");
    assert_int_equal(choose("", "Example.ORG"), 0);
    assert_int_equal(got.tls, ROUTE_TLS_VERIFY);
    site = route_any_tls_site(arena, &got);
    assert_string_equal(site.p, "example.org/~");
    assert_int_equal(route_of_site(&conf, arena, site, &at, &err), 0);
    assert_true(at.mx && at.tls == ROUTE_TLS_ANY && !at.credentials && str_eq(at.site, site));
    assert_string_equal(at.host, "example.org");
    set("host", "relay.example");
    assert_int_equal(route_of_site(&conf, arena, site, &at, &err), 0);
    assert_true(at.mx && str_eq(at.site, site));
    assert_int_equal(route_of_site(&conf, arena, STR("example.org/~x"), &at, &err), -1);
}

static int begin(void **state)
{
    (void)state;
    memset(&conf, 0, sizeof conf);
    arena = arena_new(0);
    return settings_defaults(relay_settings, &conf, &err);
}

static int end(void **state)
{
    (void)state;
    settings_free(relay_settings, &conf);
    relay_fini(&conf);
    arena_free(&arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_mx),    TEST(literals),     TEST(relay_host),
        TEST(patterns), TEST(other_logins), TEST(senders_with_other_tls),
        TEST(sites),    TEST(scopes),       TEST(any_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
