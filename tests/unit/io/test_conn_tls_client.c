/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* TLS with us as the client: the order of events, STARTTLS, peers that misbehave. */
#include "appliance/base/metrics.h"
#include "tls_certs.h"
#include <arpa/inet.h>

static struct loop *loop;
static struct authority ca;
static struct tls_ctx *server, *client;
static SSL_CTX *raw_ctx; /* a server that isn't ours */

static const char *const names[] = {"mx.example.com", NULL};
static const struct tls_demand demand = {.trust = TLS_TRUST_PKIX, .names = names};
static const struct tls_demand nothing = {.trust = TLS_TRUST_NONE, .names = names};

static SSL_CTX *raw_new(void)
{
    char path[128];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    snprintf(path, sizeof(path), "%s/key.pem", ca.folder);
    assert_int_equal(SSL_CTX_use_certificate(ctx, ca.server), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
    return ctx;
}

static int group_setup(void **state)
{
    (void)state;
    struct err err;
    authority_make(&ca, &server);
    assert_int_equal(tls_ctx_client(ca.ca_file, &client, &err), 0);
    raw_ctx = raw_new();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    tls_ctx_unref(&server);
    tls_ctx_unref(&client);
    SSL_CTX_free(raw_ctx);
    authority_free(&ca);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    loop_free(&loop);
    return 0;
}

static void until(struct end *e, char letter)
{
    while (!strchr(e->seen, letter) && !strchr(e->seen, 'C'))
        loop_turn(loop, true);
}

static void until_got(struct end *e, size_t n)
{
    while (e->got.n < n && !strchr(e->seen, 'C'))
        loop_turn(loop, true);
}

/* ---- TLS from the first byte ---- */

static void tls_at_open(struct end *e, enum conn_event ev)
{
    if (ev != CONN_OPEN)
        return;
    conn_start_tls_client(e->conn, client, &demand);
    conn_write_str(e->conn, STR("EHLO early\r\n")); /* waits for the handshake */
}

static void talk(struct end *c, struct end *s)
{
    until_got(s, 12);
    assert_got(s, "EHLO early\r\n");
    conn_write_str(s->conn, STR("250 hi\r\n"));
    until_got(c, 8);
    assert_got(c, "250 hi\r\n");
}

static void implicit(void **state)
{
    (void)state;
    struct end c, s;
    char text[128];
    end_open(&c, loop, NULL);
    c.hook = tls_at_open;
    server_open(&s, &c, server);
    until(&c, 'T');
    assert_seen(&c, "OT");
    assert_true(conn_has_tls(c.conn));
    assert_int_equal(conn_tls_trust(c.conn), TLS_TRUST_PKIX);
    conn_tls_text(c.conn, text, sizeof(text));
    assert_non_null(strstr(text, "TLSv1.3 TLS_"));
    assert_true(conn_tls_bits(c.conn) >= 128);
    talk(&c, &s);
    assert_int_equal(conn_tls_trust(s.conn), TLS_TRUST_NONE); /* clients show none */
    conn_close_flushed(&c.conn, 100000);
    until(&s, 'E');
    assert_string_equal(s.seen, "OIE"); /* close_notify */
    end_free(&c);
    end_free(&s);
}

/* Both ends have the same, which no other connection has. */
static void bindings(void **state)
{
    (void)state;
    unsigned char a[CONN_BINDING_MAX], b[CONN_BINDING_MAX], first[CONN_BINDING_MAX] = {0};
    for (int round = 0; round < 2; round++) {
        struct end c, s;
        end_open(&c, loop, NULL);
        c.hook = tls_at_open;
        server_open(&s, &c, server);
        assert_int_equal(conn_channel_binding(c.conn, CONN_BIND_EXPORTER, a), 0); /* not yet */
        until(&c, 'T');
        talk(&c, &s);
        assert_int_equal(conn_channel_binding(c.conn, CONN_BIND_EXPORTER, a), 32);
        assert_int_equal(conn_channel_binding(s.conn, CONN_BIND_EXPORTER, b), 32);
        assert_memory_equal(a, b, 32);
        assert_memory_not_equal(a, first, 32);
        memcpy(first, a, 32);
        assert_int_equal(conn_channel_binding(c.conn, CONN_BIND_END_POINT, a), 32); /* SHA-256 */
        assert_int_equal(conn_channel_binding(s.conn, CONN_BIND_END_POINT, b), 32);
        assert_memory_equal(a, b, 32);
        conn_close_flushed(&c.conn, 100000);
        until(&s, 'E');
        end_free(&c);
        end_free(&s);
    }
}

static void over_a_connection_of_ours(void **state)
{
    (void)state;
    struct end c = {.loop = loop, .fd = -1, .hook = tls_at_open}, s = {.loop = loop, .fd = -1};
    struct err err;
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int host = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(host, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(host, 1), 0);
    getsockname(host, (struct sockaddr *)&a, &n);
    struct conn_target t = {.ip = "127.0.0.1", .port = ntohs(a.sin_port), .timeout_ms = 600000};
    buf_init(&c.got, 1 << 20);
    assert_int_equal(conn_connect(loop, &t, &c.conn, &err), 0);
    conn_set_handler(c.conn, end_on_event, &c);
    int fd = accept(host, NULL, NULL);
    struct end carrier = {.loop = loop, .fd = fd};
    server_open(&s, &carrier, server);
    until(&c, 'T');
    assert_seen(&c, "OT");
    talk(&c, &s);
    end_free(&c);
    end_free(&s);
    close(host);
}

/* ---- STARTTLS ---- */

static const char *go_ahead; /* what the server says, and maybe more behind it */

static void server_go(struct end *e, enum conn_event ev)
{
    if (ev != CONN_INPUT || conn_has_tls(e->conn))
        return;
    conn_write_str(e->conn, str_of(go_ahead, strlen(go_ahead)));
    conn_start_tls(e->conn, server);
}

static void client_go(struct end *e, enum conn_event ev)
{
    struct str in = conn_input(e->conn);
    size_t at;
    if (ev != CONN_INPUT || conn_has_tls(e->conn) || !str_chr(in, '\n', &at))
        return;
    conn_start_tls_client(e->conn, client, &demand);
    assert_int_equal(conn_input(e->conn).n, 0);
    assert_true(str_starts(in, STR("220 "))); /* the view lives until the return */
    conn_consume(e->conn, at + 1);
    conn_write_str(e->conn, STR("EHLO early\r\n"));
}

static void starttls_with(const char *reply)
{
    struct end c, s;
    go_ahead = reply;
    end_open(&c, loop, NULL);
    server_open(&s, &c, NULL);
    c.hook = client_go;
    c.lines = true;
    s.hook = server_go;
    conn_write_str(c.conn, STR("STARTTLS\r\n"));
    until(&c, 'T');
    assert_string_equal(c.seen, "OIT");
    talk(&c, &s);
    assert_seen(&c, "OITI");
    assert_seen(&s, "OITI");
    end_free(&c);
    end_free(&s);
}

static void starttls(void **state)
{
    (void)state;
    starttls_with("220 go\r\n");
}

/* As CVE-2011-0411, towards the client: a reply injected in the clear must not be taken as one to
 * the EHLO under TLS. */
static void starttls_drops_what_was_pipelined(void **state)
{
    (void)state;
    starttls_with("220 go\r\n250-evil.example.com\r\n250 AUTH PLAIN");
}

static void plain_text_behind_the_go_ahead(void **state)
{
    (void)state;
    struct end c;
    char hello[2048];
    end_open(&c, loop, NULL);
    c.hook = client_go;
    c.lines = true;
    end_sends(&c, "220 go\r\n");
    assert_true(recv(c.fd, hello, sizeof(hello), 0) > 0);
    end_sends(&c, "250 AUTH PLAIN\r\n");
    assert_seen(&c, "OIC");
    assert_got(&c, "");
    assert_int_equal(conn_error(c.conn)->kind, ERR_PROTO);
    end_free(&c);
}

static void starttls_outside_of_the_event(void **state)
{
    (void)state;
    struct end c, s;
    end_open(&c, loop, NULL);
    c.keep = true;
    end_sends(&c, "220 go\r\nEVIL\r\n");
    conn_pause(c.conn); /* doesn't hold the handshake up */
    conn_start_tls_client(c.conn, client, &demand);
    assert_int_equal(conn_input(c.conn).n, 0);
    c.keep = false;
    server_open(&s, &c, server);
    until(&c, 'T');
    assert_seen(&c, "OIT");
    conn_write_str(s.conn, STR("x"));
    spin(loop);
    assert_got(&c, "");
    conn_resume(c.conn);
    until_got(&c, 1);
    assert_got(&c, "x");
    end_free(&c);
    end_free(&s);
}

/* ---- peers that go, are silent, or speak another language ---- */

static void peer_goes_in_the_handshake(void **state)
{
    (void)state;
    struct end c;
    end_open(&c, loop, NULL);
    spin(loop);
    conn_start_tls_client(c.conn, client, &demand);
    spin(loop);
    end_send(&c, "\x16\x03\x03", 3);
    shutdown(c.fd, SHUT_WR);
    spin(loop);
    assert_seen(&c, "OC");
    assert_int_equal(conn_error(c.conn)->kind, ERR_PROTO);
    assert_string_equal(conn_error(c.conn)->text,
                        "the peer closed the connection during the TLS handshake");
    assert_int_equal(conn_error(c.conn)->why, ERR_WHY_OTHER);
    end_free(&c);

    end_open(&c, loop, NULL); /* before it began */
    spin(loop);
    shutdown(c.fd, SHUT_WR);
    conn_start_tls_client(c.conn, client, &demand);
    spin(loop);
    assert_seen(&c, "OC");
    conn_start_tls_client(c.conn, client, &demand); /* nothing any more */
    spin(loop);
    assert_seen(&c, "");
    end_free(&c);
}

static uint64_t fake_ms = 1000;
static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void silent_peer(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    struct end c;
    clock_replace(&fake);
    loop_turn(loop, false);
    end_open(&c, loop, NULL);
    spin(loop);
    conn_set_timeout(c.conn, 1000); /* begins after the handshake */
    conn_start_tls_client(c.conn, client, &demand);
    spin(loop);
    fake_ms += 29999;
    spin(loop);
    assert_seen(&c, "O");
    fake_ms += 1;
    spin(loop);
    assert_seen(&c, "C");
    assert_int_equal(conn_error(c.conn)->kind, ERR_TEMP);
    assert_string_equal(conn_error(c.conn)->text, "the TLS handshake took too long");
    end_free(&c);
}

static void closed_in_the_handshake(void **state)
{
    (void)state;
    struct end c;
    end_open(&c, loop, NULL);
    conn_start_tls_client(c.conn, client, &demand);
    end_free(&c); /* before the first word */
    end_open(&c, loop, NULL);
    conn_start_tls_client(c.conn, client, &demand);
    spin(loop);
    conn_write_str(c.conn, STR("never sent"));
    conn_close_flushed(&c.conn, 1);
    spin(loop);
    end_free(&c);
    spin(loop);
}

/* ---- a server of another make ---- */

static SSL *raw_open(struct end *c, SSL_CTX *ctx)
{
    end_open(c, loop, NULL);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, c->fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

static void raw_accept(struct end *c, SSL *ssl)
{
    for (int i = 0; i < 20 && !c->seen[0]; i++) {
        spin(loop);
        SSL_do_handshake(ssl);
        spin(loop);
    }
    ERR_clear_error();
}

static void server_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sni;
    } cases[] = {{"mx.example.com", "mx.example.com"},
                 {"mx.example.com.", "mx.example.com"},
                 {"127.0.0.1", NULL},
                 {"::1", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct end c;
        SSL *ssl = raw_open(&c, raw_ctx);
        const char *const list[] = {cases[i].name, "other.example.com", NULL};
        struct tls_demand want = {.trust = TLS_TRUST_PKIX, .names = list};
        conn_start_tls_client(c.conn, client, &want);
        raw_accept(&c, ssl);
        assert_seen(&c, "O");
        const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        if (cases[i].sni)
            assert_string_equal(sni, cases[i].sni);
        else
            assert_null(sni);
        SSL_free(ssl);
        end_free(&c);
    }
}

static const char *old_server(int version, const char *suites, char *text, size_t cap)
{
    static char seen[8];
    struct end c;
    SSL *ssl = raw_open(&c, raw_ctx);
    SSL_set_security_level(ssl, 0); /* of the server, so that it would */
    SSL_set_min_proto_version(ssl, version);
    SSL_set_max_proto_version(ssl, version);
    SSL_set_cipher_list(ssl, suites);
    conn_start_tls_client(c.conn, client, &nothing);
    raw_accept(&c, ssl);
    conn_tls_text(c.conn, text, cap);
    snprintf(seen, sizeof(seen), "%.7s", c.seen);
    SSL_free(ssl);
    end_free(&c);
    return seen;
}

static void old_servers(void **state)
{
    (void)state;
    char text[128];
    assert_string_equal(old_server(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", text, sizeof(text)),
                        "O");
    assert_string_equal(text, "TLSv1.2 ECDHE-ECDSA-AES128-SHA"); /* CBC, better than nothing */
    assert_string_equal(
        old_server(TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", text, sizeof(text)), "O");
    assert_string_equal(old_server(TLS1_1_VERSION, "ALL:@SECLEVEL=0", text, sizeof(text)), "C");
    assert_string_equal(old_server(TLS1_2_VERSION, "aNULL:@SECLEVEL=0", text, sizeof(text)), "C");
}

/* Each byte of the server's as a packet of its own. */
static void byte_by_byte(void **state)
{
    (void)state;
    struct end c;
    char b[4096];
    end_open(&c, loop, NULL);
    SSL *ssl = SSL_new(raw_ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    conn_start_tls_client(c.conn, client, &demand);
    for (int round = 0; round < 10; round++) {
        spin(loop);
        ssize_t n = recv(c.fd, b, sizeof(b), 0);
        if (n > 0)
            BIO_write(in, b, (int)n);
        bool before = SSL_is_init_finished(ssl);
        SSL_do_handshake(ssl);
        if (!before && SSL_is_init_finished(ssl))
            SSL_write(ssl, "220 hello\r\n", 11);
        while (BIO_read(out, b, 1) == 1) {
            end_send(&c, b, 1);
            loop_turn(loop, false);
        }
    }
    assert_got(&c, "220 hello\r\n");
    assert_seen(&c, "OI");
    SSL_free(ssl);
    end_free(&c);
}

/* ---- the handler ends it ---- */

static void close_at(struct end *e, enum conn_event ev)
{
    if ((int)ev == e->hooked)
        conn_close(&e->conn);
}

static void closing_inside_the_handler(void **state)
{
    (void)state;
    static const enum conn_event events[] = {CONN_OPEN, CONN_INPUT};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        struct end c, s;
        end_open(&c, loop, NULL);
        server_open(&s, &c, server);
        c.hook = close_at;
        c.hooked = (int)events[i];
        conn_start_tls_client(c.conn, client, &demand);
        conn_write_str(s.conn, STR("220 hello\r\n"));
        while (c.conn)
            loop_turn(loop, true);
        until(&s, 'E');
        end_free(&c);
        end_free(&s);
    }
}

static void refused_in_the_handshake(void **state)
{
    (void)state;
    static const char *const other[] = {"other.example.com", NULL};
    struct tls_demand want = {.trust = TLS_TRUST_PKIX, .names = other};
    struct end c, s;
    end_open(&c, loop, NULL);
    server_open(&s, &c, server);
    conn_start_tls_client(c.conn, client, &want);
    conn_write_str(c.conn, STR("AUTH PLAIN secret\r\n"));
    until(&c, 'C');
    assert_seen(&c, "C");
    assert_int_equal(conn_error(c.conn)->why, ERR_WHY_UNTRUSTED);
    until(&s, 'C'); /* it is told so by an alert */
    assert_got(&s, "");
    assert_non_null(strstr(conn_error(s.conn)->text, "alert"));
    end_free(&c);
    end_free(&s);
}

/* ---- figures ---- */

static unsigned counted(const char *result, const char *side)
{
    struct buf page;
    char what[96];
    snprintf(what, sizeof(what), "posthouse_tls_handshakes_total{result=\"%s\",side=\"%s\"} ",
             result, side);
    buf_init(&page, 1 << 20);
    metrics_write(&page);
    const char *at = strstr(buf_z(&page), what);
    unsigned n = at ? (unsigned)strtoul(at + strlen(what), NULL, 10) : 0;
    buf_fini(&page);
    return n;
}

static void both_sides_are_counted(void **state)
{
    (void)state;
    unsigned in = counted("TLSv1.3", "in"), out = counted("TLSv1.3", "out"),
             failed_in = counted("failed", "in"), failed_out = counted("failed", "out");
    implicit(state);
    refused_in_the_handshake(state);
    assert_int_equal(counted("TLSv1.3", "in"), in + 1);
    assert_int_equal(counted("TLSv1.3", "out"), out + 1);
    assert_int_equal(counted("failed", "in"), failed_in + 1);
    assert_int_equal(counted("failed", "out"), failed_out + 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(implicit),
        T(bindings),
        T(over_a_connection_of_ours),
        T(starttls),
        T(starttls_drops_what_was_pipelined),
        T(plain_text_behind_the_go_ahead),
        T(starttls_outside_of_the_event),
        T(peer_goes_in_the_handshake),
        T(silent_peer),
        T(closed_in_the_handshake),
        T(server_name),
        T(old_servers),
        T(byte_by_byte),
        T(closing_inside_the_handler),
        T(refused_in_the_handshake),
        T(both_sides_are_counted),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
