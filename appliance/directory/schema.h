/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* schema.h - the directory's database: its file, its tables, and how a quota is written in them.
 * Floor 3 (directory, private). Threads: any; blocks. */
#ifndef PH_DIRECTORY_SCHEMA_H
#define PH_DIRECTORY_SCHEMA_H
#include "appliance/sql/sql.h"

enum schema_how {
    SCHEMA_CHANGE, /* what isn't there is made */
    SCHEMA_READ,   /* as it is: the program beside that changes it knows what it needs */
    SCHEMA_AS_IS   /* the same, and all is there; else -1 */
};
/* Connects to `server`, or without one opens dir/directory.db; SCHEMA_CHANGE: creates that. */
int schema_connect(const char *dir, const struct sql_server *server, enum schema_how how,
                   struct sql **out, struct err *err) __attribute__((warn_unused_result));
/* The same; SCHEMA_CHANGE: brings the tables of domains, users and aliases up to date. */
int directory_schema_open(const char *dir, const struct sql_server *server, enum schema_how how,
                          struct sql **out, struct err *err) __attribute__((warn_unused_result));
/* users.quota is text that people and other programs wrote: "10240000", "10M", "2 GB", and
 * Maildir's "10240000S,1000C" (S bytes, C messages). Bytes; 0 when there is no figure in it. */
uint64_t schema_quota(struct str text);
#endif
