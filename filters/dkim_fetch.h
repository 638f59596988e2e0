/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_fetch.h - the keys of signatures, asked of the DNS for a turn: all at once, each name once.
 * Floor 4 (filters). Threads: loop.
 * It lies in what belongs to the turn and lives until done(), or until the turn is over. */
#ifndef PH_FILTERS_DKIM_FETCH_H
#define PH_FILTERS_DKIM_FETCH_H
#include "filters/dkim_check.h"
#include "filters/stage.h"

struct dkim_fetch {
    const struct ph_host *host;
    struct arena *arena;
    struct dkim_one **list; /* of the arena; those that are settled are passed over */
    size_t n;
    void (*done)(void *ctx, ph_turn turn); /* each has its record, or is settled */
    void *ctx;
    /* private */
    struct dkim_ask *asks;
    size_t n_asks, waiting;
};
/* False: there is nothing to wait for, and done() never comes. */
bool dkim_fetch_begin(struct dkim_fetch *f, ph_turn turn);
#endif
