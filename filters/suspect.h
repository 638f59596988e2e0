/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* suspect.h - has another stage found something about a client? For stages that cost it time, or
 * others work. Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_SUSPECT_H
#define PH_FILTERS_SUSPECT_H
#include "filters/stage.h"

/* At RCPT, after rdns, helo, spf and dnslist. */
bool suspect(const struct ph_host *host, ph_turn turn);
#endif
