/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Random sessions: bytes in pieces of every size, a handler that pauses, keeps, resumes and writes
 * as it likes; all bytes must arrive once and in order, both ways, and the end last. The same seeds
 * each run. */
#include "appliance/io/tls.h"
#include "end.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOTAL = 150000, SESSIONS = 40, MOST_STEPS = 200000 };

static struct loop *loop;
static struct tls_ctx *tls;
static SSL_CTX *client_ctx;
static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % sides;
}

/* Mostly small, now and then large. */
static size_t piece(size_t most)
{
    size_t n = 1 + dice(dice(4) ? 50 : 40000);
    return n < most ? n : most;
}

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static void fill(char *out, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)byte_at(from + i);
}

struct session {
    struct conn *conn;
    int fd;
    SSL *ssl;
    size_t sent, got;         /* peer to us */
    size_t written, received; /* us to peer */
    bool opened, eof, blocked, ended;
};

static void take(struct session *s)
{
    struct str in = conn_input(s->conn);
    size_t n = dice(3) ? in.n : dice((uint32_t)in.n + 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)in.p[i] != byte_at(s->got + i))
            fail_msg("byte %zu is wrong", s->got + i);
    conn_consume(s->conn, n);
    s->got += n;
}

static void put(struct session *s)
{
    static char block[40000];
    size_t n = piece(TOTAL - s->written);
    if (n == 0 || s->blocked)
        return;
    fill(block, s->written, n);
    s->blocked = conn_write(s->conn, block, n) == CONN_FULL;
    s->written += n;
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    struct session *s = ctx;
    assert_ptr_equal(c, s->conn);
    assert_int_not_equal(ev, CONN_CLOSED);
    assert_true(s->opened == (ev != CONN_OPEN)); /* first, once */
    s->opened = true;
    if (ev == CONN_INPUT) {
        assert_false(conn_paused(c));
        assert_false(s->eof);
        take(s);
        if (dice(8) == 0)
            put(s);
        if (dice(5) == 0)
            conn_pause(c);
        if (dice(9) == 0)
            conn_resume(c);
    }
    if (ev == CONN_DRAINED) {
        assert_true(s->blocked);
        s->blocked = false;
    }
    if (ev == CONN_EOF) {
        assert_false(conn_paused(c) || s->eof);
        s->eof = true;
    }
}

static void peer_sends(struct session *s)
{
    static char block[40000];
    size_t n = piece(TOTAL - s->sent);
    if (n == 0 && !s->ended && (!s->ssl || SSL_is_init_finished(s->ssl))) {
        s->ended = true;
        if (s->ssl)
            SSL_shutdown(s->ssl);
        else
            shutdown(s->fd, SHUT_WR);
    }
    if (n == 0)
        return;
    fill(block, s->sent, n);
    ssize_t done = s->ssl ? SSL_write(s->ssl, block, (int)n) : send(s->fd, block, n, MSG_NOSIGNAL);
    s->sent += done > 0 ? (size_t)done : 0;
}

static void peer_receives(struct session *s)
{
    static char block[40000];
    size_t n = piece(sizeof(block));
    ssize_t done = s->ssl ? SSL_read(s->ssl, block, (int)n) : recv(s->fd, block, n, 0);
    for (ssize_t i = 0; i < done; i++)
        if ((unsigned char)block[i] != byte_at(s->received + (size_t)i))
            fail_msg("byte %zu came back wrong", s->received + (size_t)i);
    s->received += done > 0 ? (size_t)done : 0;
}

static void step(struct session *s)
{
    switch (dice(8)) {
    case 0:
    case 1:
        peer_sends(s);
        break;
    case 2:
    case 3:
        peer_receives(s);
        break;
    case 4:
        conn_resume(s->conn);
        break;
    case 5:
        if (s->opened)
            put(s);
        break;
    case 6:
        if (s->opened && dice(3) == 0)
            take(s); /* outside of the handler */
        break;
    default:
        loop_turn(loop, false);
    }
    ERR_clear_error();
}

static void run(uint32_t number, struct tls_ctx *with)
{
    int fds[2];
    seed = number * 7919 + 1;
    struct session s = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    s.fd = fds[1];
    s.conn = conn_adopt(loop, fds[0], with);
    conn_set_handler(s.conn, on_event, &s);
    if (dice(2))
        conn_set_max_input(s.conn, 100 + dice(3000));
    if (with) {
        s.ssl = SSL_new(client_ctx);
        /* a retry may come with other bytes at the same place */
        SSL_set_mode(s.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_set_fd(s.ssl, s.fd);
        SSL_set_connect_state(s.ssl);
        for (int i = 0; i < 20 && SSL_do_handshake(s.ssl) != 1; i++)
            spin(loop);
    }
    size_t steps = 0;
    while (!(s.eof && s.got == TOTAL && s.received == TOTAL) && ++steps < MOST_STEPS)
        step(&s);
    assert_int_equal(s.got, TOTAL);
    assert_int_equal(s.received, TOTAL);
    assert_true(s.eof);
    SSL_free(s.ssl);
    conn_close(&s.conn);
    close(s.fd);
}

static void random_sessions_plain(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SESSIONS; i++)
        run(i, NULL);
}

static void random_sessions_tls(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SESSIONS; i++)
        run(i, tls);
}

/* Garbage, cut anywhere: no crash, no leak, an end. */
static void garbage_at_tls(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        struct end e;
        char junk[300];
        seed = i;
        end_open(&e, loop, tls);
        size_t n = piece(sizeof(junk));
        for (size_t k = 0; k < n; k++)
            junk[k] = (char)dice(256);
        if (dice(2) && n > 11) /* the look of a ClientHello */
            memcpy(junk, "\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03", 11);
        end_send(&e, junk, n);
        spin(loop);
        shutdown(e.fd, SHUT_WR);
        spin(loop);
        assert_seen(&e, "C");
        end_free(&e);
    }
}

static int group_setup(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", NULL};
    char folder[] = "/tmp/ph-random-XXXXXX", cert[96], key[96];
    struct err err;
    assert_non_null(mkdtemp(folder));
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dirfd, names, &err), 0);
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    assert_int_equal(tls_ctx_server(cert, key, &tls, &err), 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlinkat(dirfd, files[i], 0);
    close(dirfd);
    rmdir(folder);
    loop = loop_new();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    tls_ctx_unref(&tls);
    SSL_CTX_free(client_ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sessions_plain),
        cmocka_unit_test(random_sessions_tls),
        cmocka_unit_test(garbage_at_tls),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
