/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* own.h - the tables that Flurdy's schema lacks, schema "accounts": what we know of an account
 * beside its row. Floor 3 (directory, private). Threads: that of the connection; blocks.
 * They are never in the tables of others, and are keyed by the folded address. A new table or
 * column is one more entry at the end of the list in own.c, in the common subset of SQLite and
 * MySQL; what is there is never changed. Where they live: on
 * `server`, where the settings name a database for all that is ours, else in directory.db in the
 * data folder. */
#ifndef PH_DIRECTORY_OWN_H
#define PH_DIRECTORY_OWN_H
#include "appliance/directory/schema.h"

/* SCHEMA_CHANGE: makes the tables and brings them up to date; safe beside others that do. */
int own_open(const char *dir, const struct sql_server *server, enum schema_how how,
             struct sql **out, struct err *err) __attribute__((warn_unused_result));

/* A worker of lane `directory`: its connection to them for reading, outside of any transaction, so
 * each statement sees what is committed; opened (again) when there is none. NULL: err. It is
 * closed by worker_end(w, true). */
struct directory_worker;
struct sql *worker_own(struct directory_worker *w, struct err *err);
#endif
