/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_need.c - how much memory an engine will take. What was measured at the last load corrects
 * the rule of thumb (clamav_database.c). */
#include "appliance/base/str.h"
#include "filters/clamav.h"
#include <stdio.h>

enum {
    MEGABYTE = 1 << 20,
    ENGINE_BYTES = 7 * MEGABYTE, /* without any signature */
    ONE = 1000,
    SCALE_MIN = 250,
    SCALE_MAX = 8000 /* per mille */
};
/* `auto` puts this much in a process, where there is less memory than that. */
#define LARGE (UINT64_C(300) * MEGABYTE)
#define SMALL (UINT64_C(4096) * MEGABYTE)
static const char scale_key[] = "scale";

static uint64_t scale(const struct clamav *c)
{
    char text[32] = "";
    uint64_t n;

    if (c->host->kv_get(c->host, scale_key, sizeof scale_key, text, sizeof text - 1) < 0 ||
        str_to_u64(str_from(text), SCALE_MAX, &n))
        return ONE;
    return n < SCALE_MIN ? SCALE_MIN : n;
}

uint64_t clamav_need(const struct clamav *c, const struct clamav_database *d)
{
    return ENGINE_BYTES + d->estimate / ONE * scale(c) + d->estimate % ONE * scale(c) / ONE;
}

void clamav_need_learn(const struct clamav *c, const struct clamav_database *d, uint64_t growth)
{
    uint64_t n = growth;
    char text[32];

    if (d->estimate < MEGABYTE)
        return; /* others allocate, too */
    n = (n > ENGINE_BYTES ? n - ENGINE_BYTES : 0) / (d->estimate / ONE);
    n = n < SCALE_MIN ? SCALE_MIN : n > SCALE_MAX ? SCALE_MAX : n;
    int length = snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    (void)c->host->kv_set(c->host, scale_key, sizeof scale_key, text, (size_t)length, 0);
}

bool clamav_need_process(const struct clamav *c, uint64_t need)
{
    if (c->isolation != CLAMAV_AUTO || !c->runner)
        return c->isolation == CLAMAV_PROCESS;
    return need >= LARGE && c->total < SMALL;
}
