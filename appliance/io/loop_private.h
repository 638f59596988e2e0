/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* loop_private.h - what the files of this room know of the loop and its timers.
 * Floor 1 (io), private to this folder. Threads: loop only, except posted and post_last under
 * post_lock. */
#ifndef PH_IO_LOOP_PRIVATE_H
#define PH_IO_LOOP_PRIVATE_H
#include "appliance/io/loop.h"
#include <pthread.h>
#include <uv.h>

enum {
    LOOP_READ_SIZE = 64 * 1024, /* one read of a socket */
    /* Room before it, so that a half line held from the last read can be put in front of the new
       bytes. */
    LOOP_READ_HEAD = 16 * 1024
};

/* `armed` is the key in the heap, `due` when it shall fire. A later `due` is noticed when `armed`
 * comes. */
struct timer {
    struct loop *loop;
    void (*on_fire)(void *ctx);
    void *ctx;
    uint64_t due_ms, armed_ms; /* due_ms 0: stopped */
    size_t at;                 /* place in the heap + 1; 0: not in it */
};
void timer_init(struct timer *t, struct loop *l, void (*on_fire)(void *ctx), void *ctx);
void timer_fini(struct timer *t);
void timers_run(struct loop *l);
bool timers_next(const struct loop *l, uint64_t *at_ms_out);
void timers_fini(struct loop *l);

/* A connection without an owner that still sends: dropped when the loop ends. */
struct loop_linger {
    struct list link;
    void (*drop)(struct loop_linger *g);
};

struct loop_tls; /* conn_tls.c: what all TLS connections of a loop share */

struct loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;   /* active: the next poll doesn't block */
    uv_timer_t alarm; /* limits the poll to the earliest timer */
    uint64_t alarm_ms;
    pthread_mutex_t post_lock;
    struct loop_post *posted, **post_last;
    struct list later;   /* struct loop_defer: user code */
    struct list flushes; /* struct loop_defer: output, after user code has had its say */
    struct list lingering;
    struct list listeners, lanes; /* for their figures */
    struct timer **heap;
    size_t heap_n, heap_cap;
    uint64_t now_ms, uv_seen;
    uint64_t measured_us, idle_us; /* for the time a turn takes */
    size_t closing; /* handles of conns, listeners, signals whose close callback is still to come */
    bool turning, firing, stop, hurry;
    char *read_mem;
    struct loop_tls *tls;
    void (*tls_free)(struct loop_tls *t);
};

void loop_defer_last(struct loop *l, struct loop_defer *d); /* as loop_defer, in `flushes` */
char *loop_read_buf(struct loop *l); /* LOOP_READ_SIZE bytes, and LOOP_READ_HEAD before them */
void loop_close(struct loop *l, uv_handle_t *h,
                uv_close_cb on_closed); /* on_closed calls loop_closed */
void loop_closed(struct loop *l);
#endif
