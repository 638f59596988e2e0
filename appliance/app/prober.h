/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* prober.h - filter stages ask other hosts about addresses through delivery. Floor 6 (app).
 * Threads: loop. */
#ifndef PH_APP_PROBER_H
#define PH_APP_PROBER_H
#include "filters/chain.h"
#include "smtp/client/callout.h"

/* c NULL: nobody can be asked (any more). */
void prober_set(struct filters *f, struct callout *c);
#endif
