/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* loop.h - the event loop, its timers and signals, and the door by which other threads reach it.
 * Floor 1 (io). Threads: loop only, except loop_post().
 * Everything that runs protocols runs here and never blocks (DESIGN.md 3). */
#ifndef PH_IO_LOOP_H
#define PH_IO_LOOP_H
#include "appliance/base/err.h"
#include "appliance/base/list.h"
#include <stdint.h>

struct loop;
struct loop *loop_new(void);
void loop_run(struct loop *l);  /* until loop_stop(); then what is posted and closing is finished */
void loop_stop(struct loop *l); /* any time on the loop; loop_run returns soon */
void loop_free(
    struct loop **l); /* after loop_run; every conn, timer, listener, lane of it must be gone */
uint64_t loop_now_ms(
    struct loop *l); /* clock_mono_ms() read once a turn: for deadlines, not for measuring */
/* Turns the loop once (unit tests). wait: blocks until a socket, timer or post is ready. */
void loop_turn(struct loop *l, bool wait);

/* Runs fn(post) on the loop, from any thread; posts of one thread keep their order. The caller owns
 * the memory until fn runs. */
struct loop_post {
    struct loop_post *next; /* private */
    void (*fn)(struct loop_post *);
};
void loop_post(struct loop *l, struct loop_post *p, void (*fn)(struct loop_post *));
/* Runs fn(ctx) once at the end of this turn of the loop (loop thread only): for "later, never
 * before the call returns". */
struct loop_defer {
    struct list link; /* private; list_init() or zero before first use */
    void (*fn)(void *ctx);
    void *ctx;
};
void loop_defer(struct loop *l, struct loop_defer *d); /* queued at most once */
void loop_defer_cancel(struct loop_defer *d);

/* Timers follow clock_mono_ms(): a test replaces the clock, turns it and then the loop. */
struct timer;
struct timer *timer_new(struct loop *l, void (*on_fire)(void *ctx), void *ctx);
void timer_start(struct timer *t,
                 uint64_t after_ms); /* once; starting again moves it; cheap (lazy re-arm) */
void timer_stop(struct timer *t);
void timer_free(struct timer **t); /* on_fire is never called after this */

struct loop_signal; /* on_signal runs on the loop */
struct loop_signal *loop_signal_new(struct loop *l, int signum,
                                    void (*on_signal)(void *ctx, int signum), void *ctx);
void loop_signal_free(struct loop_signal **s);
#endif
