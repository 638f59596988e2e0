/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What `posthouse queue` changes in a daemon wakes its delivery, on the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/control.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/store/queue.h"
#include "tests/unit/folder.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    char dir[40];
    int dirfd;
    struct store_conf conf;
    struct loop *loop;
    struct timer *tick;
    struct lane *misc;
    struct store *store;
    struct control *control;
    struct listener *listener;
    pthread_t main;
    unsigned told;
    bool flush, on_main, done;
    char of[100];
};

static void on_tick(void *ctx)
{
    (void)ctx;
}

static void turn(struct fixture *f)
{
    timer_start(f->tick, 1);
    loop_turn(f->loop, true);
}

static void on_queue(void *ctx, struct str of, bool flush)
{
    struct fixture *f = ctx;

    f->told++;
    f->flush = flush;
    f->on_main = pthread_equal(f->main, pthread_self());
    snprintf(f->of, sizeof f->of, STR_FMT, STR_ARG(of));
}

static int setup(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    struct err err;

    *state = f;
    log_set_fd(-1);
    snprintf(f->dir, sizeof f->dir, "/tmp/ph-control-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->dirfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->main = pthread_self();
    f->loop = loop_new();
    f->tick = timer_new(f->loop, on_tick, NULL);
    assert_int_equal(settings_defaults(store_settings, &f->conf, &err), 0);
    assert_int_equal(store_open(f->dir, &f->conf, f->loop, &f->store, &err), 0);
    f->misc =
        lane_new(f->loop, &(struct lane_conf){.name = "misc", .threads = 1, .depth = 9}, &err);
    f->control = control_new(f->loop, f->misc, f->dir, f->store, NULL);
    control_on_queue(f->control, on_queue, f);
    assert_int_equal(listener_open_unix(f->dirfd, CONTROL_SOCKET, &f->listener, &err), 0);
    assert_int_equal(control_start(f->control, f->listener, &err), 0);
    return 0;
}

static void on_stopped(void *ctx)
{
    ((struct fixture *)ctx)->done = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    listener_stop(&f->listener);
    control_stop(f->control, on_stopped, f);
    while (!f->done)
        turn(f);
    control_free(&f->control);
    lane_free(&f->misc);
    store_close(&f->store);
    for (int i = 0; i < 20; i++)
        loop_turn(f->loop, false);
    timer_free(&f->tick);
    loop_free(&f->loop);
    close(f->dirfd);
    folder_remove(f->dir);
    settings_free(store_settings, &f->conf);
    mem_free(f);
    return 0;
}

/* ---- The client asks from a thread of its own. */

struct asking {
    struct fixture *f;
    const char *request;
    json_t *reply;
    atomic_bool ended;
};

static void *ask_thread(void *ctx)
{
    struct asking *a = ctx;
    json_t *request = json_loads(a->request, 0, NULL);
    struct err err;

    if (control_ask(a->f->dirfd, request, &a->reply, &err))
        a->reply = NULL;
    json_decref(request);
    atomic_store(&a->ended, true);
    return NULL;
}

static int ask(struct fixture *f, const char *request)
{
    struct asking a = {.f = f, .request = request};
    pthread_t thread;
    int code;

    assert_int_equal(pthread_create(&thread, NULL, ask_thread, &a), 0);
    while (!atomic_load(&a.ended))
        turn(f);
    pthread_join(thread, NULL);
    assert_non_null(a.reply);
    code = (int)json_integer_value(json_object_get(a.reply, "exit"));
    json_decref(a.reply);
    return code;
}

static void on_flushed(void *ctx, const struct err *failed)
{
    assert_null(failed);
    *(bool *)ctx = true;
}

static void flush(struct fixture *f, struct body_sink *sink)
{
    bool done = false;

    body_sink_end(sink);
    body_sink_flush(sink, on_flushed, &done);
    while (!done)
        turn(f);
}

static void on_put(struct store_op *op)
{
    *(bool *)op->ctx = true;
}

static void put(struct fixture *f, uint64_t id)
{
    const struct queue_to to = {
        .rcpt = STR("x@one.example"), .site = STR("one.example"), .next_ms = INT64_MAX};
    const struct queue_new leaves = {
        .entry = {.id = id, .sender = STR("s@b")}, .to = &to, .n_to = 1};
    struct message_delivery d;
    bool done = false;

    message_delivery_init(&d, on_put);
    d.op.ctx = &done;
    d.sink = body_sink_new(f->store, 1 << 20, NULL, NULL);
    d.leaves = &leaves;
    assert_int_equal(body_sink_put(d.sink, STR("Subject: x\r\n\r\ny\r\n")), BODY_MORE);
    flush(f, d.sink);
    assert_int_equal(store_submit(f->store, &d.op), 0);
    while (!done)
        turn(f);
    assert_false(d.op.failed);
    body_sink_free(&d.sink);
}

static void changes_wake(void **state)
{
    struct fixture *f = *state;

    put(f, 7);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"retry\",\"7\"]}"), 0);
    assert_true(f->told == 1 && !f->flush && f->on_main);
    assert_string_equal(f->of, "");
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"reroute\",\"7\",\"mx.example:25\"]}"), 0);
    assert_true(f->told == 2 && !f->flush);
    assert_string_equal(f->of, "relay:mx.example:25");
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"flush\",\"One.example\"]}"), 0);
    assert_true(f->told == 3 && f->flush);
    assert_string_equal(f->of, "one.example");
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"flush\"]}"), 0);
    assert_true(f->told == 4 && f->flush);
    assert_string_equal(f->of, "");
}

static void what_changes_nothing_does_not(void **state)
{
    struct fixture *f = *state;

    put(f, 7);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"list\"]}"), 0);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"retry\",\"7\",\"--dry-run\"]}"), 0);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"flush\",\"--dry-run\"]}"), 0);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"release\",\"7\"]}"), 0); /* not on hold */
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"retry\",\"8\"]}"), 1);
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"retry\"]}"), 2);
    assert_int_equal(f->told, 0);
    /* Hosts may rest whatever the rows say. */
    assert_int_equal(ask(f, "{\"argv\":[\"queue\",\"flush\",\"nobody.example\"]}"), 0);
    assert_int_equal(f->told, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_wake, setup, teardown),
        cmocka_unit_test_setup_teardown(what_changes_nothing_does_not, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
