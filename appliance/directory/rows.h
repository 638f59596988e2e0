/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows.h - the queries that the running server asks, each of one row.
 * Floor 3 (directory, private). Threads: that of the connection; blocks. Keys are given folded;
 * disabled rows are not found. */
#ifndef PH_DIRECTORY_ROWS_H
#define PH_DIRECTORY_ROWS_H
#include "appliance/directory/resolve.h"
#include "appliance/sql/sql.h"

/* A domain is hosted when it is enabled and its transport doesn't send it elsewhere ("smtp:",
 * "relay:"). */
int rows_hosted(struct sql *db, struct str domain, bool *hosted_out, struct err *err)
    __attribute__((warn_unused_result));
int rows_user(struct sql *db, struct str address, bool *found_out, struct err *err)
    __attribute__((warn_unused_result));
/* The enabled domain that was added first (empty: none), and whether it is the only one. */
int rows_first_domain(struct sql *db, struct arena *m, struct str *out, bool *only_out,
                      struct err *err) __attribute__((warn_unused_result));

/* The first enabled user of the domain, by name; empty: none. */
int rows_first_user(struct sql *db, struct arena *m, struct str domain, struct str *out,
                    struct err *err) __attribute__((warn_unused_result));

struct rows_login {
    bool found;        /* an enabled user in an enabled domain */
    struct str stored; /* as password.h reads it; empty: cannot log in */
    uint64_t quota_bytes;
};
int rows_login(struct sql *db, struct arena *m, struct str address, struct rows_login *out,
               struct err *err) __attribute__((warn_unused_result));
struct resolve_source rows_source(struct sql *db);
#endif
