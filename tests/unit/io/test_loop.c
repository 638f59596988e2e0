/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/io/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
// cmocka wants the four above first
#include <cmocka.h>

static struct loop *loop;
static uint64_t fake_ms;
static char trace[64]; /* what happened, in order */

static uint64_t fake_mono(void)
{
    return fake_ms;
}

static int setup(void **state)
{
    static const struct clock_source fake = {.mono_ms = fake_mono};
    (void)state;
    fake_ms = 1;
    trace[0] = '\0';
    clock_replace(&fake);
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    assert_null(loop);
    clock_replace(NULL);
    return 0;
}

static void note(void *ctx)
{
    size_t n = strlen(trace);
    if (n + 1 < sizeof(trace)) {
        trace[n] = *(const char *)ctx;
        trace[n + 1] = '\0';
    }
}

static void at(uint64_t ms)
{
    fake_ms = ms;
    loop_turn(loop, false);
}

#define assert_trace(z)                                                                            \
    do {                                                                                           \
        assert_string_equal(trace, (z));                                                           \
        trace[0] = '\0';                                                                           \
    } while (0)

static void timers_fire_in_order(void **state)
{
    (void)state;
    struct timer *t[6];
    static char names[] = "abcdef";
    static const unsigned after[] = {50, 10, 40, 20, 60, 30};
    for (size_t i = 0; i < 6; i++) {
        t[i] = timer_new(loop, note, &names[i]);
        timer_start(t[i], after[i]);
    }
    timer_stop(t[3]);
    at(10);
    assert_trace("");
    at(11);
    assert_trace("b");
    timer_free(&t[4]);
    at(1000);
    assert_trace("fca");
    at(2000);
    assert_trace("");
    for (size_t i = 0; i < 6; i++)
        timer_free(&t[i]);
}

static void timers_move(void **state)
{
    (void)state;
    char name = 'm';
    struct timer *t = timer_new(loop, note, &name);
    timer_start(t, 100);
    timer_start(t, 200); /* later */
    at(101);
    assert_trace("");
    at(201);
    assert_trace("m");
    timer_start(t, 500);
    timer_start(t, 10); /* earlier */
    at(211);
    assert_trace("m");
    timer_start(t, 10);
    timer_stop(t);
    at(1000);
    assert_trace("");
    timer_start(t, 10); /* while the stopped one still lies in the heap */
    at(1010);
    assert_trace("m");
    timer_free(&t);
}

struct again {
    struct timer *t, *other;
    int n;
};

static void on_again(void *ctx)
{
    struct again *a = ctx;
    a->n++;
    timer_start(a->t, 0);
    timer_free(&a->other); /* also while it is due */
}

static void timers_restart_and_free_while_firing(void **state)
{
    (void)state;
    char name = 'o';
    struct again a = {0};
    a.t = timer_new(loop, on_again, &a);
    a.other = timer_new(loop, note, &name);
    timer_start(a.t, 5);
    timer_start(a.other, 6);
    at(100);
    assert_int_equal(a.n, 1); /* 0 ms: at the next turn, not for ever in this one */
    assert_null(a.other);
    assert_trace("");
    at(101);
    assert_int_equal(a.n, 2);
    timer_free(&a.t);
}

/* The heap against a plain array, with a fixed sequence of starts, moves and stops. */
static void many_timers(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct timer *t[N];
    static uint64_t due[N];
    static char name = '.';
    uint32_t x = 12345;
    for (size_t i = 0; i < N; i++)
        t[i] = timer_new(loop, note, &name);
    for (uint64_t step = 0; step < 3000; step++) {
        x = x * 1664525 + 1013904223;
        size_t i = (x >> 8) % N;
        if (x % 5 == 0) {
            timer_stop(t[i]);
            due[i] = 0;
        } else {
            timer_start(t[i], (x >> 20) % 300 + 1);
            due[i] = fake_ms + (x >> 20) % 300 + 1;
        }
        size_t expected = 0;
        fake_ms++;
        for (size_t k = 0; k < N; k++) {
            if (due[k] && due[k] <= fake_ms) {
                expected++;
                due[k] = 0;
            }
        }
        loop_turn(loop, false);
        assert_int_equal(strlen(trace), expected);
        trace[0] = '\0';
    }
    for (size_t i = 0; i < N; i++)
        timer_free(&t[i]);
}

static void on_stop_loop(void *ctx)
{
    loop_stop(ctx);
}

static void real_time_wakes_the_loop(void **state)
{
    (void)state;
    clock_replace(NULL);
    uint64_t before = clock_mono_ms();
    struct timer *t = timer_new(loop, on_stop_loop, loop);
    timer_start(t, 20);
    loop_run(loop);
    uint64_t took = clock_mono_ms() - before;
    assert_true(took >= 20 && took < 60000);
    timer_free(&t);
}

/* ---- defers ---- */

struct chain {
    struct loop_defer d;
    int left;
};

static void on_chain(void *ctx)
{
    struct chain *c = ctx;
    if (--c->left > 0)
        loop_defer(loop, &c->d);
}

static void defers_run_later_and_once(void **state)
{
    (void)state;
    char a = 'a', b = 'b', c = 'c';
    struct loop_defer da = {.fn = note, .ctx = &a}, db = {.fn = note, .ctx = &b};
    struct loop_defer dc = {.fn = note, .ctx = &c};
    loop_defer(loop, &da);
    loop_defer(loop, &db);
    loop_defer(loop, &da);
    loop_defer(loop, &dc);
    loop_defer_cancel(&db);
    assert_trace("");
    at(1);
    assert_trace("ac");
    loop_defer_cancel(&da); /* not queued: nothing */
    struct chain chain = {.left = 100};
    chain.d = (struct loop_defer){.fn = on_chain, .ctx = &chain};
    loop_defer(loop, &chain.d);
    loop_turn(loop, true); /* doesn't block while work is left */
    loop_turn(loop, true);
    assert_true(chain.left > 0);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, false);
    assert_int_equal(chain.left, 0);
}

/* ---- posts ---- */

enum { POSTERS = 4, POSTS = 2000 };
struct posting {
    struct loop_post p;
    unsigned by, n;
};
static struct posting posts[POSTERS][POSTS];
static unsigned next_of[POSTERS], arrived;

static void on_post(struct loop_post *p)
{
    struct posting *g = CONTAINER_OF(p, struct posting, p);
    assert_int_equal(g->n, next_of[g->by]); /* in the order of its thread */
    next_of[g->by]++;
    memset(p, 0xa5, sizeof(*p)); /* ours again */
    if (++arrived == POSTERS * POSTS)
        loop_stop(loop);
}

static void *poster_main(void *arg)
{
    struct posting *mine = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        mine[i].n = i;
        loop_post(loop, &mine[i].p, on_post);
    }
    return NULL;
}

static void posts_of_threads(void **state)
{
    (void)state;
    clock_replace(NULL);
    pthread_t t[POSTERS];
    arrived = 0;
    memset(next_of, 0, sizeof(next_of));
    for (unsigned i = 0; i < POSTERS; i++) {
        for (unsigned k = 0; k < POSTS; k++)
            posts[i][k].by = i;
        assert_int_equal(pthread_create(&t[i], NULL, poster_main, posts[i]), 0);
    }
    loop_run(loop);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(arrived, POSTERS * POSTS);
}

static void on_post_note(struct loop_post *p)
{
    static char c = 'p';
    (void)p;
    note(&c);
}

static void run_finishes_what_is_posted(void **state)
{
    (void)state;
    struct loop_post p[3];
    loop_stop(loop);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        loop_post(loop, &p[i], on_post_note);
    loop_run(loop);
    assert_trace("ppp");
}

/* ---- signals ---- */

static void on_signal(void *ctx, int signum)
{
    assert_int_equal(signum, SIGUSR1);
    loop_stop(ctx);
}

static void signals_reach_the_loop(void **state)
{
    (void)state;
    struct loop_signal *s = loop_signal_new(loop, SIGUSR1, on_signal, loop);
    raise(SIGUSR1);
    loop_run(loop);
    loop_signal_free(&s);
    assert_null(s);
    loop_signal_free(&s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(timers_fire_in_order),
        T(timers_move),
        T(timers_restart_and_free_while_firing),
        T(many_timers),
        T(real_time_wakes_the_loop),
        T(defers_run_later_and_once),
        T(posts_of_threads),
        T(run_finishes_what_is_posted),
        T(signals_reach_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
