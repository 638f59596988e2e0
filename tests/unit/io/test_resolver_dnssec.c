/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* DNSSEC: tests/lib/dns.py serves zones that are signed, unsigned, forged, expired; the resolver
 * says which is which, also of what is not there. */
#include "appliance/io/resolver.h"
#include "dns_stub.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char zones[] =
    "{\"good.test\": {\"signed\": true, \"records\": \"@ MX 10 mx\\nmx A 127.0.0.25\\n"
    "_25._tcp.mx TLSA 3 1 1 abcdef\\nout CNAME mx.plain.test.\\nin CNAME mx\\n"
    "bad CNAME forged.test.\"},"
    " \"plain.test\": {\"records\": \"@ MX 10 mx\\nmx A 127.0.0.26\"},"
    " \"sub.good.test\": {\"signed\": true, \"records\": \"@ A 127.0.0.28\"},"
    " \"forged.test\": {\"signed\": true, \"forged\": [\"A\"],"
    "   \"records\": \"@ A 127.0.0.27\\n@ MX 10 @\"},"
    " \"stale.test\": {\"signed\": true, \"expired\": true, \"records\": \"@ A 127.0.0.29\"},"
    " \"stripped.test\": {\"signed\": true, \"forged\": [\"NSEC\"], \"records\": \"@ A "
    "127.0.0.30\"},"
    " \"broken.test\": {\"records\": null}}\n";

static pid_t server;
static int server_in = -1;
static struct loop *loop;
static struct resolver *resolver;
static char forwarder[32], anchor[200];

/* The folder of the tree, from where this file is compiled. */
static bool helper_path(char *out, size_t cap)
{
    struct str path = str_from(__FILE__);
    size_t at;
    if (!str_find(path, STR("unit/io/"), &at))
        return false;
    snprintf(out, cap, "%.*slib/dns.py", (int)at, path.p);
    return access(out, R_OK) == 0;
}

static void run_helper(const char *path, int in, int out)
{
    dup2(in, 0);
    dup2(out, 1);
    execlp("python3", "python3", path, (char *)NULL);
    _exit(127);
}

static bool is_installed(const char *path)
{
    char command[1000];
    snprintf(
        command, sizeof(command),
        "python3 -c 'import sys; sys.path.insert(0, sys.argv[1].rpartition(\"/\")[0]); import dns; "
        "sys.exit(bool(dns.missing()))' %s",
        path);
    return system(command) == 0; // NOLINT(cert-env33-c): a fixed command
}

/* False: what it needs isn't installed. */
static bool start_server(void)
{
    char path[500], line[1000];
    int to[2], from[2];
    unsigned port;

    if (!helper_path(path, sizeof(path)) || !is_installed(path))
        return false;
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    server = fork();
    assert_true(server >= 0);
    if (server == 0)
        run_helper(path, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    server_in = to[1];
    assert_int_equal(write(server_in, zones, sizeof(zones) - 1), sizeof(zones) - 1);
    FILE *f = fdopen(from[0], "r");
    assert_non_null(fgets(line, sizeof(line), f)); /* it failed otherwise, and said why */
    fclose(f);
    assert_int_equal(sscanf(line, "{\"port\": %u, \"anchor\": \"%199[^\"]\"}", &port, anchor), 2);
    snprintf(forwarder, sizeof(forwarder), "127.0.0.1@%u", port);
    return true;
}

static void stop_server(void)
{
    int status;
    close(server_in);
    waitpid(server, &status, 0);
}

static int setup(void **state)
{
    (void)state;
    struct err err;
    struct resolver_conf conf = {.forwarders = forwarder,
                                 .trust_anchor = anchor,
                                 .local_zones = "test",
                                 .cache = 1 << 20,
                                 .timeout = 60000,
                                 .queries = 100};
    loop = loop_new();
    return resolver_open(&conf, loop, &resolver, &err);
}

static int teardown(void **state)
{
    (void)state;
    resolver_close(&resolver);
    loop_free(&loop);
    return 0;
}

struct reply {
    bool done, secure;
    enum resolver_status status;
    size_t n;
    char name[100], why[300], ip[46];
};

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct reply *p = ctx;
    p->done = true;
    p->secure = a->secure;
    p->status = a->status;
    p->n = a->n;
    snprintf(p->name, sizeof(p->name), STR_FMT, STR_ARG(a->name));
    snprintf(p->why, sizeof(p->why), "%s", a->why ? a->why : "");
    if (a->n)
        memcpy(p->ip, a->records[0].ip, sizeof(p->ip));
}

static struct reply asked(enum resolver_type type, const char *name)
{
    struct reply p = {.done = false};
    assert_non_null(resolver_ask(resolver, type, str_from(name), NULL, on_answer, &p));
    while (!p.done)
        loop_turn(loop, true);
    return p;
}

static void expects(enum resolver_type type, const char *name, enum resolver_status status,
                    bool secure)
{
    struct reply p = asked(type, name);
    if (p.status != status || p.secure != secure)
        print_error("%s: status %d, secure %d, %s\n", name, (int)p.status, p.secure, p.why);
    assert_int_equal(p.status, status);
    assert_int_equal(p.secure, secure);
}

static void signed_is_secure(void **state)
{
    (void)state;
    expects(RESOLVER_MX, "good.test", RESOLVER_FOUND, true);
    expects(RESOLVER_A, "mx.good.test", RESOLVER_FOUND, true);
    expects(RESOLVER_TLSA, "_25._tcp.mx.good.test", RESOLVER_FOUND, true);
    expects(RESOLVER_A, "sub.good.test", RESOLVER_FOUND, true);
    expects(RESOLVER_A, "mx.good.test", RESOLVER_FOUND, true); /* from the cache */
}

static void absence_is_secure_too(void **state)
{
    (void)state;
    expects(RESOLVER_TXT, "good.test", RESOLVER_NO_DATA, true);
    expects(RESOLVER_TLSA, "_26._tcp.mx.good.test", RESOLVER_NO_NAME, true);
    expects(RESOLVER_A, "nothing", RESOLVER_NO_NAME, true); /* the root says so */
}

static void unsigned_is_insecure(void **state)
{
    (void)state;
    expects(RESOLVER_MX, "plain.test", RESOLVER_FOUND, false);
    expects(RESOLVER_TXT, "plain.test", RESOLVER_NO_DATA, false);
    expects(RESOLVER_A, "gone.plain.test", RESOLVER_NO_NAME, false);
}

static void aliases_are_as_good_as_their_end(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "in.good.test");
    assert_true(p.status == RESOLVER_FOUND && p.secure);
    assert_string_equal(p.name, "mx.good.test");
    p = asked(RESOLVER_A, "out.good.test");
    assert_true(p.status == RESOLVER_FOUND && !p.secure);
    assert_string_equal(p.name, "mx.plain.test");
    assert_string_equal(p.ip, "127.0.0.26");
    expects(RESOLVER_CNAME, "out.good.test", RESOLVER_FOUND, true);
    expects(RESOLVER_A, "bad.good.test", RESOLVER_BOGUS, false);
}

static void forged_is_bogus(void **state)
{
    (void)state;
    struct reply p = asked(RESOLVER_A, "forged.test");
    assert_int_equal(p.status, RESOLVER_BOGUS);
    assert_false(p.secure);
    assert_int_equal(p.n, 0);
    assert_true(p.why[0] != '\0');
    expects(RESOLVER_MX, "forged.test", RESOLVER_FOUND, true); /* those are whole */
    expects(RESOLVER_A, "stale.test", RESOLVER_BOGUS, false);
    expects(RESOLVER_TXT, "stripped.test", RESOLVER_BOGUS, false); /* an absence unproven */
    expects(RESOLVER_A, "stripped.test", RESOLVER_FOUND, true);
    struct resolver_stats s;
    resolver_stats(resolver, &s);
    assert_int_equal(s.bogus, 3);
}

static void broken_is_failed(void **state)
{
    (void)state;
    expects(RESOLVER_A, "broken.test", RESOLVER_FAILED, false);
}

/* Nothing is validated without a key, and so nothing is bogus or secure. */
static void no_anchor_no_verdict(void **state)
{
    (void)state;
    anchor[0] = '\0';
    resolver_close(&resolver);
    loop_free(&loop);
    assert_int_equal(setup(NULL), 0);
    expects(RESOLVER_A, "forged.test", RESOLVER_FOUND, false);
    expects(RESOLVER_A, "mx.good.test", RESOLVER_FOUND, false);
}

int main(void)
{
    int failed;

    stub_stay_inside();
    if (!start_server()) {
        puts("skipped: python3, nsd or ldnsutils is not installed");
        return 0;
    }
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(signed_is_secure),     T(absence_is_secure_too),
                                       T(unsigned_is_insecure), T(aliases_are_as_good_as_their_end),
                                       T(forged_is_bogus),      T(broken_is_failed),
                                       T(no_anchor_no_verdict)};
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    stop_server();
    return failed;
}
