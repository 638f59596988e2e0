/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows.h - where the rows of the directory come from: one interface over the tables of a database
 * (rows_sql.h), flat files (rows_files.h) and the system's users (rows_system.h).
 * Floor 3 (directory, private). Threads: a struct rows is that of one worker; calls block. Keys are
 * given folded; disabled rows are not found. Errors: ERR_TEMP while a source can't be asked, never
 * an answer that isn't one: "unknown" is only said by a source that was read. */
#ifndef PH_DIRECTORY_ROWS_H
#define PH_DIRECTORY_ROWS_H
#include "appliance/directory/resolve.h"
#include "appliance/sql/sql.h"

struct rows;
struct rows_login {
    bool found;        /* an enabled user in an enabled domain */
    struct str stored; /* as password.h reads it; empty: cannot log in */
    uint64_t quota_bytes;
    bool system; /* stored says nothing: the system checks the password (rows_system.h) */
};
typedef int (*rows_user_fn)(void *ctx, struct str address, struct err *err); /* -1 ends the walk */

/* What a source does. Each answers as the function of its name below. */
struct rows_kind {
    const char *name;
    int (*begin)(struct rows *r, struct err *err); /* what follows sees one state; may be NULL */
    void (*end)(struct rows *r);                   /* may be NULL */
    void (*close)(struct rows *r);
    int (*hosted)(struct rows *r, struct str domain, bool *hosted_out, struct err *err);
    int (*user)(struct rows *r, struct str address, bool *found_out, struct err *err);
    int (*alias)(struct rows *r, struct arena *m, struct str address, struct str *out,
                 struct err *err);
    int (*first_domain)(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                        struct err *err);
    int (*first_user)(struct rows *r, struct arena *m, struct str domain, struct str *out,
                      struct err *err);
    int (*login)(struct rows *r, struct arena *m, struct str address, struct rows_login *out,
                 struct err *err);
    int (*users)(struct rows *r, rows_user_fn fn, void *ctx, struct err *err);
    /* NULL: the source has no such thing. */
    int (*moved)(struct rows *r, struct arena *m, struct str address, struct str *out,
                 struct err *err);
    int (*relayed)(struct rows *r, struct str address, bool *relayed_out, struct err *err);
    bool (*gaps)(struct rows *r, struct str domain);
};
struct rows {
    const struct rows_kind *kind;
};

int rows_begin(struct rows *r, struct err *err) __attribute__((warn_unused_result));
void rows_end(struct rows *r);
void rows_close(struct rows **r);

/* A domain is hosted when it is enabled and its transport doesn't send it elsewhere ("smtp:",
 * "relay:"). */
int rows_hosted(struct rows *r, struct str domain, bool *hosted_out, struct err *err)
    __attribute__((warn_unused_result));
int rows_user(struct rows *r, struct str address, bool *found_out, struct err *err)
    __attribute__((warn_unused_result));
/* The comma separated destinations of an alias; .p == NULL: no such row. */
int rows_alias(struct rows *r, struct arena *m, struct str address, struct str *out,
               struct err *err) __attribute__((warn_unused_result));
/* The enabled domain that was added first (empty: none), and whether it is the only one. */
int rows_first_domain(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                      struct err *err) __attribute__((warn_unused_result));
/* The first enabled user of the domain, by name; empty: none. */
int rows_first_user(struct rows *r, struct arena *m, struct str domain, struct str *out,
                    struct err *err) __attribute__((warn_unused_result));
int rows_login(struct rows *r, struct arena *m, struct str address, struct rows_login *out,
               struct err *err) __attribute__((warn_unused_result));
/* Each enabled user, folded, one after the other. */
int rows_users(struct rows *r, rows_user_fn fn, void *ctx, struct err *err)
    __attribute__((warn_unused_result));
/* Where the mailbox of this address has moved to (RFC 5321 3.4); .p == NULL: it hasn't. */
int rows_moved(struct rows *r, struct arena *m, struct str address, struct str *out,
               struct err *err) __attribute__((warn_unused_result));
/* Is the address in a domain that is taken in for another host, which we back up? */
int rows_relayed(struct rows *r, struct str address, bool *relayed_out, struct err *err)
    __attribute__((warn_unused_result));
/* Could not all of this domain be read? Then what isn't found there isn't unknown. */
bool rows_gaps(struct rows *r, struct str domain);
struct resolve_source rows_source(struct rows *r);
#endif
