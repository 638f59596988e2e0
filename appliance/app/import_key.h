/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_key.h - by what a message of a source is known again, and whether it has changed.
 * Floor 6 (app). Threads: any (pure). What they make is kept in the store: it must not change. */
#ifndef PH_APP_IMPORT_KEY_H
#define PH_APP_IMPORT_KEY_H
#include "appliance/app/import_run.h"
#include "appliance/base/arena.h"

/* Of printable ASCII, as JSON and people can take it; its digest when it is longer than max. */
struct str import_key_plain(struct arena *a, struct str key, size_t max);
struct str import_key_of(struct arena *a, struct str key); /* at most IMPORT_KEY_MAX */
/* A number that differs when flags or keywords do. */
int64_t import_state_of(const struct import_message *m);
#endif
