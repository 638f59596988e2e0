/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_keys.h"
#include "appliance/base/mem.h"

enum { RETRY = 1000 };

struct dkim_keys {
    const struct ph_host *host;
    struct store *store;
    struct dkim_ring *ring; /* NULL: nothing was read */
    void (*on_rows)(void *ctx, const struct dkim_row *rows, size_t n);
    void *ctx;
    struct store_watch watch;
    struct load *load; /* under way */
    bool again;        /* something changed since it began */
};

struct load { /* a job of the store's readers */
    struct job job;
    struct dkim_keys *keys; /* NULL: the stage is closed */
    struct arena *arena;
    struct dkim_row *rows;
    size_t n;
    struct dkim_ring *ring;
    struct err err;
    bool failed;
};

static void load_free(struct load *l)
{
    dkim_ring_unref(&l->ring);
    arena_free(&l->arena);
    mem_free(l);
}

static void read_keys(struct load *l, struct store_reader *r)
{
    l->failed = dkim_rows_read(store_reader_sql(r), l->arena, STR_NULL, true, &l->rows, &l->n,
                               &l->err) != 0;
    if (!l->failed)
        l->ring = dkim_ring_new(l->rows, l->n);
}

static void take_keys(struct dkim_keys *k, struct load *l)
{
    dkim_ring_unref(&k->ring);
    k->ring = l->ring;
    l->ring = NULL;
    if (k->on_rows)
        k->on_rows(k->ctx, l->rows, l->n);
}

static void load_run(struct job *j, void *worker)
{
    struct load *l = CONTAINER_OF(j, struct load, job);

    if (worker)
        read_keys(l, worker);
    else
        l->failed = ERR(&l->err, ERR_TEMP, "the database can't be read") != 0;
}

static void load_begin(struct dkim_keys *k);

static void on_retry(void *inst, ph_turn turn, void *arg)
{
    (void)inst;
    (void)turn;
    load_begin(arg);
}

static void load_later(struct dkim_keys *k, const char *why)
{
    k->host->log(k->host, NULL, PH_LOG_WARN, "keys not read: %s", why);
    (void)k->host->after(k->host, (ph_turn){0}, RETRY, on_retry, k);
}

static void load_done(struct job *j)
{
    struct load *l = CONTAINER_OF(j, struct load, job);
    struct dkim_keys *k = l->keys;

    if (k) {
        k->load = NULL;
        if (l->failed)
            load_later(k, l->err.text);
        else
            take_keys(k, l);
        if (k->again)
            load_begin(k);
    }
    load_free(l);
}

static void load_begin(struct dkim_keys *k)
{
    k->again = k->load != NULL;
    if (k->load)
        return;
    struct load *l = MEM_NEW(struct load);
    l->job = (struct job){.run = load_run, .done = load_done};
    l->keys = k;
    l->arena = arena_new(0);
    if (lane_submit(store_lane(k->store), &l->job) == 0) {
        k->load = l;
        return;
    }
    load_free(l);
    load_later(k, "too busy");
}

static void on_change(struct store_watch *w)
{
    load_begin(CONTAINER_OF(w, struct dkim_keys, watch));
}

/* Before the first message: blocking. */
static int read_first(struct dkim_keys *k, struct err *err)
{
    struct load *l = MEM_NEW(struct load);
    struct store_reader *r;
    int rc = store_reader_open(k->store, &r, err);

    l->arena = arena_new(0);
    if (rc == 0) {
        read_keys(l, r);
        store_reader_close(&r);
        rc = l->failed ? -1 : 0;
        *err = l->err;
    }
    if (rc == 0)
        take_keys(k, l);
    load_free(l);
    return rc;
}

int dkim_keys_open(const struct ph_host *host, struct store *store,
                   void (*on_rows)(void *ctx, const struct dkim_row *rows, size_t n), void *ctx,
                   struct dkim_keys **out, struct err *err)
{
    struct dkim_keys *k = MEM_NEW(struct dkim_keys);

    *k = (struct dkim_keys){.host = host, .store = store, .on_rows = on_rows, .ctx = ctx};
    *out = k;
    if (!store)
        return 0;
    k->watch.on_change = on_change;
    store_watch_add(store, DKIM_ROWS_WATCH, &k->watch);
    if (read_first(k, err) == 0)
        return 0;
    dkim_keys_close(out);
    return -1;
}

void dkim_keys_close(struct dkim_keys **kp)
{
    struct dkim_keys *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    if (k->load)
        k->load->keys = NULL; /* it goes with its answer */
    if (k->store)
        store_watch_del(k->store, &k->watch);
    dkim_ring_unref(&k->ring);
    mem_free(k);
}

struct dkim_ring *dkim_keys_ring(const struct dkim_keys *k)
{
    return k->ring;
}
