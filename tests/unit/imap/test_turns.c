/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Who gets a worker of the store's lane when one account wants them all. Workers are held at gates,
 * so that the order of jobs is the test's. */
#include "appliance/base/log.h"
#include "world.h"
#include <pthread.h>
#include <string.h>

enum { SESSIONS = 5, MANY = 5000 };

struct gate { /* a job that holds its worker until it is opened */
    struct job job;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool reached, open;
};

#define CLOSED_GATE                                                                                \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER                       \
    }
static struct gate held[2] = {CLOSED_GATE, CLOSED_GATE}, after = CLOSED_GATE;

static void gate_run(struct job *j, void *worker)
{
    struct gate *g = CONTAINER_OF(j, struct gate, job);
    (void)worker;
    pthread_mutex_lock(&g->lock);
    g->reached = true;
    pthread_cond_broadcast(&g->moved);
    while (!g->open)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_put(struct gate *g, struct world *w)
{
    g->job = (struct job){.run = gate_run};
    g->reached = g->open = false;
    assert_int_equal(lane_submit(store_lane(w->store), &g->job), 0);
}

static void gate_await(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->reached)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

/* Of two workers none is left. */
static void hold_both(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        gate_put(&held[i], w);
        gate_await(&held[i]);
    }
}

static struct imap_session *login(struct client *c, struct world *w, const char *command)
{
    client_connect(c, w);
    client_want(c, "* OK");
    client_say(c, command);
    client_want(c, "l OK");
    return LIST_ITEM(w->server->sessions.prev, struct imap_session, link); /* the newest */
}

/* A command with one job, which waits for a worker or in line. */
static void ask(struct client *c, const struct imap_session *s)
{
    client_say(c, "s STATUS INBOX (MESSAGES)\r\n");
    while (!s->job_running)
        world_turn(c->w);
}

static void want_answer(struct client *c)
{
    client_want(c, "* STATUS");
    client_want(c, "s OK");
}

struct many {
    struct client c[SESSIONS];
    struct imap_session *s[SESSIONS];
};

static void login_many(struct many *m, struct world *w)
{
    assert_int_equal(w->store_conf.readers, 2);
    for (int i = 0; i < SESSIONS; i++)
        m->s[i] = login(&m->c[i], w, "l LOGIN u@example.com pass\r\n");
}

static void ask_many(struct many *m)
{
    for (int i = 0; i < SESSIONS; i++)
        ask(&m->c[i], m->s[i]);
}

static void others_go_ahead(void **state)
{
    struct world *w = *state;
    struct many m;
    struct client other;
    login_many(&m, w);
    struct imap_session *s = login(&other, w, "l LOGIN q@example.com pass\r\n");
    hold_both(w);
    ask_many(&m);
    ask(&other, s);
    gate_put(&after, w);
    gate_open(&held[1]); /* one worker: the jobs run in their order */
    gate_await(&after);
    want_answer(&other);
    want_answer(&m.c[0]);
    for (int i = 1; i < SESSIONS; i++)
        client_want_silence(&m.c[i]);
    gate_open(&after);
    for (int i = 1; i < SESSIONS; i++)
        want_answer(&m.c[i]);
    gate_open(&held[0]);
    for (int i = 0; i < SESSIONS; i++)
        client_close(&m.c[i]);
    client_close(&other);
}

static void await_sessions(struct world *w, unsigned n)
{
    while (imap_server_sessions(w->server) > n)
        world_turn(w);
}

/* Whoever leaves gives up its place, whether in line or with the lane. */
static void some_leave_the_line(void **state)
{
    struct world *w = *state;
    struct many m;
    login_many(&m, w);
    hold_both(w);
    ask_many(&m);
    imap_session_end(m.s[2], "test"); /* in line */
    imap_session_end(m.s[0], "test"); /* its turn has come, no worker has */
    await_sessions(w, SESSIONS - 2);
    assert_true(list_empty(&m.s[1]->turn_link));
    assert_false(list_empty(&m.s[3]->turn_link));
    gate_open(&held[1]);
    want_answer(&m.c[1]);
    want_answer(&m.c[3]);
    want_answer(&m.c[4]);
    gate_open(&held[0]);
    for (int i = 0; i < SESSIONS; i++)
        client_close(&m.c[i]);
}

static void nothing_run(struct job *j, void *worker)
{
    (void)j, (void)worker;
}

static size_t fill_lane(struct world *w, struct job *jobs, size_t n)
{
    while (jobs[n].run = nothing_run, lane_submit(store_lane(w->store), &jobs[n]) == 0)
        assert_true(++n < MANY);
    return n;
}

/* The next in line finds the lane full, and leaves before it has tried again. */
static void a_full_lane_is_tried_again(void **state)
{
    static struct job jobs[MANY];
    struct world *w = *state;
    struct many m;
    login_many(&m, w);
    hold_both(w);
    ask_many(&m);
    gate_put(&after, w);
    memset(jobs, 0, sizeof jobs);
    size_t n = fill_lane(w, jobs, 0);
    gate_open(&held[1]);
    gate_await(&after);
    fill_lane(w, jobs, n);
    want_answer(&m.c[0]);
    for (int i = 1; i < SESSIONS; i++)
        assert_false(list_empty(&m.s[i]->turn_link));
    imap_session_end(m.s[1], "test");
    gate_open(&after);
    gate_open(&held[0]);
    for (int i = 2; i < SESSIONS; i++)
        want_answer(&m.c[i]);
    for (int i = 0; i < SESSIONS; i++)
        client_close(&m.c[i]);
}

/* A test that failed has left workers at its gates. */
static int tear_down(void **state)
{
    gate_open(&held[0]);
    gate_open(&held[1]);
    gate_open(&after);
    return world_tear_down(state);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(others_go_ahead),
        TEST(some_leave_the_line),
        TEST(a_full_lane_is_tried_again),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
