/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_fetch.h"
#include <stdio.h>

enum { RECORDS = 16 };

struct dkim_ask {
    struct dkim_fetch *fetch;
    const char *name;
};

static const char *name_of(struct arena *a, const struct dkim_one *one)
{
    return arena_printf(a, STR_FMT "._domainkey." STR_FMT, STR_ARG(one->sig.selector),
                        STR_ARG(one->sig.domain))
        .p;
}

static void take_key(struct arena *arena, struct dkim_one *one, const struct ph_dns_answer *a)
{
    struct str records[RECORDS];
    size_t n = 0;

    switch (a->status) {
    case PH_DNS_FOUND:
        for (size_t i = 0; i < a->n && n < RECORDS; i++)
            records[n++] = str_of(a->records[i]->text, a->records[i]->text_size);
        dkim_one_key(arena, one, records, n);
        break;
    case PH_DNS_NO_DATA:
    case PH_DNS_NO_NAME:
        dkim_one_settle(one, DKIM_PERMERROR, "there is no key for it");
        break;
    case PH_DNS_OVER_BUDGET:
        dkim_one_settle(one, DKIM_NEUTRAL, "no more keys are asked for");
        break;
    case PH_DNS_BOGUS:
    case PH_DNS_FAILED:
        dkim_one_settle(one, DKIM_TEMPERROR, "its key can't be fetched: %.80s", a->why);
        break;
    }
}

static void on_key(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    const struct dkim_ask *ask = arg;
    struct dkim_fetch *f = ask->fetch;

    (void)inst;
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i]->result == DKIM_NONE && f->list[i]->key_name == ask->name)
            take_key(f->arena, f->list[i], a);
    if (--f->waiting == 0)
        f->done(f->ctx, turn);
}

static const char *asked(const struct dkim_fetch *f, const char *name)
{
    for (size_t i = 0; i < f->n_asks; i++)
        if (strcmp(f->asks[i].name, name) == 0)
            return f->asks[i].name;
    return NULL;
}

/* Answers come later, never from within dns(). */
static void ask(struct dkim_fetch *f, ph_turn turn, struct dkim_one *one)
{
    const char *name = name_of(f->arena, one);
    struct dkim_ask *new = &f->asks[f->n_asks];

    one->key_name = asked(f, name);
    if (one->key_name)
        return;
    *new = (struct dkim_ask){.fetch = f, .name = name};
    if (f->host->dns(f->host, turn, PH_DNS_TXT, name, on_key, new)) {
        dkim_one_settle(one, DKIM_TEMPERROR, "its key can't be asked for");
        return;
    }
    one->key_name = name;
    f->n_asks++;
    f->waiting++;
}

bool dkim_fetch_begin(struct dkim_fetch *f, ph_turn turn)
{
    f->asks = ARENA_ARRAY(f->arena, struct dkim_ask, f->n + 1);
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i]->result == DKIM_NONE)
            ask(f, turn, f->list[i]);
    return f->waiting > 0;
}
