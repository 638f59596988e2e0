/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The configuration of the whole program: listeners, sections added at run time, shared snapshots.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "appliance/app/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct demo_conf {
    int64_t answer;
    const char *password;
};
static const struct ph_setting demo_settings[] = {
    PH_SETTING(INT, demo_conf, answer, PH_RELOAD, "42", 0, 100, "An answer."),
    PH_SETTING(SECRET, demo_conf, password, 0, NULL, 0, 0, "A password."), PH_SETTING_END};

static char folder[] = "/tmp/posthouse-config-XXXXXX", path[64];
static struct buf errors;
static struct err err;

static struct config *load_text(const char *text)
{
    struct config *c = NULL;
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    buf_clear(&errors);
    int rc = config_load(path, &c, &errors, &err);
    assert_int_equal(rc, c ? 0 : -1);
    assert_int_equal(rc, errors.n ? -1 : 0);
    return c;
}

static void refused(const char *text, const char *why)
{
    assert_null(load_text(text));
    if (!strstr(buf_z(&errors), why))
        fail_msg("%s: %s", text, buf_z(&errors));
    if (!strstr(err.text, why))
        fail_msg("first error: %s", err.text);
}

/* The store keeps room for the largest message that anything takes in; nothing else says it. */
static void the_store_knows_the_largest_message(void **state)
{
    static const struct {
        const char *text;
        uint64_t mb;
    } cases[] = {{"", 50},
                 {"smtp { message_limit = 70M }", 70},
                 {"imap { append_limit = 100M }", 100},
                 {"smtp { message_limit = 70M }\nimap { append_limit = 60M }", 70}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = load_text(cases[i].text);
        assert_non_null(c);
        assert_int_equal(c->store.message_limit, cases[i].mb << 20);
        assert_int_equal(store_min_free(&c->store, c->store.message_limit), (2 * cases[i].mb + 64)
                                                                                << 20);
        config_unref(&c);
    }
    refused("store { message_limit = 60M }", "message_limit");
}

static void usual_listeners(void **state)
{
    static const struct {
        const char *name;
        int service, tls, port;
    } usual[] = {{"smtp", SERVICE_SMTP, PORT_STARTTLS, 25},
                 {"submissions", SERVICE_SUBMISSION, PORT_IMPLICIT, 465},
                 {"submission", SERVICE_SUBMISSION, PORT_STARTTLS, 587},
                 {"imap", SERVICE_IMAP, PORT_STARTTLS, 143},
                 {"imaps", SERVICE_IMAP, PORT_IMPLICIT, 993}};
    struct config *c = load_text("");

    (void)state;
    assert_int_equal(c->n_ports, ARRAY_LEN(usual));
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        assert_string_equal(c->ports[i].name, usual[i].name);
        assert_int_equal(c->ports[i].service, usual[i].service);
        assert_int_equal(c->ports[i].tls, usual[i].tls);
        assert_int_equal(c->ports[i].port, usual[i].port);
        assert_true(c->ports[i].enabled);
    }
    config_unref(&c);
}

static void own_listeners(void **state)
{
    struct config *c = load_text("listener smtp { enabled = no }\n"
                                 "listener \"behind proxy\" { service = imap port = 10143\n"
                                 "  proxy_from = {10.0.0.0/8, ::1} tls = none }\n");
    struct port_conf *p = &c->ports[5];

    (void)state;
    assert_int_equal(c->n_ports, 6);
    assert_false(c->ports[0].enabled);
    assert_int_equal(c->ports[0].port, 25);
    assert_string_equal(p->name, "behind proxy");
    assert_int_equal(p->service, SERVICE_IMAP);
    assert_int_equal(p->tls, PORT_NO_TLS);
    assert_true(cidr_set_has(&p->proxies, "10.1.2.3") && cidr_set_has(&p->proxies, "::1"));
    config_unref(&c);
}

static void many_listeners(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 59; i++)
        buf_printf(&text, "listener l%d { port = %d }\n", i, 1000 + i);
    struct config *c = load_text(buf_z(&text));
    assert_int_equal(c->n_ports, 64);
    config_unref(&c);
    buf_add_z(&text, "listener more { port = 1 }\n");
    refused(buf_z(&text), "more than 64 listeners");
    buf_fini(&text);
}

static void hostname_is_inherited(void **state)
{
    struct config *c =
        load_text("main { hostname = mail.example.com }\nimap { hostname = imap.example.com }");

    (void)state;
    assert_string_equal(c->smtp.hostname, "mail.example.com");
    assert_string_equal(c->imap.hostname, "imap.example.com");
    config_unref(&c);
}

static void added_sections(void **state)
{
    struct config *c = load_text("demo { answer = 7 }"), plain;
    const struct demo_conf *d = config_extra(c, "demo");

    (void)state;
    assert_int_equal(d->answer, 7);
    assert_null(config_extra(c, "other"));
    config_unref(&c);
    refused("demo { answer = 101 }", ":1: demo: answer: '101' is outside 0 to 100");
    refused("demo { anwser = 1 }", "did you mean 'answer'");
    refused("demmo { }", "did you mean 'demo'");
    assert_int_equal(config_defaults(&plain, &err), 0);
    assert_int_equal(config_assign(&plain, "demo.answer=8", &err), 0);
    assert_int_equal(((const struct demo_conf *)config_extra(&plain, "demo"))->answer, 8);
    assert_int_equal(config_assign(&plain, "demo.nonsense=8", &err), -1);
    assert_int_equal(config_assign(&plain, "smtp.rcpt_limit=8", &err), 0);
    config_free(&plain);
}

static void secrets(void **state)
{
    char text[128];
    struct config *c;

    (void)state;
    chmod(path, 0644);
    refused("demo { password = secret }",
            "demo.password: everybody can read this secret; run: chmod o= ");
    chmod(path, 0600);
    c = load_text("demo { password = secret }");
    struct buf shown;
    buf_init(&shown, 1 << 20);
    config_show(c, true, &shown);
    assert_null(strstr(buf_z(&shown), "secret\""));
    assert_non_null(strstr(buf_z(&shown), "password = \"***\""));
    buf_fini(&shown);
    config_unref(&c);
    snprintf(text, sizeof text, "demo { password = \"file:%s\" }", path);
    c = load_text(text); /* the file is its own secret, for this test */
    config_unref(&c);
    chmod(path, 0644);
    refused(text, "everybody can read this secret");
}

static void relay_and_routes(void **state)
{
    chmod(path, 0600);
    struct config *c =
        load_text("main { inet = ipv4 }\n"
                  "relay { host = smtp.example user = u password = p tls = verify\n"
                  "  trusted_networks = {10.0.0.0/8} lifetime = 0 }\n"
                  "route second { domains = {example.org, .example.net} host = 192.0.2.1 }\n"
                  "route first { senders = {@example.com} }\n"
                  "route second { port = 26 }\n");

    (void)state;
    assert_int_equal(c->relay.inet, 4);
    assert_int_equal(c->relay.tls, ROUTE_TLS_VERIFY);
    assert_int_equal(c->relay.port, 587);
    assert_true(c->relay.lifetime == 0 && c->relay.max_backoff == 4000000);
    assert_true(cidr_set_has(&c->relay.trusted, "10.9.8.7"));
    assert_int_equal(c->relay.n_routes, 2);
    assert_string_equal(c->relay.routes[0].name, "second");
    assert_string_equal(c->relay.routes[0].domains, "example.org, .example.net");
    assert_int_equal(c->relay.routes[0].port, 26);
    assert_string_equal(c->relay.routes[1].name, "first");
    assert_string_equal(c->relay.routes[1].domains, "*");
    struct buf shown;
    buf_init(&shown, 1 << 20);
    config_show(c, true, &shown);
    assert_non_null(strstr(buf_z(&shown), "\nroute \"second\" {\n    domains = {\"example.org\", "
                                          "\".example.net\"}\n"));
    assert_null(strstr(buf_z(&shown), "password = \"p\""));
    buf_clear(&shown);
    assert_int_equal(config_help("route", &shown, &err), 0);
    assert_int_equal(config_help("relai", &shown, &err), -1);
    assert_non_null(strstr(err.text, "did you mean 'relay'"));
    buf_fini(&shown);
    config_unref(&c);
}

static void relay_is_checked(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"relay { host = \"a b\" }", "relay: host: 'a b' is neither the name of a host"},
        {"relay { host = 192.0.2.300 }", "relay: host: '192.0.2.300' is neither"},
        {"relay { host = \"[192.0.2.1]\" }", "stands here without brackets"},
        {"relay { host = a.example user = u }", "relay: user: there is no password for 'u'"},
        {"relay { host = a.example password = u }", "relay: password: there is no user"},
        {"relay { user = u password = p }", "relay: user: there is no host"},
        {"relay { host = a.example mechanisms = {PLAIN, CRAM-MD5} }", "'CRAM-MD5' isn't known"},
        {"relay { host = a.example user = u password = p tls = none }", "in the clear"},
        {"relay { host = 192.0.2.1 tls = dane }", "dane needs a host with a name"},
        {"relay { trusted_networks = {10.0.0.1/8} }", "relay: trusted_networks: '10.0.0.1/8' has"},
        {"relay { bind_ipv4 = \"::1\" }", "relay: bind_ipv4: '::1' is not an IPv4 address"},
        {"relay { min_backoff = 2h }", "min_backoff is longer than max_backoff"},
        {"relay { site_connections = 2 }", "site_connections_first is more"},
        {"relay { srs_domain = \"-\" }", "srs_domain: '-' is not a domain name"},
        {"route a { domains = {\"*.example.org\"} }",
         "route \"a\": domains: '*.example.org' is not"},
        {"route a { senders = {example.org} }", "route \"a\": senders: 'example.org' is not"},
        {"route a { port = 0 }", "port: '0' is outside 1 to 65535"},
        {"route a { tls = implicit }", "implicit needs a host"},
        {"route \"a b\" { }", "the name of a route has"},
        {"route a { hots = b }", "did you mean 'host'"},
    };
    struct config *c;

    (void)state;
    chmod(path, 0600);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i].text, bad[i].why);
    c = load_text("relay { host = 127.0.0.1 tls = none user = u password = p }\n"
                  "route a { domains = {\"[IPv6:2001:db8::1]\"} host = \"2001:db8::2\" }");
    config_unref(&c);
}

static void dns(void **state)
{
    struct config *c = load_text("main { inet = ipv6 }\n"
                                 "dns { forwarders = {\"::1@5300\"} trust_anchor = \"\" }");

    (void)state;
    assert_string_equal(c->dns.forwarders, "::1@5300");
    assert_int_equal(c->dns.inet, 6);
    config_unref(&c);
    refused("dns { forwarders = {localhost} }", "dns.forwarders: \"localhost\" is no IP address");
    refused("main { inet = ipv6 }\ndns { forwarders = {127.0.0.1} }", "can't be asked while");
    refused("dns { querys = 1 }", "did you mean 'queries'");
}

static void route_secrets(void **state)
{
    (void)state;
    chmod(path, 0644);
    refused("route a { host = a.example user = u password = p }",
            "route \"a\": route.password: everybody can read this secret");
    chmod(path, 0600);
}

static void references(void **state)
{
    struct config *c = load_text(""), *second;
    struct snapshot *held;

    (void)state;
    held = snapshot_ref(&c->snapshot);
    second = c;
    config_unref(&c);
    assert_null(c);
    assert_int_equal(second->smtp.rcpt_limit, 100);
    snapshot_unref(&held); /* the sanitizer sees whether this was the last */
    assert_null(held);
    snapshot_unref(&held);
}

static void every_error_is_told(void **state)
{
    (void)state;
    assert_null(
        load_text("smtp { rcpt_limit = 0 }\nimap { idle_timeout = 3 }\nmain { origin = '-' }"));
    size_t lines = 0;
    for (const char *p = buf_z(&errors); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 2); /* rules over several settings come when each is good */
    refused("main { origin = '-' }\nlistener x { }", "listener \"x\": port is not set");
    assert_non_null(strstr(buf_z(&errors), "main.origin: '-' is not a domain name"));
}

static int begin(void **state)
{
    (void)state;
    config_add_section("demo", "For tests.", demo_settings, sizeof(struct demo_conf));
    buf_init(&errors, 1 << 16);
    umask(0077);
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/a.conf", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_fini(&errors);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_listeners),
        cmocka_unit_test(own_listeners),
        cmocka_unit_test(the_store_knows_the_largest_message),

        cmocka_unit_test(many_listeners),
        cmocka_unit_test(hostname_is_inherited),
        cmocka_unit_test(added_sections),
        cmocka_unit_test(secrets),
        cmocka_unit_test(references),
        cmocka_unit_test(every_error_is_told),
        cmocka_unit_test(relay_and_routes),
        cmocka_unit_test(relay_is_checked),
        cmocka_unit_test(route_secrets),
        cmocka_unit_test(dns),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
