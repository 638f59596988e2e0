/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clock.h - the only source of time, so that tests can turn it.
 * Floor 0 (base). Threads: any. */
#ifndef PH_BASE_CLOCK_H
#define PH_BASE_CLOCK_H
#include <stdint.h>

uint64_t clock_mono_ms(void); /* monotonic, for deadlines */
uint64_t clock_mono_us(void); /* monotonic, for measuring */
int64_t clock_wall_ms(void);  /* ms since 1970 UTC, for stamps; may jump */
/* Tests: replaces all three (NULL restores). mono_us is derived from mono_ms when replaced. */
struct clock_source {
    uint64_t (*mono_ms)(void);
    int64_t (*wall_ms)(void);
};
void clock_replace(const struct clock_source *s);
#endif
