/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* world.h - an IMAP server with a store and a directory in a temporary folder, and clients in the
 * same thread, joined to it by socket pairs (they count as local: passwords may be sent). Reading
 * turns the loop until a line is there. The clock is the real one plus world_skew_ms. */
#ifndef PH_TESTS_IMAP_WORLD_H
#define PH_TESTS_IMAP_WORLD_H
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/directory/directory_admin.h"
#include "imap/session.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "tests/unit/folder.h"
#include "tests/unit/sql_world.h"

enum { WORLD_PATIENCE_S = 120 };

struct world {
    char dir[64];
    struct sql_world sql;
    struct err err;
    struct loop *loop;
    struct imap_conf imap;
    struct store_conf store_conf;
    struct directory_conf directory_conf;
    struct store *store;
    struct directory *directory;
    struct imap_server *server;
    struct imap_port port;
    struct timer *tick;
    bool stopped;
};
struct client {
    struct world *w;
    int fd;
    struct buf in;
    bool ended;
};

static _Atomic uint64_t world_skew_ms;

static inline uint64_t world_real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline uint64_t world_mono_ms(void)
{
    return world_real_ms() + world_skew_ms;
}

static inline int64_t world_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void world_on_tick(void *ctx)
{
    (void)ctx;
}

static inline void world_directory(struct world *w)
{
    struct directory_admin *a;
    assert_int_equal(directory_admin_open_as(w->dir, &w->directory_conf, &a, &w->err), 0);
    assert_int_equal(directory_domain_add(a, STR("example.com"), &w->err), 0);
    assert_int_equal(directory_user_add(a, STR("u@example.com"), STR(""), STR_NULL, 0, &w->err), 0);
    assert_int_equal(
        directory_user_add(a, STR("q@example.com"), STR(""), STR_NULL, 1 << 20, &w->err), 0);
    assert_int_equal(directory_user_set_hash(a, STR("u@example.com"), STR("{PLAIN}pass"), &w->err),
                     0);
    assert_int_equal(directory_user_set_hash(a, STR("q@example.com"), STR("{PLAIN}pass"), &w->err),
                     0);
    directory_admin_close(&a);
}

static inline int world_set_up(void **state)
{
    static const struct clock_source source = {world_mono_ms, world_wall_ms};
    struct world *w = MEM_NEW(struct world);
    clock_replace(&source);
    snprintf(w->dir, sizeof w->dir, "/tmp/ph-imap-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(settings_defaults(imap_settings, &w->imap, &w->err), 0);
    assert_int_equal(settings_defaults(store_settings, &w->store_conf, &w->err), 0);
    assert_int_equal(settings_defaults(directory_settings, &w->directory_conf, &w->err), 0);
    w->directory_conf.refusal_time = 1;
    if (sql_world_open(&w->sql))
        w->store_conf.server = w->directory_conf.database = w->sql.conf;
    w->store_conf.min_free = 1;
    w->loop = loop_new();
    w->tick = timer_new(w->loop, world_on_tick, w);
    if (store_open(w->dir, &w->store_conf, w->loop, &w->store, &w->err) ||
        directory_open(w->dir, &w->directory_conf, w->loop, &w->directory, &w->err))
        fail_msg("%s", w->err.text);
    world_directory(w);
    w->server = imap_server_new(&(struct imap_server_conf){
        .imap = &w->imap, .loop = w->loop, .store = w->store, .directory = w->directory});
    w->port = (struct imap_port){.server = w->server, .name = "imap"};
    *state = w;
    return 0;
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

#define WORLD_UNTIL(w, what)                                                                       \
    do {                                                                                           \
        uint64_t until_ms = world_real_ms() + WORLD_PATIENCE_S * 1000;                             \
        while (!(what)) {                                                                          \
            if (world_real_ms() > until_ms)                                                        \
                fail_msg("in vain: %s", #what);                                                    \
            world_turn(w);                                                                         \
        }                                                                                          \
    } while (0)

static inline int world_tear_down(void **state)
{
    struct world *w = *state;
    if (!w->stopped)
        imap_server_stop(w->server, 0, world_on_stopped, w);
    while (!w->stopped)
        world_turn(w);
    assert_int_equal(imap_server_sessions(w->server), 0);
    imap_server_free(&w->server);
    directory_close(&w->directory);
    store_close(&w->store);
    timer_free(&w->tick);
    loop_stop(w->loop);
    loop_run(w->loop);
    loop_free(&w->loop);
    settings_free(imap_settings, &w->imap);
    settings_free(store_settings, &w->store_conf);
    settings_free(directory_settings, &w->directory_conf);
    sql_world_close(&w->sql);
    folder_remove(w->dir);
    mem_free(w);
    clock_replace(NULL);
    return 0;
}

/* ---- Clients */

static inline void client_connect(struct client *c, struct world *w)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *c = (struct client){.w = w, .fd = fds[0]};
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    buf_init(&c->in, 64 << 20);
    imap_on_accept(&w->port, conn_adopt(w->loop, fds[1], NULL));
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_fini(&c->in);
}

static inline void client_send(struct client *c, struct str s)
{
    while (s.n) {
        ssize_t sent = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* what the server said before it closed is still to be read */
        if (sent < 0)
            world_turn(c->w);
        else
            s = str_skip(s, (size_t)sent);
    }
}

static inline void client_say(struct client *c, const char *text)
{
    client_send(c, str_from(text));
}

static inline void client_take(struct client *c)
{
    static char piece[65536];
    ssize_t n = recv(c->fd, piece, sizeof piece, 0);
    if (n > 0)
        buf_add(&c->in, piece, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        c->ended = true;
}

/* false: the server closed. */
static inline bool client_line(struct client *c, char out[512])
{
    size_t at = 0;
    uint64_t until = world_real_ms() + WORLD_PATIENCE_S * 1000;
    client_take(c);
    while (!str_chr(buf_str(&c->in), '\n', &at)) {
        if (c->ended)
            return false;
        if (world_real_ms() > until)
            fail_msg("nothing came from the server");
        world_turn(c->w);
        client_take(c);
    }
    snprintf(out, 512, "%.*s", (int)(at > 500 ? 500 : at), c->in.p);
    buf_drop(&c->in, at + 1);
    return true;
}

static inline void client_want(struct client *c, const char *want)
{
    char line[512];
    if (!client_line(c, line))
        fail_msg("wanted %s, the server closed", want);
    if (strncmp(line, want, strlen(want)) != 0)
        fail_msg("wanted %s, got %s", want, line);
}

/* Reads on to a line that begins so. */
static inline void client_until(struct client *c, const char *want)
{
    char line[512];
    do {
        if (!client_line(c, line))
            fail_msg("wanted %s, the server closed", want);
    } while (strncmp(line, want, strlen(want)) != 0);
}

static inline void client_want_end(struct client *c)
{
    char line[512];
    if (client_line(c, line))
        fail_msg("wanted the end, got %s", line);
}

/* Nothing comes, although the loop turns. */
static inline void client_want_silence(struct client *c)
{
    for (int i = 0; i < 20; i++)
        world_turn(c->w);
    client_take(c);
    if (c->in.n || c->ended)
        fail_msg("wanted silence, got " STR_FMT, STR_ARG(buf_str(&c->in)));
}

static inline void client_login(struct client *c, struct world *w)
{
    client_connect(c, w);
    client_want(c, "* OK");
    client_say(c, "l LOGIN u@example.com pass\r\n");
    client_want(c, "l OK");
}
#endif
