/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/base/metrics.h"
#include "appliance/io/loop_private.h"
#include <signal.h>

enum {
    LATER_ROUNDS =
        16, /* deferred work that defers again: so often in one turn, then sockets are looked at */
    FINISH_TURNS = 100000, /* loop_run's end: a chain of posts that never ends is a bug */
    FINISH_LINGER_MS = 250
};

static const uint64_t busy_us[] = {100, 500, 1000, 5000, 10000, 50000, 100000, 500000, 1000000};
METRIC_BUCKETS(loop_busy, busy_us, .name = "posthouse_loop_turn_seconds", .scale = 6,
               .help = "How long the loop worked between two looks at its sockets.");

/* ---- time ---- */

static void now_refresh(struct loop *l)
{
    l->uv_seen = uv_now(&l->uv);
    l->now_ms = clock_mono_ms();
}

uint64_t loop_now_ms(struct loop *l)
{
    /* libuv reads the clock when the poll returns; that is how we see that time has passed. Between
     * turns nobody does. */
    if (uv_now(&l->uv) != l->uv_seen || !l->turning)
        now_refresh(l);
    return l->now_ms;
}

/* ---- deferred work ---- */

static void defer_add(struct list *head, struct loop_defer *d)
{
    if (!d->link.next)
        list_init(&d->link);
    if (list_empty(&d->link))
        list_add(head, &d->link);
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
    defer_add(&l->later, d);
}

void loop_defer_last(struct loop *l, struct loop_defer *d)
{
    defer_add(&l->flushes, d);
}

void loop_defer_cancel(struct loop_defer *d)
{
    if (d->link.next)
        list_del(&d->link);
}

/* Runs what is in the list now; what is added meanwhile stays. */
static void defer_run(struct list *head)
{
    if (list_empty(head))
        return;
    struct list batch = *head;
    batch.next->prev = batch.prev->next = &batch;
    list_init(head);
    while (!list_empty(&batch)) {
        struct loop_defer *d = LIST_ITEM(batch.next, struct loop_defer, link);
        list_del(&d->link);
        d->fn(d->ctx);
    }
}

static void end_of_turn(struct loop *l)
{
    for (int i = 0; i < LATER_ROUNDS && !list_empty(&l->later); i++)
        defer_run(&l->later);
    defer_run(&l->flushes);
}

static void on_idle(uv_idle_t *h)
{
    (void)h;
}

static void on_alarm(uv_timer_t *h)
{
    struct loop *l = h->data;
    l->alarm_ms = 0;
}

/* Since the last time it was called, without what the poll waited. */
static void measure(struct loop *l)
{
    uint64_t now = clock_mono_us(), idle = uv_metrics_idle_time(&l->uv) / 1000;
    uint64_t spent = now - l->measured_us, waited = idle - l->idle_us;

    if (l->measured_us)
        metric_observe(&loop_busy, spent > waited ? spent - waited : 0);
    l->measured_us = now;
    l->idle_us = idle;
}

/* Before the poll: it may not block while there is work. */
static void on_prepare(uv_prepare_t *h)
{
    struct loop *l = h->data;
    end_of_turn(l);
    uint64_t at = 0;
    bool has_timer = timers_next(l, &at);
    bool busy = l->stop || !list_empty(&l->later) || !list_empty(&l->flushes) ||
                (has_timer && at <= loop_now_ms(l));
    if (busy)
        uv_idle_start(&l->idle, on_idle);
    else
        uv_idle_stop(&l->idle);
    if (!busy && has_timer && at != l->alarm_ms) {
        l->alarm_ms = at;
        uv_timer_start(&l->alarm, on_alarm, at - loop_now_ms(l), 0);
    }
    measure(l);
}

static void on_check(uv_check_t *h)
{
    struct loop *l = h->data;
    now_refresh(l);
    timers_run(l);
    end_of_turn(l);
}

/* ---- posts ---- */

void loop_post(struct loop *l, struct loop_post *p, void (*fn)(struct loop_post *))
{
    p->fn = fn;
    p->next = NULL;
    pthread_mutex_lock(&l->post_lock);
    bool first = !l->posted;
    *l->post_last = p;
    l->post_last = &p->next;
    /* Under the lock, so that the loop cannot end between the two. */
    if (first)
        uv_async_send(&l->async);
    pthread_mutex_unlock(&l->post_lock);
}

static void on_async(uv_async_t *h)
{
    struct loop *l = h->data;
    pthread_mutex_lock(&l->post_lock);
    struct loop_post *p = l->posted;
    l->posted = NULL;
    l->post_last = &l->posted;
    pthread_mutex_unlock(&l->post_lock);
    while (p) {
        struct loop_post *next = p->next; /* fn may free p */
        p->fn(p);
        p = next;
    }
}

static bool has_posts(struct loop *l)
{
    pthread_mutex_lock(&l->post_lock);
    bool any = l->posted != NULL;
    pthread_mutex_unlock(&l->post_lock);
    return any;
}

/* ---- life ---- */

struct loop *loop_new(void)
{
    struct loop *l = MEM_NEW(struct loop);
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error code, not our end */
    CHECK(uv_loop_init(&l->uv) == 0);
    CHECK(uv_loop_configure(&l->uv, UV_METRICS_IDLE_TIME) == 0);
    CHECK(uv_async_init(&l->uv, &l->async, on_async) == 0);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->idle);
    uv_timer_init(&l->uv, &l->alarm);
    l->async.data = l->prepare.data = l->check.data = l->alarm.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    CHECK(pthread_mutex_init(&l->post_lock, NULL) == 0);
    l->post_last = &l->posted;
    list_init(&l->later);
    list_init(&l->flushes);
    list_init(&l->lingering);
    list_init(&l->listeners);
    list_init(&l->lanes);
    now_refresh(l);
    return l;
}

char *loop_read_buf(struct loop *l)
{
    if (!l->read_mem)
        l->read_mem = mem_alloc(LOOP_READ_HEAD + LOOP_READ_SIZE);
    return l->read_mem + LOOP_READ_HEAD;
}

void loop_close(struct loop *l, uv_handle_t *h, uv_close_cb on_closed)
{
    l->closing++;
    uv_close(h, on_closed);
}

void loop_closed(struct loop *l)
{
    l->closing--;
}

void loop_turn(struct loop *l, bool wait)
{
    now_refresh(l);
    l->turning = true;
    uv_run(&l->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    l->turning = false;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

static void on_hurry(void *ctx)
{
    struct loop *l = ctx;
    l->hurry = true;
}

static void drop_lingering(struct loop *l)
{
    LIST_EACH(&l->lingering, it)
    {
        struct loop_linger *g = LIST_ITEM(it, struct loop_linger, link);
        g->drop(g);
    }
}

static void finish_pending(struct loop *l)
{
    int turns = 0;
    do {
        loop_turn(l, false);
        CHECK(++turns < FINISH_TURNS);
    } while (has_posts(l) || l->closing > 0 || !list_empty(&l->later) || !list_empty(&l->flushes));
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        loop_turn(l, true);
    l->stop = false;
    finish_pending(l);
    /* Last words ("421 shutting down") get a moment to leave. */
    struct timer hurry;
    timer_init(&hurry, l, on_hurry, l);
    timer_start(&hurry, FINISH_LINGER_MS);
    for (l->hurry = false; !l->hurry && !list_empty(&l->lingering);)
        loop_turn(l, true);
    timer_fini(&hurry);
    drop_lingering(l);
    finish_pending(l);
    l->stop = false;
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    if (!l)
        return;
    *lp = NULL;
    drop_lingering(l);
    finish_pending(l);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    CHECK(uv_loop_close(&l->uv) == 0); /* else a connection, listener or signal was left open */
    timers_fini(l);
    pthread_mutex_destroy(&l->post_lock);
    if (l->tls)
        l->tls_free(l->tls);
    mem_free(l->read_mem);
    mem_free(l);
}

/* ---- signals ---- */

struct loop_signal {
    uv_signal_t uv;
    struct loop *loop;
    void (*on_signal)(void *ctx, int signum);
    void *ctx;
};

static void on_uv_signal(uv_signal_t *h, int signum)
{
    struct loop_signal *s = h->data;
    if (s->on_signal)
        s->on_signal(s->ctx, signum);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum,
                                    void (*on_signal)(void *ctx, int signum), void *ctx)
{
    struct loop_signal *s = MEM_NEW(struct loop_signal);
    s->loop = l;
    s->on_signal = on_signal;
    s->ctx = ctx;
    CHECK(uv_signal_init(&l->uv, &s->uv) == 0);
    s->uv.data = s;
    CHECK(uv_signal_start(&s->uv, on_uv_signal, signum) == 0);
    return s;
}

static void on_signal_closed(uv_handle_t *h)
{
    struct loop_signal *s = h->data;
    loop_closed(s->loop);
    mem_free(s);
}

void loop_signal_free(struct loop_signal **sp)
{
    struct loop_signal *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    s->on_signal = NULL;
    loop_close(s->loop, (uv_handle_t *)&s->uv, on_signal_closed);
}
