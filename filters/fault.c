/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/fault.h"
#include <stdio.h>

const char *const fault_wishes[] = {"none", "score", "junk", "defer", "refuse", NULL};

void fault_done(const struct ph_host *host, ph_turn turn, const struct fault *f, int64_t points)
{
    static const enum ph_verdict verdicts[] = {[FAULT_NONE] = PH_PASS,
                                               [FAULT_SCORE] = PH_PASS,
                                               [FAULT_JUNK] = PH_JUNK,
                                               [FAULT_DEFER] = PH_DEFER,
                                               [FAULT_REFUSE] = PH_REJECT};
    char reply[256];

    if (f->wish != FAULT_NONE && points)
        host->score(host->acts(host, turn), (double)points);
    snprintf(reply, sizeof reply, f->wish == FAULT_REFUSE ? "550 5.%s %.240s" : "450 4.%s %.240s",
             f->status, f->say);
    host->done(host, turn, verdicts[f->wish], reply, f->reason);
}
