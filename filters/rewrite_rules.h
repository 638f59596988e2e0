/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rewrite_rules.h - addresses that are written in another way: as the rules say, and with a domain
 * where they have none. Floor 4 (filters). Threads: any (pure); rules never change.
 * The most exact rule counts, once: an address, a domain, ".domain" (with all below, the longest
 * first). */
#ifndef PH_FILTERS_REWRITE_RULES_H
#define PH_FILTERS_REWRITE_RULES_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

struct rewrite;
/* Lists, as settings have them. rules: "old.example->new.example, .example.com->example.com,
 * a@old.example->b@new.example"; except: "a@old.example, old.example, .old.example". -1: err names
 * the word. */
int rewrite_new(struct str rules, struct str except, struct rewrite **out, struct err *err)
    __attribute__((warn_unused_result));
void rewrite_free(struct rewrite **r);
/* "local@domain" as an envelope has it. False: it stays. */
bool rewrite_address(const struct rewrite *r, struct arena *a, struct str address, struct str *out);
/* The value of an address field. origin: the domain of addresses without one; empty: they stay. How
 * many were changed; 0: out is as it was. */
unsigned rewrite_field(const struct rewrite *r, struct str origin, struct str value,
                       struct buf *out);
#endif
