/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_callout.c - connections that only ask (callout.h) are of delivery's house, and count as
 * its own. */
#include "smtp/queue/delivery_private.h"

static void house(void *ctx, struct callout_house *out)
{
    struct delivery *d = ctx;

    *out = (struct callout_house){.relay = d->conf.relay,
                                  .snapshot = d->conf.snapshot,
                                  .hosts = {.loop = d->conf.loop,
                                            .resolver = d->conf.resolver,
                                            .sts = d->sts,
                                            .self = d->hostname},
                                  .tls = d->tls,
                                  .files = d->files,
                                  .hostname = d->hostname};
}

/* Mail goes first: the last connection is never one that only asks. */
static bool take(void *ctx)
{
    struct delivery *d = ctx;

    if (d->stopping || d->slots + 1 >= delivery_slots(d))
        return false;
    d->slots++;
    return true;
}

static void give(void *ctx)
{
    struct delivery *d = ctx;

    d->slots--;
    loop_defer(d->conf.loop, &d->turn);
}

struct callout *delivery_callout(struct delivery *d)
{
    const struct callout_conf conf = {.loop = d->conf.loop,
                                      .directory = d->conf.directory,
                                      .house = house,
                                      .take = take,
                                      .give = give,
                                      .ctx = d};

    return callout_new(&conf);
}
