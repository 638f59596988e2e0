/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_mark.h - what is remembered of values that an import has read (takeover.h): a mark of
 * each, by which the next one sees what changed since, there and here. Floor 3 (directory,
 * private). Threads: that of the connection; blocks. Table directory_import keeps, by kind and
 * name, a row's marks one after the other; and under the kind "upgraded" two marks: of the hash
 * that a login here has made, and of the password it stands for. A mark is 42 bits, salted with the
 * row's name and the column's: enough to see a change, of no use as a hash of a password. */
#ifndef PH_DIRECTORY_IMPORT_MARK_H
#define PH_DIRECTORY_IMPORT_MARK_H
#include "appliance/base/arena.h"
#include "appliance/sql/sql.h"

enum { IMPORT_MARK = 7 }; /* characters */
#define IMPORT_UPGRADED "upgraded"
#define IMPORT_PASSWORD "password" /* the column: what rows_login tells as stored */

struct str import_mark(struct arena *m, const char *kind, struct str name, const char *column,
                       struct str value);
/* Is `ours` the hash that a login has put in the place of what has the mark `theirs`? note: of the
 * kind "upgraded", or .p NULL. */
bool import_is_upgrade(struct str note, struct str ours, struct str theirs);
/* A login has replaced `old` by `hash`, in this transaction. Nothing is noted of an account that no
 * import has brought. */
int import_note_upgrade(struct sql *db, struct str account, struct str old, struct str hash,
                        struct err *err) __attribute__((warn_unused_result));
#endif
