/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer_queue.c - operations that wait for the commit thread: handed in from any thread, taken
 * best class first. */
#include "appliance/store/committer.h"
#include <time.h>

enum { QUEUE_MAX = 16384 /* operations of a class that may wait */ };
/* A class is served while the batch is younger than this, and in any case once a batch: no class
 * starves another. */
static const uint64_t class_until_us[STORE_CLASSES] = {14000, 18000, 0};

static void queue_add(struct committer *c, struct store_op *op)
{
    list_add(&c->queue[op->cls], &op->link);
    c->stats.waiting[op->cls]++;
    if (op->cls != STORE_BULK)
        atomic_fetch_add_explicit(&c->urgent, 1, memory_order_relaxed);
}

static struct store_op *queue_pop(struct committer *c, enum store_class cls)
{
    struct store_op *op = LIST_ITEM(c->queue[cls].next, struct store_op, link);

    list_del(&op->link);
    c->stats.waiting[cls]--;
    if (cls != STORE_BULK)
        atomic_fetch_sub_explicit(&c->urgent, 1, memory_order_relaxed);
    return op;
}

struct store_op *committer_take(struct committer *c, struct batch *b)
{
    uint64_t age = clock_mono_us() - b->started_us;
    struct store_op *op = NULL;

    pthread_mutex_lock(&c->lock);
    for (int cls = 0; cls < STORE_CLASSES && !op; cls++) {
        if (list_empty(&c->queue[cls]) || (b->served[cls] && age >= class_until_us[cls]))
            continue;
        b->served[cls] = true;
        op = queue_pop(c, (enum store_class)cls);
    }
    pthread_mutex_unlock(&c->lock);
    return op;
}

void committer_requeue(struct committer *c, struct store_op *op)
{
    pthread_mutex_lock(&c->lock);
    queue_add(c, op);
    pthread_mutex_unlock(&c->lock);
}

static bool any_waits(const struct committer *c)
{
    for (int cls = 0; cls < STORE_CLASSES; cls++)
        if (!list_empty(&c->queue[cls]))
            return true;
    return false;
}

/* Monotonic, as the condition's clock. */
static struct timespec deadline(uint64_t ms)
{
    uint64_t at = clock_mono_ms() + ms;

    return (struct timespec){.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000};
}

enum committer_wait committer_wait(struct committer *c, uint64_t max_ms)
{
    struct timespec until = deadline(max_ms == UINT64_MAX ? 0 : max_ms);
    enum committer_wait rc = COMMITTER_WORK;

    pthread_mutex_lock(&c->lock);
    while (rc == COMMITTER_WORK && !any_waits(c)) {
        if (c->stopping)
            rc = COMMITTER_STOP;
        else if (max_ms == UINT64_MAX)
            pthread_cond_wait(&c->wake, &c->lock);
        else if (pthread_cond_timedwait(&c->wake, &c->lock, &until) != 0)
            rc = COMMITTER_TIME;
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* ---- From outside. */

static void op_reset(struct store_op *op)
{
    op->failed = op->rerun = op->again = op->settled = false;
    err_clear(&op->err);
}

static int refuse(struct store_op *op, enum err_why why, const char *text)
{
    op->failed = true;
    return ERR_WHY(&op->err, ERR_TEMP, why, "%s", text);
}

static int enqueue(struct store *s, struct store_op *op)
{
    struct committer *c = &s->committer;
    bool full;

    op_reset(op);
    if (atomic_load(&s->read_only))
        return refuse(op, ERR_WHY_READ_ONLY, "the store is read-only since a flush to disk failed");
    pthread_mutex_lock(&c->lock);
    full = c->stopping || c->stats.waiting[op->cls] >= QUEUE_MAX;
    if (!full) {
        queue_add(c, op);
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&c->lock);
    return full ? refuse(op, ERR_WHY_BUSY, "too much waits to be written") : 0;
}

int store_submit(struct store *s, struct store_op *op)
{
    op->waited_for = false;
    return enqueue(s, op);
}

void store_wait(struct store *s, const struct store_op *op)
{
    struct committer *c = &s->committer;

    pthread_mutex_lock(&c->lock);
    while (!op->settled)
        pthread_cond_wait(&c->settled, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

int store_submit_wait(struct store *s, struct store_op *op)
{
    op->waited_for = true;
    if (enqueue(s, op) != 0)
        return -1;
    store_wait(s, op);
    return op->failed ? -1 : 0;
}

void committer_add(struct store *s, struct store_op *op)
{
    struct committer *c = &s->committer;

    op_reset(op);
    op->waited_for = false;
    pthread_mutex_lock(&c->lock);
    queue_add(c, op);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

bool committer_stopping(struct store *s)
{
    struct committer *c = &s->committer;

    pthread_mutex_lock(&c->lock);
    bool stopping = c->stopping;
    pthread_mutex_unlock(&c->lock);
    return stopping;
}

void store_stats(struct store *s, struct store_stats *out)
{
    pthread_mutex_lock(&s->committer.lock);
    *out = s->committer.stats;
    pthread_mutex_unlock(&s->committer.lock);
}
