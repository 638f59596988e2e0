/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* kv.c - the small table of a stage: whole in memory, written behind to table stage_kv. What is
 * lost in a crash is the last second. What other nodes write comes as news (kv_news.c). */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/store.h"
#include "filters/kv_private.h"

enum { KEY_MAX = 256, WRITE_AFTER_MS = 1000, BATCH = 2000 };

struct row {
    struct str key, value;
    int64_t until;
    bool deleted;
};
struct write {
    struct store_op op;
    struct kv *kv;
    const char *stage;
    char table[NEWS_TABLE_MAX + 1];
    struct arena *arena;
    struct row *rows;
    size_t n;
};

/* ---- The map, under the lock. */

struct entry *kv_entry_new(struct str key, struct str value, int64_t until)
{
    struct entry *e = mem_alloc(sizeof *e + key.n + value.n);

    list_init(&e->link);
    memcpy(e->bytes, key.p, key.n);
    if (value.n)
        memcpy(e->bytes + key.n, value.p, value.n);
    e->key = str_of(e->bytes, key.n);
    e->value = str_of(e->bytes + key.n, value.n);
    e->until = until;
    return e;
}

void kv_entry_drop(struct kv *kv, struct entry *e)
{
    if (!list_empty(&e->link))
        kv->n_dirty--;
    kv->n_deleted -= e->deleted;
    list_del(&e->link);
    map_del(kv->map, e->key);
    mem_free(e);
}

bool kv_lives(const struct entry *e, int64_t now)
{
    return e && !e->deleted && (e->until == 0 || e->until > now);
}

/* What is over makes room. Its row goes with the next start. */
void kv_expire(struct kv *kv, int64_t now)
{
    struct str key;
    void *value;
    size_t at = 0;

    while (map_next(kv->map, &at, &key, &value)) {
        struct entry *e = value;
        if (!e->deleted && !kv_lives(e, now))
            kv_entry_drop(kv, e);
    }
}

static void on_posted(struct loop_post *p);

void kv_mark(struct kv *kv, struct entry *e)
{
    if (list_empty(&e->link)) {
        list_add(&kv->dirty, &e->link);
        kv->n_dirty++;
    }
    if (kv->posted || kv->memory_only)
        return;
    kv->posted = true;
    loop_post(kv->filters->env.loop, &kv->post, on_posted);
}

static int put(struct kv *kv, struct str key, struct str value, int64_t until, bool deleted)
{
    int64_t now = clock_wall_ms();
    struct entry *old = map_get(kv->map, key), *e;

    if (!old && deleted)
        return 0;
    if (!old && map_count(kv->map) >= KV_ENTRIES_MAX)
        kv_expire(kv, now);
    if (!old && map_count(kv->map) >= KV_ENTRIES_MAX)
        return -1;
    e = kv_entry_new(key, value, until);
    e->deleted = deleted;
    if (old)
        kv_entry_drop(kv, old);
    map_set(kv->map, e->key, e);
    kv->n_deleted += deleted;
    kv_mark(kv, e);
    return 0;
}

/* ---- Writing behind. */

static int write_row(struct sql *db, struct write *w, const struct row *r, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM stage_kv WHERE stage = ? AND k = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(w->stage));
    sql_bind_blob(st, 2, r->key);
    if (sql_run(st, err) || r->deleted)
        return err->kind ? -1 : 0;
    if (sql_prepare(db, "INSERT INTO stage_kv(stage, k, v, until) VALUES (?, ?, ?, ?)", &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(w->stage));
    sql_bind_blob(st, 2, r->key);
    sql_bind_blob(st, 3, r->value);
    sql_bind_int(st, 4, r->until);
    return sql_run(st, err);
}

static int run_write(struct store_op *op, struct store_tx *tx)
{
    struct write *w = CONTAINER_OF(op, struct write, op);

    err_clear(&op->err);
    for (size_t i = 0; i < w->n; i++) {
        if (write_row(store_tx_sql(tx), w, &w->rows[i], &op->err))
            return -1;
        news_tell(tx, w->table, w->rows[i].key);
    }
    return STORE_DONE;
}

/* Under the lock: takes up to BATCH entries off the dirty list. */
static struct write *collect(struct kv *kv, size_t max)
{
    struct write *w = MEM_NEW(struct write);

    w->arena = arena_new(0);
    w->stage = kv->stage;
    kv_news_table(kv->owner, w->table);
    w->rows = ARENA_ARRAY(w->arena, struct row, kv->n_dirty < max ? kv->n_dirty : max);
    while (!list_empty(&kv->dirty) && w->n < max) {
        struct entry *e = LIST_ITEM(kv->dirty.next, struct entry, link);
        w->rows[w->n++] = (struct row){arena_str(w->arena, e->key), arena_str(w->arena, e->value),
                                       e->until, e->deleted};
        list_del(&e->link);
        kv->n_dirty--;
        if (e->deleted)
            kv_entry_drop(kv, e);
    }
    return w;
}

static void write_free(struct write *w)
{
    arena_free(&w->arena);
    mem_free(w);
}

static void kv_dispose(struct kv *kv)
{
    struct str key;
    void *value;
    size_t at = 0;

    while (map_next(kv->map, &at, &key, &value))
        mem_free(value);
    map_free(&kv->map);
    timer_free(&kv->timer);
    pthread_mutex_destroy(&kv->lock);
    mem_free(kv);
}

static void on_written(struct store_op *op)
{
    struct write *w = CONTAINER_OF(op, struct write, op);
    struct kv *kv = w->kv;

    if (op->failed)
        log_warn(&(struct log_ctx){.module = "filters"}, "kv_not_written", L_Z("stage", w->stage),
                 L_Z("why", op->err.text));
    write_free(w);
    kv->write = NULL;
    news_write_end(kv->news);
    pthread_mutex_lock(&kv->lock);
    bool more = kv->n_dirty > 0, posted = kv->posted;
    pthread_mutex_unlock(&kv->lock);
    if (kv->closed && !posted)
        kv_dispose(kv);
    else if (more && !kv->closed)
        timer_start(kv->timer, WRITE_AFTER_MS);
}

void kv_write(void *ctx)
{
    struct kv *kv = ctx;

    if (kv->write)
        return; /* on_written goes on */
    if (!news_write_begin(kv->news))
        return; /* it is called again */
    pthread_mutex_lock(&kv->lock);
    struct write *w = collect(kv, BATCH);
    pthread_mutex_unlock(&kv->lock);
    w->kv = kv;
    w->op =
        (struct store_op){.run = run_write, .done = on_written, .cls = STORE_BULK, .upserts = true};
    kv->write = w;
    if (store_submit(kv->filters->env.store, &w->op) == 0)
        return;
    w->op.failed = true;
    on_written(&w->op);
}

static void on_posted(struct loop_post *p)
{
    struct kv *kv = CONTAINER_OF(p, struct kv, post);

    pthread_mutex_lock(&kv->lock);
    kv->posted = false;
    pthread_mutex_unlock(&kv->lock);
    if (kv->closed && !kv->write)
        kv_dispose(kv);
    else if (!kv->closed && !kv->write)
        timer_start(kv->timer, WRITE_AFTER_MS);
}

static void flush(struct kv *kv)
{
    if (!kv || !kv->filters->env.store)
        return;
    pthread_mutex_lock(&kv->lock);
    struct write *w = collect(kv, SIZE_MAX);
    pthread_mutex_unlock(&kv->lock);
    w->op = (struct store_op){.run = run_write, .cls = STORE_INTERACTIVE, .upserts = true};
    if (w->n && store_submit_wait(kv->filters->env.store, &w->op))
        log_warn(&(struct log_ctx){.module = "filters"}, "kv_not_written", L_Z("stage", w->stage),
                 L_Z("why", w->op.err.text));
    write_free(w);
}

void kv_orphan(struct kv *kv)
{
    flush(kv);
    timer_free(&kv->timer);
    news_close(&kv->news);
    pthread_mutex_lock(&kv->lock);
    kv->memory_only = true;
    pthread_mutex_unlock(&kv->lock);
}

void kv_close(struct kv **kvp)
{
    struct kv *kv = *kvp;

    if (!kv)
        return;
    *kvp = NULL;
    flush(kv);
    timer_free(&kv->timer);
    news_close(&kv->news);
    kv->closed = true;
    if (!kv->write && !kv->posted) /* else at their answer */
        kv_dispose(kv);
}

/* ---- Reading it at the start. */

static int load_rows(struct kv *kv, struct sql *db, struct err *err)
{
    int64_t now = clock_wall_ms();
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT k, v, until FROM stage_kv WHERE stage = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(kv->stage));
    while ((rc = sql_step(st, err)) == 1) {
        struct entry *e = kv_entry_new(sql_blob(st, 0), sql_blob(st, 1), sql_int(st, 2));
        void *old = map_set(kv->map, e->key, e);
        mem_free(old);
        if (!kv_lives(e, now)) {
            e->deleted = true;
            kv->n_deleted++;
            kv_mark(kv, e);
        }
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int kv_open(struct stage *s, struct kv **out, struct err *err)
{
    struct filters *f = s->filters;
    char table[NEWS_TABLE_MAX + 1];
    struct kv *kv = MEM_NEW(struct kv);
    struct store_reader *r;
    int rc = 0;

    kv->filters = f;
    kv->owner = s;
    kv->stage = stage_def(s)->name;
    kv->memory_only = !f->env.store;
    kv->map = map_new();
    list_init(&kv->dirty);
    pthread_mutexattr_t attr; /* a visitor of kv_each may ask for another key */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    CHECK(pthread_mutex_init(&kv->lock, &attr) == 0);
    pthread_mutexattr_destroy(&attr);
    kv->timer = timer_new(f->env.loop, kv_write, kv);
    *out = kv;
    if (!f->env.store)
        return 0;
    kv_news_table(s, table);
    kv->news = news_open(f->env.store, table, &kv_news, kv);
    rc = store_reader_open(f->env.store, &r, err);
    if (rc == 0) {
        rc = load_rows(kv, store_reader_sql(r), err);
        store_reader_close(&r);
    }
    if (rc)
        kv_close(out);
    return rc;
}

/* ---- For stages. [any] */

static struct kv *kv_of(const struct ph_host *h)
{
    return ((const struct stage *)(const void *)((const char *)h - offsetof(struct stage, host)))
        ->kv;
}

static int64_t host_get(const struct ph_host *h, const void *key, size_t key_n, void *to,
                        size_t room)
{
    struct kv *kv = kv_of(h);
    int64_t n = -1;

    if (!kv || !key)
        return -1;
    pthread_mutex_lock(&kv->lock);
    const struct entry *e = map_get(kv->map, str_of(key, key_n));
    if (kv_lives(e, clock_wall_ms())) {
        n = (int64_t)e->value.n;
        if (to && e->value.n)
            memcpy(to, e->value.p, e->value.n < room ? e->value.n : room);
    }
    pthread_mutex_unlock(&kv->lock);
    return n;
}

static size_t host_count(const struct ph_host *h)
{
    struct kv *kv = kv_of(h);
    size_t n = 0;

    if (!kv)
        return 0;
    pthread_mutex_lock(&kv->lock);
    n = map_count(kv->map) - kv->n_deleted;
    pthread_mutex_unlock(&kv->lock);
    return n;
}

static int host_set(const struct ph_host *h, const void *key, size_t key_n, const void *value,
                    size_t n, uint64_t keep_ms)
{
    struct kv *kv = kv_of(h);

    if (!kv || !key || !key_n || key_n > KEY_MAX || n > KV_VALUE_MAX || (n && !value))
        return -1;
    if (keep_ms > INT64_MAX / 2)
        keep_ms = 0;
    pthread_mutex_lock(&kv->lock);
    int rc = put(kv, str_of(key, key_n), str_of(value, n),
                 keep_ms ? clock_wall_ms() + (int64_t)keep_ms : 0, false);
    pthread_mutex_unlock(&kv->lock);
    return rc;
}

static int host_delete(const struct ph_host *h, const void *key, size_t key_n)
{
    struct kv *kv = kv_of(h);

    if (!kv || !key || !key_n || key_n > KEY_MAX)
        return -1;
    pthread_mutex_lock(&kv->lock);
    int rc = put(kv, str_of(key, key_n), STR_NULL, 0, true);
    pthread_mutex_unlock(&kv->lock);
    return rc;
}

static void host_each(const struct ph_host *h,
                      bool (*fn)(void *ctx, const void *key, size_t key_n, const void *value,
                                 size_t n),
                      void *ctx)
{
    struct kv *kv = kv_of(h);
    int64_t now = clock_wall_ms();
    struct str key;
    void *value;
    size_t at = 0;

    if (!kv)
        return;
    pthread_mutex_lock(&kv->lock);
    while (map_next(kv->map, &at, &key, &value)) {
        const struct entry *e = value;
        if (kv_lives(e, now) && !fn(ctx, e->key.p, e->key.n, e->value.p, e->value.n))
            break;
    }
    pthread_mutex_unlock(&kv->lock);
}

void kv_host(struct ph_host *h)
{
    h->kv_get = host_get;
    h->kv_set = host_set;
    h->kv_delete = host_delete;
    h->kv_each = host_each;
    h->kv_count = host_count;
}
