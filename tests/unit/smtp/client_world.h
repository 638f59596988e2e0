/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_world.h - an SMTP client and a host that plays a script, in one loop. A script is a list
 * of steps:
 *   "HELLO"    greeting, EHLO and its reply: the lines of `offers`
 *   ">text"    the host says this (text only: CRLF is added)
 *   "<text"    the host waits for this line; "<text*": for one that begins so
 *   "LINES"    takes what comes up to the line that is a dot, into `got`
 *   "OCTETS n" takes n octets into `got`
 *   "TLS"      the server's part of STARTTLS; what was said just before is sent first
 *   "AUTH"     a line that is kept in `line` and handed to `on_auth`
 *   "CLOSE"    the end
 *   "HANG"     nothing more: the script is over
 * Nothing is ever waited for by time; after PATIENCE_MS without an event the test fails. */
#ifndef PH_TESTS_SMTP_CLIENT_WORLD_H
#define PH_TESTS_SMTP_CLIENT_WORLD_H
#include "appliance/base/mem.h"
#include "appliance/io/listener.h"
#include "appliance/store/queue.h"
#include "smtp/client/client.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

enum { PATIENCE_MS = 120000, PLAY_RCPTS = 8 };

struct play {
    struct loop *loop;
    struct lane *files;
    struct listener *listener;
    struct conn *host;
    struct tls_ctx *host_tls;
    const char *const *script;
    size_t at;
    const char *offers; /* lines */
    bool trickle;       /* what the host says comes octet by octet */
    bool lockstep;      /* nothing may have been said when the host answers */
    bool over, host_eof;
    struct buf got, saying;
    char line[16384];
    void (*on_auth)(struct play *p);
    struct timer *patience, *tick;
    /* the client */
    struct smtp_client *client;
    struct smtp_client_conf conf;
    struct smtp_fault why;
    bool ready, closed, sent;
    bool close_when_ready, close_when_sent;
    struct smtp_client_mail mail;
    struct smtp_client_rcpt rcpts[PLAY_RCPTS];
    struct err err;
};

static inline void play_impatient(void *ctx)
{
    struct play *p = ctx;
    const char *step = p->script && p->script[p->at] ? p->script[p->at] : "(its end)";
    fail_msg("nothing happened for %d ms; the script is at %zu: %s", PATIENCE_MS, p->at, step);
}

static inline void play_nothing(void *ctx)
{
    (void)ctx;
}

/* ---- the host */

static inline void play_say(struct play *p, const char *text)
{
    if (p->lockstep)
        assert_int_equal(conn_input(p->host).n, 0);
    buf_add_z(&p->saying, text);
    buf_add_z(&p->saying, "\r\n");
    if (!p->trickle) {
        conn_write_str(p->host, buf_str(&p->saying));
        buf_clear(&p->saying);
    }
}

static inline bool play_line(struct play *p)
{
    struct str in = conn_input(p->host);
    size_t at;
    if (!str_chr(in, '\n', &at))
        return false;
    assert_true(at > 0 && in.p[at - 1] == '\r' && at < sizeof p->line);
    memcpy(p->line, in.p, at - 1);
    p->line[at - 1] = '\0';
    conn_consume(p->host, at + 1);
    return true;
}

static inline bool play_hello(struct play *p)
{
    struct str rest = str_from(p->offers), line;
    char text[600];
    if (!play_line(p))
        return false;
    assert_string_equal(p->line, "EHLO us.example");
    play_say(p, rest.n ? "250-host.example" : "250 host.example");
    while (rest.n) {
        str_cut(rest, '\n', &line, &rest);
        snprintf(text, sizeof text, "250%c%.*s", rest.n ? '-' : ' ', (int)line.n, line.p);
        play_say(p, text);
    }
    return true;
}

static inline bool play_expect(struct play *p, const char *want)
{
    size_t n = strlen(want);
    if (!play_line(p))
        return false;
    if (n && want[n - 1] == '*' ? strncmp(p->line, want, n - 1) != 0 : strcmp(p->line, want) != 0)
        fail_msg("wanted %s, got %s", want, p->line);
    return true;
}

static inline bool play_octets(struct play *p, size_t n)
{
    struct str in = str_take(conn_input(p->host), n - p->got.n);
    buf_add_str(&p->got, in);
    conn_consume(p->host, in.n);
    return p->got.n == n;
}

/* One step; false: it waits. */
static inline bool play_step(struct play *p, const char *step)
{
    if (step[0] == '>')
        play_say(p, step + 1);
    else if (step[0] == '<')
        return play_expect(p, step + 1);
    else if (strcmp(step, "HELLO") == 0)
        return play_hello(p);
    else if (strcmp(step, "LINES") == 0) {
        if (!play_line(p))
            return false;
        if (strcmp(p->line, ".") == 0)
            return true;
        buf_add_z(&p->got, p->line);
        buf_add_z(&p->got, "\r\n");
        p->at--;
    } else if (strncmp(step, "OCTETS ", 7) == 0)
        return play_octets(p, (size_t)strtoul(step + 7, NULL, 10));
    else if (strcmp(step, "TLS") == 0)
        conn_start_tls(p->host, p->host_tls);
    else if (strcmp(step, "AUTH") == 0) {
        if (!play_line(p))
            return false;
        p->on_auth(p);
    } else if (strcmp(step, "CLOSE") == 0)
        conn_close_flushed(&p->host, 10000);
    else
        fail_msg("no such step: %s", step);
    return true;
}

static inline void play_go(struct play *p)
{
    while (p->host && p->saying.n == 0 && p->script[p->at] &&
           strcmp(p->script[p->at], "HANG") != 0) {
        size_t at = p->at++;
        if (!play_step(p, p->script[at])) {
            p->at = at;
            break;
        }
    }
    p->over = !p->script[p->at] || strcmp(p->script[p->at], "HANG") == 0;
}

static inline void play_on_host(void *ctx, struct conn *c, enum conn_event ev)
{
    struct play *p = ctx;
    timer_start(p->patience, PATIENCE_MS);
    if (ev == CONN_OPEN || ev == CONN_TLS || ev == CONN_INPUT)
        play_go(p);
    else if (ev == CONN_EOF || ev == CONN_CLOSED) {
        p->host_eof = true;
        conn_close(&p->host);
    }
    (void)c;
}

static inline void play_on_accept(void *ctx, struct conn *c)
{
    struct play *p = ctx;
    assert_null(p->host);
    p->host = c;
    conn_set_max_input(c, 1 << 20);
    conn_set_handler(c, play_on_host, p);
}

/* ---- the client */

static inline void play_on_ready(void *ctx)
{
    struct play *p = ctx;
    p->ready = true;
    if (p->close_when_ready)
        smtp_client_close(&p->client);
}

static inline void play_on_closed(void *ctx, const struct smtp_fault *why)
{
    struct play *p = ctx;
    assert_false(p->closed);
    p->closed = true;
    p->why = *why;
}

static inline void play_on_sent(void *ctx, struct smtp_client_mail *m)
{
    struct play *p = ctx;
    assert_ptr_equal(m, &p->mail);
    assert_false(p->sent);
    assert_false(p->closed); /* on_closed is the last */
    p->sent = true;
    if (p->close_when_sent)
        smtp_client_close(&p->client);
}

static inline void play_init(struct play *p)
{
    const struct lane_conf lane = {.name = "files", .threads = 1, .depth = 4};
    *p = (struct play){.offers = ""};
    log_set_fd(-1);
    p->loop = loop_new();
    p->files = lane_new(p->loop, &lane, &p->err);
    p->patience = timer_new(p->loop, play_impatient, p);
    p->tick = timer_new(p->loop, play_nothing, p);
    buf_init(&p->got, (size_t)64 << 20);
    buf_init(&p->saying, 1 << 20);
    p->conf = (struct smtp_client_conf){.loop = p->loop,
                                        .files = p->files,
                                        .target = {.ip = "127.0.0.1"},
                                        .host = "host.example",
                                        .hostname = "us.example",
                                        .use = SMTP_TLS_OFF,
                                        .log = {.module = "smtp"}};
    p->mail = (struct smtp_client_mail){
        .sender = STR("a@us.example"), .text = STR("Subject: x\r\n\r\nhello\r\n"), .fd = -1};
}

/* tls: implicit. */
static inline void play_listen(struct play *p, struct tls_ctx *tls)
{
    const struct listener_conf conf = {.on_accept = play_on_accept, .ctx = p, .implicit_tls = tls};
    assert_int_equal(listener_open("127.0.0.1", 0, &p->listener, &p->err), 0);
    assert_int_equal(listener_start(p->listener, p->loop, &conf, &p->err), 0);
    p->conf.target.port = listener_port(p->listener);
}

static inline void play_open(struct play *p, const char *const *script)
{
    const struct smtp_client_events events = {play_on_ready, play_on_closed};
    p->script = script;
    p->at = 0;
    p->over = p->host_eof = p->ready = p->closed = p->sent = false;
    if (!p->listener)
        play_listen(p, NULL);
    if (smtp_client_open(&p->conf, &events, p, &p->client, &p->err) != 0)
        fail_msg("%s", p->err.text);
    assert_false(p->ready || p->closed);
}

static inline void play_turn(struct play *p)
{
    if (p->saying.n && p->host) {
        conn_write(p->host, p->saying.p, 1);
        buf_drop(&p->saying, 1);
        timer_start(p->patience, PATIENCE_MS);
        if (p->saying.n == 0)
            play_go(p);
    }
    timer_start(p->tick, 1);
    loop_turn(p->loop, true);
}

static inline void play_until(struct play *p, const bool *what)
{
    timer_start(p->patience, PATIENCE_MS);
    while (!*what) {
        if (p->closed && what != &p->host_eof && what != &p->over)
            fail_msg("closed: %s %s (%s)", p->why.status, p->why.text, p->why.stage);
        play_turn(p);
    }
    timer_stop(p->patience);
}

static inline void play_until_closed(struct play *p)
{
    timer_start(p->patience, PATIENCE_MS);
    while (!p->closed)
        play_turn(p);
    timer_stop(p->patience);
}

static inline void play_send(struct play *p, size_t n_rcpts)
{
    static const char *const names[PLAY_RCPTS] = {"b@host.example", "c@host.example",
                                                  "d@host.example", "e@host.example"};
    p->mail.rcpts = p->rcpts;
    p->mail.n_rcpts = n_rcpts;
    p->mail.on_sent = play_on_sent;
    for (size_t i = 0; i < n_rcpts; i++)
        if (!p->rcpts[i].address.n)
            p->rcpts[i].address = str_from(names[i]);
    p->sent = false;
    smtp_client_send(p->client, &p->mail);
    assert_false(p->sent);
}

/* From the greeting to the end of one message. */
static inline void play_message(struct play *p, const char *const *script, size_t n_rcpts)
{
    play_open(p, script);
    play_until(p, &p->ready);
    play_send(p, n_rcpts);
    play_until(p, &p->sent);
}

/* The script is played to its end, whatever the client has still to say. */
static inline void play_close(struct play *p)
{
    smtp_client_close(&p->client);
    assert_null(p->client);
    play_until(p, &p->over);
    if (p->host)
        conn_close(&p->host);
    buf_clear(&p->got);
    buf_clear(&p->saying);
    memset(p->rcpts, 0, sizeof p->rcpts);
}

static inline void play_fini(struct play *p)
{
    if (p->listener)
        listener_stop(&p->listener);
    lane_free(&p->files);
    timer_free(&p->patience);
    timer_free(&p->tick);
    loop_stop(p->loop);
    loop_run(p->loop);
    loop_free(&p->loop);
    buf_fini(&p->got);
    buf_fini(&p->saying);
}

static inline void assert_fault(const struct smtp_fault *f, enum smtp_fault_kind kind,
                                unsigned code, const char *status, const char *stage)
{
    if (f->kind != kind || f->code != code || strcmp(f->status, status) != 0 ||
        strcmp(f->stage, stage) != 0)
        fail_msg("kind %d, %u %s %s (%s)", (int)f->kind, f->code, f->status, f->text, f->stage);
    assert_true(kind == SMTP_FAULT_NONE || f->text[0]);
}

/* A certificate for host.example, and what trusts it. */
static inline void play_tls(struct tls_ctx **host, struct tls_ctx **client)
{
    static const char *const names[] = {"host.example", NULL};
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    char folder[64], cert[96], key[96], ca[96];
    struct err err;
    snprintf(folder, sizeof folder, "/tmp/ph-client-XXXXXX");
    assert_non_null(mkdtemp(folder));
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dirfd, names, &err), 0);
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    assert_int_equal(tls_ctx_server(cert, key, host, &err), 0);
    assert_int_equal(tls_ctx_client(ca, client, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlinkat(dirfd, files[i], 0);
    close(dirfd);
    rmdir(folder);
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GREETED ">220 host.example ESMTP", "HELLO"
#define QUIT "<QUIT", ">221 2.0.0 bye"

/* A file of n octets: lines of every length, many begin with dots. The caller closes it. */
static inline int play_file(size_t n, struct buf *text)
{
    unsigned seed = 12345;
    while (text->n < n) {
        seed = seed * 1103515245u + 12345u;
        for (unsigned i = 0, dots = seed >> 16 & 3; i < dots; i++)
            buf_add_char(text, '.');
        for (unsigned i = 0, chars = seed >> 18 & 63; i < chars; i++)
            buf_add_char(text, (char)('a' + i % 26));
        buf_add_z(text, "\r\n");
    }
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->p, text->n), text->n);
    return fd;
}

static inline void play_ready(struct play *p, const char *const *script)
{
    play_open(p, script);
    play_until(p, &p->ready);
}

/* The connection ends before it was ready. */
static inline void play_fails(struct play *p, const char *const *script, enum smtp_fault_kind kind,
                              unsigned code, const char *status, const char *stage)
{
    play_open(p, script);
    play_until_closed(p);
    assert_false(p->ready);
    assert_fault(&p->why, kind, code, status, stage);
    assert_int_equal(p->why.remote, code != 0);
    play_close(p);
}
#endif
