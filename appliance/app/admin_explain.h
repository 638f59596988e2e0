/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_explain.h - what `posthouse explain` makes of the verdicts that were kept: which one
 * decided, and what would have changed it. Floor 6 (app). Threads: any (pure). */
#ifndef PH_APP_ADMIN_EXPLAIN_H
#define PH_APP_ADMIN_EXPLAIN_H
#include "appliance/base/buf.h"
#include <jansson.h>

/* o: a row of table verdict (filters/keep.c). Added to it: `date`; `verdict` and `decided_by`, what
 * the stages came to together; `effect` of each stage whose verdict isn't PASS, in words; and
 * `changes`: [{"without" or "with": stages, "verdict", "decided_by"}]. It follows the rules of
 * filters/judge.c. */
void explain_judge(json_t *o);
/* The same for people. */
void explain_render(json_t *o, struct buf *out);
#endif
