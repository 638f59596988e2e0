/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* watchdog.c - a thread that looks whether the loop is stuck in a stage. Nothing else could: a loop
 * that doesn't turn serves nobody, so the process ends and says by whose fault. */
#include "appliance/base/clock.h"
#include "filters/private.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { LAST_WORDS_MS = 200 };

struct watchdog {
    uint64_t limit_ms;
    atomic_uint_fast64_t since; /* ms; 0: the loop is in no stage */
    _Atomic(const char *) stage;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under lock */
};

static void look(struct watchdog *w)
{
    uint64_t since = atomic_load(&w->since), now = clock_mono_ms();

    if (!since || now < since || now - since < w->limit_ms)
        return;
    const char *stage = atomic_load(&w->stage);
    if (atomic_load(&w->since) != since)
        return;
    log_error(
        &(struct log_ctx){.module = "filters"}, "stage_blocks_loop", L_Z("stage", stage),
        L_UINT("ms", now - since),
        L_Z("note", "a stage must never block in on_point; it may in work. The server ends."));
    log_flush(LAST_WORDS_MS);
    abort();
}

static void *watch(void *arg)
{
    struct watchdog *w = arg;
    uint64_t every_ms = w->limit_ms / 4 < 1000 ? w->limit_ms / 4 : 1000;

    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        uint64_t ns = (uint64_t)at.tv_nsec + every_ms * 1000000;
        at.tv_sec += (time_t)(ns / 1000000000);
        at.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&w->wake, &w->lock, &at);
        if (!w->stop)
            look(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watchdog *watchdog_new(uint64_t limit_ms)
{
    struct watchdog *w = MEM_NEW(struct watchdog);
    pthread_condattr_t attr;
    sigset_t all, before;

    w->limit_ms = limit_ms;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->wake, &attr) == 0);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&w->thread, NULL, watch, w) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(w->thread, "watchdog");
    return w;
}

void watchdog_free(struct watchdog **wp)
{
    struct watchdog *w = *wp;

    if (!w)
        return;
    *wp = NULL;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

void watchdog_enter(struct watchdog *w, const char *stage)
{
    if (!w)
        return;
    atomic_store_explicit(&w->stage, stage, memory_order_relaxed);
    atomic_store_explicit(&w->since, clock_mono_ms(), memory_order_release);
}

void watchdog_leave(struct watchdog *w)
{
    if (w)
        atomic_store_explicit(&w->since, 0, memory_order_release);
}
