/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* filters.c - opens the stages in the right order, gives each its host and its lane, closes them.
 */
#include "appliance/base/mem.h"
#include "filters/held.h"
#include "filters/private.h"
#include <stdio.h>

enum { LANE_THREADS = 2, LANE_DEPTH = 1000, CLOSE_WAIT_MS = 3000 };

static const struct log_ctx log_filters = {.module = "filters"};

/* ---- Which waits for which. */

static bool waits_for_all(const struct stage *s)
{
    const char *after = stage_def(s)->after;

    return after && strcmp(after, "*") == 0;
}

static uint64_t bits_of_others(const struct filters *f)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < f->n; i++)
        if (!waits_for_all(&f->stages[i]))
            bits |= f->stages[i].bit;
    return bits;
}

static uint64_t bit_of(const struct filters *f, struct str name)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_eq(name, str_from(stage_def(&f->stages[i])->name)))
            return f->stages[i].bit;
    return 0;
}

static uint64_t bits_named(const struct filters *f, const struct stage *s)
{
    struct str rest = str_from(stage_def(s)->after), name;
    uint64_t bits = 0, bit;
    bool more = rest.n > 0;

    while (more) {
        more = str_cut(rest, ',', &name, &rest);
        name = str_trim(name);
        bit = bit_of(f, name);
        bits |= bit; /* one that isn't there is no reason to wait, but may be a slip */
        if (!bit)
            log_warn(&log_filters, "after_unknown", L_Z("stage", stage_def(s)->name),
                     L_STR("after", name));
    }
    return bits;
}

static uint64_t waits_for(const struct filters *f, const struct stage *s)
{
    uint64_t bits = waits_for_all(s) ? bits_of_others(f) : bits_named(f, s);

    if (stage_def(s)->flags & PH_ABOUT_SENDER)
        bits |= bit_of(f, STR("policy"));
    return bits;
}

static int find_order(struct filters *f, struct err *err)
{
    uint64_t placed = 0;
    size_t n = 0;

    while (n < f->n) {
        size_t before = n;
        for (size_t i = 0; i < f->n; i++) {
            struct stage *s = &f->stages[i];
            if ((placed & s->bit) || (s->after & ~placed))
                continue;
            f->order[n++] = s->index;
            placed |= s->bit;
        }
        if (n > before)
            continue;
        for (size_t i = 0; i < f->n; i++)
            if (f->stages[i].after & f->stages[i].bit)
                return ERR(err, ERR_PERM, "stage %s waits (`after`) for itself",
                           stage_def(&f->stages[i])->name);
        for (size_t i = 0; i < f->n; i++)
            if (!(placed & f->stages[i].bit))
                return ERR(err, ERR_PERM,
                           "stage %s waits (`after`) for %s, which waits for it: a circle",
                           stage_def(&f->stages[i])->name, stage_def(&f->stages[i])->after);
    }
    return 0;
}

/* ---- Lanes. */

static struct lane_user *find_lane(struct filters *f, const char *name)
{
    LIST_EACH(&f->lanes, it)
    {
        struct lane_user *u = LIST_ITEM(it, struct lane_user, link);
        if (strcmp(flane_name(u->lane), name) == 0)
            return u;
    }
    return NULL;
}

static int get_lane(struct stage *s, struct err *err)
{
    struct filters *f = s->filters;
    char name[16];

    if (!stage_def(s)->work && !stage_def(s)->lane)
        return 0;
    snprintf(name, sizeof name, "%.15s",
             stage_def(s)->lane ? stage_def(s)->lane : stage_def(s)->name);
    s->lane_user = find_lane(f, name);
    if (!s->lane_user) {
        const struct ph_stage *def = stage_def(s);
        unsigned threads = def->threads
                               ? def->threads(filters_config_stage(f->env.config, s->index))
                               : LANE_THREADS;
        struct flane *lane = flane_new(f->env.loop, name, threads, LANE_DEPTH, err);
        if (!lane)
            return -1;
        s->lane_user = MEM_NEW(struct lane_user);
        s->lane_user->lane = lane;
        list_add(&f->lanes, &s->lane_user->link);
    }
    s->lane_user->users++;
    s->lane = s->lane_user->lane;
    return 0;
}

/* ---- A stage. */

static void stage_init(struct filters *f, size_t i)
{
    struct stage *s = &f->stages[i];

    s->filters = f;
    s->entry = filters_registry_entry(f->env.registry, i);
    s->index = (unsigned)i;
    s->bit = 1ull << i;
    s->stats.name = stage_def(s)->name;
    list_init(&s->timers);
    turn_host(&s->host);
    acts_host(&s->host);
    kv_host(&s->host);
    dns_host(&s->host);
    probe_host(&s->host);
    work_host(&s->host);
}

static void stage_close(struct stage *s)
{
    if (!s->open)
        return;
    s->open = false;
    stage_timers_free(s);
    if (s->lost) { /* a thread may still be in it */
        kv_orphan(s->kv);
        return;
    }
    if (stage_def(s)->close)
        stage_def(s)->close(s->inst);
    stage_timers_free(s); /* begun in close() */
    kv_close(&s->kv);
}

static int stage_open(struct stage *s, struct filters_config *config, struct err *err)
{
    struct ph_err why = {""};

    if (get_lane(s, err) || kv_open(s, &s->kv, err))
        return -1;
    s->open = true; /* open() may use its host */
    if (!stage_def(s)->open ||
        stage_def(s)->open(&s->host, filters_config_stage(config, s->index), &s->inst, &why) == 0) {
        log_info(&log_filters, "stage_open", L_Z("stage", stage_def(s)->name));
        return 0;
    }
    why.text[sizeof why.text - 1] = '\0';
    s->open = false;
    stage_timers_free(s);
    kv_close(&s->kv);
    return ERR(err, ERR_PERM, "stage %s can't be opened: %s", stage_def(s)->name,
               why.text[0] ? why.text : "it didn't say why");
}

static bool wanted(struct filters_config *c, const struct stage *s)
{
    return filters_config_runs(c, s->index);
}

static void note_points(struct filters *f, struct filters_config *c)
{
    for (size_t i = 0; i < f->n; i++)
        for (int p = 0; p < PH_POINTS; p++)
            if (wanted(c, &f->stages[i]) && (stage_def(&f->stages[i])->points & PH_AT(p)))
                f->at[p] |= f->stages[i].bit;
}

static void watch(struct filters *f)
{
    for (size_t i = 0; i < f->n && !f->watchdog; i++)
        if (f->stages[i].open && stage_def(&f->stages[i])->on_point)
            f->watchdog = watchdog_new(filters_config_general(f->env.config)->watchdog);
}

static int open_all(struct filters *f, struct err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        struct stage *s = &f->stages[f->order[i]];
        if (wanted(f->env.config, s) && stage_open(s, f->env.config, err))
            return -1;
    }
    note_points(f, f->env.config);
    watch(f);
    return 0;
}

int filters_open(const struct filters_env *env, struct filters **out, struct err *err)
{
    struct filters *f;

    if (filters_config_check(env->config, err))
        return -1;
    f = MEM_NEW(struct filters);
    f->env = *env;
    f->env.config = filters_config_ref(env->config);
    f->n = filters_registry_count(env->registry);
    f->stages = mem_alloc((f->n + 1) * sizeof *f->stages);
    f->order = mem_alloc((f->n + 1) * sizeof *f->order);
    f->turns = map_new();
    list_init(&f->lanes);
    list_init(&f->works);
    list_init(&f->ended);
    f->keep = keep_new(f);
    for (size_t i = 0; i < f->n; i++)
        stage_init(f, i);
    for (size_t i = 0; i < f->n; i++)
        f->stages[i].after = waits_for(f, &f->stages[i]);
    f->opened = find_order(f, err) == 0;
    if (!f->opened || open_all(f, err)) {
        filters_close(&f);
        return -1;
    }
    if (f->env.store)
        f->held = held_new(f);
    *out = f;
    return 0;
}

/* Both or none: stages that took the new settings are asked to take the old ones back. */
static int ask_reload(struct filters *f, struct filters_config *config, size_t *n_out,
                      struct err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        struct stage *s = &f->stages[f->order[i]];
        struct ph_err why = {""};
        *n_out = i;
        if (!wanted(config, s))
            continue;
        if (!s->open) {
            if (stage_open(s, config, err))
                return -1;
        } else if (stage_def(s)->reload &&
                   stage_def(s)->reload(s->inst, filters_config_stage(config, s->index), &why)) {
            why.text[sizeof why.text - 1] = '\0';
            return ERR(err, ERR_PERM, "stage %s refuses its new settings: %s", stage_def(s)->name,
                       why.text[0] ? why.text : "it didn't say why");
        }
    }
    *n_out = f->n;
    return 0;
}

int filters_reload(struct filters *f, struct filters_config *config, struct err *err)
{
    size_t n;

    if (filters_config_check(config, err))
        return -1;
    if (ask_reload(f, config, &n, err)) {
        for (size_t i = 0; i < n; i++) {
            struct stage *s = &f->stages[f->order[i]];
            struct ph_err why = {""};
            if (s->open && wanted(config, s) && stage_def(s)->reload &&
                stage_def(s)->reload(s->inst, filters_config_stage(f->env.config, s->index), &why))
                log_error(&log_filters, "stage_reload", L_Z("stage", stage_def(s)->name),
                          L_Z("why", why.text));
        }
        return -1;
    }
    /* A stage without reload() keeps what it was given at open(): that snapshot stays. */
    if (!f->first)
        f->first = filters_config_ref(f->env.config);
    filters_config_unref(&f->env.config);
    f->env.config = filters_config_ref(config);
    note_points(f, config);
    watch(f);
    return 0;
}

void filters_look_at_held(struct filters *f)
{
    if (f && f->held)
        held_wake(f->held);
}

void filters_close(struct filters **fp)
{
    struct filters *f = *fp;
    bool all = true;

    if (!f)
        return;
    *fp = NULL;
    held_free(&f->held);
    CHECK(f->chains == 0);
    LIST_EACH(&f->lanes, it)
    {
        struct lane_user *u = LIST_ITEM(it, struct lane_user, link);
        u->stuck = !flane_free(&u->lane, CLOSE_WAIT_MS);
        all = all && !u->stuck;
    }
    works_orphan(f);
    for (size_t i = f->n; i-- > 0;) {
        struct stage *s = &f->stages[f->opened ? f->order[i] : i];
        s->lost = s->lane_user && s->lane_user->stuck; /* who knows whose of its stages */
        stage_close(s);
    }
    keep_free(&f->keep);
    watchdog_free(&f->watchdog);
    turns_sweep(f);
    LIST_EACH(&f->lanes, it)
    mem_free(LIST_ITEM(it, struct lane_user, link));
    map_free(&f->turns);
    filters_config_unref(&f->env.config);
    filters_config_unref(&f->first);
    if (!all)
        return; /* a stuck thread may call its host some day: its stage stays */
    mem_free(f->order);
    mem_free(f->stages);
    mem_free(f);
}

bool filters_at(const struct filters *f, enum ph_point point)
{
    return f && f->at[point] != 0;
}

const struct filters_conf *filters_settings(const struct filters *f)
{
    return filters_config_general(f->env.config);
}

size_t filters_stats(const struct filters *f, struct filters_stats *out, size_t max)
{
    size_t n = f->n < max ? f->n : max;

    for (size_t i = 0; i < n; i++)
        out[i] = f->stages[i].stats;
    return n;
}
