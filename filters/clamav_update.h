/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_update.h - signatures fetched on a schedule with libfreshclam: ClamAV's own, signed ones
 * from its mirrors or a private one, and others by URL. Floor 4 (filters). Threads: loop.
 * Each run is a child of a helper, in the same sandbox: it can be ended at any time, its memory
 * goes with it, and libfreshclam's globals and what it prints are its own. */
#ifndef PH_FILTERS_CLAMAV_UPDATE_H
#define PH_FILTERS_CLAMAV_UPDATE_H
#include "filters/clamav.h"

struct clamav_updater;
/* Starts its helper, before anybody uses libclamav. -1: why. */
int clamav_update_prepare(struct clamav *c, char *why, size_t room);
/* As the settings say, or not at all; again after a reload. -1: they can't be done; why. */
int clamav_update_schedule(struct clamav *c, char *why, size_t room);
void clamav_update_stop(struct clamav *c); /* blocking; a run is killed */
#endif
