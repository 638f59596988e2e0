/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* builtin.c - what stages of the house may ask of the server beyond stage.h. */
#include "filters/builtin.h"
#include "appliance/store/store.h"
#include "filters/held.h"
#include "filters/private.h"
#include <stdio.h>

static struct filters *filters_of(const struct ph_host *h)
{
    return ((const struct stage *)(const void *)((const char *)h - offsetof(struct stage, host)))
        ->filters;
}

struct outside_seen *builtin_seen(const struct ph_host *h)
{
    return &filters_of(h)->seen;
}

const struct runner *builtin_runner(const struct ph_host *h)
{
    return filters_of(h)->env.runner;
}

void *builtin_instance(const struct filters *f, const struct ph_stage *stage)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->stages[i].open && strcmp(stage_def(&f->stages[i])->name, stage->name) == 0)
            return f->stages[i].inst;
    return NULL;
}

void builtin_hold(const struct ph_host *h, ph_turn turn, const char *why)
{
    struct turn *t = turn_find(h, turn);

    if (!t || t->work)
        return;
    t->hold = true;
    turn_end(t, NULL, PH_DEFER, NULL, why, false);
}

/* NULL: it is over, or doesn't act. */
static struct chain *acting(const struct ph_host *h, ph_turn turn)
{
    struct turn *t = turn_find(h, turn);

    return t && t->common->mode == FILTERS_ON ? t->chain : NULL;
}

void builtin_allow(const struct ph_host *h, ph_turn turn, enum builtin_allow how)
{
    struct chain *c = acting(h, turn);

    if (c && c->run.point == PH_RCPT)
        c->run.allowed = how;
    else if (c)
        chain_scope(c)->allowed = how == BUILTIN_ALLOW;
}

void builtin_prove(const struct ph_host *h, ph_turn turn)
{
    struct chain *c = acting(h, turn);

    if (c)
        chain_scope(c)->proven = true;
}

void builtin_postpone(const struct ph_host *h, ph_turn turn)
{
    struct chain *c = acting(h, turn);

    if (c)
        chain_scope(c)->postponer = turn_find(h, turn)->stage->bit;
}

bool builtin_allowed(const struct ph_host *h, ph_turn turn)
{
    const struct chain *c = acting(h, turn);

    return c && judge_allowed(c);
}

void builtin_wake_held(const struct ph_host *h)
{
    struct held *held = filters_of(h)->held;

    if (held)
        held_wake_all(held);
}

const char *builtin_folder(const struct ph_host *h)
{
    struct store *s = filters_of(h)->env.store;

    return s ? store_folder(s) : NULL;
}

struct points {
    const char *stage;
    double sum;
};

/* Adds the points of each stage that acts to `sums`, by their names. */
static size_t add_points(const struct chain_record *r, struct points *sums, size_t n)
{
    for (; r; r = r->next) {
        size_t i = 0;
        if (r->score == 0 || r->shadow)
            continue;
        while (i < n && strcmp(sums[i].stage, r->stage) != 0)
            i++;
        if (i == n && n == FILTERS_MAX)
            continue;
        if (i == n)
            sums[n++] = (struct points){.stage = r->stage};
        sums[i].sum += r->score;
    }
    return n;
}

double builtin_score(const struct ph_host *h, ph_turn turn, char *of_out, size_t size)
{
    const struct turn *t = turn_find(h, turn);
    struct points sums[FILTERS_MAX];
    size_t n = 0, at = 0;

    of_out[0] = '\0';
    if (!t)
        return 0;
    n = add_points(t->chain->of_session.records, sums, n);
    n = add_points(t->chain->message ? t->chain->of_message.records : NULL, sums, n);
    for (size_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(of_out + at, size - at, "%s%s %.6g", i ? ", " : "", sums[i].stage,
                               sums[i].sum);
    return chain_score(t->chain);
}
