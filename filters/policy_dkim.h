/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy_dkim.h - author domains whose mail must be signed (policy.dkim_required).
 * Floor 4 (filters). Threads: any (pure). */
#ifndef PH_FILTERS_POLICY_DKIM_H
#define PH_FILTERS_POLICY_DKIM_H
#include "appliance/base/err.h"
#include "filters/dmarc_author.h"

/* list: "example.org, .example.net" (with all below). -1: one of them is no domain. */
int policy_dkim_check(struct str list, struct err *err) __attribute__((warn_unused_result));

bool policy_dkim_within(struct str name, struct str domain); /* the same, or below */
enum policy_dkim { POLICY_DKIM_FREE, POLICY_DKIM_SIGNED, POLICY_DKIM_UNKNOWN, POLICY_DKIM_MISSING };
/* Of the author domains that the list names, each must have a signature that passed, by it, by a
 * domain above or one below it. results: fact dkim.results; .p NULL: nobody has looked. UNKNOWN:
 * nobody has, or a key could not be asked for (*temporary_out). *domain_out: the one in question.
 */
enum policy_dkim policy_dkim_look(struct str list, struct str head, struct str results,
                                  struct dmarc_domain *domain_out, bool *temporary_out);
#endif
