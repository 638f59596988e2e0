/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/queue/schedule.h"

static int64_t wait_of(const struct schedule *s, uint32_t tries, uint64_t random)
{
    uint64_t wait = s->min_backoff < s->max_backoff ? s->min_backoff : s->max_backoff;

    while (tries-- && wait < s->max_backoff)
        wait = wait > s->max_backoff / 2 ? s->max_backoff : wait * 2;
    uint64_t span = wait / 5; /* a tenth to each side */
    return (int64_t)(wait - wait / 10 + (span ? random % (span + 1) : 0));
}

int64_t schedule_next(const struct schedule *s, const struct schedule_row *row,
                      int64_t not_before_ms, uint64_t random)
{
    if (row->now_ms >= row->expires_ms)
        return 0;
    int64_t next = row->now_ms + wait_of(s, row->tries, random);
    if (next < not_before_ms)
        next = not_before_ms;
    return next < row->expires_ms ? next : row->expires_ms;
}

bool schedule_warns(const struct schedule *s, const struct schedule_row *row)
{
    return s->delay_warning && !row->warned && row->now_ms < row->expires_ms &&
           row->now_ms - row->since_ms >= (int64_t)s->delay_warning;
}
