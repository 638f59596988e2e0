/* SPDX-License-Identifier: MIT */
/* stuck.c - for tests: a lane-style stage whose work() sleeps as long as the recipient's local part
 * says: "stuck" for ever, "slowN" N ms. */
#include <posthouse/stage.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void stuck_work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                       struct ph_result *r)
{
    (void)inst;
    (void)conf;
    (void)at;
    if (strncmp(v->mail_from, "stuck", 5) == 0)
        for (;;)
            nanosleep(&(struct timespec){3600, 0}, NULL);
    if (strncmp(v->mail_from, "slow", 4) == 0) {
        long ms = strtol(v->mail_from + 4, NULL, 10);
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
        r->verdict = PH_JUNK;
    }
}

PH_EXPORT const struct ph_stage ph_stage_export = {PH_STAGE_HEAD, .points = PH_AT(PH_MESSAGE),
                                                   .name = "stuck", .doc = "For tests.",
                                                   .work = stuck_work};
