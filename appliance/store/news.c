/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* news.c - who hears of rows that other nodes write: one reading at a time for all tables, begun
 * when the counter of row_change moves (watch_poll.c looks at it anyway). */
#include "appliance/store/news_private.h"
#include "appliance/store/node.h"

/* Others know of this node when they have renewed their lease: what they wrote before isn't in
 * row_change, so the tables are read again, usually when they have, and when they must have. */
enum {
    USUALLY_MS = NODE_RENEW_MS + 1000,
    SURELY_MS = NODE_LEASE_MS + 1000,
    HIDDEN_MS = 100,
    HIDDEN_MAX = 50,
    FAILED_MS = 1000
};

struct news {
    struct list link;
    struct news_hub *hub;
    char table[NEWS_TABLE_MAX + 1];
    const struct news_kind *kind;
    void *ctx;
    bool writing, refused;
    bool whole, forgets; /* all is read again, from `after` on; forgets: that is to begin */
    struct buf after;
};
struct news_hub {
    struct store *store;
    struct list all;
    struct store_watch changed, nodes;
    struct timer *again, *late;
    unsigned writing, late_looks, hidden;
    bool wanted, busy, once_more, failing, orphaned;
    uint64_t owner;
    int64_t at;
    struct job job;
    struct news_look look; /* while busy */
};

/* ---- Reading. */

static void run(struct job *j, void *worker)
{
    struct news_hub *h = CONTAINER_OF(j, struct news_hub, job);
    struct store_reader *r = worker;

    h->look.end = NEWS_FAILED;
    err_set(&h->look.err, ERR_TEMP, ERR_WHY_OTHER, "no connection to read with");
    if (r)
        news_log_read(&h->look, r->db);
}

static void prepare(struct news_hub *h)
{
    struct news_look *look = &h->look;
    size_t n = 0;

    look->rows = (struct news_rows){.arena = arena_new(0)};
    look->at = h->at;
    look->self = node_self(h->store);
    look->n_sources = 0;
    LIST_EACH(&h->all, it)
    {
        n++;
    }
    look->sources = ARENA_ARRAY(look->rows.arena, struct news_source, n + 1);
    LIST_EACH(&h->all, it)
    {
        struct news *news = LIST_ITEM(it, struct news, link);
        look->sources[look->n_sources++] = (struct news_source){
            .table = arena_str(look->rows.arena, str_of(news->table, strlen(news->table) + 1)).p,
            .read = news->kind->read,
            .whole = news->whole,
            .after = arena_str(look->rows.arena, buf_str(&news->after))};
    }
}

static void begin(struct news_hub *h)
{
    if (h->busy || !h->wanted || h->writing)
        return;
    LIST_EACH(&h->all, it)
    {
        struct news *n = LIST_ITEM(it, struct news, link);
        if (n->forgets && n->kind->forget)
            n->kind->forget(n->ctx);
        n->forgets = false;
    }
    prepare(h);
    h->busy = lane_submit(h->store->reader_lane, &h->job) == 0;
    h->wanted = h->busy;
    if (h->busy)
        return;
    arena_free(&h->look.rows.arena);
    timer_start(h->again, FAILED_MS);
}

static void want(struct news_hub *h)
{
    h->once_more = h->busy;
    h->wanted = true;
    begin(h);
}

static struct news *find(struct news_hub *h, const char *table)
{
    LIST_EACH(&h->all, it)
    {
        struct news *n = LIST_ITEM(it, struct news, link);
        if (strcmp(n->table, table) == 0)
            return n;
    }
    return NULL;
}

static void read_again(struct news_hub *h, bool forgets)
{
    LIST_EACH(&h->all, it)
    {
        struct news *n = LIST_ITEM(it, struct news, link);
        n->whole = true;
        n->forgets = n->forgets || forgets;
        buf_clear(&n->after);
    }
}

/* ---- What was read. */

static void take(struct news_hub *h)
{
    for (const struct news_found *f = h->look.rows.first; f; f = f->next) {
        const struct news_source *source = &h->look.sources[f->source];
        struct news *n = find(h, source->table);
        if (!n) /* it went meanwhile */
            continue;
        n->kind->take(n->ctx, f->key, f->row);
        if (source->whole && n->whole) {
            buf_clear(&n->after);
            buf_add_str(&n->after, f->key);
        }
    }
}

/* True: there is a page to read yet. */
static bool pages(struct news_hub *h)
{
    bool more = false;

    for (size_t i = 0; i < h->look.n_sources; i++) {
        const struct news_source *source = &h->look.sources[i];
        struct news *n = find(h, source->table);
        if (n && source->whole && source->complete)
            n->whole = false;
        more = more || (n && n->whole);
    }
    return more;
}

static void lost(struct news_hub *h)
{
    log_warn(&store_log, "changes-missed", L_Z("then", "what other nodes wrote is read again"));
    read_again(h, true);
}

static void resume(struct news_hub *h)
{
    LIST_EACH(&h->all, it)
    {
        struct news *n = LIST_ITEM(it, struct news, link);
        if (n->refused) {
            n->refused = false;
            n->kind->resume(n->ctx);
        }
    }
}

static void dispose(struct news_hub *h)
{
    arena_free(&h->look.rows.arena);
    store_unref(h->store);
    mem_free(h);
}

static void next(struct news_hub *h, enum news_end end, bool more)
{
    if (end == NEWS_FAILED)
        timer_start(h->again, FAILED_MS);
    else if (end == NEWS_MORE || end == NEWS_LOST || more)
        want(h);
    else if (end == NEWS_HIDDEN)
        timer_start(h->again, HIDDEN_MS);
}

static void done(struct job *j)
{
    struct news_hub *h = CONTAINER_OF(j, struct news_hub, job);
    enum news_end end = h->look.end;
    bool more = h->once_more;

    h->busy = h->wanted = h->once_more = false;
    if (h->orphaned) {
        dispose(h);
        return;
    }
    if (end == NEWS_FAILED) {
        if (!h->failing)
            log_warn(&store_log, "changes-not-read", L_Z("why", h->look.err.text));
    } else {
        take(h);
        more = pages(h) || more;
        h->hidden = end == NEWS_HIDDEN && h->at == h->look.at ? h->hidden + 1 : 0;
        h->at = h->look.at;
        if (h->hidden > HIDDEN_MAX) { /* somebody has removed it */
            h->at++;
            end = NEWS_LOST;
        }
        if (end == NEWS_LOST)
            lost(h);
    }
    h->failing = end == NEWS_FAILED;
    arena_free(&h->look.rows.arena);
    resume(h);
    next(h, end, more);
}

/* ---- When. */

static void on_changed(struct store_watch *w)
{
    want(CONTAINER_OF(w, struct news_hub, changed));
}

static void on_again(void *ctx)
{
    want(ctx);
}

static void look_late(struct news_hub *h)
{
    h->late_looks = 0;
    timer_start(h->late, USUALLY_MS);
}

static void on_late(void *ctx)
{
    struct news_hub *h = ctx;

    if (h->late_looks++ == 0)
        timer_start(h->late, SURELY_MS - USUALLY_MS);
    if (!node_others(h->store))
        return;
    read_again(h, false);
    want(h);
}

/* This node was given up for dead: the others told it nothing. */
static void on_nodes(struct store_watch *w)
{
    struct news_hub *h = CONTAINER_OF(w, struct news_hub, nodes);
    uint64_t owner = node_self(h->store);

    if (owner == h->owner)
        return;
    h->owner = owner;
    read_again(h, true);
    look_late(h);
    want(h);
}

struct news_hub *news_hub_new(struct store *s, int64_t at)
{
    struct news_hub *h = MEM_NEW(struct news_hub);

    h->store = s;
    store_ref(s);
    h->at = at;
    h->owner = node_self(s);
    h->job = (struct job){.run = run, .done = done};
    list_init(&h->all);
    h->again = timer_new(s->loop, on_again, h);
    h->late = timer_new(s->loop, on_late, h);
    h->changed.on_change = on_changed;
    h->nodes.on_change = on_nodes;
    store_watch_add(s, STORE_WATCH_ROWS, &h->changed);
    store_watch_add(s, STORE_WATCH_NODES, &h->nodes);
    look_late(h);
    return h;
}

void news_hub_free(struct news_hub **hp)
{
    struct news_hub *h = *hp;

    if (!h)
        return;
    *hp = NULL;
    CHECK(list_empty(&h->all));
    store_watch_del(h->store, &h->changed);
    store_watch_del(h->store, &h->nodes);
    timer_free(&h->again);
    timer_free(&h->late);
    h->orphaned = true;
    if (!h->busy)
        dispose(h);
}

/* ---- Who hears. */

struct news *news_open(struct store *s, const char *table, const struct news_kind *kind, void *ctx)
{
    struct news *n;

    if (!s || !s->news)
        return NULL;
    CHECK(strlen(table) <= NEWS_TABLE_MAX && !find(s->news, table));
    n = MEM_NEW(struct news);
    n->hub = s->news;
    memcpy(n->table, table, strlen(table) + 1);
    n->kind = kind;
    n->ctx = ctx;
    buf_init(&n->after, NEWS_KEY_MAX);
    list_init(&n->link);
    list_add(&s->news->all, &n->link);
    return n;
}

void news_close(struct news **np)
{
    struct news *n = *np;

    if (!n)
        return;
    *np = NULL;
    news_write_end(n);
    list_del(&n->link);
    buf_fini(&n->after);
    mem_free(n);
}

bool news_write_begin(struct news *n)
{
    if (!n)
        return true;
    if (n->hub->wanted) { /* it has begun, or waits for other writers only */
        n->refused = true;
        return false;
    }
    n->writing = true;
    n->hub->writing++;
    return true;
}

void news_write_end(struct news *n)
{
    if (!n || !n->writing)
        return;
    n->writing = false;
    n->hub->writing--;
    begin(n->hub);
}
