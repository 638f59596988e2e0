/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/tls.h"
#include "end.h"
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct loop *loop;
static struct tls_ctx *tls;
static SSL_CTX *client_ctx;
static char folder[64];

static int group_setup(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", NULL};
    char cert[96], key[96], ca[96];
    struct err err;
    snprintf(folder, sizeof(folder), "/tmp/ph-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dirfd, names, &err), 0);
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    assert_int_equal(tls_ctx_server(cert, key, &tls, &err), 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_locations(client_ctx, ca, NULL), 1);
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlinkat(dirfd, files[i], 0);
    close(dirfd);
    rmdir(folder);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    tls_ctx_unref(&tls);
    SSL_CTX_free(client_ctx);
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

/* ---- a TLS client on the peer's end ---- */

static SSL *client_new(struct end *e)
{
    SSL *ssl = SSL_new(client_ctx);
    SSL_set_fd(ssl, e->fd);
    SSL_set1_host(ssl, "localhost");
    SSL_set_connect_state(ssl);
    return ssl;
}

static void client_connect(struct end *e, SSL *ssl)
{
    for (int i = 0; i < 20 && !SSL_is_init_finished(ssl); i++) {
        int rc = SSL_do_handshake(ssl);
        assert_true(rc == 1 || SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ);
        spin(e->loop);
    }
    assert_true(SSL_is_init_finished(ssl));
}

static void client_sends(struct end *e, SSL *ssl, const char *z)
{
    assert_int_equal(SSL_write(ssl, z, (int)strlen(z)), strlen(z));
    spin(e->loop);
}

static const char *client_recv(SSL *ssl, char *out, int cap)
{
    int n = SSL_read(ssl, out, cap - 1);
    out[n > 0 ? n : 0] = '\0';
    return out;
}

/* ---- implicit TLS ---- */

static void handshake_before_open(void **state)
{
    (void)state;
    struct end e;
    char text[128];
    end_open(&e, loop, tls);
    spin(loop);
    assert_seen(&e, "");
    assert_false(conn_has_tls(e.conn));
    conn_tls_text(e.conn, text, sizeof(text));
    assert_string_equal(text, "");
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    assert_seen(&e, "O");
    assert_true(conn_has_tls(e.conn));
    conn_tls_text(e.conn, text, sizeof(text));
    assert_non_null(strstr(text, "TLSv1.3 TLS_"));
    assert_true(conn_tls_bits(e.conn) >= 128);
    conn_write_str(e.conn, STR("220 "));
    conn_write_str(e.conn, STR("hello\r\n"));
    spin(loop);
    assert_string_equal(client_recv(ssl, text, sizeof(text)), "220 hello\r\n"); /* one record */
    client_sends(&e, ssl, "EHLO x\r\n");
    assert_got(&e, "EHLO x\r\n");
    assert_seen(&e, "I");
    SSL_free(ssl);
    end_free(&e);
}

static void versions_and_suites(void **state)
{
    (void)state;
    struct end e;
    char text[128];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    client_connect(&e, ssl);
    conn_tls_text(e.conn, text, sizeof(text));
    assert_non_null(strstr(text, "TLSv1.2 ECDHE-ECDSA-"));
    client_sends(&e, ssl, "x");
    assert_got(&e, "x");
    SSL_free(ssl);
    end_free(&e);

    end_open(&e, loop, tls); /* CBC: no */
    ssl = client_new(&e);
    SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    SSL_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-SHA");
    SSL_do_handshake(ssl);
    spin(loop);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_PROTO);
    assert_non_null(strstr(conn_error(e.conn)->text, "TLS handshake: no shared cipher"));
    SSL_do_handshake(ssl); /* it was told so by an alert */
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    ERR_clear_error();
    SSL_free(ssl);
    end_free(&e);
}

/* A handshake, with the session of an earlier one unless NULL; was it resumed? */
static bool resumes(SSL_SESSION *session, SSL_SESSION **out)
{
    struct end e;
    char text[16];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    if (session)
        SSL_set_session(ssl, session);
    client_connect(&e, ssl);
    assert_seen(&e, "O");
    bool reused = SSL_session_reused(ssl);
    conn_write_str(e.conn, STR("x"));
    spin(loop);
    client_recv(ssl, text, sizeof(text)); /* and the ticket before it */
    if (out)
        *out = SSL_get1_session(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    end_free(&e);
    return reused;
}

static uint64_t fake_ms;
static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void session_resumes_by_ticket(void **state)
{
    (void)state;
    SSL_SESSION *session;
    assert_false(resumes(NULL, &session));
    assert_true(resumes(session, NULL));
    SSL_SESSION_free(session);
}

static void the_key_of_tickets_is_changed(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    SSL_SESSION *session;
    fake_ms = clock_mono_ms() + 24 * 3600 * 1000;
    clock_replace(&fake);
    assert_false(resumes(NULL, &session));
    fake_ms += 12 * 3600 * 1000 - 1;
    assert_true(resumes(session, NULL));
    fake_ms += 1;
    assert_false(resumes(session, NULL));
    SSL_SESSION_free(session);
}

/* Every byte of handshake and records as a packet of its own. */
static void byte_by_byte(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, tls);
    SSL *ssl = SSL_new(client_ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    bool sent = false;
    for (int round = 0; round < 10; round++) {
        char b[4096];
        SSL_do_handshake(ssl);
        if (SSL_is_init_finished(ssl) && !sent) {
            SSL_write(ssl, "one\r\ntwo\r\n", 10);
            sent = true;
        }
        while (BIO_read(out, b, 1) == 1) {
            end_send(&e, b, 1);
            loop_turn(loop, false);
        }
        spin(loop);
        ssize_t n = recv(e.fd, b, sizeof(b), 0);
        if (n > 0)
            BIO_write(in, b, (int)n);
    }
    assert_true(sent);
    assert_seen(&e, "OI");
    assert_got(&e, "one\r\ntwo\r\n");
    SSL_free(ssl);
    end_free(&e);
}

static void close_notify_is_eof(void **state)
{
    (void)state;
    struct end e;
    char text[16];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    SSL_write(ssl, "last", 4);
    SSL_shutdown(ssl);
    spin(loop);
    assert_got(&e, "last");
    assert_seen(&e, "OIE");
    conn_write_str(e.conn, STR("bye"));
    conn_close_flushed(&e.conn, 1000);
    spin(loop);
    assert_string_equal(client_recv(ssl, text, sizeof(text)), "bye");
    assert_int_equal(SSL_read(ssl, text, 1), 0);
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN); /* ours came too */
    SSL_free(ssl);
    end_free(&e);
}

static void flushed_close_says_close_notify(void **state)
{
    (void)state;
    struct end e;
    char text[16];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    conn_write_str(e.conn, STR("221 bye"));
    conn_close_flushed(&e.conn, 1000);
    spin(loop);
    assert_string_equal(client_recv(ssl, text, sizeof(text)), "221 bye");
    assert_int_equal(SSL_read(ssl, text, 1), 0);
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(recv(e.fd, text, 1, 0), 0);
    SSL_free(ssl);
    end_free(&e); /* the peer's end ends the lingering */
    spin(loop);
}

static void flushed_close_while_the_socket_is_full(void **state)
{
    (void)state;
    static char block[2000000];
    struct end e;
    size_t got = 0;
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    conn_write(e.conn, block, sizeof(block));
    spin(loop);
    assert_true(conn_queued(e.conn) > 0);
    conn_close_flushed(&e.conn, 100000);
    for (int n = 1; n > 0; spin(loop)) {
        n = SSL_read(ssl, block, 50000);
        got += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            assert_int_equal(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN);
    }
    assert_int_equal(got, sizeof(block));
    SSL_free(ssl);
    end_free(&e);
    spin(loop);
}

static void broken_records_break(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    client_sends(&e, ssl, "good");
    end_send(&e, "\x17\x03\x03\x00\x20 this was never encrypted by us", 37);
    spin(loop);
    assert_got(&e, "good");
    assert_seen(&e, "OIC");
    assert_int_equal(conn_error(e.conn)->kind, ERR_PROTO);
    SSL_free(ssl);
    end_free(&e);
}

static void plain_text_instead_of_handshake(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, tls);
    end_sends(&e, "EHLO client.example\r\n");
    assert_seen(&e, "C");
    assert_got(&e, "");
    end_free(&e);
    end_open(&e, loop, tls); /* and one that just goes */
    end_send(&e, "\x16\x03\x01", 3);
    shutdown(e.fd, SHUT_WR);
    spin(loop);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_PROTO);
    end_free(&e);
}

static void handshake_has_a_limit(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    fake_ms = 5;
    clock_replace(&fake);
    struct end e;
    end_open(&e, loop, tls);
    conn_set_timeout(e.conn, 1000); /* begins after the handshake */
    spin(loop);
    fake_ms += 29999;
    end_sends(&e, "\x16"); /* a trickle doesn't prolong it */
    assert_seen(&e, "");
    fake_ms += 1;
    spin(loop);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    end_free(&e);

    end_open(&e, loop, tls);
    conn_set_timeout(e.conn, 1000);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    fake_ms += 1000;
    spin(loop);
    assert_seen(&e, "Ot");
    fake_ms += 60000; /* the limit is gone */
    spin(loop);
    assert_seen(&e, "t");
    SSL_free(ssl);
    end_free(&e);
}

/* Octets of a record that isn't complete are silence: only what comes out of it counts. */
static void a_trickled_record_is_silence(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    fake_ms = 5;
    clock_replace(&fake);
    struct end e;
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    assert_seen(&e, "O");
    conn_set_timeout(e.conn, 1000);
    fake_ms += 900;
    client_sends(&e, ssl, "word");
    assert_seen(&e, "I");
    fake_ms += 900;
    end_send(&e, "\x17\x03\x03\x40\x00", 5);
    spin(loop);
    assert_seen(&e, "");
    fake_ms += 99;
    end_sends(&e, "x");
    assert_seen(&e, "");
    fake_ms += 1;
    end_sends(&e, "x");
    assert_seen(&e, "t");
    SSL_free(ssl);
    end_free(&e);
}

/* ---- pausing, limits and pressure ---- */

static void pause_with_records_at_hand(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    conn_pause(e.conn);
    client_sends(&e, ssl, "one");
    client_sends(&e, ssl, "two");
    SSL_shutdown(ssl);
    spin(loop);
    assert_seen(&e, "O");
    conn_resume(e.conn);
    spin(loop);
    assert_got(&e, "onetwo");
    assert_seen(&e, "IE");
    SSL_free(ssl);
    end_free(&e);
}

static void pause_first_time(struct end *e, enum conn_event ev)
{
    if (ev == CONN_INPUT && e->hooked++ == 0)
        conn_pause(e->conn);
}

/* More in one packet than may be held: the handler pauses, the rest waits still encrypted, nothing
 * is lost. */
static void small_max_input(void **state)
{
    (void)state;
    struct end e;
    char block[5000];
    end_open(&e, loop, tls);
    conn_set_max_input(e.conn, 1000);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    e.seen[0] = '\0';
    e.hook = pause_first_time;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)('a' + i % 23);
    SSL_write(ssl, block, 2500);
    SSL_write(ssl, block + 2500, 2500);
    spin(loop);
    assert_int_equal(e.got.n, 1000);
    e.keep = true;
    conn_resume(e.conn);
    spin(loop);
    assert_int_equal(conn_input(e.conn).n, 1000); /* full, and waits */
    assert_seen(&e, "II");
    e.keep = false;
    end_take(&e);
    spin(loop);
    assert_int_equal(e.got.n, sizeof(block));
    assert_memory_equal(e.got.p, block, sizeof(block));
    SSL_free(ssl);
    end_free(&e);
}

static void output_while_the_socket_is_full(void **state)
{
    (void)state;
    struct end e;
    static char block[100000], in[1 << 18];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    e.seen[0] = '\0';
    size_t written = 0, read_n = 0;
    do {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = (char)((written + i) % 251);
        conn_write(e.conn, block, sizeof(block));
        written += sizeof(block);
        spin(loop);
    } while (written < 3000000);
    assert_true(conn_queued(e.conn) > 1000000);
    client_sends(&e, ssl, "still alive");
    assert_got(&e, "still alive");
    while (read_n < written) {
        int n = SSL_read(ssl, in, sizeof(in));
        for (int i = 0; i < n; i++)
            assert_int_equal((unsigned char)in[i], (read_n + (size_t)i) % 251);
        if (n > 0)
            read_n += (size_t)n;
        spin(loop);
    }
    assert_int_equal(e.seen[strlen(e.seen) - 1], 'D');
    assert_int_equal(conn_queued(e.conn), 0);
    SSL_free(ssl);
    end_free(&e);
}

static void key_updates(void **state)
{
    (void)state;
    struct end e;
    char text[16];
    end_open(&e, loop, tls);
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    for (int i = 0; i < 5; i++) {
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
        client_sends(&e, ssl, "x");
        conn_write_str(e.conn, STR("y"));
        spin(loop);
        assert_string_equal(client_recv(ssl, text, sizeof(text)), "y");
    }
    assert_got(&e, "xxxxx");
    SSL_free(ssl);
    end_free(&e);
}

static void closing_inside_tls_events(struct end *e, enum conn_event ev)
{
    if ((int)ev == e->hooked)
        conn_close(&e->conn);
}

static void closing_inside_the_handler(void **state)
{
    (void)state;
    static const enum conn_event events[] = {CONN_OPEN, CONN_INPUT, CONN_EOF};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        struct end e;
        end_open(&e, loop, tls);
        e.hook = closing_inside_tls_events;
        e.hooked = (int)events[i];
        SSL *ssl = client_new(&e);
        client_connect(&e, ssl);
        SSL_write(ssl, "one", 3);
        SSL_write(ssl, "two", 3);
        SSL_shutdown(ssl);
        spin(loop);
        assert_null(e.conn);
        SSL_free(ssl);
        end_free(&e);
        ERR_clear_error();
    }
}

/* ---- STARTTLS ---- */

static void starttls_on_line(struct end *e, enum conn_event ev)
{
    struct str in = conn_input(e->conn);
    size_t at;
    if (ev != CONN_INPUT || conn_has_tls(e->conn) || !str_chr(in, '\n', &at))
        return;
    conn_write_str(e->conn, STR("220 go\r\n"));
    conn_start_tls(e->conn, tls);
    assert_int_equal(conn_input(e->conn).n, 0);
    assert_true(str_starts(in, STR("STARTTLS"))); /* the view lives until the return */
    conn_consume(e->conn, at + 1);
    conn_write_str(e->conn, STR("early, but after TLS\r\n"));
}

static void starttls(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    e.hook = starttls_on_line;
    e.lines = true;
    end_sends(&e, "START");
    end_sends(&e, "TLS\r\n");
    assert_string_equal(end_recv(&e, text, sizeof(text)), "220 go\r\n");
    assert_seen(&e, "OII");
    assert_false(conn_has_tls(e.conn));
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    assert_seen(&e, "T");
    assert_true(conn_has_tls(e.conn));
    assert_string_equal(client_recv(ssl, text, sizeof(text)), "early, but after TLS\r\n");
    client_sends(&e, ssl, "EHLO again\r\n");
    assert_got(&e, "EHLO again\r\n");
    SSL_free(ssl);
    end_free(&e);
}

/* CVE-2011-0411: commands sent in the clear together with STARTTLS must not be taken as sent under
 * TLS. */
static void starttls_drops_what_was_pipelined(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    e.hook = starttls_on_line;
    e.lines = true;
    end_sends(&e, "STARTTLS\r\nMAIL FROM:<evil@example.com>\r\nRCPT");
    assert_string_equal(end_recv(&e, text, sizeof(text)), "220 go\r\n");
    SSL *ssl = client_new(&e);
    client_connect(&e, ssl);
    assert_seen(&e, "OIT");
    client_sends(&e, ssl, "NOOP\r\n");
    assert_got(&e, "NOOP\r\n");
    SSL_free(ssl);
    end_free(&e);
}

/* Plain bytes that come in packets behind it go to the handshake, which fails on them. */
static void starttls_fails_on_plain_text_behind(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    e.hook = starttls_on_line;
    e.lines = true;
    end_sends(&e, "STARTTLS\r\n");
    end_sends(&e, "MAIL FROM:<evil@example.com>\r\n");
    assert_seen(&e, "OIC");
    assert_got(&e, "");
    end_free(&e);
}

/* As a session does that pauses for a decision and begins TLS outside of the event. */
static void starttls_while_paused(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    e.keep = true;
    end_sends(&e, "STARTTLS\r\nEVIL\r\n");
    conn_consume(e.conn, 10);
    conn_pause(e.conn);
    conn_write_str(e.conn, STR("220 go\r\n"));
    conn_start_tls(e.conn, tls);
    conn_resume(e.conn);
    e.keep = false;
    spin(loop);
    assert_string_equal(end_recv(&e, text, sizeof(text)), "220 go\r\n");
    SSL *ssl = client_new(&e);
    conn_pause(e.conn); /* doesn't hold the handshake up */
    client_connect(&e, ssl);
    assert_seen(&e, "OIT");
    client_sends(&e, ssl, "x");
    assert_got(&e, "");
    conn_resume(e.conn);
    spin(loop);
    assert_got(&e, "x");
    SSL_free(ssl);
    end_free(&e);
}

/* ---- memory ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { MANY = 50 };

static size_t heap(void)
{
    return mallinfo2().uordblks;
}

static void transfer(struct end *e, SSL *ssl)
{
    static char block[100000];
    size_t got = 0;
    for (size_t at = 0; at < sizeof(block);) {
        size_t n = sizeof(block) - at < 10000 ? sizeof(block) - at : 10000;
        if (ssl)
            assert_int_equal(SSL_write(ssl, block + at, (int)n), n);
        else
            end_send(e, block + at, n);
        spin(loop);
        at += n;
    }
    assert_int_equal(e->got.n, sizeof(block));
    buf_fini(&e->got);
    conn_write(e->conn, block, sizeof(block));
    while (got < sizeof(block)) {
        spin(loop);
        ssize_t n =
            ssl ? SSL_read(ssl, block, sizeof(block)) : recv(e->fd, block, sizeof(block), 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
    spin(loop);
}

/* The heap a connection needs, after 100 KB each way; clients' own memory is taken away first. */
static size_t idle_size(struct tls_ctx *with)
{
    static struct end ends[MANY + 1];
    static SSL *clients[MANY + 1];
    for (size_t i = 0; i <= MANY; i++) {
        end_open(&ends[i], loop, with);
        clients[i] = with ? client_new(&ends[i]) : NULL;
        if (with)
            client_connect(&ends[i], clients[i]);
        conn_set_timeout(ends[i].conn, 60000);
        transfer(&ends[i], clients[i]);
    }
    for (size_t i = 0; i <= MANY; i++)
        SSL_free(clients[i]);
    end_free(&ends[MANY]); /* the first free of its kind may leave caches */
    spin(loop);
    size_t before = heap();
    for (size_t i = 0; i < MANY; i++)
        end_free(&ends[i]);
    spin(loop);
    return (before - heap()) / MANY;
}

static void idle_connections_are_small(void **state)
{
    (void)state;
    size_t plain = idle_size(NULL), with_tls = idle_size(tls);
    print_message("heap of an idle connection: plain %zu, TLS %zu bytes\n", plain, with_tls);
    assert_true(plain < 1500);
    assert_true(with_tls < 30000); /* OpenSSL 3.0 takes 15 KB, 3.5 takes 22 */
}
#endif

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(handshake_before_open),
        T(versions_and_suites),
        T(session_resumes_by_ticket),
        T(the_key_of_tickets_is_changed),
        T(byte_by_byte),
        T(close_notify_is_eof),
        T(flushed_close_says_close_notify),
        T(flushed_close_while_the_socket_is_full),
        T(broken_records_break),
        T(plain_text_instead_of_handshake),
        T(handshake_has_a_limit),
        T(a_trickled_record_is_silence),
        T(pause_with_records_at_hand),
        T(small_max_input),
        T(output_while_the_socket_is_full),
        T(key_updates),
        T(closing_inside_the_handler),
        T(starttls),
        T(starttls_drops_what_was_pipelined),
        T(starttls_fails_on_plain_text_behind),
        T(starttls_while_paused),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        T(idle_connections_are_small),
#endif
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
