/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fault.h - what a stage finds wrong with a client, and what the administrator wants done about it.
 * Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_FAULT_H
#define PH_FILTERS_FAULT_H
#include "filters/stage.h"

enum fault_wish { FAULT_NONE, FAULT_SCORE, FAULT_JUNK, FAULT_DEFER, FAULT_REFUSE };
extern const char *const fault_wishes[]; /* of a PH_ENUM setting */

struct fault {
    int wish;
    const char *status; /* after the 5. or 4. of RFC 3463: "7.25" */
    const char *reason; /* for the administrator */
    const char *say;    /* to the sender: what is wrong and what to do */
};
/* Ends the turn: by the wish for this fault; points are for every wish but none. */
void fault_done(const struct ph_host *host, ph_turn turn, const struct fault *f, int64_t points);
#endif
