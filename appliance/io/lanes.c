/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/lanes.h"
#include "appliance/base/clock.h"
#include "appliance/io/loop_private.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct lane {
    struct loop *loop;
    struct list link; /* loop->lanes */
    struct lane_conf conf;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list waiting; /* struct job; this and all below under lock */
    bool stopping;
    struct lane_stats stats;
    unsigned started;
    pthread_t threads[];
};

static void on_posted(struct loop_post *p)
{
    struct job *j = CONTAINER_OF(p, struct job, post);
    j->done(j); /* the lane may be gone by now */
}

/* The next job, or NULL when the lane has stopped and nothing waits. */
static struct job *next_job(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (list_empty(&lane->waiting) && !lane->stopping)
        pthread_cond_wait(&lane->work, &lane->lock);
    struct job *j = NULL;
    if (!list_empty(&lane->waiting)) {
        j = LIST_ITEM(lane->waiting.next, struct job, link);
        list_del(&j->link);
        uint64_t waited = clock_mono_us() - j->queued_us;
        struct lane_stats *st = &lane->stats;
        st->waiting--;
        st->running++;
        st->jobs++;
        st->wait_us_total += waited;
        if (waited > st->wait_us_max)
            st->wait_us_max = waited;
    }
    pthread_mutex_unlock(&lane->lock);
    return j;
}

static void *worker_main(void *arg)
{
    struct lane *lane = arg;
    const struct lane_conf *conf = &lane->conf;
    void *worker = conf->thread_open ? conf->thread_open(conf->ctx) : NULL;
    for (struct job *j; (j = next_job(lane));) {
        bool has_done =
            j->done != NULL; /* without done(), run() may be the end of the job's memory */
        j->run(j, worker);
        pthread_mutex_lock(&lane->lock);
        lane->stats.running--;
        pthread_mutex_unlock(&lane->lock);
        if (has_done)
            loop_post(lane->loop, &j->post, on_posted);
    }
    if (worker && conf->thread_close)
        conf->thread_close(conf->ctx, worker);
    return NULL;
}

static int start_thread(struct lane *lane, struct err *err)
{
    char name[16]; /* the kernel's limit */
    snprintf(name, sizeof(name), "%.11s/%u", lane->conf.name, lane->started % 100);
    int rc = pthread_create(&lane->threads[lane->started], NULL, worker_main, lane);
    if (rc != 0)
        return ERR(err, ERR_TEMP, "cannot start a thread of lane %s: %s", lane->conf.name,
                   strerror(rc));
    pthread_setname_np(lane->threads[lane->started], name);
    lane->started++;
    return 0;
}

struct lane *lane_new(struct loop *l, const struct lane_conf *conf, struct err *err)
{
    CHECK(conf->name && conf->threads >= 1 && conf->threads <= 64);
    struct lane *lane = mem_alloc(sizeof(*lane) + conf->threads * sizeof(lane->threads[0]));
    lane->loop = l;
    lane->conf = *conf;
    list_add(&l->lanes, &lane->link);
    list_init(&lane->waiting);
    CHECK(pthread_mutex_init(&lane->lock, NULL) == 0);
    CHECK(pthread_cond_init(&lane->work, NULL) == 0);
    /* Signals are the loop's: workers start with all blocked. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    for (unsigned i = 0; i < conf->threads && rc == 0; i++)
        rc = start_thread(lane, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        lane_free(&lane);
    return lane;
}

int lane_submit(struct lane *lane, struct job *j)
{
    pthread_mutex_lock(&lane->lock);
    bool full = lane->stopping || lane->stats.waiting >= lane->conf.depth;
    if (full) {
        lane->stats.refused++;
    } else {
        j->lane = lane;
        j->queued_us = clock_mono_us();
        list_add(&lane->waiting, &j->link);
        lane->stats.waiting++;
        pthread_cond_signal(&lane->work);
    }
    pthread_mutex_unlock(&lane->lock);
    return full ? -1 : 0;
}

bool lane_cancel(struct lane *lane, struct job *j)
{
    pthread_mutex_lock(&lane->lock);
    bool waits = j->lane == lane && !list_empty(&j->link);
    if (waits) {
        list_del(&j->link);
        lane->stats.waiting--;
    }
    pthread_mutex_unlock(&lane->lock);
    return waits;
}

void lane_free(struct lane **lp)
{
    struct lane *lane = *lp;
    if (!lane)
        return;
    *lp = NULL;
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_cond_broadcast(&lane->work);
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < lane->started; i++)
        pthread_join(lane->threads[i], NULL);
    list_del(&lane->link);
    pthread_cond_destroy(&lane->work);
    pthread_mutex_destroy(&lane->lock);
    mem_free(lane);
}

void lane_stats(struct lane *lane, struct lane_stats *out)
{
    pthread_mutex_lock(&lane->lock);
    *out = lane->stats;
    pthread_mutex_unlock(&lane->lock);
}

void lanes_each(struct loop *l,
                void (*fn)(void *ctx, const struct lane_conf *conf, const struct lane_stats *st),
                void *ctx)
{
    LIST_EACH(&l->lanes, it)
    {
        struct lane *lane = LIST_ITEM(it, struct lane, link);
        struct lane_stats st;
        lane_stats(lane, &st);
        fn(ctx, &lane->conf, &st);
    }
}
