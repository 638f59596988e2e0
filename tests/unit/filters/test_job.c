/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Jobs of loop style: run on a thread with the message, given back on the loop, dropped with their
 * turn, given up after the deadline. Meant for TSan as much as for ASan. */
#include "tests/unit/filters/world.h"
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_open = true, in_job;
static unsigned given_back, released, cancelled, refused;
static pthread_t loop_thread;

struct piece {
    char text[64];
    int64_t n;
};

static void run(void *inst, const struct ph_view *v, void *arg)
{
    struct piece *p = arg;

    (void)inst;
    assert_false(pthread_equal(pthread_self(), loop_thread));
    pthread_mutex_lock(&lock);
    in_job = true;
    pthread_cond_broadcast(&moved);
    while (!gate_open)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
    p->n = v->read(v, 0, p->text, sizeof p->text - 1);
}

static void on_done(void *inst, ph_turn turn, void *arg)
{
    const struct ph_host *h = inst;
    struct piece *p = arg;

    assert_true(pthread_equal(pthread_self(), loop_thread));
    given_back++;
    assert_true(p->n > 0);
    h->done(h, turn, PH_JUNK, NULL, p->text);
}

static void release(void *arg)
{
    assert_true(pthread_equal(pthread_self(), loop_thread));
    released++;
    mem_free(arg);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *h = inst;
    struct piece *p = MEM_NEW(struct piece);

    (void)conf;
    (void)at;
    if (h->job(h, turn, run, on_done, release, p)) {
        refused++;
        mem_free(p);
        return;
    }
    assert_int_equal(h->job(h, turn, run, on_done, release, p), -1); /* one at a time */
}

static void cancel(void *inst, ph_turn turn)
{
    (void)inst;
    (void)turn;
    cancelled++;
}

static int open_any(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    assert_true(PH_HAS(host, job));
    *inst = (void *)(uintptr_t)host;
    return 0;
}

static const struct ph_stage jobber = {.name = "jobber",
                                       .points = PH_AT(PH_MESSAGE),
                                       .lane = "jobs",
                                       .open = open_any,
                                       .on_point = on_point,
                                       .cancel = cancel};

static void set_gate(bool open)
{
    pthread_mutex_lock(&lock);
    gate_open = open;
    in_job = false;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void wait_in_job(void)
{
    pthread_mutex_lock(&lock);
    while (!in_job)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void begin(struct world *w, const struct ph_stage *s)
{
    given_back = released = cancelled = refused = 0;
    loop_thread = pthread_self();
    set_gate(true);
    world_init(w);
    world_add(w, *s);
}

static void answers(void **state)
{
    struct world w;

    (void)state;
    begin(&w, &jobber);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    const struct chain_answer *a = world_run(&w, c, PH_MESSAGE);
    assert_int_equal(a->verdict, PH_JUNK);
    assert_true(strstr(a->reason, "From: a@example.net") != NULL);
    assert_int_equal(given_back, 1);
    while (!released)
        world_turn(&w);
    assert_int_equal(cancelled + refused, 0);
    chain_free(&c);
    world_fini(&w);
}

/* The client goes while a thread reads its message. */
static void dropped(void **state)
{
    struct world w;

    (void)state;
    begin(&w, &jobber);
    world_open(&w);
    set_gate(false);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_begin(&w, c, PH_MESSAGE), CHAIN_WAIT);
    wait_in_job();
    chain_free(&c);
    assert_int_equal(cancelled, 1);
    assert_int_equal(released, 0);
    set_gate(true);
    while (!released)
        world_turn(&w);
    assert_int_equal(given_back, 0);
    world_fini(&w);
}

/* No thread had begun: it isn't run at all. */
static void not_begun(void **state)
{
    struct world w;
    struct chain *c[3];

    (void)state;
    begin(&w, &jobber);
    world_open(&w);
    set_gate(false);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = chain_new(w.filters, i + 1);
        chain_transaction(c[i], i + 10);
        assert_int_equal(world_begin(&w, c[i], PH_MESSAGE), CHAIN_WAIT);
    }
    chain_free(&c[2]); /* the third waits for one of two threads */
    assert_int_equal(released, 1);
    set_gate(true);
    while (w.answers < 2)
        world_turn(&w);
    chain_free(&c[0]);
    chain_free(&c[1]);
    while (released < 3)
        world_turn(&w);
    assert_int_equal(given_back, 2);
    world_fini(&w);
}

/* on_error answers; what comes back later is dropped. */
static void too_late(void **state)
{
    struct world w;

    (void)state;
    begin(&w, &jobber);
    world_set(&w, "jobber.deadline=20ms");
    world_set(&w, "jobber.on_error=quarantine");
    world_open(&w);
    set_gate(false);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_QUARANTINE);
    assert_int_equal(cancelled, 1);
    set_gate(true);
    while (!released)
        world_turn(&w);
    assert_int_equal(given_back, 0);
    chain_free(&c);
    world_fini(&w);
}

/* A stage that names no lane has no jobs. */
static void without_lane(void **state)
{
    struct ph_stage s = jobber;
    struct world w;

    (void)state;
    s.lane = NULL;
    begin(&w, &s);
    world_set(&w, "jobber.deadline=20ms");
    world_set(&w, "jobber.on_error=pass");
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_PASS);
    assert_int_equal(refused, 1);
    chain_free(&c);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(dropped),
                                       cmocka_unit_test(not_begun), cmocka_unit_test(too_late),
                                       cmocka_unit_test(without_lane)};

    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
