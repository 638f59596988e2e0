/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* apply.h - `posthouse apply FILE`: accounts as a file says. What differs is made so by the
 * commands that a person would type, so it can be run again and again.
 * Floor 6 (app). Threads: main thread of a program without a loop.
 *
 * The file is JSON; all members but `address`, `domain` and `destinations` may be left out, and
 * what is left out stays as it is:
 *   {"domains": ["example.com", {"domain": "example.net", "quota": "20G"}],
 *    "users": [{"address": "ann@example.com", "name": "Ann", "password": "...", "hash": "$y$...",
 *               "quota": "2G", "enabled": true, "allow": "both", "forward": ["x@example.org"],
 *               "copy": true}],
 *    "aliases": [{"address": "office@example.com", "destinations": ["ann@example.com"]}]} */
#ifndef PH_APP_APPLY_H
#define PH_APP_APPLY_H
#include "appliance/base/err.h"
#include <jansson.h>

/* ERR_PERM: what is wrong with the file's content, and where. */
int apply_check(const json_t *file, struct err *err) __attribute__((warn_unused_result));

struct apply_state { /* what `domain list`, `user list`, `alias list` say */
    const json_t *domains, *users, *aliases;
    /* What `forward show` says of each user in the file whose wishes it names: by address. */
    const json_t *wishes;
};
/* ERR_PERM: an address of the file is in a domain that is neither there nor in the file. */
int apply_check_domains(const json_t *file, const struct apply_state *now, struct err *err)
    __attribute__((warn_unused_result));
struct apply_how {
    bool prune;     /* what the lists of the file don't name is removed */
    bool passwords; /* set those of users that are there, too */
};
/* The commands that make the one from the other, in order: [{"argv": [...], "password": "..."}].
 * The caller's. */
json_t *apply_plan(const json_t *file, const struct apply_state *now, const struct apply_how *how);
#endif
