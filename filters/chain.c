/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* chain.c - one session's way through the stages: which run now, what was kept. A run is over when
 * no stage of its point runs and none is left; only then its actions are taken over, in the order
 * of stages, so that the result doesn't depend on who answered first.
 */
#include "filters/chain.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/private.h"
#include <stdio.h>

const char *ph_point_name(enum ph_point p)
{
    static const char *const names[] = {"connect", "helo",    "auth",    "mail",
                                        "rcpt",    "message", "outbound"};

    return (unsigned)p < ARRAY_LEN(names) ? names[p] : "?";
}

const char *ph_verdict_name(enum ph_verdict v)
{
    static const char *const names[] = {"pass",    "accept", "junk",  "quarantine",
                                        "discard", "defer",  "reject"};

    return (unsigned)v < ARRAY_LEN(names) ? names[v] : "?";
}

/* ---- Scopes. */

static void scope_clear(struct scope *s, const struct fact_node *facts)
{
    struct arena *arena = s->arena ? s->arena : arena_new(1024);

    if (s->arenas.next)
        LIST_EACH(&s->arenas, it)
        {
            struct held_arena *h = LIST_ITEM(it, struct held_arena, link);
            list_del(it);
            arena_free(&h->arena); /* h lies in `arena` */
        }
    arena_clear(arena);
    *s = (struct scope){.arena = arena, .facts = facts, .base = facts};
    list_init(&s->arenas);
    s->last_record = &s->records;
    s->last_action = &s->actions;
}

static void scope_fini(struct scope *s)
{
    if (!s->arena)
        return;
    scope_clear(s, NULL);
    arena_free(&s->arena);
}

static void keep_arena(struct scope *s, struct arena *a)
{
    struct held_arena *h;

    if (!a)
        return;
    h = ARENA_NEW(s->arena, struct held_arena);
    h->arena = a;
    list_add(&s->arenas, &h->link);
}

struct scope *chain_scope(struct chain *c)
{
    return c->message ? &c->of_message : &c->of_session;
}

struct chain *chain_new(struct filters *f, uint64_t session)
{
    struct chain *c = MEM_NEW(struct chain);

    c->filters = f;
    c->config = filters_config_ref(f->env.config);
    c->session = session;
    scope_clear(&c->of_session, NULL);
    list_init(&c->run.turns);
    f->chains++;
    return c;
}

static void sessions_over(struct chain *c)
{
    for (size_t i = 0; c->sessions && i < c->filters->n; i++) {
        struct stage *s = &c->filters->stages[i];
        if (!c->sessions[i] || !stage_def(s)->session_over)
            continue;
        stage_enter(s);
        stage_def(s)->session_over(s->inst, c->sessions[i]);
        stage_leave(s);
    }
    mem_free(c->sessions);
}

void chain_free(struct chain **cp)
{
    struct chain *c = *cp;

    if (!c)
        return;
    *cp = NULL;
    chain_cancel(c);
    sessions_over(c);
    c->filters->chains--;
    scope_fini(&c->of_message);
    scope_fini(&c->of_session);
    source_unref(&c->run.source);
    mem_free(c->run.ended);
    filters_config_unref(&c->config);
    mem_free(c);
}

void chain_transaction(struct chain *c, uint64_t message)
{
    chain_cancel(c);
    c->message = message;
    if (message || c->of_message.arena)
        scope_clear(&c->of_message, c->of_session.facts);
    c->of_message.accepted = c->of_session.accepted;
    c->of_message.allowed = c->of_session.allowed;
    c->of_message.soft = c->of_session.soft;
    c->of_message.firm = c->of_session.firm;
    c->of_message.stop = c->of_session.stop;
    c->of_message.score = c->of_session.score;
}

/* ---- A run. */

bool chain_repeats(enum ph_point p)
{
    return p == PH_HELO || p == PH_AUTH || p == PH_RCPT;
}

static void record(struct chain *c, const struct turn *t, const struct ph_acts *acts,
                   enum ph_verdict v, const char *reply, const char *reason, bool failed,
                   enum judged judged)
{
    struct scope *s = chain_scope(c);
    const char *rcpt = c->run.source->view.rcpt;
    struct chain_record *r;

    if (s->n_records >= RECORDS_MAX + (chain_repeats(c->run.point) ? 0 : RECORDS_RESERVED)) {
        s->left_out++;
        return;
    }
    s->n_records++;
    r = ARENA_NEW(s->arena, struct chain_record);
    *r = (struct chain_record){
        .point = c->run.point,
        .verdict = v,
        .stage = stage_def(t->stage)->name,
        .shadow = t->common->mode == FILTERS_SHADOW,
        .failed = failed,
        .always = (stage_def(t->stage)->flags & PH_ALWAYS) != 0,
        .held = (c->run.held & t->stage->bit) != 0,
        .late = judged == JUDGED_LATE,
        .overridden = judged == JUDGED_OVERRIDDEN,
        .rcpt =
            c->run.point == PH_RCPT ? arena_str(s->arena, str_take(str_from(rcpt), 320)) : STR(""),
        .us = clock_mono_us() - t->began_us,
        .score = acts ? acts->score : 0,
        .reply = v < PH_DEFER ? STR("") /* it isn't used */
                              : arena_str(s->arena, str_take(str_from(reply), 512)),
        .reason = arena_str(s->arena, str_take(str_from(reason), 512)),
        .facts = acts ? acts->facts : NULL,
        .acts = acts ? acts->actions : NULL,
        .actions = acts && acts->actions ? acts->n : 0};
    *s->last_record = r;
    s->last_record = (struct chain_record **)(void *)&r->next;
}

static void hold(struct chain *c, const struct stage *s)
{
    size_t n = strlen(c->held);

    c->run.held |= s->bit;
    snprintf(c->held + n, sizeof c->held - n, "%s%s", n ? "," : "", stage_def(s)->name);
}

static void keep_acts(struct chain *c, const struct turn *t, struct ph_acts *acts)
{
    struct ended *e;

    if (!acts || !acts->arena)
        return;
    if (!c->run.ended)
        c->run.ended = mem_alloc(FILTERS_MAX * sizeof *c->run.ended);
    e = &c->run.ended[c->run.n_ended++];
    e->index = t->stage->index;
    e->acts = *acts;
    if (!acts->actions)
        e->acts.last = &e->acts.actions;
    e->acting = t->common->mode == FILTERS_ON;
    keep_arena(chain_scope(c), acts->arena);
    acts->arena = NULL;
    acts->over = true;
}

static void log_verdict(const struct chain *c, const struct turn *t, enum ph_verdict v,
                        const char *reason, bool failed)
{
    const struct log_ctx ctx = {.module = "filters", .sid = c->session, .mid = c->message};
    enum log_level level = v == PH_PASS ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;

    log_at(level, &ctx, "verdict", L_Z("stage", stage_def(t->stage)->name),
           L_Z("point", ph_point_name(c->run.point)), L_Z("verdict", ph_verdict_name(v)),
           L_Z("mode", t->common->mode == FILTERS_SHADOW ? "shadow" : "on"),
           L_Z("failed", failed ? "yes" : "no"), L_Z("reason", reason ? reason : ""),
           L_UINT("us", clock_mono_us() - t->began_us));
}

static void advance(struct chain *c);

void chain_turn_ended(struct chain *c, const struct turn *t, struct ph_acts *acts,
                      enum ph_verdict v, const char *reply, const char *reason, bool failed)
{
    struct run *r = &c->run;
    const struct stage *s = t->stage;
    bool on = t->common->mode == FILTERS_ON;

    /* Whoever reads what it found would take it for one that wasn't asked. */
    if (acts && facts_add(chain_scope(c), acts->facts)) {
        acts = NULL;
        reason = "there is no room for its facts";
        failed = turn_error_verdict(t) >= v;
        if (failed) {
            v = turn_error_verdict(t);
            reply = NULL;
        }
    }
    bool later = (t->hold || (failed && t->common->on_error == FILTERS_ERROR_HOLD)) &&
                 !(stage_def(s)->flags & PH_ABOUT_SENDER && judge_allowed(c));
    enum judged judged = JUDGED;

    r->running &= ~s->bit;
    if (later && on && r->point == PH_MESSAGE) {
        hold(c, s); /* not done: those that wait for it wait too */
    } else {
        r->done |= s->bit;
        if (on)
            judged = judge_turn(c, s, v, reply, reason);
        if (on && acts)
            chain_scope(c)->score += acts->score;
    }
    record(c, t, acts, v, reply, reason, failed, judged);
    log_verdict(c, t, v, reason, failed);
    keep_acts(c, t, acts);
    if (r->starting)
        return;            /* advance() is at work */
    if (c->filters->depth) /* in a stage's call: the next ones begin when it has returned */
        loop_defer(c->filters->env.loop, &r->advance);
    else
        advance(c);
}

static void take_actions(struct chain *c, unsigned index)
{
    struct scope *s = chain_scope(c);

    for (size_t i = 0; i < c->run.n_ended; i++) {
        struct ended *e = &c->run.ended[i];
        if (e->index != index || !e->acting || !e->acts.actions)
            continue;
        *s->last_action = e->acts.actions;
        s->last_action = e->acts.last;
    }
}

static void finish(struct chain *c)
{
    struct run *r = &c->run;

    for (size_t i = 0; i < c->filters->n; i++)
        take_actions(c, c->filters->order[i]);
    r->n_ended = 0;
    judge_run(c);
    r->active = false;
    loop_defer_cancel(&r->advance);
}

static void on_finished(void *ctx)
{
    struct chain *c = ctx;

    c->run.on_answer(c->run.ctx);
}

/* Decided: those that needn't run any more end, and the others aren't begun. */
static void cut_short(struct chain *c)
{
    LIST_EACH(&c->run.turns, it)
    {
        struct turn *t = LIST_ITEM(it, struct turn, link);
        if (stage_def(t->stage)->flags & PH_ALWAYS)
            continue;
        c->run.running &= ~t->stage->bit;
        c->run.done |= t->stage->bit;
        turn_cancel(t);
    }
    for (size_t i = 0; i < c->filters->n; i++)
        if (!(stage_def(&c->filters->stages[i])->flags & PH_ALWAYS))
            c->run.todo &= ~c->filters->stages[i].bit;
}

/* With PH_UNLESS_ACCEPTED: it has nothing to say any more. */
static void skip_settled(struct chain *c)
{
    if (!judge_settled(c))
        return;
    for (size_t i = 0; i < c->filters->n; i++)
        if (stage_def(&c->filters->stages[i])->flags & PH_UNLESS_ACCEPTED)
            c->run.todo &= ~c->filters->stages[i].bit;
}

static struct stage *next_ready(struct chain *c)
{
    struct run *r = &c->run;

    if (judge_stopped(c))
        cut_short(c);
    skip_settled(c);
    for (size_t i = 0; i < c->filters->n; i++) {
        struct stage *s = &c->filters->stages[c->filters->order[i]];
        if ((r->todo & s->bit) && !(s->after & (r->todo | r->running | r->held)))
            return s;
    }
    return NULL;
}

static void advance(struct chain *c)
{
    struct run *r = &c->run;
    struct stage *s;

    r->starting = true;
    while ((s = next_ready(c))) {
        r->todo &= ~s->bit;
        r->running |= s->bit;
        turn_start(c, s);
    }
    r->starting = false;
    if (r->running)
        return;
    r->held |= r->todo; /* they wait for one that is held, and run when that one has */
    r->todo = 0;
    finish(c);
    if (!r->sync)
        loop_defer(c->filters->env.loop, &r->defer);
}

static void on_advance(void *ctx)
{
    struct chain *c = ctx;

    if (c->run.active)
        advance(c);
}

static uint64_t stages_at(const struct chain *c, enum ph_point point, bool *lanes)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < c->filters->n; i++) {
        const struct stage *s = &c->filters->stages[i];
        if (!(stage_def(s)->points & PH_AT(point)) || !s->open ||
            !filters_config_runs(c->config, i))
            continue;
        mask |= s->bit;
        *lanes |= s->lane != NULL;
    }
    return mask;
}

/* The stages that `from` names, and those that wait for them. */
static uint64_t stages_from(const struct chain *c, struct str from)
{
    uint64_t mask = 0;
    bool more = from.n > 0;

    while (more) {
        struct str name;
        more = str_cut(from, ',', &name, &from);
        for (size_t i = 0; i < c->filters->n; i++)
            if (str_eq(name, str_from(stage_def(&c->filters->stages[i])->name)))
                mask |= c->filters->stages[i].bit;
    }
    for (size_t i = 0; i < c->filters->n; i++) {
        const struct stage *s = &c->filters->stages[c->filters->order[i]];
        if (s->after & mask)
            mask |= s->bit;
    }
    return mask;
}

enum chain_run chain_run(struct chain *c, enum ph_point point, const struct ph_view *view,
                         const struct chain_message *m, const char *from,
                         void (*on_answer)(void *ctx), void *ctx)
{
    struct run *r = &c->run;
    bool lanes = false;

    CHECK(!r->active);
    r->point = point;
    r->todo = stages_at(c, point, &lanes);
    if (from)
        r->todo &= stages_from(c, str_from(from));
    r->running = r->done = r->held = 0;
    r->stop = (struct decision){0};
    r->accepted = false;
    r->allowed = BUILTIN_ALLOW_NO;
    c->held[0] = '\0';
    if (r->todo) {
        if (r->source && r->source->refs > 1) /* a worker still looks at it */
            source_unref(&r->source);
        if (!r->source)
            r->source = source_new();
        source_fill(r->source, view, m, lanes);
        r->source->view.session = c->session;
        r->source->view.message = c->message;
    }
    r->on_answer = on_answer;
    r->ctx = ctx;
    r->defer = (struct loop_defer){.fn = on_finished, .ctx = c};
    r->advance = (struct loop_defer){.fn = on_advance, .ctx = c};
    list_init(&r->defer.link);
    list_init(&r->advance.link);
    r->active = r->sync = true;
    advance(c);
    r->sync = false;
    return r->active ? CHAIN_WAIT : CHAIN_DONE;
}

void chain_cancel(struct chain *c)
{
    struct run *r = &c->run;

    if (r->defer.fn) {
        loop_defer_cancel(&r->defer);
        loop_defer_cancel(&r->advance);
    }
    if (!r->active)
        return;
    r->active = false;
    r->starting = true; /* whoever answers now changes nothing */
    r->todo = 0;
    while (!list_empty(&r->turns))
        turn_cancel(LIST_ITEM(r->turns.next, struct turn, link));
    r->starting = false;
    r->n_ended = 0;
    r->running = 0;
}

const struct chain_answer *chain_answer(const struct chain *c)
{
    return &c->answer;
}

double chain_score(const struct chain *c)
{
    return c->message ? c->of_message.score : c->of_session.score;
}

const struct chain_action *chain_actions(const struct chain *c)
{
    return c->message ? c->of_message.actions : c->of_session.actions;
}

struct str chain_fact(const struct chain *c, struct str name)
{
    return facts_find(c->message ? c->of_message.facts : c->of_session.facts, name);
}

const struct chain_record *chain_records(const struct chain *c, bool session)
{
    return session ? c->of_session.records : c->of_message.records;
}
