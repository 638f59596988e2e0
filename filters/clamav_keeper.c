/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_keeper.c - which engine there is: looks at the folder of signatures from time to time,
 * loads what has changed, if it fits into memory, and frees what nobody uses any more. All that
 * blocks runs as tasks on a lane of one thread, one after the other. An engine in a process of its
 * own is one as any other, but that it can die: then the next one is loaded, at once the first
 * time, later and later if it doesn't live. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/clamav.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SETTLE_MS = 1000,       /* an update writes several files: two looks must see the same */
    UNLOAD_WAIT_MS = 60000, /* for scans that still use the old engine */
    WATCH_MS = 1000,        /* is its process alive? Who scans learns it at once */
    DELAY_MS = 1000,        /* at its second death, then twice as long each time */
    DELAY_MAX_MS = 60000,
    LIVED_MS = 60000, /* so long: its death was a chance one */
    MEGABYTE = 1 << 20,
};

enum task_kind { TASK_LOOK, TASK_LOAD };
struct task {
    struct job job;
    struct clamav *of;
    enum task_kind kind;
    char *folder, *temporary;
    int error; /* of a look: errno */
    struct clamav_database database;
    struct machine_memory memory;
    uint64_t need, mark, reserve, ms;
    bool tight; /* memory ran short */
    bool process, died;
    unsigned threads;
    struct clamav_load load;
    struct clamav_child *child;
};

/* ---- Who uses what. */

struct clamav *clamav_ref(struct clamav *c)
{
    c->refs++;
    return c;
}

void clamav_unref(struct clamav **cp)
{
    struct clamav *c = *cp;

    *cp = NULL;
    if (!c || --c->refs)
        return;
    mem_free(c->temporary);
    mem_free(c->folder);
    mem_free(c);
}

struct clamav_held *clamav_held_ref(struct clamav_held *e)
{
    e->refs++;
    return e;
}

static void run_free(struct job *j, void *worker)
{
    struct clamav_held *e = CONTAINER_OF(j, struct clamav_held, job);

    (void)worker;
    clamav_child_free(&e->child);
    clamav_engine_free(&e->engine);
}

static void start_load(struct clamav *c);

static void on_freed(struct job *j)
{
    struct clamav_held *e = CONTAINER_OF(j, struct clamav_held, job);
    struct clamav *c = e->of;

    mem_free(e);
    if (c->reloading && !atomic_load(&c->closing))
        start_load(c);
    clamav_unref(&c);
}

void clamav_held_unref(struct clamav_held **ep)
{
    struct clamav_held *e = *ep;

    *ep = NULL;
    if (!e || --e->refs)
        return;
    e->job = (struct job){.run = run_free, .done = on_freed};
    if (e->of->lane && lane_submit(e->of->lane, &e->job) == 0)
        return;
    run_free(&e->job, NULL); /* the stage is closed */
    on_freed(&e->job);
}

/* ---- Tasks, on the lane. */

static bool go_on(void *ctx)
{
    struct task *t = ctx;
    struct machine_memory m;

    if (atomic_load(&t->of->closing))
        return false;
    t->tight = machine_memory_read("", &m) && m.left < t->reserve / 2;
    return !t->tight;
}

static void run_load(struct task *t)
{
    t->load = (struct clamav_load){.folder = t->folder,
                                   .temporary = t->temporary,
                                   .limits = t->load.limits,
                                   .go_on = go_on,
                                   .ctx = t};
    (void)machine_memory_read("", &t->memory);
    t->tight = t->memory.left < t->need || t->memory.left - t->need < t->reserve;
    if (t->tight)
        return;
    if (t->process)
        (void)clamav_child_load(t->of->runner, &t->load, t->threads, &t->child, &t->died);
    else
        (void)clamav_engine_load(&t->load);
}

static void run_task(struct job *j, void *worker)
{
    struct task *t = CONTAINER_OF(j, struct task, job);

    (void)worker;
    if (atomic_load(&t->of->closing))
        return;
    if (t->kind == TASK_LOAD) {
        run_load(t);
        return;
    }
    t->error = clamav_database_look(t->folder, &t->database) ? errno : 0;
    (void)machine_memory_read("", &t->memory);
}

static void on_task(struct job *j);

static struct task *task_new(struct clamav *c, enum task_kind kind)
{
    struct task *t = MEM_NEW(struct task);

    t->of = clamav_ref(c);
    t->kind = kind;
    t->folder = str_dup_z(str_from(c->folder));
    t->temporary = str_dup_z(str_from(c->temporary));
    t->reserve = c->conf->reserve;
    t->job = (struct job){.run = run_task, .done = on_task};
    return t;
}

static void task_free(struct task *t)
{
    clamav_child_free(&t->child);
    clamav_engine_free(&t->load.engine);
    clamav_unref(&t->of);
    mem_free(t->folder);
    mem_free(t->temporary);
    mem_free(t);
}

static void submit(struct task *t)
{
    struct clamav *c = t->of;

    c->busy = true;
    if (lane_submit(c->lane, &t->job) == 0)
        return;
    c->busy = false; /* can't be: it is deep enough */
    task_free(t);
    timer_start(c->timer, SETTLE_MS);
}

void clamav_keeper_look(struct clamav *c)
{
    if (c->busy || c->reloading)
        c->again = true;
    else
        submit(task_new(c, TASK_LOOK));
}

static void on_timer(void *ctx)
{
    clamav_keeper_look(ctx);
}

static void look_later(struct clamav *c, uint64_t ms)
{
    timer_start(c->timer, c->again ? 0 : ms);
    c->again = false;
}

/* ---- Decisions. */

static struct clamav_limits limits(const struct clamav_conf *f)
{
    return (struct clamav_limits){.scan_size = f->scan_size,
                                  .file_size = f->file_size,
                                  .scan_time = f->scan_time,
                                  .recursion = f->recursion,
                                  .files = f->files,
                                  .encrypted = f->encrypted != 0};
}

/* What an engine is made of: files, and limits. 0 is none. */
static uint64_t mark_of(const struct clamav *c, const struct clamav_database *d)
{
    const struct clamav_conf *f = c->conf;
    const uint64_t words[] = {
        f->scan_size,       f->file_size,      f->scan_time,   (uint64_t)f->recursion,
        (uint64_t)f->files, f->encrypted != 0, d->fingerprint, str_hash(str_from(c->folder))};

    return str_hash(str_of(words, sizeof words)) | 1;
}

static void without(struct clamav *c)
{
    c->host->log(c->host, NULL, c->engine ? PH_LOG_WARN : PH_LOG_ERROR, "%s: %s",
                 c->engine ? "the older signatures stay in use" : "no mail is scanned", c->why);
    if (c->engine)
        return;
    c->state = CLAMAV_WITHOUT;
    clamav_state_changed(c);
}

static unsigned long long mb(uint64_t n)
{
    return n == UINT64_MAX ? 0 : (n + MEGABYTE - 1) / MEGABYTE;
}

static void no_room(struct clamav *c, uint64_t need, const struct machine_memory *m)
{
    char group[80] = "";
    bool known = c->short_of_memory;

    if (m->group != UINT64_MAX)
        snprintf(group, sizeof group, ", %llu MB within the control group", mb(m->group));
    snprintf(c->why, sizeof c->why,
             "the signatures need about %llu MB, and %llu MB of memory and %llu MB of swap are "
             "free%s (reserve %llu MB, max_memory %llu MB)",
             mb(need), mb(m->available), mb(m->swap), group, mb(c->conf->reserve),
             mb(c->conf->max_memory));
    c->short_of_memory = true;
    if (!known || (!c->engine && c->state != CLAMAV_WITHOUT))
        without(c);
    look_later(c, c->conf->check);
}

static void start_load(struct clamav *c)
{
    struct task *t = task_new(c, TASK_LOAD);

    c->reloading = false;
    timer_stop(c->unload_timer);
    if (!c->engine)
        c->state = CLAMAV_LOADING;
    t->database = c->next;
    t->mark = c->next_mark;
    t->need = clamav_need(c, &c->next);
    t->process = clamav_need_process(c, t->need);
    t->threads = (unsigned)c->conf->threads;
    t->load.limits = limits(c->conf);
    submit(t);
}

/* Scans that never end would keep mail waiting for ever: then both are in memory, if they fit. */
static void on_unload_timer(void *ctx)
{
    struct clamav *c = ctx;

    if (!c->reloading)
        return;
    c->host->log(c->host, NULL, PH_LOG_WARN, "scans don't let go of the old signatures");
    start_load(c);
}

static void unload(struct clamav *c)
{
    c->reloading = true;
    c->state = CLAMAV_LOADING;
    timer_start(c->unload_timer, UNLOAD_WAIT_MS);
    clamav_held_unref(&c->engine);
}

static bool fits(const struct clamav *c, uint64_t need, uint64_t left)
{
    if (c->conf->max_memory && need > c->conf->max_memory)
        return false;
    return need <= left && left - need >= c->conf->reserve;
}

static void load_or_not(struct clamav *c, const struct task *t)
{
    uint64_t need = clamav_need(c, &t->database), left = t->memory.left;
    uint64_t freed = c->engine ? c->engine->growth : 0;

    c->total = t->memory.total;
    c->next = t->database;
    c->next_mark = mark_of(c, &t->database);
    if (!fits(c, need, left > UINT64_MAX - freed ? UINT64_MAX : left + freed))
        no_room(c, need, &t->memory);
    else if (!c->engine || (c->conf->concurrent_reload && fits(c, need, left)))
        start_load(c);
    else
        unload(c);
}

static void no_signatures(struct clamav *c, const struct task *t)
{
    bool known = c->failed == 1;

    c->failed = 1;
    if (t->error)
        snprintf(c->why, sizeof c->why, "the folder %.100s can't be read: %s%s", t->folder,
                 strerror(t->error),
                 t->error == EACCES ? " (the sandbox allows what was set at the start)" : "");
    else
        snprintf(c->why, sizeof c->why, "there are no signatures in %.100s", t->folder);
    if (!known)
        without(c);
    look_later(c, c->conf->check);
}

static void on_look(struct clamav *c, const struct task *t)
{
    uint64_t mark = mark_of(c, &t->database);
    bool same = mark == c->seen;

    c->seen = mark;
    if (!t->database.files) {
        no_signatures(c, t);
    } else if ((c->engine && mark == c->loaded) || (mark == c->failed && !c->short_of_memory)) {
        c->short_of_memory = false;
        look_later(c, c->conf->check);
    } else if (c->engine && !same) {
        look_later(c, SETTLE_MS);
    } else {
        load_or_not(c, t);
    }
}

static void take(struct clamav *c, struct task *t)
{
    struct clamav_held *e = MEM_NEW(struct clamav_held);

    e->engine = t->load.engine;
    e->child = t->child;
    e->of = clamav_ref(c);
    e->refs = 1;
    e->growth = t->load.growth;
    t->load.engine = NULL;
    t->child = NULL;
    clamav_held_unref(&c->engine);
    c->engine = e;
    c->state = CLAMAV_READY;
    if (c->loaded != t->mark)
        clamav_acquit_all(c);
    c->loaded = t->mark;
    c->began_ms = clock_mono_ms();
    if (e->child)
        timer_start(c->watch_timer, WATCH_MS);
    c->failed = 0;
    c->short_of_memory = false;
    clamav_need_learn(c, &t->database, t->load.growth);
    c->host->log(c->host, NULL, PH_LOG_INFO,
                 "%u signatures of %llu files loaded: %llu MB, %llu MB were expected%s",
                 t->load.signatures, (unsigned long long)t->database.files, mb(t->load.growth),
                 mb(t->need), e->child ? "; by a process of its own" : "");
    clamav_state_changed(c);
}

/* ---- Its process has died. */

static uint64_t next_delay(struct clamav *c)
{
    uint64_t now = c->delay_ms;

    c->delay_ms = now ? now * 2 : DELAY_MS;
    if (c->delay_ms > DELAY_MAX_MS)
        c->delay_ms = DELAY_MAX_MS;
    return now;
}

void clamav_keeper_lost(struct clamav *c, struct clamav_held *e, const char *why)
{
    uint64_t delay;

    if (e != c->engine || atomic_load(&c->closing))
        return;
    if (clock_mono_ms() - c->began_ms >= LIVED_MS)
        c->delay_ms = 0;
    delay = next_delay(c);
    c->deaths++;
    c->host->log(c->host, NULL, PH_LOG_ERROR, "%s; it is started again%s, and mail waits for it",
                 why, delay ? " in a while" : "");
    timer_stop(c->watch_timer);
    clamav_held_unref(&c->engine);
    c->state = CLAMAV_LOADING;
    if (c->busy)
        c->again = true;
    else
        timer_start(c->timer, delay);
}

static void on_watch_timer(void *ctx)
{
    struct clamav *c = ctx;
    char why[200];

    if (!c->engine || !c->engine->child)
        return;
    if (clamav_child_lives(c->engine->child, why, sizeof why))
        timer_start(c->watch_timer, WATCH_MS);
    else
        clamav_keeper_lost(c, c->engine, why);
}

static void on_load(struct clamav *c, struct task *t)
{
    if (t->load.engine || t->child) {
        take(c, t);
    } else if (t->tight) {
        no_room(c, t->need, &t->memory);
        return;
    } else {
        c->failed = t->died ? 0 : t->mark;
        c->short_of_memory = false;
        snprintf(c->why, sizeof c->why, "the signatures can't be loaded: %s", t->load.why);
        without(c);
        if (t->died) {
            c->deaths++;
            look_later(c, next_delay(c));
            return;
        }
    }
    look_later(c, c->conf->check);
}

static void on_task(struct job *j)
{
    struct task *t = CONTAINER_OF(j, struct task, job);
    struct clamav *c = t->of;

    c->busy = false;
    if (!atomic_load(&c->closing))
        (t->kind == TASK_LOAD ? on_load(c, t) : on_look(c, t));
    task_free(t);
}

int clamav_keeper_start(struct clamav *c, char *why, size_t room)
{
    const struct lane_conf conf = {.name = "clamav-load", .threads = 1, .depth = 64};
    struct err err = {0};

    c->lane = lane_new(c->loop, &conf, &err);
    if (!c->lane) {
        snprintf(why, room, "%s", err.text);
        return -1;
    }
    c->timer = timer_new(c->loop, on_timer, c);
    c->unload_timer = timer_new(c->loop, on_unload_timer, c);
    c->watch_timer = timer_new(c->loop, on_watch_timer, c);
    c->state = CLAMAV_LOADING;
    clamav_keeper_look(c);
    return 0;
}

void clamav_keeper_stop(struct clamav *c)
{
    timer_free(&c->timer);
    timer_free(&c->unload_timer);
    timer_free(&c->watch_timer);
    lane_free(&c->lane);
    if (c->engine)
        clamav_engine_free(&c->engine->engine);
    clamav_held_unref(&c->engine);
}
