/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_files.h - rows of flat files, as mail systems of small hosts keep them.
 * Floor 3 (directory, private). Threads: each struct rows is that of one worker; what was read is
 * shared by all of a folder. In the folder: `passwd/DOMAIN` with lines "user:hash[:anything]",
 * `aliases/DOMAIN` with lines "user:destination[, destination...]"; user "*" or "" in aliases is
 * the catch-all. Empty lines and those that begin with "#" say nothing. A domain is hosted that has
 * a file in one of the folders; a hash as password.h reads it, "!" or "*" first: no login. A
 * destination without "@" is in the same domain. Names are folded; the first line of a name counts.
 * The files are looked at once a second at most, while they are asked for; a change of a name, size
 * or time is read anew as a whole. What can't be read leaves the last state that could, with a
 * warning, once for each change. Where there is none that was whole (at the start), a line that
 * can't be read is left out, and what isn't found in its domain is ERR_TEMP for mail (a login
 * fails): it may have been there. A folder or file that can't be read at the start: ERR_TEMP for
 * all. Bounds: 64 MiB a file, 10 000 files, 1000 bytes a name. */
#ifndef PH_DIRECTORY_ROWS_FILES_H
#define PH_DIRECTORY_ROWS_FILES_H
#include "appliance/directory/rows.h"

struct rows_files_shared;
struct rows_files_shared *rows_files_shared_new(const char *folder);
void rows_files_shared_free(struct rows_files_shared **f);
struct rows *rows_files_new(struct rows_files_shared *shared); /* which must outlive it */
#endif
