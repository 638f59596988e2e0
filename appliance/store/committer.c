/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer.c - the commit thread: group commit of operations. This is where a message becomes
 * durable (commit_members). A batch takes what waits, best class first, until 20 ms of work are
 * done; each member runs in a savepoint, so a failing one answers for itself; COMMIT flushes; then
 * all are answered by one post to the loop. While COMMIT runs, the next batch gathers in the queues
 * by itself: no timer, no delay. The first member needs no savepoint: if it fails, the transaction
 * holds nothing else. */
#include "appliance/base/metrics.h"
#include "appliance/store/store_private.h"

enum {
    QUEUE_MAX = 16384, /* operations of a class that may wait */
    WAL_WARN = 64 << 20,
    WAL_WARN_EVERY_MS = 60000
};
/* A class is served while the batch is younger than this, and in any case once a batch: no class
 * starves another. */
static const uint64_t class_until_us[STORE_CLASSES] = {14000, 18000, 0};

static const uint64_t commit_us[] = {250,   500,   1000,   2000,   5000,   10000,
                                     20000, 50000, 100000, 250000, 1000000};
static const uint64_t batch_ops[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024};
METRIC_BUCKETS(commit_time, commit_us, .name = "posthouse_store_commit_seconds", .scale = 6,
               .help = "How long a commit of the store took, with its flush.");
METRIC_BUCKETS(batch_size, batch_ops, .name = "posthouse_store_batch_operations",
               .help = "Operations that one commit made durable.");

struct batch {
    uint64_t started_us;
    bool served[STORE_CLASSES];
    unsigned n_members;
    struct list members; /* ran, not committed */
    struct list settled; /* to be answered */
    struct buf changed;  /* mailbox ids */
};
struct answers {
    struct loop_post post;
    struct store *store;
    struct list ops;
    size_t n_changed;
    uint64_t changed[];
};

/* ---- Answers. */

static void on_answers(struct loop_post *p)
{
    struct answers *a = CONTAINER_OF(p, struct answers, post);

    while (!list_empty(&a->ops)) {
        struct store_op *op = LIST_ITEM(a->ops.next, struct store_op, link);
        list_del(&op->link);
        if (op->done)
            op->done(op);
    }
    if (!a->store->closed)
        watches_tell(a->store, a->changed, a->n_changed);
    store_unref(a->store);
    mem_free(a);
}

static void answer_waiting(struct committer *c, struct batch *b)
{
    bool any = false;

    pthread_mutex_lock(&c->lock);
    LIST_EACH(&b->settled, it)
    {
        struct store_op *op = LIST_ITEM(it, struct store_op, link);
        c->stats.failed += op->failed;
        if (!op->waited_for)
            continue;
        list_del(&op->link);
        op->settled = any = true;
    }
    if (any)
        pthread_cond_broadcast(&c->settled);
    pthread_mutex_unlock(&c->lock);
}

static void answer(struct store *s, struct batch *b)
{
    size_t n_changed = b->changed.n / sizeof(uint64_t);

    answer_waiting(&s->committer, b);
    if (list_empty(&b->settled) && n_changed == 0)
        return;
    struct answers *a = mem_alloc(sizeof *a + b->changed.n);
    a->store = s;
    store_ref(s);
    list_init(&a->ops);
    while (!list_empty(&b->settled)) {
        struct list *it = b->settled.next;
        list_del(it);
        list_add(&a->ops, it);
    }
    a->n_changed = n_changed;
    if (n_changed)
        memcpy(a->changed, b->changed.p, b->changed.n);
    buf_clear(&b->changed);
    loop_post(s->loop, &a->post, on_answers);
}

/* ---- Queues. */

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

static struct store_op *take(struct committer *c, struct batch *b)
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

/* False: stopping, and nothing waits. */
static bool wait_for_work(struct committer *c)
{
    bool work = false;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        for (int cls = 0; cls < STORE_CLASSES; cls++)
            work = work || !list_empty(&c->queue[cls]);
        if (work || c->stopping)
            break;
        pthread_cond_wait(&c->wake, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return work;
}

/* ---- Members. */

static void settle(struct store *s, struct batch *b, struct store_op *op)
{
    struct committer *c = &s->committer;

    if (op->again && !op->failed) {
        op->rerun = false;
        op->cls = STORE_BULK;
        pthread_mutex_lock(&c->lock);
        queue_add(c, op);
        pthread_mutex_unlock(&c->lock);
        return;
    }
    if (op->on_settled)
        op->on_settled(s, op);
    list_add(&b->settled, &op->link);
}

static void settle_failed(struct store *s, struct batch *b, struct store_op *op,
                          const struct err *err)
{
    op->failed = true;
    if (err)
        op->err = *err;
    settle(s, b, op);
}

enum member_end {
    MEMBER_RAN,
    MEMBER_FAILED, /* undone; the others are as they were */
    MEMBER_LOST    /* it failed and took the whole transaction with it */
};

static int member_begin(struct store_tx *tx, bool first, struct err *err)
{
    if (first)
        return sql_begin(tx->db, true, err);
    return sql_savepoint(tx->db, err);
}

static enum member_end member_run(struct store_tx *tx, struct store_op *op)
{
    bool first = !sql_in_transaction(tx->db);

    op->again = false;
    if (member_begin(tx, first, &op->err) != 0)
        return first || sql_in_transaction(tx->db) ? MEMBER_FAILED : MEMBER_LOST;
    tx_member_begin(tx);
    int rc = op->run(op, tx);
    if (rc >= 0 && tx_member_end(tx, &op->err) == 0 &&
        (first || sql_savepoint_release(tx->db, &op->err) == 0)) {
        op->again = rc == STORE_AGAIN;
        return MEMBER_RAN;
    }
    tx_member_undo(tx);
    struct err ignored;
    if (!first && sql_in_transaction(tx->db) && sql_savepoint_rollback(tx->db, &ignored) == 0)
        return MEMBER_FAILED;
    sql_rollback(tx->db);
    tx_forget(tx);
    return first ? MEMBER_FAILED : MEMBER_LOST;
}

/* ---- Commit. */

static void fail_all(struct store *s, struct batch *b)
{
    struct committer *c = &s->committer;
    struct err err;

    if (!atomic_exchange(&s->read_only, true))
        log_error(&store_log, "store-read-only",
                  L_Z("why", "a flush to disk failed: nothing is written until a restart"));
    err_set(&err, ERR_TEMP, ERR_WHY_READ_ONLY,
            "the store is read-only since a flush to disk failed");
    while (!list_empty(&b->members)) {
        struct list *it = b->members.next;
        list_del(it);
        settle_failed(s, b, LIST_ITEM(it, struct store_op, link), &err);
    }
    b->n_members = 0;
    for (struct store_op *op; (op = take(c, b)); memset(b->served, 0, sizeof b->served))
        settle_failed(s, b, op, &err);
}

static void collect_changed(struct store_tx *tx, struct batch *b)
{
    LIST_EACH(&tx->mailbox_list, it)
    {
        struct tx_mailbox *m = LIST_ITEM(it, struct tx_mailbox, link);
        if (m->changed)
            buf_add(&b->changed, &m->id, sizeof m->id);
    }
    buf_add_str(&b->changed, buf_str(&tx->told));
}

/* 0: what the members did is on stable storage. -1: nothing of it happened. */
static int commit_tx(struct store *s, struct store_tx *tx, struct batch *b, struct err *err)
{
    struct committer *c = &s->committer;
    uint64_t began = clock_mono_us();

    if (tx_flush(tx, err) != 0 || sql_commit(tx->db, err) != 0) {
        sql_rollback(tx->db);
        tx_forget(tx);
        return -1;
    }
    uint64_t took = clock_mono_us() - began;
    metric_observe(&commit_time, took);
    metric_observe(&batch_size, b->n_members);
    tx_committed(tx);
    collect_changed(tx, b);
    tx_forget(tx);
    pthread_mutex_lock(&c->lock);
    c->stats.batches++;
    c->stats.ops += b->n_members;
    c->stats.commit_us_total += took;
    if (took > c->stats.commit_us_max)
        c->stats.commit_us_max = took;
    if (b->n_members > c->stats.batch_ops_max)
        c->stats.batch_ops_max = b->n_members;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

/* The transaction is gone: each of its members gets one of its own. */
static void retry_alone(struct store *s, struct store_tx *tx, struct batch *b)
{
    struct list again;

    list_init(&again);
    while (!list_empty(&b->members)) {
        struct list *it = b->members.next;
        list_del(it);
        list_add(&again, it);
    }
    while (!list_empty(&again)) {
        struct store_op *op = LIST_ITEM(again.next, struct store_op, link);
        list_del(&op->link);
        op->rerun = true;
        b->n_members = 1;
        if (atomic_load(&s->read_only) || sql_flush_failed(tx->db))
            list_add(&b->members, &op->link); /* fail_all answers it */
        else if (member_run(tx, op) == MEMBER_RAN && commit_tx(s, tx, b, &op->err) == 0)
            settle(s, b, op);
        else
            settle_failed(s, b, op, NULL);
    }
}

static void commit_members(struct store *s, struct store_tx *tx, struct batch *b)
{
    struct err err = {0};

    if (!sql_in_transaction(tx->db))
        return;
    if (commit_tx(s, tx, b, &err) == 0) {
        while (!list_empty(&b->members)) {
            struct list *it = b->members.next;
            list_del(it);
            settle(s, b, LIST_ITEM(it, struct store_op, link));
        }
    } else if (b->n_members == 1) {
        struct list *it = b->members.next;
        list_del(it);
        settle_failed(s, b, LIST_ITEM(it, struct store_op, link), &err);
    } else if (!sql_flush_failed(tx->db)) {
        log_warn(&store_log, "batch-failed", L_Z("why", err.text), L_UINT("ops", b->n_members));
        retry_alone(s, tx, b);
    }
}

static void run_batch(struct store *s, struct store_tx *tx)
{
    struct committer *c = &s->committer;
    struct batch b = {.started_us = clock_mono_us()};

    list_init(&b.members);
    list_init(&b.settled);
    buf_init(&b.changed, SIZE_MAX / 2);
    for (struct store_op *op; !sql_flush_failed(tx->db) && (op = take(c, &b));) {
        enum member_end end = member_run(tx, op);
        if (end == MEMBER_RAN) {
            list_add(&b.members, &op->link);
            b.n_members++;
            continue;
        }
        settle_failed(s, &b, op, NULL);
        if (end == MEMBER_LOST)
            retry_alone(s, tx, &b);
    }
    commit_members(s, tx, &b);
    if (sql_flush_failed(tx->db))
        fail_all(s, &b);
    answer(s, &b);
    buf_fini(&b.changed);
}

/* ---- Between batches: the WAL. */

static void warn_of_wal(struct store *s, int64_t bytes)
{
    uint64_t now = clock_mono_ms(), oldest = now;

    if (s->committer.wal_warned_ms && now - s->committer.wal_warned_ms < WAL_WARN_EVERY_MS)
        return;
    s->committer.wal_warned_ms = now;
    pthread_mutex_lock(&s->readers_lock);
    LIST_EACH(&s->readers, it)
    {
        uint64_t since = atomic_load(&LIST_ITEM(it, struct store_reader, link)->since);
        if (since && since < oldest)
            oldest = since;
    }
    pthread_mutex_unlock(&s->readers_lock);
    log_warn(&store_log, "wal-large", L_INT("bytes", bytes),
             L_UINT("oldest_reader_ms", now - oldest));
}

static void tend_wal(struct store *s, struct sql *db)
{
    struct committer *c = &s->committer;
    struct err err;
    int64_t bytes;

    if (sql_wal_checkpoint(db, atomic_load(&c->urgent) == 0, &err) != 0)
        log_warn(&store_log, "checkpoint-failed", L_Z("why", err.text));
    bytes = sql_wal_bytes(db);
    if (bytes > WAL_WARN) {
        warn_of_wal(s, bytes);
        if (atomic_load(&c->urgent) == 0 && sql_wal_truncate(db, &err) != 0)
            log_warn(&store_log, "checkpoint-failed", L_Z("why", err.text));
    }
    if (atomic_load(&s->tight))
        atomic_store(&s->spare, sql_free_bytes(db));
    pthread_mutex_lock(&c->lock);
    c->stats.wal_bytes = bytes;
    pthread_mutex_unlock(&c->lock);
}

static void commit_thread(struct job *j, void *worker)
{
    struct store *s = CONTAINER_OF(j, struct store, committer.job);
    struct committer *c = &s->committer;
    struct store_tx tx;

    (void)worker;
    tx_init(&tx, s, c->db);
    while (wait_for_work(c)) {
        run_batch(s, &tx);
        if (!sql_flush_failed(c->db))
            tend_wal(s, c->db);
    }
    tx_fini(&tx);
}

/* ---- From outside. */

int committer_start(struct store *s, struct err *err)
{
    struct committer *c = &s->committer;

    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    CHECK(pthread_cond_init(&c->wake, NULL) == 0);
    CHECK(pthread_cond_init(&c->settled, NULL) == 0);
    for (int i = 0; i < STORE_CLASSES; i++)
        list_init(&c->queue[i]);
    c->started = true;
    c->lane =
        lane_new(s->loop, &(struct lane_conf){.name = "commit", .threads = 1, .depth = 1}, err);
    if (!c->lane)
        return -1;
    c->job.run = commit_thread;
    return lane_submit(c->lane, &c->job) == 0 ? 0
                                              : ERR(err, ERR_BUG, "commit lane refused its job");
}

void committer_stop(struct store *s)
{
    struct committer *c = &s->committer;

    if (!c->started)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    lane_free(&c->lane);
    pthread_cond_destroy(&c->settled);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    c->started = false;
}

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

int store_submit_wait(struct store *s, struct store_op *op)
{
    struct committer *c = &s->committer;

    op->waited_for = true;
    if (enqueue(s, op) != 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    while (!op->settled)
        pthread_cond_wait(&c->settled, &c->lock);
    pthread_mutex_unlock(&c->lock);
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
