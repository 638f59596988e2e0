/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* outside.h - which clients the stages about addresses and names look at: strangers that bring mail
 * from outside. And whether their addresses are theirs: behind the gateway of a container network
 * all clients seem to be one, and what is said of it would be true of nobody.
 * Floor 4 (filters). Threads: loop. Embedded in the instance of a stage, zeroed at first. */
#ifndef PH_FILTERS_OUTSIDE_H
#define PH_FILTERS_OUTSIDE_H
#include "appliance/base/cidr.h"
#include "filters/stage.h"

/* Addresses that the public DNS knows nothing of: the default of each stage's `skip`. */
#define OUTSIDE_PRIVATE                                                                            \
    "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16, " \
    "fc00::/7, fe80::/10"

enum { OUTSIDE_NAMES = 8 }; /* so many HELO names from one private address, and from no other */
struct outside_seen { /* by all stages together: one (builtin_seen) a process, zeroed at first */
    uint8_t ip[16];   /* the private address that everybody came from last */
    uint64_t names[OUTSIDE_NAMES];
    size_t n_names;
    bool hidden;
    char why[160];
};
struct outside {
    struct cidr_set skip;
};

/* The setting `skip`: -1 if it is malformed. */
int outside_check(const char *skip, struct ph_err *err) __attribute__((warn_unused_result));
void outside_take(struct outside *o, const char *skip); /* one that was checked */
void outside_fini(struct outside *o);
/* The instance of a stage that needs no more, and its life. */
struct outside_stage {
    const struct ph_host *host;
    struct outside outside;
};
int outside_stage_open(const struct ph_host *host, const char *skip, void **inst);
void outside_stage_close(void *inst);
/* Why it isn't mail from outside, "not checked: ..."; NULL: it is. Of any stage. */
const char *outside_not(const struct ph_view *v);
/* Why this client isn't to be judged, "not checked: ..."; NULL: it is. */
const char *outside_why_not(const struct outside *o, const struct ph_host *host,
                            const struct ph_view *v);
#endif
