/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* world.h - an SMTP server on loopback with a store and a directory in a temporary folder, and
 * clients in the same thread: reading turns the loop until a line is there. */
#ifndef PH_TESTS_SMTP_WORLD_H
#define PH_TESTS_SMTP_WORLD_H
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/directory/directory_admin.h"
#include "appliance/store/queue.h"
#include "filters/chain.h"
#include "smtp/client/route.h"
#include "smtp/queue/srs.h"
#include "smtp/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "tests/unit/folder.h"
#include "tests/unit/sql_world.h"

enum { PATIENCE_MS = 120000 };

struct world {
    char dir[64];
    struct sql_world sql;
    struct err err;
    struct loop *loop;
    struct smtp_conf smtp;
    struct store_conf store_conf;
    struct directory_conf directory_conf;
    struct store *store;
    struct directory *directory;
    struct relay_conf relay;
    const struct srs_conf *srs;
    struct filters *filters;
    bool relays, unix_socket, no_users;
    const char *origin;
    unsigned queued, etrns; /* calls of on_queued, on_etrn */
    char site[256];         /* of the last one */
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
    assert_int_equal(directory_admin_open_as(w->dir, &w->directory_conf, &a, &w->err), 0);
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

static inline void world_on_queued(void *ctx, struct str site)
{
    struct world *w = ctx;
    w->queued++;
    snprintf(w->site, sizeof w->site, STR_FMT, STR_ARG(site));
}

static inline unsigned world_on_etrn(void *ctx, struct str domain)
{
    struct world *w = ctx;
    w->etrns++;
    snprintf(w->site, sizeof w->site, STR_FMT, STR_ARG(domain));
    return str_eq(domain, STR("three.example")) ? 3 : 0;
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
    assert_int_equal(settings_defaults(relay_settings, &w->relay, &w->err), 0);
    w->directory_conf.refusal_time = 1;
    if (sql_world_open(&w->sql))
        w->store_conf.server = w->directory_conf.database = w->sql.conf;
    w->smtp.error_delay = 1;
    w->store_conf.min_free = 1;
}

static inline void world_listen(struct world *w)
{
    const struct listener_conf conf = {.on_accept = smtp_on_accept, .ctx = &w->port};
    if (w->unix_socket) {
        int folder = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(listener_open_unix(folder, "socket", &w->listener, &w->err), 0);
        close(folder);
    } else {
        assert_int_equal(listener_open("127.0.0.1", 0, &w->listener, &w->err), 0);
    }
    assert_int_equal(listener_start(w->listener, w->loop, &conf, &w->err), 0);
}

static inline void world_start(struct world *w, enum smtp_role role, const char *capture)
{
    if (!w->loop)
        w->loop = loop_new();
    w->patience = timer_new(w->loop, world_impatient, w);
    w->tick = timer_new(w->loop, world_on_tick, w);
    timer_start(w->patience, PATIENCE_MS);
    if (relay_settle(&w->relay, 0, &w->err) ||
        store_open(w->dir, &w->store_conf, w->loop, &w->store, &w->err) ||
        directory_open(w->dir, &w->directory_conf, w->loop, &w->directory, &w->err))
        fail_msg("%s", w->err.text);
    if (!w->no_users)
        world_directory(w);
    w->server = smtp_server_new(&(struct smtp_server_conf){.smtp = &w->smtp,
                                                           .loop = w->loop,
                                                           .store = w->store,
                                                           .directory = w->directory,
                                                           .relay = w->relays ? &w->relay : NULL,
                                                           .srs = w->srs,
                                                           .filters = w->filters,
                                                           .origin = w->origin,
                                                           .on_queued = world_on_queued,
                                                           .on_etrn = world_on_etrn,
                                                           .ctx = w,
                                                           .capture_account = capture});
    w->port = (struct smtp_port){.server = w->server, .role = role, .name = "smtp"};
    world_listen(w);
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

static inline void world_end(struct world *w)
{
    if (!w->stopped) {
        world_stop(w, 0);
        while (!w->stopped)
            world_turn(w);
    }
    assert_int_equal(smtp_server_sessions(w->server), 0);
    smtp_server_free(&w->server);
    filters_close(&w->filters);
    directory_close(&w->directory);
    store_close(&w->store);
    timer_free(&w->patience);
    timer_free(&w->tick);
    loop_stop(w->loop);
    loop_run(w->loop);
    loop_free(&w->loop);
    relay_fini(&w->relay);
    settings_free(relay_settings, &w->relay);
    settings_free(smtp_settings, &w->smtp);
    settings_free(store_settings, &w->store_conf);
    settings_free(directory_settings, &w->directory_conf);
    sql_world_close(&w->sql);
    folder_remove(w->dir);
}

/* ---- Clients */

static inline void client_connect_unix(struct client *c, struct world *w)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    *c = (struct client){.w = w};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/socket", w->dir);
    c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    buf_init(&c->in, 64 << 20);
}

static inline void client_connect(struct client *c, struct world *w)
{
    if (w->unix_socket) {
        client_connect_unix(c, w);
        return;
    }
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

/* Says one line and wants this reply. */
static inline void client_want(struct client *c, const char *want);
static inline void client_ask(struct client *c, const char *line, const char *want)
{
    client_say(c, line);
    client_say(c, "\r\n");
    client_want(c, want);
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

/* The whole of it, to its one reply. */
static inline void client_message(struct client *c, const char *message, const char *want)
{
    client_ask(c, "DATA", "354 ");
    client_say(c, message);
    client_ask(c, ".", want);
}

/* ---- What the store holds */

struct stored { /* all in its arena; closed by stored_close() */
    struct arena *arena;
    struct store_reader *r;
    struct queue_entry entry;
    struct queue_out out;
    struct queue_to *to;
    size_t n_to;
};

/* The newest message that leaves. False: there is none. */
static inline bool stored_open(struct stored *s, struct world *w)
{
    const struct queue_filter all = {.state = -1};
    struct queue_entry *entries;
    size_t n = 0;
    *s = (struct stored){.arena = arena_new(0)};
    assert_int_equal(store_reader_open(w->store, &s->r, &w->err), 0);
    assert_int_equal(queue_find(s->r, s->arena, &all, 0, 0, 1000, &s->to, &entries, &n, &w->err),
                     0);
    if (!n)
        return false;
    uint64_t id = s->to[n - 1].id;
    assert_int_equal(queue_out_get(s->r, s->arena, id, &s->entry, &s->out, &w->err), 0);
    assert_int_equal(queue_out_to(s->r, s->arena, id, &s->to, &s->n_to, &w->err), 0);
    return true;
}

static inline void stored_close(struct stored *s)
{
    store_reader_close(&s->r);
    arena_free(&s->arena);
}

static inline uint64_t world_queued(struct world *w)
{
    struct store_reader *r;
    struct queue_totals t;
    assert_int_equal(store_reader_open(w->store, &r, &w->err), 0);
    assert_int_equal(queue_totals(r, &t, &w->err), 0);
    store_reader_close(&r);
    return t.recipients;
}

/* Prefix, head and data of the newest message in the account's INBOX. */
static inline struct str world_newest(struct world *w, struct arena *a, const char *account)
{
    struct store_reader *r;
    struct account_info info;
    struct mailbox_info box;
    struct message_info *list, m;
    struct body_reader b;
    struct buf text;
    struct str data;
    size_t n = 0;
    const struct message_query all = {.first = 1, .last = UINT32_MAX, .max = 1000};
    assert_int_equal(store_reader_open(w->store, &r, &w->err), 0);
    if (account_find(r, a, str_from(account), &info, &w->err) ||
        mailbox_find(r, a, info.id, STR("INBOX"), &box, &w->err) ||
        message_range(r, a, box.id, &all, &list, &n, &w->err) || !n ||
        message_get(r, a, box.id, list[n - 1].uid, &m, &w->err) ||
        body_open(r, a, m.body, BODY_WANT_HEAD | BODY_WANT_DATA, &b, &w->err))
        fail_msg("%s has no message: %s", account, w->err.text);
    buf_init(&text, 1 << 20);
    assert_int_equal(body_read(&b, 0, 1 << 20, &text, &data, &w->err), 0);
    struct str all_of_it = arena_printf(a, STR_FMT "%.*s%.*s", STR_ARG(m.prefix), (int)b.head.n,
                                        b.head.p, (int)data.n, data.p);
    buf_fini(&text);
    body_close(&b);
    store_reader_close(&r);
    return all_of_it;
}

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
