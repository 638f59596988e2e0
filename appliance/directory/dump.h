/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dump.h - the rows in a dump of mysqldump or phpMyAdmin, without a server that reads it.
 * Floor 3 (directory, private). Threads: any (pure).
 * Understood: INSERT and REPLACE with one row or many, with a list of columns or in the order of
 * CREATE TABLE; literals with their escapes, hexadecimal, bits, NULL, introducers (_utf8mb4'..');
 * comments, also those that servers execute; DELIMITER. Other statements are passed over. The text
 * is taken for UTF-8; a backslash escapes, as without NO_BACKSLASH_ESCAPES.
 * Bounds: 256 columns, 1 MiB a value, 1000 tables. */
#ifndef PH_DIRECTORY_DUMP_H
#define PH_DIRECTORY_DUMP_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"

enum { DUMP_COLUMNS_MAX = 256, DUMP_VALUE_MAX = 1 << 20, DUMP_TABLES_MAX = 1000 };

struct dump_reader { /* .p == NULL: NULL. Views live during the call */
    void *ctx;
    /* Of which tables rows are wanted. A table may come again, with other columns. */
    bool (*wants)(void *ctx, struct str table, const struct str *columns, size_t n);
    int (*row)(void *ctx, struct str table, const struct str *columns, const struct str *values,
               size_t n, struct err *err);
    /* May be NULL: how far it has come, now and then. */
    void (*progress)(void *ctx, size_t done, size_t all);
};
/* -1: ERR_PROTO with the line, or what `row` said. */
int dump_read(struct str text, const struct dump_reader *r, struct err *err)
    __attribute__((warn_unused_result));
#endif
