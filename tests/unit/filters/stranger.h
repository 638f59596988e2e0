/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* stranger.h - a client that brings mail from outside, before a small name server and a clock that
 * the test turns. */
#ifndef PH_TESTS_FILTERS_STRANGER_H
#define PH_TESTS_FILTERS_STRANGER_H
#include "tests/unit/filters/names.h"

#define PTR(wire)                                                                                  \
    {                                                                                              \
        {                                                                                          \
            12, NULL,                                                                              \
            {                                                                                      \
                wire, sizeof(wire)                                                                 \
            }                                                                                      \
        }                                                                                          \
    }
#define A(wire)                                                                                    \
    {                                                                                              \
        {                                                                                          \
            1, NULL,                                                                               \
            {                                                                                      \
                wire, 4                                                                            \
            }                                                                                      \
        }                                                                                          \
    }
#define AAAA(wire)                                                                                 \
    {                                                                                              \
        {                                                                                          \
            28, NULL,                                                                              \
            {                                                                                      \
                wire, 16                                                                           \
            }                                                                                      \
        }                                                                                          \
    }

static struct world w;
static struct chain *chain;
static struct ph_view view;
static _Atomic uint64_t elapsed; /* ms that the test has turned the clock forward */

static uint64_t stranger_mono(void)
{
    return 1000000000 + elapsed;
}

static int64_t stranger_wall(void)
{
    return 1800000000000 + (int64_t)elapsed;
}

static inline void stranger_begin(void)
{
    static const struct clock_source source = {stranger_mono, stranger_wall};

    elapsed = 0;
    clock_replace(&source);
    world_init(&w);
}

static inline void stranger_resolver(void)
{
    names_resolver(&w, "test, 2.0.192.in-addr.arpa, 8.b.d.0.1.0.0.2.ip6.arpa", 200);
}

static inline void stranger_open(void)
{
    world_open(&w);
    chain = chain_new(w.filters, 1);
    view = (struct ph_view){.client_ip = "192.0.2.7",
                            .service = "reception",
                            .helo = "mail.good.test",
                            .host = "mx.example.org",
                            .mail_from = "a@good.test",
                            .rcpt = "ann@example.org"};
}

static inline void stranger_end(void)
{
    chain_free(&chain);
    filters_close(&w.filters);
    if (w.resolver)
        resolver_close(&w.resolver);
    world_fini(&w);
    clock_replace(NULL);
}

static inline const struct chain_answer *stranger_at(enum ph_point at)
{
    unsigned before = w.answers;

    if (at == PH_CONNECT)
        chain_transaction(chain, 0);
    else if (at == PH_MAIL)
        chain_transaction(chain, 2);
    if (chain_run(chain, at, &view, NULL, NULL, world_on_answer, &w) == CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    return chain_answer(chain);
}

/* The same where the stub says nothing to `silent`: when it was asked that, time passes. */
static inline const struct chain_answer *stranger_at_late(enum ph_point at, const char *silent,
                                                          uint64_t after_ms)
{
    unsigned before = w.answers, asked = stub_asked(&stub, silent);

    chain_transaction(chain, at == PH_CONNECT ? 0 : 2);
    assert_int_equal(chain_run(chain, at, &view, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    while (stub_asked(&stub, silent) == asked)
        world_turn(&w);
    assert_int_equal(w.answers, before);
    elapsed += after_ms;
    while (w.answers == before)
        world_turn(&w);
    return chain_answer(chain);
}

/* The newest one of this name. */
static inline const char *stranger_fact(const char *name)
{
    static char text[400];

    text[0] = '\0';
    for (int session = 1; session >= 0; session--)
        for (const struct chain_record *r = chain_records(chain, session); r; r = r->next)
            for (const struct chain_fact *f = r->facts; f; f = f->next)
                if (str_eq(f->name, str_from(name)))
                    snprintf(text, sizeof text, STR_FMT, STR_ARG(f->value));
    return text;
}

/* Of the last verdict. */
static inline const char *stranger_reason(void)
{
    static char text[600];
    const struct chain_record *r = chain_records(chain, false);

    if (!r)
        r = chain_records(chain, true);
    while (r && r->next)
        r = r->next;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(r ? r->reason : STR_NULL));
    return text;
}

/* So many were asked of the DNS, whatever the resolver asked again. */
static inline uint64_t stranger_asked(void)
{
    struct resolver_stats stats;

    resolver_stats(w.resolver, &stats);
    return stats.asked;
}

/* A new client. */
static inline void stranger_again(void)
{
    chain_free(&chain);
    chain = chain_new(w.filters, 1);
}
#endif
