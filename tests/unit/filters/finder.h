/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* finder.h - a stage at MAIL that stands for those that find something out. */
#ifndef PH_TESTS_FILTERS_FINDER_H
#define PH_TESTS_FILTERS_FINDER_H
#include "tests/unit/filters/world.h"

static struct {
    const struct ph_host *host;
    const char *facts[8][2]; /* name, value; NULL ends them */
    bool accepts;
} finder;

static inline void finder_find(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct ph_acts *acts = finder.host->acts(finder.host, turn);

    (void)inst;
    (void)conf;
    (void)at;
    for (size_t i = 0; i < ARRAY_LEN(finder.facts) && finder.facts[i][0]; i++)
        finder.host->fact_set(acts, finder.facts[i][0], finder.facts[i][1]);
    finder.host->done(finder.host, turn, finder.accepts ? PH_ACCEPT : PH_PASS, NULL, NULL);
}

static inline int finder_open(const struct ph_host *host, const void *conf, void **inst,
                              struct ph_err *err)
{
    (void)conf;
    (void)err;
    finder.host = host;
    *inst = NULL;
    return 0;
}

/* It finds nothing yet. */
static inline void finder_add(struct world *w)
{
    memset(&finder, 0, sizeof finder);
    world_add(w, (struct ph_stage){.name = "finder",
                                   .points = PH_AT(PH_MAIL),
                                   .open = finder_open,
                                   .on_point = finder_find});
}
#endif
