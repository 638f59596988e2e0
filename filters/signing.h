/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* signing.h - what the stages that sign have in common: the job's keys and memory, and what becomes
 * of mail that can't be signed. Floor 4 (filters). Threads: the job owns its work from
 * ph_host.job() until it is answered; the rest on the loop. */
#ifndef PH_FILTERS_SIGNING_H
#define PH_FILTERS_SIGNING_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "filters/dkim_keys.h"
#include "filters/stage.h"

/* First member of a stage's own struct, which is allocated with MEM_NEW. */
struct signing_work {
    struct dkim_ring *ring; /* holds the keys */
    struct arena *arena;
    struct err err; /* why it failed */
    bool failed;
};

void signing_work_free(void *work); /* the whole of it: for ph_host.job() */

/* True: it failed, and the turn is answered: to be tried again (ERR_TEMP), or, as it never will be,
 * sent without. what: "not signed". */
bool signing_failed(const struct ph_host *host, ph_turn turn, const struct signing_work *w,
                    const char *what);
#endif
