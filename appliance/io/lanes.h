/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* lanes.h - named groups of threads with bounded queues, for whatever can block (DESIGN.md 3).
 * Floor 1 (io). Threads: lane_submit on the loop (or any thread, see below); run() on a worker of
 * the lane; done() on the loop, later, exactly once for each accepted job, in the order the jobs
 * finished. Ownership: a job is embedded in the caller's struct and is the caller's again in
 * done(). A job touches only its own fields while it runs: no locks in session code. Whoever may
 * vanish meanwhile keeps a reference for the job. Errors: a full lane refuses at once (-1); the
 * caller answers "try again later". */
#ifndef PH_IO_LANES_H
#define PH_IO_LANES_H
#include "appliance/io/loop.h"

struct lane;
struct lane_conf {
    const char *name; /* static; thread name and metrics */
    unsigned threads; /* 1..64 */
    unsigned depth;   /* jobs that may wait */
    /* What each worker owns (a database connection): made on the worker before its first job, ended
     * on the worker at its end. NULL functions: none. thread_open reports failure by log and
     * returns NULL; jobs then see worker == NULL. */
    void *(*thread_open)(void *ctx);
    void (*thread_close)(void *ctx, void *worker);
    void *ctx;
};
struct job { /* zero it before first use */
    void (*run)(struct job *j, void *worker);
    void (*done)(struct job *j); /* NULL: none; then run() may free the job */
    /* private */
    struct loop_post post;
    struct list link;
    struct lane *lane;
    uint64_t queued_us;
};
struct lane *lane_new(struct loop *l, const struct lane_conf *conf, struct err *err);
int lane_submit(struct lane *lane, struct job *j)
    __attribute__((warn_unused_result)); /* 0, or -1: full or stopping */
/* Removes a job that no worker has begun: true, and done() will not run. */
bool lane_cancel(struct lane *lane, struct job *j);
/* Finishes what is queued, joins the threads. done()s still on their way are delivered by the loop
 * afterwards (loop_turn). */
void lane_free(struct lane **lane);
struct lane_stats {
    unsigned waiting, running;
    uint64_t jobs, refused, wait_us_total, wait_us_max;
};
void lane_stats(struct lane *lane, struct lane_stats *out); /* any thread */
/* All lanes of this loop, several of which may have one name. Loop. */
void lanes_each(struct loop *l,
                void (*fn)(void *ctx, const struct lane_conf *conf, const struct lane_stats *st),
                void *ctx);
#endif
