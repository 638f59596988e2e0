/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_child.h - an engine in a scanner of its own (isolation = process), seen from the server:
 * loaded, used and freed as one in this process (clamav_engine.h), and it can die. The other side
 * is clamav_scanner.h. Floor 4 (filters). Threads: any, blocking; used by several at once, and
 * freed when nobody uses it. */
#ifndef PH_FILTERS_CLAMAV_CHILD_H
#define PH_FILTERS_CLAMAV_CHILD_H
#include "filters/clamav_engine.h"
#include <sys/types.h>

struct runner;
struct clamav_child;
/* As clamav_engine_load(): go_on is asked again and again, `engine` stays NULL. -1: no child, see
 * l->why. *died: it was not the signatures; the same may work later. */
int clamav_child_load(const struct runner *r, struct clamav_load *l, unsigned threads,
                      struct clamav_child **out, bool *died);
/* Ends the scanner, and waits a moment until its memory is free. */
void clamav_child_free(struct clamav_child **c);
/* CLAMAV_GONE: the scanner has died meanwhile, or gave no answer within the time and was killed;
 * name: how. It will never answer again. CLAMAV_UNASKED: it had died before. */
enum clamav_result clamav_child_scan(struct clamav_child *c, const struct ph_view *v, char *name,
                                     size_t room);
bool clamav_child_lives(struct clamav_child *c, char *why, size_t room); /* doesn't block */
pid_t clamav_child_pid(const struct clamav_child *c);
#endif
