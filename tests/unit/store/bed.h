/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* bed.h - test bed of the store's unit tests: a store in a temporary folder, and calls that turn
 * the loop until an answer is there. Floor: tests. Everything fails the running test instead of
 * returning errors, unless its name says try_. */
#ifndef PH_TESTS_STORE_BED_H
#define PH_TESTS_STORE_BED_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/settings.h"
#include "appliance/store/store_private.h"
#include "tests/unit/folder.h"
#include "tests/unit/sql_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct bed {
    char dir[64];
    struct sql_world world; /* its own; a neighbour has none */
    struct store_conf conf;
    struct loop *loop;
    struct timer *tick;
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
    unsigned pending, problems;
};

static inline void bed_tick(void *ctx)
{
    (void)ctx;
}

/* One turn. What was deferred runs before the poll, so the poll must not wait for long: the tick
 * ends it. */
static inline void bed_turn(struct bed *b)
{
    timer_start(b->tick, 1);
    loop_turn(b->loop, true);
}

static inline void bed_open(struct bed *b)
{
    struct err err = {0};

    b->loop = loop_new();
    b->tick = timer_new(b->loop, bed_tick, NULL);
    if (store_open(b->dir, &b->conf, b->loop, &b->store, &err) != 0)
        fail_msg("store_open: %s", err.text);
    assert_int_equal(store_reader_open(b->store, &b->reader, &err), 0);
}

static inline void bed_close(struct bed *b)
{
    store_reader_close(&b->reader);
    store_close(&b->store);
    for (int i = 0; i < 20; i++)
        loop_turn(b->loop, false);
    timer_free(&b->tick);
    loop_free(&b->loop);
}

static inline void bed_reopen(struct bed *b)
{
    bed_close(b);
    bed_open(b);
}

static inline struct bed *bed_make(void)
{
    struct bed *b = MEM_NEW(struct bed);
    struct err err = {0};

    log_set_fd(-1);
    assert_int_equal(settings_defaults(store_settings, &b->conf, &err), 0);
    b->conf.message_limit = 50 << 20;
    b->arena = arena_new(0);
    return b;
}

static inline void bed_make_dir(struct bed *b)
{
    snprintf(b->dir, sizeof b->dir, "/tmp/ph-store-test-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
}

static inline struct bed *bed_new(void)
{
    struct bed *b = bed_make();

    bed_make_dir(b);
    sql_world_open(&b->world);
    b->conf.server = b->world.conf;
    bed_open(b);
    return b;
}

/* One statement on a connection of its own. */
static inline void bed_exec(struct bed *b, const char *text)
{
    char path[80];
    struct sql_conf conf = {.server = b->conf.server, .path = path, .busy_ms = 10000};
    struct sql *db = NULL;
    struct err err;

    snprintf(path, sizeof path, "%s/store.db", b->dir);
    if (sql_open(&conf, &db, &err) != 0 || sql_exec(db, text, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    sql_close(&db);
}

/* For what only SQLite has: files that can be looked at, flushes that can be made to fail. */
static inline void bed_needs_sqlite(const struct bed *b)
{
    if (b->conf.server)
        skip();
}

/* One of several nodes on one database: that of `beside`, or a new one. */
static inline struct bed *bed_new_node(const struct bed *beside)
{
    struct bed *b = bed_make();

    b->conf.shared = true;
    if (beside)
        snprintf(b->dir, sizeof b->dir, "%s", beside->dir);
    else
        bed_make_dir(b);
    if (!beside)
        sql_world_open(&b->world);
    b->conf.server = beside ? beside->conf.server : b->world.conf;
    bed_open(b);
    return b;
}

static inline void bed_free(struct bed **bp)
{
    struct bed *b = *bp;

    bed_close(b);
    sql_world_close(&b->world);
    folder_remove(b->dir);
    arena_free(&b->arena);
    settings_free(store_settings, &b->conf);
    mem_free(b);
    *bp = NULL;
}

/* ---- Operations. */

static inline void bed_done(struct store_op *op)
{
    op->waited_for = true; /* free for the caller's use after done() */
}

static inline int bed_try(struct bed *b, struct store_op *op)
{
    op->done = bed_done;
    if (store_submit(b->store, op) != 0)
        return -1;
    while (!op->waited_for)
        bed_turn(b);
    return op->failed ? -1 : 0;
}

static inline void bed_run(struct bed *b, struct store_op *op)
{
    if (bed_try(b, op) != 0)
        fail_msg("operation: %s", op->err.text);
}

/* Runs fn(tx, ctx, err) as an operation. */
struct bed_call {
    struct store_op op;
    int (*fn)(struct store_tx *tx, void *ctx, struct err *err);
    void *ctx;
};

static inline int bed_call_run(struct store_op *op, struct store_tx *tx)
{
    struct bed_call *c = CONTAINER_OF(op, struct bed_call, op);

    return c->fn(tx, c->ctx, &op->err);
}

static inline int bed_try_call(struct bed *b, int (*fn)(struct store_tx *, void *, struct err *),
                               void *ctx, struct err *err)
{
    struct bed_call c = {
        .op = {.run = bed_call_run, .cls = STORE_INTERACTIVE}, .fn = fn, .ctx = ctx};
    int rc = bed_try(b, &c.op);

    *err = c.op.err;
    return rc;
}

static inline void bed_call(struct bed *b, int (*fn)(struct store_tx *, void *, struct err *),
                            void *ctx)
{
    struct err err;

    if (bed_try_call(b, fn, ctx, &err) != 0)
        fail_msg("call: %s", err.text);
}

struct bed_open_ctx {
    struct str name;
    uint64_t id;
};

static inline int bed_open_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct bed_open_ctx *o = ctx;

    return account_open_tx(tx, o->name, &o->id, err);
}

static inline uint64_t bed_account(struct bed *b, const char *name)
{
    struct bed_open_ctx o = {.name = str_from(name)};

    bed_call(b, bed_open_fn, &o);
    return o.id;
}

/* ---- Messages. */

static inline void bed_flushed(void *ctx, const struct err *failed)
{
    *(int *)ctx = failed ? -1 : 1;
}

static inline int bed_flush(struct bed *b, struct body_sink *sink)
{
    int flushed = 0;

    body_sink_end(sink);
    body_sink_flush(sink, bed_flushed, &flushed);
    assert_int_equal(flushed, 0); /* never before the call returns */
    while (!flushed)
        bed_turn(b);
    return flushed == 1 ? 0 : -1;
}

/* A flushed sink with `text`. */
static inline struct body_sink *bed_sink(struct bed *b, struct str text)
{
    struct body_sink *sink = body_sink_new(b->store, b->conf.message_limit, NULL, NULL);

    assert_int_not_equal(body_sink_put(sink, text), BODY_FAIL);
    assert_int_equal(bed_flush(b, sink), 0);
    return sink;
}

static inline int bed_try_deliver(struct bed *b, const char *account, const char *mailbox,
                                  struct str text, uint32_t *uid_out, struct err *err)
{
    struct body_sink *sink = bed_sink(b, text);
    struct message_recipient r = {.account = str_from(account),
                                  .mailbox = str_from(mailbox),
                                  .prefix = STR("Return-Path: <a@b>\r\n")};
    struct message_delivery d;

    message_delivery_init(&d, NULL);
    d.sink = sink;
    d.rcpts = &r;
    d.n_rcpts = 1;
    d.internal_ms = 1700000000000;
    int rc = bed_try(b, &d.op);
    *err = d.op.err;
    *uid_out = r.uid;
    body_sink_free(&sink);
    return rc;
}

static inline uint32_t bed_deliver(struct bed *b, const char *account, const char *mailbox,
                                   struct str text)
{
    struct err err;
    uint32_t uid;

    if (bed_try_deliver(b, account, mailbox, text, &uid, &err) != 0)
        fail_msg("delivery: %s", err.text);
    return uid;
}

static inline struct mailbox_info bed_mailbox(struct bed *b, uint64_t account, const char *name)
{
    struct mailbox_info m;
    struct err err;

    if (mailbox_find(b->reader, b->arena, account, str_from(name), &m, &err) != 0)
        fail_msg("mailbox %s: %s", name, err.text);
    return m;
}

/* Many messages at once, straight in one transaction: n of them sharing one body. */
struct bed_fill_ctx {
    struct body_sink *sink;
    uint64_t mailbox, flags;
    unsigned n;
};

static inline int bed_fill_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct bed_fill_ctx *f = ctx;
    struct message_new m = {
        .mailbox = f->mailbox, .flags = f->flags, .prefix = STR("X-Prefix: 1\r\n")};
    uint32_t uid;

    if (body_insert_tx(tx, f->sink, &m.body, err) != 0)
        return -1;
    for (unsigned i = 0; i < f->n; i++) {
        m.internal_ms = 1000 * (int64_t)i;
        if (message_insert_tx(tx, &m, &uid, err) != 0)
            return -1;
    }
    return 0;
}

static inline void bed_fill(struct bed *b, uint64_t mailbox, unsigned n, uint64_t flags)
{
    struct bed_fill_ctx f = {.sink = bed_sink(b, STR("Subject: fill\r\n\r\ntext\r\n")),
                             .mailbox = mailbox,
                             .flags = flags,
                             .n = n};

    bed_call(b, bed_fill_fn, &f);
    body_sink_free(&f.sink);
}

/* ---- Checks. */

static inline void bed_problem(void *ctx, const char *text)
{
    struct bed *b = ctx;

    b->problems++;
    fprintf(stderr, "store_check: %s\n", text);
}

static inline void bed_check(struct bed *b)
{
    struct err err = {0};

    b->problems = 0;
    if (store_check(b->reader, bed_problem, b, &err) != 0)
        fail_msg("store_check: %s", err.text);
    assert_int_equal(b->problems, 0);
}

static inline int64_t bed_int(struct bed *b, const char *sql)
{
    struct sql_stmt *st;
    struct err err = {0};
    int64_t v = -1;

    if (sql_prepare(b->reader->db, sql, &st, &err) != 0)
        fail_msg("%s: %s", sql, err.text);
    if (sql_step(st, &err) == 1)
        v = sql_int(st, 0);
    sql_reset(st);
    return v;
}

static inline void bed_swept(void *ctx)
{
    *(bool *)ctx = true;
}

static inline void bed_sweep(struct bed *b)
{
    bool swept = false;

    store_sweep(b->store, bed_swept, &swept);
    while (!swept)
        bed_turn(b);
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
