/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/io/lanes.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
// cmocka wants the four above first
#include <cmocka.h>

/* A gate workers wait at, so that a test decides when a job runs. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static int gate_open, gate_waiting;

static struct loop *loop;
static struct err err;

static void gate_set(int open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_cond);
    pthread_mutex_unlock(&gate_lock);
}

static void gate_pass(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_waiting++;
    pthread_cond_broadcast(&gate_cond);
    while (!gate_open)
        pthread_cond_wait(&gate_cond, &gate_lock);
    gate_waiting--;
    pthread_mutex_unlock(&gate_lock);
}

static void gate_await(int waiting)
{
    pthread_mutex_lock(&gate_lock);
    while (gate_waiting < waiting)
        pthread_cond_wait(&gate_cond, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static int setup(void **state)
{
    (void)state;
    gate_set(0);
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    return 0;
}

struct task {
    struct job job;
    int number, answer;
    void *worker;
};
static int done_count, done_order[4096];

static void on_run(struct job *j, void *worker)
{
    struct task *t = CONTAINER_OF(j, struct task, job);
    t->worker = worker;
    t->answer = t->number * 2;
}

static void on_run_gated(struct job *j, void *worker)
{
    gate_pass();
    on_run(j, worker);
}

static void on_done(struct job *j)
{
    struct task *t = CONTAINER_OF(j, struct task, job);
    assert_int_equal(t->answer, t->number * 2);
    done_order[done_count++] = t->number;
}

static void task_init(struct task *t, int number, void (*run)(struct job *, void *))
{
    *t = (struct task){.job = {.run = run, .done = on_done}, .number = number};
}

static void turn_until_done(int n)
{
    while (done_count < n)
        loop_turn(loop, true);
}

static void jobs_answer_on_the_loop_in_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct task tasks[N];
    struct lane_conf conf = {.name = "one", .threads = 1, .depth = N};
    struct lane *lane = lane_new(loop, &conf, &err);
    assert_non_null(lane);
    done_count = 0;
    for (int i = 0; i < N; i++) {
        task_init(&tasks[i], i, on_run);
        assert_int_equal(lane_submit(lane, &tasks[i].job), 0);
    }
    turn_until_done(N);
    for (int i = 0; i < N; i++)
        assert_int_equal(done_order[i], i);
    struct lane_stats st;
    lane_stats(lane, &st);
    assert_int_equal(st.jobs, N);
    assert_int_equal(st.waiting, 0);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.refused, 0);
    lane_free(&lane);
    assert_null(lane);
}

static void many_threads(void **state)
{
    (void)state;
    enum { N = 4000 };
    static struct task tasks[N];
    static bool seen[N];
    struct lane_conf conf = {.name = "many", .threads = 8, .depth = N};
    struct lane *lane = lane_new(loop, &conf, &err);
    done_count = 0;
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < N; i++) {
        task_init(&tasks[i], i, on_run);
        assert_int_equal(lane_submit(lane, &tasks[i].job), 0);
    }
    turn_until_done(N);
    for (int i = 0; i < N; i++) {
        assert_false(seen[done_order[i]]); /* each once */
        seen[done_order[i]] = true;
    }
    lane_free(&lane);
}

static void full_lane_refuses(void **state)
{
    (void)state;
    struct task t[4];
    struct lane_conf conf = {.name = "full", .threads = 1, .depth = 2};
    struct lane *lane = lane_new(loop, &conf, &err);
    struct lane_stats st;
    done_count = 0;
    for (int i = 0; i < 4; i++)
        task_init(&t[i], i, on_run_gated);
    assert_int_equal(lane_submit(lane, &t[0].job), 0);
    gate_await(1); /* it runs, so it doesn't wait any more */
    assert_int_equal(lane_submit(lane, &t[1].job), 0);
    assert_int_equal(lane_submit(lane, &t[2].job), 0);
    assert_int_equal(lane_submit(lane, &t[3].job), -1);
    lane_stats(lane, &st);
    assert_int_equal(st.waiting, 2);
    assert_int_equal(st.running, 1);
    assert_int_equal(st.refused, 1);
    gate_set(1);
    turn_until_done(3);
    assert_int_equal(lane_submit(lane, &t[3].job), 0);
    turn_until_done(4);
    lane_free(&lane);
}

static void cancels_what_has_not_begun(void **state)
{
    (void)state;
    struct task t[3];
    struct lane_conf conf = {.name = "cancel", .threads = 1, .depth = 8};
    struct lane *lane = lane_new(loop, &conf, &err);
    done_count = 0;
    for (int i = 0; i < 3; i++)
        task_init(&t[i], i, on_run_gated);
    assert_false(lane_cancel(lane, &t[1].job)); /* never submitted */
    assert_int_equal(lane_submit(lane, &t[0].job), 0);
    gate_await(1);
    assert_int_equal(lane_submit(lane, &t[1].job), 0);
    assert_int_equal(lane_submit(lane, &t[2].job), 0);
    assert_true(lane_cancel(lane, &t[1].job));
    assert_false(lane_cancel(lane, &t[1].job));
    assert_false(lane_cancel(lane, &t[0].job)); /* runs */
    gate_set(1);
    turn_until_done(2);
    assert_false(lane_cancel(lane, &t[0].job));
    lane_free(&lane);
    loop_turn(loop, false);
    assert_int_equal(done_count, 2);
    assert_int_equal(t[1].answer, 0);
    assert_int_equal(done_order[0] + done_order[1], 2);
}

/* What waits is finished, its done()s come although the lane is gone. */
static void freed_with_jobs_in_flight(void **state)
{
    (void)state;
    enum { N = 100 };
    static struct task t[N];
    struct lane_conf conf = {.name = "busy", .threads = 2, .depth = N};
    struct lane *lane = lane_new(loop, &conf, &err);
    done_count = 0;
    for (int i = 0; i < N; i++) {
        task_init(&t[i], i, on_run_gated);
        assert_int_equal(lane_submit(lane, &t[i].job), 0);
    }
    gate_await(2);
    gate_set(1);
    lane_free(&lane);
    assert_int_equal(done_count, 0); /* later, on the loop */
    turn_until_done(N);
    assert_int_equal(done_count, N);
}

/* ---- what a worker owns ---- */

static atomic_int opened, closed;
static pthread_t opened_by;

static void *on_open(void *ctx)
{
    int *made = mem_alloc(sizeof(int));
    *made = *(int *)ctx;
    opened_by = pthread_self();
    opened++;
    return made;
}

static void on_close(void *ctx, void *worker)
{
    assert_int_equal(*(int *)worker, *(int *)ctx);
    assert_true(pthread_equal(pthread_self(), opened_by));
    mem_free(worker);
    closed++;
}

static void *on_open_fails(void *ctx)
{
    (void)ctx;
    return NULL;
}

static void on_run_uses_worker(struct job *j, void *worker)
{
    struct task *t = CONTAINER_OF(j, struct task, job);
    assert_true(pthread_equal(pthread_self(), opened_by));
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_true(sigismember(&set, SIGTERM)); /* signals are the loop's */
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof(name));
    assert_string_equal(name, "owner-of-th/0");
    t->number = *(int *)worker;
    t->answer = t->number * 2;
}

static void workers_own_things(void **state)
{
    (void)state;
    int value = 42;
    struct task t;
    struct lane_conf conf = {.name = "owner-of-things",
                             .threads = 1,
                             .depth = 4,
                             .thread_open = on_open,
                             .thread_close = on_close,
                             .ctx = &value};
    opened = closed = done_count = 0;
    struct lane *lane = lane_new(loop, &conf, &err);
    task_init(&t, 0, on_run_uses_worker);
    assert_int_equal(lane_submit(lane, &t.job), 0);
    turn_until_done(1);
    assert_int_equal(done_order[0], 42);
    lane_free(&lane);
    assert_int_equal(opened, 1);
    assert_int_equal(closed, 1);

    conf.thread_open = on_open_fails;
    lane = lane_new(loop, &conf, &err);
    task_init(&t, 1, on_run);
    assert_int_equal(lane_submit(lane, &t.job), 0);
    turn_until_done(2);
    assert_null(t.worker);
    lane_free(&lane);
    assert_int_equal(closed, 1);
}

static atomic_int freed;
static void on_run_last(struct job *j, void *worker)
{
    (void)worker;
    mem_free(CONTAINER_OF(j, struct task, job));
    freed++;
}

/* Without done() nobody waits: run() may be the end of the job. */
static void jobs_without_done(void **state)
{
    (void)state;
    struct lane_conf conf = {.name = "free", .threads = 2, .depth = 100};
    struct lane *lane = lane_new(loop, &conf, &err);
    freed = 0;
    for (int i = 0; i < 100; i++) {
        struct task *t = MEM_NEW(struct task);
        t->job.run = on_run_last;
        assert_int_equal(lane_submit(lane, &t->job), 0);
    }
    lane_free(&lane);
    assert_int_equal(freed, 100);
}

/* done() may submit the same job again. */
static struct lane *again_lane;
static void on_done_again(struct job *j)
{
    if (++done_count < 50)
        assert_int_equal(lane_submit(again_lane, j), 0);
}

static void resubmitted_in_done(void **state)
{
    (void)state;
    struct task t;
    struct lane_conf conf = {.name = "again", .threads = 2, .depth = 1};
    again_lane = lane_new(loop, &conf, &err);
    done_count = 0;
    task_init(&t, 1, on_run);
    t.job.done = on_done_again;
    assert_int_equal(lane_submit(again_lane, &t.job), 0);
    turn_until_done(50);
    lane_free(&again_lane);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(jobs_answer_on_the_loop_in_order),
        T(many_threads),
        T(full_lane_refuses),
        T(cancels_what_has_not_begun),
        T(freed_with_jobs_in_flight),
        T(workers_own_things),
        T(jobs_without_done),
        T(resubmitted_in_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
