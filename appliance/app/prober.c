/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/prober.h"
#include "appliance/base/mem.h"

struct asked {
    struct callout_query *query;
    void (*on_answer)(void *arg, const struct ph_probe_answer *a);
    void *arg;
};

static void on_answer(void *ctx, const struct callout_answer *a)
{
    static const enum ph_probe_result results[] = {[CALLOUT_TAKEN] = PH_PROBE_TAKEN,
                                                   [CALLOUT_REFUSED] = PH_PROBE_REFUSED,
                                                   [CALLOUT_TEMPORARY] = PH_PROBE_TEMPORARY,
                                                   [CALLOUT_UNKNOWN] = PH_PROBE_UNKNOWN};
    struct asked *q = ctx, copy = *q;
    const struct ph_probe_answer answer = {.size = sizeof answer,
                                           .result = results[a->result],
                                           .sender_refused = a->sender_refused,
                                           .text = a->text};

    mem_free(q);
    copy.on_answer(copy.arg, &answer);
}

static void *ask(void *ctx, const char *address, const char *sender, uint64_t ms,
                 void (*fn)(void *arg, const struct ph_probe_answer *), void *arg)
{
    struct asked *q = MEM_NEW(struct asked);

    *q = (struct asked){.on_answer = fn, .arg = arg};
    q->query = callout_ask(ctx, str_from(address), str_from(sender), ms, on_answer, q);
    if (q->query)
        return q;
    mem_free(q);
    return NULL;
}

static void cancel(void *asked)
{
    struct asked *q = asked;

    callout_cancel(&q->query);
    mem_free(q);
}

void prober_set(struct filters *f, struct callout *c)
{
    const struct filters_prober p = {.ask = ask, .cancel = cancel, .ctx = c};

    filters_set_prober(f, c ? &p : NULL);
}
