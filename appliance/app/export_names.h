/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* export_names.h - names of accounts and mailboxes as names of files: short enough for a file
 * system, and no two the same within one export. Floor 6 (app). Threads: one. */
#ifndef PH_APP_EXPORT_NAMES_H
#define PH_APP_EXPORT_NAMES_H
#include "appliance/base/buf.h"

struct export_names; /* the paths that were given out */
struct export_names *export_names_new(void);
void export_names_free(struct export_names **n);

/* Shortens what stands behind the octet `at` of a path to a file's name that leaves room for an
 * ending; what is left out is told by a hash at its end. */
void export_name_shorten(struct buf *path, size_t at);
/* The same, and then makes it one that wasn't given out before (`_` at its end, before `ending`,
 * which is appended). -1: the path is too long. */
int export_name_take(struct export_names *n, struct buf *path, size_t at, const char *ending)
    __attribute__((warn_unused_result));
#endif
