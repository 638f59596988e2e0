/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* world.h - an SMTP server on loopback with a store and a directory in a temporary folder, and
 * clients in the same thread: reading turns the loop until a line is there. */
#ifndef PH_TESTS_SMTP_WORLD_H
#define PH_TESTS_SMTP_WORLD_H
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/directory/directory_admin.h"
#include "appliance/store/message.h"
#include "smtp/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct world {
    char dir[64];
    struct err err;
    struct loop *loop;
    struct smtp_conf smtp;
    struct store_conf store_conf;
    struct directory_conf directory_conf;
    struct store *store;
    struct directory *directory;
    struct smtp_server *server;
    struct smtp_port port;
    struct listener *listener;
    struct timer *patience, *tick;
    bool stopped;
};
struct client {
    struct world *w;
    int fd;
    struct buf in;
    bool ended;
};

static inline void world_impatient(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

static inline void world_on_tick(void *ctx)
{
    (void)ctx;
}

static inline void world_directory(struct world *w)
{
    static const char *const users[] = {"xandros@example.com", "vivita@example.com",
                                        "capture@example.com"};
    const struct str outside[] = {STR("friend@elsewhere.example"), STR("xandros@example.com")};
    struct directory_admin *a;
    assert_int_equal(directory_admin_open(w->dir, &a, &w->err), 0);
    assert_int_equal(directory_domain_add(a, STR("example.com"), &w->err), 0);
    for (size_t i = 0; i < ARRAY_LEN(users); i++)
        assert_int_equal(directory_user_add(a, str_from(users[i]), STR(""), STR_NULL, 0, &w->err),
                         0);
    assert_int_equal(directory_alias_add(a, STR("away@example.com"), outside, 1, false, &w->err),
                     0);
    assert_int_equal(directory_alias_add(a, STR("both@example.com"), outside, 2, false, &w->err),
                     0);
    directory_admin_close(&a);
}

/* Settings may be changed between prepare and start. */
static inline void world_prepare(struct world *w)
{
    *w = (struct world){0};
    snprintf(w->dir, sizeof w->dir, "/tmp/ph-smtp-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(settings_defaults(smtp_settings, &w->smtp, &w->err), 0);
    assert_int_equal(settings_defaults(store_settings, &w->store_conf, &w->err), 0);
    assert_int_equal(settings_defaults(directory_settings, &w->directory_conf, &w->err), 0);
    w->smtp.error_delay = 1;
    w->store_conf.min_free = 1;
}

static inline void world_start(struct world *w, enum smtp_role role, const char *capture)
{
    w->loop = loop_new();
    w->patience = timer_new(w->loop, world_impatient, w);
    w->tick = timer_new(w->loop, world_on_tick, w);
    timer_start(w->patience, PATIENCE_MS);
    if (store_open(w->dir, &w->store_conf, w->loop, &w->store, &w->err) ||
        directory_open(w->dir, &w->directory_conf, w->loop, &w->directory, &w->err))
        fail_msg("%s", w->err.text);
    world_directory(w);
    w->server = smtp_server_new(&(struct smtp_server_conf){.smtp = &w->smtp,
                                                           .loop = w->loop,
                                                           .store = w->store,
                                                           .directory = w->directory,
                                                           .capture_account = capture});
    w->port = (struct smtp_port){.server = w->server, .role = role, .name = "smtp"};
    assert_int_equal(listener_open("127.0.0.1", 0, &w->listener, &w->err), 0);
    const struct listener_conf conf = {.on_accept = smtp_on_accept, .ctx = &w->port};
    assert_int_equal(listener_start(w->listener, w->loop, &conf, &w->err), 0);
}

static inline void world_on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

/* Returns soon in any case: what is on its way between two sockets of ours wakes nobody. */
static inline void world_turn(struct world *w)
{
    timer_start(w->tick, 2);
    loop_turn(w->loop, true);
}

static inline void world_stop(struct world *w, uint64_t drain_ms)
{
    if (w->listener)
        listener_stop(&w->listener);
    smtp_server_stop(w->server, drain_ms, world_on_stopped, w);
}

static inline int world_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void world_end(struct world *w)
{
    if (!w->stopped) {
        world_stop(w, 0);
        while (!w->stopped)
            world_turn(w);
    }
    assert_int_equal(smtp_server_sessions(w->server), 0);
    smtp_server_free(&w->server);
    directory_close(&w->directory);
    store_close(&w->store);
    timer_free(&w->patience);
    timer_free(&w->tick);
    loop_stop(w->loop);
    loop_run(w->loop);
    loop_free(&w->loop);
    settings_free(smtp_settings, &w->smtp);
    settings_free(store_settings, &w->store_conf);
    settings_free(directory_settings, &w->directory_conf);
    nftw(w->dir, world_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Clients */

static inline void client_connect(struct client *c, struct world *w)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_port(w->listener))};
    int one = 1;
    *c = (struct client){.w = w};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    buf_init(&c->in, 64 << 20);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_fini(&c->in);
}

static inline void client_send(struct client *c, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* what the server said before it closed is still to be read */
        if (sent < 0)
            loop_turn(c->w->loop, false);
        else {
            p += sent;
            n -= (size_t)sent;
        }
    }
}

static inline void client_say(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

/* Takes what has come; false at the end. */
static inline void client_take(struct client *c)
{
    char piece[65536];
    ssize_t n = recv(c->fd, piece, sizeof piece, 0);
    if (n > 0)
        buf_add(&c->in, piece, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        c->ended = true;
}

static inline bool client_line(struct client *c, char out[512])
{
    size_t at = 0;
    timer_start(c->w->patience, PATIENCE_MS);
    client_take(c);
    while (!str_chr(buf_str(&c->in), '\n', &at)) {
        if (c->ended)
            return false;
        world_turn(c->w);
        client_take(c);
    }
    snprintf(out, 512, "%.*s", (int)at, c->in.p);
    buf_drop(&c->in, at + 1);
    return true;
}

/* The next reply (its last line) begins with `want`. */
static inline void client_want(struct client *c, const char *want)
{
    char line[512];
    do {
        if (!client_line(c, line))
            fail_msg("wanted %s, the server closed", want);
    } while (line[3] == '-');
    if (strncmp(line, want, strlen(want)) != 0)
        fail_msg("wanted %s, got %s", want, line);
}

static inline void client_want_end(struct client *c)
{
    char line[512];
    if (client_line(c, line))
        fail_msg("wanted the end, got %s", line);
}

static inline void client_hello(struct client *c, struct world *w)
{
    client_connect(c, w);
    client_want(c, "220 ");
    client_say(c, "EHLO client.example\r\n");
    client_want(c, "250 ");
}

static inline void client_envelope(struct client *c, const char *rcpt)
{
    client_say(c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<");
    client_say(c, rcpt);
    client_say(c, ">\r\nDATA\r\n");
    client_want(c, "250 2.1.0");
    client_want(c, "250 2.1.5");
    client_want(c, "354 ");
}

/* ---- What the store holds */

static inline uint64_t world_messages(struct world *w, const char *account)
{
    struct store_reader *r;
    struct arena *a = arena_new(0);
    struct account_info info = {0};
    assert_int_equal(store_reader_open(w->store, &r, &w->err), 0);
    if (account_find(r, a, str_from(account), &info, &w->err))
        assert_int_equal(w->err.why, ERR_WHY_NOT_FOUND);
    uint64_t n = info.used_messages;
    store_reader_close(&r);
    arena_free(&a);
    return n;
}
#endif
