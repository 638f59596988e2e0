/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* probe.c - addresses that stages have other hosts asked about: each question belongs to a turn,
 * and ends with it. */
#include "appliance/base/mem.h"
#include "filters/private.h"

enum { PROBES_MAX = 8 };

struct asked {
    struct list link; /* in turn.probes */
    struct turn *turn;
    void *query;             /* NULL: nobody is asked */
    struct loop_defer defer; /* of the answer then */
    void (*fn)(void *inst, ph_turn, const struct ph_probe_answer *, void *arg);
    void *arg;
};

static void asked_drop(struct asked *q)
{
    q->turn->n_probes--;
    list_del(&q->link);
    loop_defer_cancel(&q->defer);
    mem_free(q);
}

void probe_cancel(struct turn *t)
{
    LIST_EACH(&t->probes, it)
    {
        struct asked *q = LIST_ITEM(it, struct asked, link);
        if (q->query)
            t->stage->filters->prober.cancel(q->query);
        asked_drop(q);
    }
}

/* It is over before the stage hears of it: what it does then may end the turn. */
static void on_answer(void *arg, const struct ph_probe_answer *a)
{
    struct asked *q = arg, copy = *q;
    struct stage *s = q->turn->stage;
    ph_turn turn = {q->turn->id};

    asked_drop(q);
    stage_enter(s);
    copy.fn(s->inst, turn, a, copy.arg);
    stage_leave(s);
}

static void on_unasked(void *ctx)
{
    const struct asked *q = ctx;
    bool none = !q->turn->stage->filters->prober.ask;
    const struct ph_probe_answer a = {.size = sizeof a,
                                      .result = PH_PROBE_UNKNOWN,
                                      .text = none ? "this server sends nothing to other hosts"
                                                   : "too much is asked already"};

    on_answer(ctx, &a);
}

static int host_probe(const struct ph_host *h, ph_turn turn, const char *address,
                      const char *sender, uint64_t ms,
                      void (*fn)(void *inst, ph_turn, const struct ph_probe_answer *, void *arg),
                      void *arg)
{
    struct turn *t = turn_find(h, turn);

    if (!t || t->work || !address || !sender || !fn || t->n_probes == PROBES_MAX)
        return -1;
    const struct filters_prober *p = &t->stage->filters->prober;
    struct asked *q = MEM_NEW(struct asked);
    *q = (struct asked){.turn = t, .fn = fn, .arg = arg};
    q->defer = (struct loop_defer){.fn = on_unasked, .ctx = q};
    list_add(&t->probes, &q->link);
    t->n_probes++;
    if (p->ask)
        q->query = p->ask(p->ctx, address, sender, ms, on_answer, q);
    if (!q->query)
        loop_defer(t->stage->filters->env.loop, &q->defer);
    return 0;
}

void probe_host(struct ph_host *h)
{
    h->probe = host_probe;
}

void filters_set_prober(struct filters *f, const struct filters_prober *prober)
{
    f->prober = prober ? *prober : (struct filters_prober){.ask = NULL};
}
