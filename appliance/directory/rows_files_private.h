/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_files_private.h - what rows_files.c (who shares what was read, answers) and
 * rows_files_read.c (reading it) share. Floor 3 (directory, private). Threads: a snapshot is never
 * changed, and counted under the lock of its rows_files_shared. */
#ifndef PH_DIRECTORY_ROWS_FILES_PRIVATE_H
#define PH_DIRECTORY_ROWS_FILES_PRIVATE_H
#include "appliance/base/map.h"
#include "appliance/directory/rows_files.h"

struct snapshot {
    unsigned refs;
    struct arena *m;
    struct map *domains, *users, *aliases; /* users: struct str hash; aliases: destinations */
    struct map *gaps;                      /* domains of which a line couldn't be read */
    struct str first;                      /* domain, by name */
};
/* Of names, sizes and times of all files. */
int snapshot_sum(const char *folder, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));
/* strict: a line that can't be read refuses all. Else it is left out, with a warning. NULL: err. */
struct snapshot *snapshot_read(const char *folder, bool strict, struct err *err);
void snapshot_free(struct snapshot **s);
#endif
