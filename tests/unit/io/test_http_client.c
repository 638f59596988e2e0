/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The HTTP client before a small server of our own connections, plain and by TLS, with names from a
 * scripted name server: answers, limits, certificates, time, and what it refuses to do. */
#include "appliance/io/http_client.h"
#include "appliance/io/listener.h"
#include "appliance/io/tls.h"
#include "dns_stub.h"
#include <stdio.h>
#include <stdlib.h>

enum { LARGE = 300000, WWW_A = 0, WWW_AAAA = 1 };
static const struct stub_rule rules[] = {
    {"www.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\1", 4}}}},
    {"www.test.", 28, STUB_ANSWER, {{0}}},
    {"other.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\1", 4}}}},
    {"xn--mller-kva.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\1", 4}}}},
    {"empty.test.", 0, STUB_ANSWER, {{0}}},
    {"broken.test.", 0, STUB_SERVFAIL, {{0}}},
    {"silent.test.", 0, STUB_SILENT, {{0}}},
    {.name = NULL}};

static char folder[32], ca_file[64];
static struct tls_ctx *tls;
static struct loop *loop;
static struct resolver *resolver;
static struct http_client *client;
static struct stub stub;
static struct listener *plain, *secure;
static struct buf request; /* the last one that the server saw */
static unsigned served;
static struct err err;
static uint64_t fake_ms;

/* ---- the server */

struct visit {
    struct list link;
    struct conn *conn;
};
static struct list visits;

static void visit_end(struct visit *v)
{
    conn_close(&v->conn);
    list_del(&v->link);
    mem_free(v);
}

static void say(struct visit *v, const char *head, size_t body)
{
    static char bytes[LARGE];
    char text[200];
    memset(bytes, 'x', sizeof(bytes));
    snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%s", head,
             body ? "" : "Content-Length: 0\r\n\r\n");
    conn_write_str(v->conn, str_from(text));
    if (body) {
        snprintf(text, sizeof(text), "Content-Length: %zu\r\n\r\n", body);
        conn_write_str(v->conn, str_from(text));
        conn_write(v->conn, bytes, body);
    }
}

static void say_endlessly(struct visit *v)
{
    conn_write_str(v->conn, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 1000; i++)
        conn_write_str(v->conn, STR("a\r\n0123456789\r\n"));
}

static void say_long_head(struct visit *v)
{
    conn_write_str(v->conn, STR("HTTP/1.1 200 OK\r\n"));
    for (int i = 0; i < 3000; i++)
        conn_write_str(v->conn, STR("X-Filler: 0123456789012345\r\n"));
    conn_write_str(v->conn, STR("Content-Length: 0\r\n\r\n"));
}

static void serve(struct visit *v, struct str head)
{
    struct str method, path, rest;
    str_cut(head, ' ', &method, &rest);
    str_cut(rest, ' ', &path, &rest);
    served++;
    if (str_eq(path, STR("/hello")))
        conn_write_str(v->conn, STR("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                    "Content-Length: 6\r\n\r\nhello\n"));
    else if (str_eq(path, STR("/missing")))
        say(v, "404 Not Found", 3);
    else if (str_eq(path, STR("/redirect")))
        say(v, "302 Found\r\nLocation: /hello", 0);
    else if (str_eq(path, STR("/large")))
        say(v, "200 OK", LARGE);
    else if (str_eq(path, STR("/endless")))
        say_endlessly(v);
    else if (str_eq(path, STR("/long-head")))
        say_long_head(v);
    else if (str_eq(path, STR("/nonsense")))
        conn_write_str(v->conn, STR("this isn't HTTP\r\n\r\n"));
    else if (!str_eq(path, STR("/hang")))
        visit_end(v);
}

/* A whole request: its head, and a body of the length it says. */
static bool whole(struct str in, size_t *n_out)
{
    size_t head, at;
    uint64_t body = 0;
    if (!str_find(in, STR("\r\n\r\n"), &head))
        return false;
    if (str_ifind(str_take(in, head), STR("content-length: "), &at)) {
        struct str number = str_skip(in, at + 16);
        number.n = strspn(number.p, "0123456789");
        assert_int_equal(str_to_u64(number, LARGE, &body), 0);
    }
    *n_out = head + 4 + (size_t)body;
    return in.n >= *n_out;
}

static void on_visit(void *ctx, struct conn *c, enum conn_event ev)
{
    struct visit *v = ctx;
    size_t n;
    if (ev == CONN_INPUT && whole(conn_input(c), &n)) {
        buf_clear(&request);
        buf_add(&request, conn_input(c).p, n);
        conn_consume(c, n);
        serve(v, str_from(buf_z(&request)));
    } else if (ev == CONN_EOF || ev == CONN_CLOSED) {
        visit_end(v);
    }
}

static void on_accept(void *ctx, struct conn *c)
{
    (void)ctx;
    struct visit *v = MEM_NEW(struct visit);
    v->conn = c;
    list_add(&visits, &v->link);
    conn_set_handler(c, on_visit, v);
}

static struct listener *listen_on(const char *host, struct tls_ctx *with)
{
    struct listener_conf conf = {.implicit_tls = with, .on_accept = on_accept};
    struct listener *ln = NULL;
    if (listener_open(host, 0, &ln, &err) == 0)
        assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    return ln;
}

/* ---- around a test */

static int make_certificates(void **state)
{
    (void)state;
    static const char *const names[] = {"www.test", "127.0.0.1", NULL};
    char cert[64], key[64];
    snprintf(folder, sizeof(folder), "/tmp/posthouse-http-XXXXXX");
    assert_non_null(mkdtemp(folder));
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dirfd, names, &err), 0);
    close(dirfd);
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", folder);
    return tls_ctx_server(cert, key, &tls, &err);
}

static int remove_certificates(void **state)
{
    (void)state;
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    char path[100];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    tls_ctx_unref(&tls);
    return 0;
}

static void client_with(const char *ca, unsigned requests, int inet)
{
    struct http_client_conf conf = {
        .loop = loop, .resolver = resolver, .ca_file = ca, .requests = requests, .inet = inet};
    http_client_free(&client);
    client = http_client_new(&conf, &err);
    assert_non_null(client);
}

static int setup(void **state)
{
    (void)state;
    char forwarder[32];
    loop = loop_new();
    stub_start(&stub, rules);
    snprintf(forwarder, sizeof(forwarder), "127.0.0.1@%u", stub.port);
    struct resolver_conf conf = {.forwarders = forwarder,
                                 .trust_anchor = "",
                                 .local_zones = "test",
                                 .cache = 1 << 20,
                                 .timeout = 60000,
                                 .queries = 100};
    assert_int_equal(resolver_open(&conf, loop, &resolver, &err), 0);
    client_with(ca_file, 4, 0);
    list_init(&visits);
    buf_init(&request, 1 << 20);
    served = 0;
    plain = listen_on("127.0.0.1", NULL);
    secure = listen_on("127.0.0.1", tls);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    http_client_free(&client);
    listener_stop(&plain);
    listener_stop(&secure);
    LIST_EACH(&visits, it)
    visit_end(LIST_ITEM(it, struct visit, link));
    resolver_close(&resolver);
    loop_free(&loop);
    stub_stop(&stub);
    buf_fini(&request);
    return 0;
}

/* ---- requests */

struct reply {
    struct http_exchange *exchange;
    unsigned calls, status;
    bool failed;
    struct err err;
    char type[100], body[100];
    size_t body_n;
    void (*hook)(struct reply *p);
};

static void on_done(void *ctx, const struct http_answer *a)
{
    struct reply *p = ctx;
    p->exchange = NULL;
    p->calls++;
    p->failed = a->failed;
    p->err = a->err;
    p->status = a->status;
    p->body_n = a->body.n;
    snprintf(p->type, sizeof(p->type), STR_FMT, STR_ARG(a->type));
    snprintf(p->body, sizeof(p->body), STR_FMT, STR_ARG(str_take(a->body, 99)));
    if (p->hook)
        p->hook(p);
}

static struct http_request plain_request(char *url, size_t cap, const char *host, const char *path)
{
    snprintf(url, cap, "http://%s:%u%s", host, listener_port(plain), path);
    return (struct http_request){
        .method = "GET", .url = url, .max_body = LARGE, .timeout_ms = 60000};
}

static bool sent(struct reply *p, const struct http_request *q)
{
    p->exchange = http_client_send(client, q, on_done, p);
    assert_int_equal(p->calls, 0);
    return p->exchange != NULL;
}

static void await(struct reply *p)
{
    while (!p->calls)
        loop_turn(loop, true);
}

static struct reply done(const struct http_request *q)
{
    struct reply p = {.calls = 0};
    assert_true(sent(&p, q));
    await(&p);
    return p;
}

static struct reply got(const char *host, const char *path)
{
    char url[200];
    struct http_request q = plain_request(url, sizeof(url), host, path);
    return done(&q);
}

static struct reply got_by_tls(const char *host)
{
    char url[200];
    snprintf(url, sizeof(url), "https://%s:%u/hello", host, listener_port(secure));
    struct http_request q = {.method = "GET", .url = url, .max_body = 100, .timeout_ms = 60000};
    return done(&q);
}

static void assert_hello(struct reply p)
{
    if (p.failed)
        print_error("%s\n", p.err.text);
    assert_false(p.failed);
    assert_int_equal(p.status, 200);
    assert_string_equal(p.body, "hello\n");
    assert_string_equal(p.type, "text/plain; charset=utf-8");
}

static bool request_has(const char *what)
{
    return strstr(buf_z(&request), what) != NULL;
}

static void gets(void **state)
{
    (void)state;
    assert_hello(got("www.test", "/hello"));
    assert_true(request_has("GET /hello HTTP/1.1\r\nHost: www.test:"));
    assert_true(request_has("User-Agent: posthouse/"));
    assert_hello(got("127.0.0.1", "/hello"));
    assert_hello(got("m\xc3\xbcller.test", "/hello"));
    assert_true(request_has("Host: xn--mller-kva.test:"));
    struct reply p = got("www.test", "/missing");
    assert_false(p.failed);
    assert_int_equal(p.status, 404);
    assert_string_equal(p.body, "xxx");
    assert_string_equal(p.type, "");
}

static void gets_by_ipv6(void **state)
{
    (void)state;
    char url[100];
    struct listener *v6 = listen_on("::1", NULL);
    if (!v6)
        skip(); /* this machine has none */
    snprintf(url, sizeof(url), "http://[::1]:%u/hello", listener_port(v6));
    struct http_request q = {.method = "GET", .url = url, .max_body = 100, .timeout_ms = 60000};
    assert_hello(done(&q));
    client_with(ca_file, 4, 4);
    assert_true(done(&q).failed);
    listener_stop(&v6);
}

static void asks_for_what_it_uses(void **state)
{
    (void)state;
    client_with(ca_file, 4, 4);
    assert_hello(got("www.test", "/hello"));
    assert_int_equal(atomic_load(&stub.asked[WWW_AAAA]), 0);
    client_with(ca_file, 4, 6);
    struct reply p = got("www.test", "/hello");
    assert_true(p.failed);
    assert_int_equal(p.err.why, ERR_WHY_NOT_FOUND);
}

static void posts(void **state)
{
    (void)state;
    char url[200];
    static const char *const headers[] = {"Content-Type: application/jose+json",
                                          "X-Empty:", "X-Two: a b", NULL};
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hello");
    q.method = "POST";
    q.headers = headers;
    q.body = STR("{\"a\": 1}");
    assert_hello(done(&q));
    assert_true(request_has("POST /hello HTTP/1.1\r\n"));
    assert_true(request_has("\r\nContent-Type: application/jose+json\r\n"));
    assert_true(request_has("\r\nX-Empty:\r\n"));
    assert_true(request_has("\r\nX-Two: a b\r\n"));
    assert_true(request_has("\r\nContent-Length: 8\r\n"));
    assert_true(request_has("\r\n\r\n{\"a\": 1}"));
    assert_false(request_has("Expect"));
    q.body = STR_NULL;
    q.headers = NULL;
    assert_hello(done(&q));
    assert_true(request_has("\r\nContent-Length: 0\r\n"));
    assert_false(request_has("Content-Type"));
    q.method = "DELETE";
    assert_hello(done(&q));
    assert_true(request_has("DELETE /hello"));
    q.method = "HEAD";
    struct reply p = done(&q);
    assert_false(p.failed);
    assert_int_equal(p.status, 200);
    assert_int_equal(p.body_n, 0);
}

static void trusts_certificates_of_its_ca(void **state)
{
    (void)state;
    assert_hello(got_by_tls("www.test"));
    assert_hello(got_by_tls("127.0.0.1"));
    struct reply p = got_by_tls("other.test"); /* not a name of this certificate */
    assert_true(p.failed);
    assert_int_equal(p.err.why, ERR_WHY_UNTRUSTED);
    assert_non_null(strstr(p.err.text, "other.test"));
    client_with(NULL, 4, 0); /* the system's authorities don't know ours */
    p = got_by_tls("www.test");
    assert_true(p.failed);
    assert_int_equal(p.err.why, ERR_WHY_UNTRUSTED);
    assert_int_equal(served, 2);
}

static void follows_no_redirect(void **state)
{
    (void)state;
    struct reply p = got("www.test", "/redirect");
    assert_false(p.failed);
    assert_int_equal(p.status, 302);
    assert_int_equal(served, 1);
}

static void uses_no_proxy(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        setenv(names[i], "http://127.0.0.1:1", 1);
    client_with(ca_file, 4, 0);
    assert_hello(got("www.test", "/hello"));
    assert_hello(got_by_tls("www.test"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
}

static void assert_limit(const char *path, size_t max)
{
    char url[200];
    struct http_request q = plain_request(url, sizeof(url), "www.test", path);
    q.max_body = max;
    struct reply p = done(&q);
    assert_true(p.failed);
    assert_int_equal(p.err.why, ERR_WHY_LIMIT);
    assert_int_equal(p.body_n, 0);
}

static void bounds_answers(void **state)
{
    (void)state;
    char url[200];
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/large");
    struct reply p = done(&q);
    assert_false(p.failed);
    assert_int_equal(p.body_n, LARGE);
    assert_limit("/large", LARGE - 1);
    assert_limit("/hello", 5);
    assert_limit("/hello", 0);
    assert_limit("/endless", 5000);
    assert_limit("/long-head", 5000);
}

static void tells_failures(void **state)
{
    (void)state;
    char url[200];
    struct reply p = got("nowhere.test", "/hello");
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_PERM);
    assert_int_equal(p.err.why, ERR_WHY_NOT_FOUND);
    assert_string_equal(p.err.text, "nowhere.test: no such host");
    assert_int_equal(got("empty.test", "/hello").err.why, ERR_WHY_NOT_FOUND);
    p = got("broken.test", "/hello");
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_TEMP);
    assert_int_equal(p.err.why, ERR_WHY_OTHER);
    p = got("www.test", "/close");
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_TEMP);
    assert_true(got("www.test", "/nonsense").failed);
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hello");
    listener_stop(&plain);
    p = done(&q);
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_TEMP);
    plain = listen_on("127.0.0.1", NULL);
}

static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void use_fake_clock(void)
{
    static const struct clock_source fake = {.mono_ms = fake_mono};
    fake_ms = clock_mono_ms();
    clock_replace(&fake);
}

static void gives_up_in_time(void **state)
{
    (void)state;
    char url[200];
    use_fake_clock();
    struct reply p = {.calls = 0};
    struct http_request q = plain_request(url, sizeof(url), "127.0.0.1", "/hang");
    q.timeout_ms = 1000000;
    assert_true(sent(&p, &q));
    for (; !served; fake_ms++) /* libcurl has timers of its own */
        loop_turn(loop, false);
    assert_int_equal(p.calls, 0);
    fake_ms += 1000000;
    spin(loop);
    assert_int_equal(p.calls, 1);
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_TEMP);
    assert_non_null(strstr(p.err.text, "no answer within 1000000 ms"));
    p.calls = 0; /* and while it still asks for the address */
    q = plain_request(url, sizeof(url), "silent.test", "/hello");
    q.timeout_ms = 500;
    assert_true(sent(&p, &q));
    fake_ms += 500;
    spin(loop);
    assert_int_equal(p.calls, 1);
    assert_true(p.failed);
    assert_int_equal(p.err.kind, ERR_TEMP);
}

static void refuses(const char *method, const char *url, const char *header)
{
    const char *const headers[] = {header, NULL};
    struct http_request q = {
        .method = method, .url = url, .headers = headers, .max_body = 100, .timeout_ms = 60000};
    struct reply p = {.calls = 0};
    if (sent(&p, &q))
        fail_msg("%s %s was sent", method, url);
}

static void refuses_what_is_no_request(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       "www.test",
                                       "/hello",
                                       "ftp://www.test/",
                                       "file:///etc/passwd",
                                       "http://",
                                       "http://user@www.test/",
                                       "http://user:secret@www.test/",
                                       "http://www..test/",
                                       "http://a_b c/",
                                       "http://www.test:0/",
                                       "http://www.test:65536/",
                                       "http://[fe80::1%25eth0]/",
                                       "http://www.test/a\r\nX: b",
                                       "https://[::1/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        refuses("GET", urls[i], NULL);
    refuses("GET /x", "http://www.test/", NULL);
    refuses("", "http://www.test/", NULL);
    refuses("GET", "http://www.test/", "X: a\r\nY: b");
    refuses("GET", "http://www.test/", "no header");
    refuses("GET", "http://www.test/", ": empty");
}

static void bounds_requests(void **state)
{
    (void)state;
    char url[200];
    struct reply p[5] = {{.calls = 0}};
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hello");
    for (size_t i = 0; i < 4; i++)
        assert_true(sent(&p[i], &q));
    assert_false(sent(&p[4], &q));
    http_client_cancel(&p[1].exchange);
    assert_null(p[1].exchange);
    http_client_cancel(&p[1].exchange);
    assert_true(sent(&p[4], &q));
    for (size_t i = 0; i < 5; i++)
        if (i != 1)
            await(&p[i]);
    assert_int_equal(p[1].calls, 0);
    assert_hello(p[4]);
}

static void cancels_at_any_time(void **state)
{
    (void)state;
    char url[200];
    struct reply p = {.calls = 0};
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hang");
    assert_true(sent(&p, &q));
    while (!served)
        loop_turn(loop, true);
    http_client_cancel(&p.exchange);
    assert_true(sent(&p, &q));
    while (served < 2)
        loop_turn(loop, true);
    assert_true(sent(&p, &q)); /* one under way, one just begun */
    http_client_free(&client);
    spin(loop);
    assert_int_equal(p.calls, 0);
}

static void send_and_free(struct reply *p)
{
    char url[200];
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hello");
    if (p->calls < 2)
        assert_non_null(http_client_send(client, &q, on_done, p));
    else
        http_client_free(&client);
}

static void sends_and_frees_from_an_answer(void **state)
{
    (void)state;
    char url[200];
    struct reply p = {.hook = send_and_free};
    struct http_request q = plain_request(url, sizeof(url), "www.test", "/hello");
    assert_true(sent(&p, &q));
    while (p.calls < 2)
        loop_turn(loop, true);
    assert_null(client);
}

int main(void)
{
    stub_stay_inside();
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(gets),
                                       T(gets_by_ipv6),
                                       T(asks_for_what_it_uses),
                                       T(posts),
                                       T(trusts_certificates_of_its_ca),
                                       T(follows_no_redirect),
                                       T(uses_no_proxy),
                                       T(bounds_answers),
                                       T(tells_failures),
                                       T(gives_up_in_time),
                                       T(refuses_what_is_no_request),
                                       T(bounds_requests),
                                       T(cancels_at_any_time),
                                       T(sends_and_frees_from_an_answer)};
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
