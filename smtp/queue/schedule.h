/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* schedule.h - when a recipient is tried again, when its sender is told of the delay, when it is
 * given up. RFC 5321 4.5.4.1. Pure. Floor 5 (smtp). Threads: any. */
#ifndef PH_SMTP_SCHEDULE_H
#define PH_SMTP_SCHEDULE_H
#include <stdbool.h>
#include <stdint.h>

struct schedule { /* settings */
    uint64_t min_backoff, max_backoff, delay_warning;
};
struct schedule_row {
    int64_t now_ms, since_ms, expires_ms; /* wall */
    uint32_t tries;                       /* before the attempt that just failed */
    bool warned;
};
/* After a temporary failure: when to try again, or 0: its time is over. The wait is min_backoff,
 * doubled with each try up to max_backoff, give or take a tenth as `random` says. The last try is
 * at expires_ms itself, so each has its whole lifetime. not_before_ms: the host rests until then;
 * 0: it doesn't. */
int64_t schedule_next(const struct schedule *s, const struct schedule_row *row,
                      int64_t not_before_ms, uint64_t random);
/* Is it time to tell the sender that it takes longer? Once; never with delay_warning 0. */
bool schedule_warns(const struct schedule *s, const struct schedule_row *row);
#endif
