/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* lanes.c - threads for stages that block. Unlike the lanes of io, one of these may be given up
 * while it works: it is replaced, and ends by itself should its job ever return. */
#include "appliance/base/clock.h"
#include "filters/private.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

struct flane {
    struct loop *loop;
    char name[16];
    unsigned depth;
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    struct list waiting; /* struct fjob; this and all below under lock */
    unsigned n_waiting;
    unsigned threads;       /* at work or waiting for it; without those given up */
    unsigned lost;          /* given up and still running */
    bool closing, orphaned; /* orphaned: the owner is gone; whoever is last frees it */
};

static void on_posted(struct loop_post *p)
{
    struct fjob *j = CONTAINER_OF(p, struct fjob, post);

    j->done(j);
}

static void destroy(struct flane *lane)
{
    pthread_cond_destroy(&lane->work);
    pthread_cond_destroy(&lane->ended);
    pthread_mutex_destroy(&lane->lock);
    mem_free(lane);
}

static struct fjob *take(struct flane *lane)
{
    while (list_empty(&lane->waiting) && !lane->closing)
        pthread_cond_wait(&lane->work, &lane->lock);
    if (list_empty(&lane->waiting))
        return NULL;
    struct fjob *j = LIST_ITEM(lane->waiting.next, struct fjob, link);
    list_del(&j->link);
    lane->n_waiting--;
    j->state = FJOB_RUNNING;
    return j;
}

static void *worker_main(void *arg)
{
    struct flane *lane = arg;
    bool lost = false;
    struct fjob *j;

    pthread_mutex_lock(&lane->lock);
    while (!lost && (j = take(lane))) {
        pthread_mutex_unlock(&lane->lock);
        j->run(j);
        pthread_mutex_lock(&lane->lock);
        lost = j->state == FJOB_ABANDONED;
        j->state = FJOB_DONE;
        if (!lane->orphaned) /* else there is no loop; its memory stays */
            loop_post(lane->loop, &j->post, on_posted);
    }
    if (lost)
        lane->lost--;
    else
        lane->threads--;
    bool last = lane->orphaned && lane->lost == 0 && lane->threads == 0;
    pthread_cond_signal(&lane->ended);
    pthread_mutex_unlock(&lane->lock);
    if (last)
        destroy(lane);
    return NULL;
}

/* Under the lock, or before anybody else knows the lane. */
static int start_thread(struct flane *lane)
{
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, NULL, worker_main, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return rc;
    pthread_setname_np(thread, lane->name);
    pthread_detach(thread);
    lane->threads++;
    return 0;
}

struct flane *flane_new(struct loop *l, const char *name, unsigned threads, unsigned depth,
                        struct err *err)
{
    struct flane *lane = MEM_NEW(struct flane);
    pthread_condattr_t attr;
    int rc = 0;

    lane->loop = l;
    lane->depth = depth;
    snprintf(lane->name, sizeof lane->name, "%.15s", name);
    list_init(&lane->waiting);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(pthread_mutex_init(&lane->lock, NULL) == 0 && pthread_cond_init(&lane->work, NULL) == 0 &&
          pthread_cond_init(&lane->ended, &attr) == 0);
    pthread_condattr_destroy(&attr);
    pthread_mutex_lock(&lane->lock);
    for (unsigned i = 0; i < threads && rc == 0; i++)
        rc = start_thread(lane);
    pthread_mutex_unlock(&lane->lock);
    if (rc == 0)
        return lane;
    err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot start a thread for lane %s: %s", name,
            strerror(rc));
    (void)flane_free(&lane, 1000);
    return NULL;
}

const char *flane_name(const struct flane *lane)
{
    return lane->name;
}

int flane_submit(struct flane *lane, struct fjob *j)
{
    pthread_mutex_lock(&lane->lock);
    bool full = lane->closing || lane->threads == 0 || lane->n_waiting >= lane->depth;
    if (!full) {
        j->state = FJOB_QUEUED;
        j->lane = lane;
        list_add(&lane->waiting, &j->link);
        lane->n_waiting++;
        pthread_cond_signal(&lane->work);
    }
    pthread_mutex_unlock(&lane->lock);
    return full ? -1 : 0;
}

enum fjob_state flane_abandon(struct flane *lane, struct fjob *j, bool replace)
{
    pthread_mutex_lock(&lane->lock);
    enum fjob_state was = j->state;
    if (was == FJOB_QUEUED) {
        list_del(&j->link);
        lane->n_waiting--;
        j->state = FJOB_IDLE;
    } else if (was == FJOB_RUNNING) {
        j->state = FJOB_ABANDONED;
        lane->threads--;
        lane->lost++;
        if (replace && !lane->closing)
            (void)start_thread(lane);
    }
    pthread_mutex_unlock(&lane->lock);
    return was;
}

bool flane_cancel(struct flane *lane, struct fjob *j)
{
    pthread_mutex_lock(&lane->lock);
    bool queued = j->state == FJOB_QUEUED;
    if (queued) {
        list_del(&j->link);
        lane->n_waiting--;
        j->state = FJOB_IDLE;
    }
    pthread_mutex_unlock(&lane->lock);
    return queued;
}

bool flane_free(struct flane **lp, uint64_t wait_ms)
{
    struct flane *lane = *lp;
    struct timespec until;
    int rc = 0;

    if (!lane)
        return true;
    *lp = NULL;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lane->lock);
    lane->closing = true;
    pthread_cond_broadcast(&lane->work);
    while (lane->threads && rc == 0)
        rc = pthread_cond_timedwait(&lane->ended, &lane->lock, &until);
    bool all = lane->threads == 0 && lane->lost == 0;
    lane->orphaned = true;
    pthread_mutex_unlock(&lane->lock);
    if (all)
        destroy(lane);
    return all;
}
