/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

static _Atomic(const struct clock_source *) source;

static int64_t now_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static const struct clock_source *replaced(void)
{
    return atomic_load_explicit(&source, memory_order_acquire);
}

uint64_t clock_mono_ms(void)
{
    const struct clock_source *s = replaced();
    return s && s->mono_ms ? s->mono_ms() : (uint64_t)now_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_mono_us(void)
{
    const struct clock_source *s = replaced();
    return s && s->mono_ms ? s->mono_ms() * 1000 : (uint64_t)now_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    const struct clock_source *s = replaced();
    return s && s->wall_ms ? s->wall_ms() : now_us(CLOCK_REALTIME) / 1000;
}

void clock_replace(const struct clock_source *s)
{
    atomic_store_explicit(&source, s, memory_order_release);
}
