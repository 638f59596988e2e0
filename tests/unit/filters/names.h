/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* names.h - a world whose stages ask a small name server, by a resolver that asks nobody else. */
#ifndef PH_TESTS_FILTERS_NAMES_H
#define PH_TESTS_FILTERS_NAMES_H
#include "tests/unit/filters/world.h"
#include "tests/unit/io/dns_stub.h"

static struct stub stub;

/* For a group's setup; 0. */
static inline int names_start(const struct stub_rule *rules)
{
    stub_stay_inside();
    stub_start(&stub, rules);
    return 0;
}

static inline int names_stop(void **state)
{
    (void)state;
    stub_stop(&stub);
    return 0;
}

/* Opens w->resolver. zones: those that are asked for without DNSSEC. */
static inline void names_resolver(struct world *w, const char *zones, int64_t queries)
{
    static char forwarder[40];
    const struct resolver_conf conf = {.forwarders = forwarder,
                                       .trust_anchor = "",
                                       .local_zones = zones,
                                       .cache = 1 << 20,
                                       .timeout = 60000,
                                       .queries = queries};
    struct err err = {0};

    snprintf(forwarder, sizeof forwarder, "127.0.0.1@%u", stub.port);
    if (resolver_open(&conf, w->loop, &w->resolver, &err))
        fail_msg("%s", err.text);
}
#endif
