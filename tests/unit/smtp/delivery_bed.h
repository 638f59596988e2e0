/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_bed.h - delivery with a real store and directory in a temporary folder, made-up DNS, a
 * host on loopback that plays by rules (delivery_peer.h), and a clock that is turned. Floor: tests.
 * All in one loop. The clock runs, and is moved forward by bed_jump(). Nothing is waited for by
 * time: UNTIL() turns the loop until something is so. Every domain `*.example` has its mail hosts
 * in DNS as the test says; local ones are in example.com. */
#ifndef PH_TESTS_SMTP_DELIVERY_BED_H
#define PH_TESTS_SMTP_DELIVERY_BED_H
#include "fake_dns.h"

#include "appliance/base/clock.h"
#include "appliance/base/settings.h"
#include "appliance/directory/directory_admin.h"
#include "appliance/sql/sql.h"
#include "delivery_peer.h"
#include "smtp/queue/delivery.h"
#include "tests/unit/folder.h"
#include "tests/unit/sql_world.h"
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BED_PATIENCE_MS = 120000 };
#define HOUR_MS ((int64_t)3600000)

struct bed {
    char dir[64];
    struct sql_world sql;
    struct err err;
    struct loop *loop;
    struct store_conf store_conf;
    struct directory_conf directory_conf;
    struct relay_conf relay;
    struct srs_conf srs;
    bool use_srs;
    struct store *store;
    struct store_reader *reader;
    struct directory *directory;
    struct delivery *delivery;
    struct peer peer;
    struct timer *tick;
    struct arena *arena;
    uint64_t patience_from;
    bool stopped;
};

/* ---- The clock. */

static bool bed_shared;                /* of the next bed: other nodes may open its store */
static _Atomic uint64_t bed_offset_ms; /* workers stamp what they write */

static inline uint64_t bed_real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static inline uint64_t bed_mono_ms(void)
{
    return bed_real_ms() + bed_offset_ms;
}
static inline int64_t bed_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + (int64_t)bed_offset_ms;
}
static inline void bed_jump(int64_t ms)
{
    assert_true(ms >= 0);
    bed_offset_ms += (uint64_t)ms;
}

/* ---- Turning. */

static inline void bed_nothing(void *ctx)
{
    (void)ctx;
}
static inline void bed_turn(struct bed *b)
{
    if (bed_real_ms() - b->patience_from > BED_PATIENCE_MS)
        fail_msg("nothing happened for %d ms", BED_PATIENCE_MS);
    timer_start(b->tick, 1);
    loop_turn(b->loop, true);
}
#define UNTIL(b, what)                                                                             \
    do {                                                                                           \
        (b)->patience_from = bed_real_ms();                                                        \
        while (!(what))                                                                            \
            bed_turn(b);                                                                           \
    } while (0)

static inline struct delivery_stats bed_stats(struct bed *b)
{
    struct delivery_stats s;
    delivery_stats(b->delivery, &s);
    return s;
}
/* So many recipients were tried, and all of it is recorded. */
static inline bool bed_tried(struct bed *b, uint64_t attempts)
{
    struct delivery_stats s = bed_stats(b);
    if (s.attempts > attempts)
        fail_msg("%llu attempts instead of %llu", (unsigned long long)s.attempts,
                 (unsigned long long)attempts);
    return s.attempts == attempts && s.in_flight == 0;
}

/* ---- Life. */

static inline void bed_directory(struct bed *b)
{
    const struct str away[] = {STR("friend@there.example")};
    struct directory_admin *a;
    assert_int_equal(directory_admin_open_as(b->dir, &b->directory_conf, &a, &b->err), 0);
    assert_int_equal(directory_domain_add(a, STR("example.com"), &b->err), 0);
    assert_int_equal(
        directory_user_add(a, STR("xandros@example.com"), STR(""), STR_NULL, 0, &b->err), 0);
    assert_int_equal(directory_alias_add(a, STR("away@example.com"), away, 1, false, &b->err), 0);
    directory_admin_close(&a);
}

static inline void bed_start(struct bed *b)
{
    const struct delivery_conf conf = {.relay = &b->relay,
                                       .hostname = "mail.example.com",
                                       .origin = "example.com",
                                       .loop = b->loop,
                                       .store = b->store,
                                       .directory = b->directory,
                                       .srs = b->use_srs ? &b->srs : NULL};
    b->stopped = false;
    if (delivery_new(&conf, &b->delivery, &b->err))
        fail_msg("%s", b->err.text);
}

static inline void bed_on_stopped(void *ctx)
{
    ((struct bed *)ctx)->stopped = true;
}

static inline void bed_stop(struct bed *b, uint64_t drain_ms)
{
    delivery_stop(b->delivery, drain_ms, bed_on_stopped, b);
    assert_false(b->stopped);
    UNTIL(b, b->stopped);
    delivery_free(&b->delivery);
}

/* Settings, DNS and rules of the peer may be changed before bed_start(). */
static inline struct bed *bed_new(void)
{
    static const struct clock_source source = {.mono_ms = bed_mono_ms, .wall_ms = bed_wall_ms};
    struct bed *b = MEM_NEW(struct bed);

    bed_offset_ms = 0;
    clock_replace(&source);
    if (!getenv("BED_LOG"))
        log_set_fd(-1);
    snprintf(b->dir, sizeof b->dir, "/tmp/ph-delivery-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    assert_int_equal(settings_defaults(store_settings, &b->store_conf, &b->err), 0);
    b->store_conf.message_limit = 50 << 20;
    assert_int_equal(settings_defaults(directory_settings, &b->directory_conf, &b->err), 0);
    assert_int_equal(settings_defaults(relay_settings, &b->relay, &b->err), 0);
    assert_int_equal(relay_settle(&b->relay, 0, &b->err), 0);
    if (sql_world_open(&b->sql))
        b->store_conf.server = b->directory_conf.database = b->sql.conf;
    b->store_conf.min_free = 1;
    b->store_conf.shared = bed_shared;
    b->relay.local_hosts = true;
    b->relay.idle = 300000; /* a slow machine is no reason to close one */
    b->loop = loop_new();
    b->tick = timer_new(b->loop, bed_nothing, NULL);
    b->arena = arena_new(0);
    fake_reset(b->loop);
    if (store_open(b->dir, &b->store_conf, b->loop, &b->store, &b->err) ||
        directory_open(b->dir, &b->directory_conf, b->loop, &b->directory, &b->err) ||
        store_reader_open(b->store, &b->reader, &b->err))
        fail_msg("%s", b->err.text);
    bed_directory(b);
    peer_start(&b->peer, b->loop);
    b->relay.mx_port = b->peer.port;
    return b;
}

static inline void bed_free(struct bed **bp)
{
    struct bed *b = *bp;

    if (b->delivery)
        bed_stop(b, 0);
    peer_stop(&b->peer);
    directory_close(&b->directory);
    store_reader_close(&b->reader);
    store_close(&b->store);
    timer_free(&b->tick);
    loop_stop(b->loop);
    loop_run(b->loop);
    loop_free(&b->loop);
    arena_free(&b->arena);
    relay_fini(&b->relay);
    settings_free(relay_settings, &b->relay);
    settings_free(store_settings, &b->store_conf);
    settings_free(directory_settings, &b->directory_conf);
    sql_world_close(&b->sql);
    folder_remove(b->dir);
    clock_replace(NULL);
    mem_free(b);
    *bp = NULL;
}

/* Mail for this domain goes to the peer. */
static inline void bed_domain(const char *domain)
{
    dns_mx(domain, 10, "mx.peer.example", false);
    for (size_t i = 0; i < dns_n; i++)
        if (strcmp(dns_rows[i].name, "mx.peer.example") == 0)
            return;
    dns_ip("mx.peer.example", "127.0.0.1", false);
}

/* ---- Operations of the store. */

static inline void bed_done(struct store_op *op)
{
    op->ctx = NULL;
}
static inline void bed_run(struct bed *b, struct store_op *op)
{
    op->done = bed_done;
    op->ctx = b;
    if (store_submit(b->store, op))
        fail_msg("%s", op->err.text);
    UNTIL(b, !op->ctx);
    if (op->failed)
        fail_msg("%s", op->err.text);
}

struct bed_sql {
    struct store_op op;
    const char *text;
};
static inline int bed_sql_run(struct store_op *op, struct store_tx *tx)
{
    return sql_exec(store_tx_sql(tx), CONTAINER_OF(op, struct bed_sql, op)->text, &op->err)
               ? -1
               : STORE_DONE;
}
static inline void bed_sql(struct bed *b, const char *text)
{
    struct bed_sql s = {.op = {.run = bed_sql_run, .cls = STORE_DELIVERY}, .text = text};
    bed_run(b, &s.op);
}

/* On a connection of its own: for what isn't part of a transaction everywhere. */
static inline void bed_by_hand(struct bed *b, const char *text)
{
    struct sql_conf conf = {.server = b->store_conf.server,
                            .path = arena_printf(b->arena, "%s/store.db", b->dir).p,
                            .busy_ms = 10000};
    struct sql *db;

    if (sql_open(&conf, &db, &b->err) || sql_exec(db, text, &b->err))
        fail_msg("%s", b->err.text);
    sql_close(&db);
}

/* ---- Mail into the queue. */

struct bed_mail {
    const char *sender;   /* "" : none */
    const char *rcpts[8]; /* ended by NULL */
    const char *text;     /* NULL: a short one */
    const char *srs;      /* the sender of the copies */
    unsigned flags, notify;
    enum queue_ret ret;
    const char *site; /* NULL: the domain */
    bool forced;
    int64_t lifetime_ms; /* 0: five days; -1: none */
};
static inline void bed_flushed(void *ctx, const struct err *failed)
{
    *(int *)ctx = failed ? -1 : 1;
}

static inline uint64_t bed_queue(struct bed *b, const struct bed_mail *m)
{
    static const char text[] = "From: a@example.com\r\nSubject: hello\r\n\r\nThe text\r\n";
    struct queue_to to[8] = {{0}};
    struct message_delivery d;
    struct queue_new q = {.entry = {.id = store_new_id(b->store),
                                    .since_ms = clock_wall_ms(),
                                    .sender = str_from(m->sender)},
                          .out = {.prefix = STR("X-Prefix: 1\r\n"),
                                  .envid = STR("env-1"),
                                  .flags = m->flags,
                                  .ret = m->ret},
                          .to = to};
    int flushed = 0;

    for (; q.n_to < 8 && m->rcpts[q.n_to]; q.n_to++) {
        const char *rcpt = m->rcpts[q.n_to];
        int64_t life = m->lifetime_ms ? m->lifetime_ms : 120 * HOUR_MS;
        to[q.n_to] = (struct queue_to){.rcpt = str_from(rcpt),
                                       .site = str_from(m->site ? m->site : strchr(rcpt, '@') + 1),
                                       .sender = str_from(m->srs),
                                       .notify = m->notify,
                                       .forced = m->forced,
                                       .next_ms = q.entry.since_ms,
                                       .expires_ms = q.entry.since_ms + (life < 0 ? 0 : life)};
    }
    struct body_sink *sink = body_sink_new(b->store, b->store_conf.message_limit, NULL, NULL);
    assert_int_not_equal(body_sink_put(sink, str_from(m->text ? m->text : text)), BODY_FAIL);
    body_sink_end(sink);
    body_sink_flush(sink, bed_flushed, &flushed);
    UNTIL(b, flushed);
    assert_int_equal(flushed, 1);
    message_delivery_init(&d, NULL);
    d.sink = sink;
    d.leaves = &q;
    d.internal_ms = q.entry.since_ms;
    bed_run(b, &d.op);
    body_sink_free(&sink);
    return q.entry.id;
}

/* Into the queue, and delivery is told of it. */
static inline uint64_t bed_send(struct bed *b, const struct bed_mail *m)
{
    uint64_t id = bed_queue(b, m);
    for (size_t i = 0; i < 8 && m->rcpts[i]; i++)
        delivery_wake(b->delivery, str_from(m->site ? m->site : strchr(m->rcpts[i], '@') + 1));
    return id;
}

/* u0@domain, u1@domain ...: a message each. */
static inline void bed_send_many(struct bed *b, const char *domain, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct str rcpt = arena_printf(b->arena, "u%u@%s", i, domain);
        bed_queue(b, &(struct bed_mail){.sender = "xandros@example.com", .rcpts = {rcpt.p}});
    }
    delivery_wake(b->delivery, str_from(domain));
}

/* ---- What the store holds. */

static inline size_t bed_rows(struct bed *b)
{
    struct queue_totals t;
    assert_int_equal(queue_totals(b->reader, &t, &b->err), 0);
    return (size_t)t.recipients;
}

static inline bool bed_row(struct bed *b, const char *rcpt, struct queue_to *out)
{
    struct queue_filter f = {.state = -1};
    struct queue_to *list;
    size_t n;
    *out = (struct queue_to){.id = 0};
    assert_int_equal(
        queue_find(b->reader, b->arena, &f, 0, UINT32_MAX, 1000, &list, NULL, &n, &b->err), 0);
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].rcpt, str_from(rcpt))) {
            *out = list[i];
            return true;
        }
    return false;
}

/* Ms until it is tried again. */
static inline int64_t bed_wait(struct bed *b, const char *rcpt)
{
    struct queue_to to;
    if (!bed_row(b, rcpt, &to))
        fail_msg("%s isn't in the queue", rcpt);
    int64_t wait = to.next_ms - clock_wall_ms();
    return wait > 0 ? wait : 0;
}

/* The nth message of an account's INBOX, whole; NULL: there is none. */
static inline const char *bed_inbox(struct bed *b, const char *account, size_t nth)
{
    struct account_info info;
    struct mailbox_info box;
    struct message_info *list;
    struct message_query q = {.first = 1, .last = UINT32_MAX, .max = 100, .want_prefix = true};
    struct body_reader body;
    struct str data;
    size_t n;

    if (account_find(b->reader, b->arena, str_from(account), &info, &b->err))
        return NULL;
    assert_int_equal(mailbox_find(b->reader, b->arena, info.id, STR("INBOX"), &box, &b->err), 0);
    assert_int_equal(message_range(b->reader, b->arena, box.id, &q, &list, &n, &b->err), 0);
    if (nth >= n)
        return NULL;
    assert_int_equal(body_open(b->reader, b->arena, list[nth].body, BODY_WANT_HEAD | BODY_WANT_DATA,
                               &body, &b->err),
                     0);
    assert_int_equal(body_read(&body, 0, (size_t)body.data_size, NULL, &data, &b->err), 0);
    struct str all =
        arena_printf(b->arena, "%.*s%.*s%.*s", (int)list[nth].prefix.n, list[nth].prefix.p,
                     (int)body.head.n, body.head.p, (int)data.n, data.p);
    body_close(&body);
    return all.p;
}

static inline void assert_has(const char *text, const char *what)
{
    if (!text || !strstr(text, what))
        fail_msg("no \"%s\" in:\n%s", what, text ? text : "(nothing)");
}

static inline int bed_setup(void **state)
{
    *state = bed_new();
    return 0;
}
static inline int bed_teardown(void **state)
{
    struct bed *b = *state;
    bed_free(&b);
    return 0;
}
#define BED_TEST(fn) cmocka_unit_test_setup_teardown(fn, bed_setup, bed_teardown)
#endif
