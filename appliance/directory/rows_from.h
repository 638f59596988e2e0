/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_from.h - which source of rows the settings name, and opening it.
 * Floor 3 (directory, private). Threads: made and freed by one; immutable in between (`files` has a
 * lock), so any. */
#ifndef PH_DIRECTORY_ROWS_FROM_H
#define PH_DIRECTORY_ROWS_FROM_H
#include "appliance/directory/directory.h"
#include "appliance/directory/rows_sql.h"
#include "appliance/directory/schema.h"

struct rows_from {
    struct arena *m;
    enum directory_source kind;
    const char *dir;              /* the data folder */
    const struct sql_server *own; /* where our own tables are; NULL: files in dir */
    struct sql_server lookups;    /* DIRECTORY_FROM_MYSQL */
    struct sql_server changes;    /* database NULL: nothing may be changed */
    struct rows_sql_conf sql;
    struct rows_files_shared *files; /* DIRECTORY_FROM_FILES */
    const char *origin;              /* _SYSTEM */
    uint64_t uid_min, uid_max;
    bool as_is;    /* for who only reads: makes no tables */
    bool upgrades; /* hashes of old schemes are replaced after a login */
};
/* Checks and copies; conf may go. Opens nothing. ERR_PERM: what is wrong with the settings. */
int rows_from_new(const char *dir, const struct directory_conf *conf, struct rows_from **out,
                  struct err *err) __attribute__((warn_unused_result));
void rows_from_free(struct rows_from **s);

enum schema_how rows_from_how(const struct rows_from *s); /* our own tables, for a command */

/* For one thread; s must outlive it. Blocks. ERR_TEMP: it can't be reached now. */
int rows_from_open(const struct rows_from *s, struct rows **out, struct err *err)
    __attribute__((warn_unused_result));
/* Answers rows_sql_set_hash() alone. ERR_PERM: hashes can't be changed there. */
int rows_from_open_writer(const struct rows_from *s, struct rows **out, struct err *err)
    __attribute__((warn_unused_result));
/* The tables that commands list and change; read_only_out: only list. ERR_PERM: the accounts of
 * this source are none of Flurdy's tables, so they are managed where they come from. */
int rows_from_open_tables(const struct rows_from *s, struct sql **out, bool *read_only_out,
                          struct err *err) __attribute__((warn_unused_result));
#endif
