/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* turn.c - one stage's turn at one point: begun, answered once, or cancelled; and what a stage can
 * ask of the server meanwhile. A turn is known to stages by its id only. Ids are never used again,
 * so that whoever answers late, or twice, finds nothing. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/private.h"
#include <stdarg.h>
#include <stdio.h>

struct stage_timer {
    struct list link;
    struct timer *timer;
    struct stage *stage;
    struct turn *turn; /* NULL: of the instance */
    void (*fn)(void *inst, ph_turn, void *arg);
    void *arg;
};

static struct stage *stage_of(const struct ph_host *h)
{
    return (struct stage *)(uintptr_t)((const char *)h - offsetof(struct stage, host));
}

struct turn *turn_find(const struct ph_host *h, ph_turn turn)
{
    struct stage *s = stage_of(h);
    struct turn *t = turn.id ? map_get_id(s->filters->turns, turn.id) : NULL;

    return t && t->stage == s ? t : NULL; /* not another stage's */
}

/* ---- Calls of stages. Turns that end in one stay readable until it has returned. */

void stage_enter(struct stage *s)
{
    struct filters *f = s->filters;

    if (f->depth++ == 0)
        watchdog_enter(f->watchdog, stage_def(s)->name);
}

static void turn_free(struct turn *t)
{
    list_del(&t->link);
    acts_fini(&t->acts);
    mem_free(t->memory);
    mem_free(t);
}

void turns_sweep(struct filters *f)
{
    LIST_EACH(&f->ended, it)
    turn_free(LIST_ITEM(it, struct turn, link));
}

void stage_leave(struct stage *s)
{
    struct filters *f = s->filters;

    if (--f->depth)
        return;
    watchdog_leave(f->watchdog);
    turns_sweep(f);
}

/* ---- Timers. */

static void timer_drop(struct stage_timer *st)
{
    if (st->turn)
        st->turn->n_timers--;
    else
        st->stage->n_timers--;
    list_del(&st->link);
    timer_free(&st->timer);
    mem_free(st);
}

static void on_stage_timer(void *ctx)
{
    struct stage_timer *st = ctx, copy = *st;
    struct stage *s = st->stage;
    ph_turn turn = {st->turn ? st->turn->id : 0};

    timer_drop(st);
    stage_enter(s);
    copy.fn(s->inst, turn, copy.arg);
    stage_leave(s);
}

static int host_after(const struct ph_host *h, ph_turn turn, uint64_t ms,
                      void (*fn)(void *inst, ph_turn, void *arg), void *arg)
{
    struct stage *s = stage_of(h);
    struct turn *t = turn_find(h, turn);
    struct stage_timer *st;

    if (!fn || (turn.id && !t) || (t ? t->n_timers : s->n_timers) >= TIMERS_MAX)
        return -1;
    st = MEM_NEW(struct stage_timer);
    *st = (struct stage_timer){.stage = s, .turn = t, .fn = fn, .arg = arg};
    st->timer = timer_new(s->filters->env.loop, on_stage_timer, st);
    timer_start(st->timer, ms);
    list_add(t ? &t->timers : &s->timers, &st->link);
    *(t ? &t->n_timers : &s->n_timers) += 1;
    return 0;
}

void stage_timers_free(struct stage *s)
{
    LIST_EACH(&s->timers, it)
    timer_drop(LIST_ITEM(it, struct stage_timer, link));
}

/* ---- Its life. */

static void turn_over(struct turn *t)
{
    map_del_id(t->stage->filters->turns, t->id);
    timer_free(&t->deadline);
    LIST_EACH(&t->timers, it)
    timer_drop(LIST_ITEM(it, struct stage_timer, link));
    dns_cancel(t);
    probe_cancel(t);
    if (t->work)
        work_detach(t->work);
    if (t->job)
        work_detach(t->job);
    t->chain = NULL;
    list_del(&t->link);
    list_add(&t->stage->filters->ended, &t->link);
}

static void count(struct turn *t, enum ph_verdict verdict, bool failed)
{
    struct filters_stats *st = &t->stage->stats;
    uint64_t us = clock_mono_us() - t->began_us;

    st->verdicts[verdict]++;
    st->errors += failed;
    st->us_total += us;
    if (us > st->us_max)
        st->us_max = us;
}

void turn_end(struct turn *t, struct ph_acts *acts, enum ph_verdict verdict, const char *reply,
              const char *reason, bool failed)
{
    struct chain *c = t->chain;
    struct filters *f = t->stage->filters;

    count(t, verdict, failed);
    turn_over(t);
    chain_turn_ended(c, t, acts, verdict, reply, reason, failed);
    if (f->depth == 0)
        turns_sweep(f);
}

enum ph_verdict turn_error_verdict(const struct turn *t)
{
    static const enum ph_verdict verdicts[] = {
        [FILTERS_ERROR_DEFER] = PH_DEFER,   [FILTERS_ERROR_PASS] = PH_PASS,
        [FILTERS_ERROR_JUNK] = PH_JUNK,     [FILTERS_ERROR_QUARANTINE] = PH_QUARANTINE,
        [FILTERS_ERROR_REJECT] = PH_REJECT, [FILTERS_ERROR_HOLD] = PH_DEFER};

    return verdicts[t->common->on_error];
}

static void log_failed(const struct turn *t, const char *why)
{
    const struct log_ctx ctx = {
        .module = "filters", .sid = t->chain->session, .mid = t->chain->message};

    log_warn(&ctx, "stage_failed", L_Z("stage", stage_def(t->stage)->name), L_Z("reason", why));
}

void turn_fail(struct turn *t, const char *why)
{
    log_failed(t, why);
    turn_end(t, NULL, turn_error_verdict(t), NULL, why, true);
}

static void tell_cancelled(struct turn *t)
{
    if (!stage_def(t->stage)->cancel || t->work)
        return;
    stage_enter(t->stage);
    stage_def(t->stage)->cancel(t->stage->inst, (ph_turn){t->id});
    stage_leave(t->stage);
}

void turn_cancel(struct turn *t)
{
    struct filters *f = t->stage->filters;
    struct chain *c = t->chain;

    tell_cancelled(t);
    if (t->chain != c) /* it answered in cancel(): as good */
        return;
    turn_over(t);
    if (f->depth == 0)
        turns_sweep(f);
}

void turn_late(struct turn *t)
{
    uint64_t id = t->id;
    struct filters *f = t->stage->filters;

    tell_cancelled(t);
    if (map_get_id(f->turns, id) == t)
        turn_fail(t, "it did not answer before its deadline");
}

static void on_deadline(void *ctx)
{
    turn_late(ctx);
}

static void begin_on_loop(struct turn *t)
{
    struct stage *s = t->stage;
    struct filters *f = s->filters;
    uint64_t id = t->id;

    stage_enter(s);
    stage_def(s)->on_point(s->inst, t->conf, (ph_turn){id}, t->chain->run.point);
    if (t->chain) { /* not answered yet; were it over, t would still be readable here */
        t->deadline = timer_new(f->env.loop, on_deadline, t);
        timer_start(t->deadline, t->common->deadline);
    }
    stage_leave(s);
}

void turn_start(struct chain *c, struct stage *s)
{
    struct filters *f = s->filters;
    struct turn *t = MEM_NEW(struct turn);
    const size_t size = stage_def(s)->turn_size;

    t->id = ++f->next_turn;
    t->chain = c;
    t->stage = s;
    t->conf = filters_config_stage(c->config, s->index);
    t->common = filters_config_common(c->config, s->index);
    t->memory = size ? mem_alloc(size) : NULL;
    t->began_us = clock_mono_us();
    list_init(&t->timers);
    dns_begin(t);
    list_init(&t->probes);
    acts_init(&t->acts, chain_scope(c)->facts);
    map_set_id(f->turns, t->id, t);
    list_add(&c->run.turns, &t->link);
    s->stats.turns++;
    if (s->off)
        turn_fail(t, "it is off: too many of its threads were lost");
    else if (stage_def(s)->on_point)
        begin_on_loop(t);
    else
        work_start(t);
}

/* ---- Services. */

static const struct ph_view *host_view(const struct ph_host *h, ph_turn turn)
{
    struct turn *t = turn_find(h, turn);

    return t ? &t->chain->run.source->view : NULL;
}

static void *host_memory(const struct ph_host *h, ph_turn turn)
{
    struct turn *t = turn_find(h, turn);

    return t ? t->memory : NULL;
}

static struct ph_acts *host_acts(const struct ph_host *h, ph_turn turn)
{
    struct turn *t = turn_find(h, turn);

    return t ? &t->acts : NULL;
}

static void ignored(struct stage *s, ph_turn turn, bool work)
{
    s->stats.late++;
    log_warn(&(struct log_ctx){.module = "filters"}, "answer_ignored",
             L_Z("stage", stage_def(s)->name), L_ID("turn", turn.id),
             L_Z("reason", work ? "work() answers by its result"
                                : "this turn is over: a late or second answer"));
}

/* An answer. What had no room might be the removal of something forged: what the stage wanted can't
 * be done in part. */
void turn_answer(struct turn *t, struct ph_acts *acts, enum ph_verdict verdict, const char *reply,
                 const char *reason)
{
    static const char why[] = "it wants more done than there is room for (256 KB)";

    if (!acts->full) {
        turn_end(t, acts, verdict, reply, reason, false);
    } else if (verdict > turn_error_verdict(t)) {
        log_failed(t, why);
        turn_end(t, NULL, verdict, reply, reason, false);
    } else {
        turn_fail(t, why);
    }
}

static void host_done(const struct ph_host *h, ph_turn turn, enum ph_verdict verdict,
                      const char *reply, const char *reason)
{
    struct stage *s = stage_of(h);
    struct turn *t = turn_find(h, turn);

    if (!t || t->work) {
        ignored(s, turn, t != NULL);
    } else if ((unsigned)verdict >= PH_VERDICTS) {
        turn_fail(t, "its verdict is none");
    } else {
        turn_answer(t, &t->acts, verdict, reply, reason);
    }
}

/* What is held is judged again from the beginning: acts of this turn would come twice. */
static void host_failed(const struct ph_host *h, ph_turn turn, enum ph_verdict verdict,
                        const char *reply, const char *why)
{
    struct turn *t = turn_find(h, turn);
    struct ph_acts *acts;

    if (!t || t->work) {
        ignored(stage_of(h), turn, t != NULL);
        return;
    }
    acts = t->acts.full ? NULL : &t->acts;
    log_failed(t, why ? why : "");
    if ((unsigned)verdict < PH_VERDICTS && verdict > turn_error_verdict(t))
        turn_end(t, acts, verdict, reply, why, false);
    else
        turn_end(t, t->common->on_error == FILTERS_ERROR_HOLD ? NULL : acts, turn_error_verdict(t),
                 NULL, why, true);
}

static void **host_session(const struct ph_host *h, ph_turn turn)
{
    struct turn *t = turn_find(h, turn);

    if (!t)
        return NULL;
    if (!t->chain->sessions)
        t->chain->sessions = mem_alloc(t->stage->filters->n * sizeof(void *));
    return &t->chain->sessions[t->stage->index];
}

struct loop *builtin_loop(const struct ph_host *h)
{
    return stage_of(h)->filters->env.loop;
}

struct resolver *builtin_resolver(const struct ph_host *h)
{
    return stage_of(h)->filters->env.resolver;
}

bool builtin_runs(const struct ph_host *h)
{
    const struct stage *s = stage_of(h);

    return filters_config_runs(s->filters->env.config, s->index);
}

struct store *builtin_store(const struct ph_host *h)
{
    return stage_of(h)->filters->env.store;
}

bool builtin_sealed(const struct ph_host *h)
{
    return stage_of(h)->filters->env.sealed;
}

static void host_log(const struct ph_host *h, const struct ph_view *v, enum ph_log_level level,
                     const char *fmt, ...)
{
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                            LOG_LEVEL_DEBUG};
    struct stage *s = stage_of(h);
    const struct log_ctx ctx = {
        .module = "filters", .sid = v ? v->session : 0, .mid = v ? v->message : 0};
    char text[512];
    va_list ap;

    if ((unsigned)level >= ARRAY_LEN(levels) || !log_enabled(levels[level]))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_at(levels[level], &ctx, "stage", L_Z("stage", stage_def(s)->name), L_Z("text", text));
}

void turn_host(struct ph_host *h)
{
    h->size = sizeof *h;
    h->log = host_log;
    h->view = host_view;
    h->memory = host_memory;
    h->acts = host_acts;
    h->done = host_done;
    h->after = host_after;
    h->failed = host_failed;
    h->session = host_session;
}
