/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_private.h - what the admin_*.c files share.
 * Floor 3 (directory, private). Threads: that of the caller; blocks. */
#ifndef PH_DIRECTORY_ADMIN_PRIVATE_H
#define PH_DIRECTORY_ADMIN_PRIVATE_H
#include "appliance/directory/directory_admin.h"
#include "appliance/directory/rows.h"
#include "appliance/directory/rows_from.h"

struct directory_admin {
    struct sql *db;
    struct rows *rows; /* over db */
    bool read_only;
    struct sql *own; /* admin_own() */
    struct rows_from *source;
    unsigned scram_iterations; /* 0: no verifiers are made */
    struct arena *scratch;     /* of one call: cleared when the next begins */
};
/* The connection to our own tables (own.h), opened when it is first asked for. NULL: err. */
struct sql *admin_own(struct directory_admin *a, struct err *err);
/* The user has another password, of which hash is stored; or is gone: our own tables follow. */
int admin_password_changed(struct directory_admin *a, struct str id, struct str password,
                           struct str hash, struct err *err) __attribute__((warn_unused_result));
int admin_user_gone(struct directory_admin *a, struct str id, struct err *err)
    __attribute__((warn_unused_result));
int admin_users_gone(struct directory_admin *a, struct str pattern, struct err *err)
    __attribute__((warn_unused_result)); /* all like it */
/* Folds and checks what is going to be stored; sentences for a person. Memory in scratch. */
int admin_domain_name(struct directory_admin *a, struct str in, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
int admin_address(struct directory_admin *a, struct str in, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
/* Also "@domain". */
int admin_alias_name(struct directory_admin *a, struct str in, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
/* ERR_WHY_NOT_FOUND unless the domain of this address has a row. */
int admin_need_domain(struct directory_admin *a, struct str address, struct err *err)
    __attribute__((warn_unused_result));

/* ERR_WHY_READ_ONLY: rows of others, that we may only read. */
int admin_may_change(const struct directory_admin *a, struct err *err)
    __attribute__((warn_unused_result));
/* Destinations of `name`: folded and checked into list, each once and as written into out, joined
 * by commas. A whole domain ("@other") only where name is one. admin_alias.c */
int admin_join(struct directory_admin *a, struct str name, const struct str *destinations, size_t n,
               struct str *list, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
/* Does mail for it arrive? Refused when it is in one of our domains and doesn't exist. */
int admin_check_destination(struct directory_admin *a, struct str name, struct str destination,
                            struct err *err) __attribute__((warn_unused_result));
extern const struct resolve_limits admin_limits; /* those that the settings have by default */
/* Prepares with the key bound as parameter 1 (.p NULL: none). */
int admin_prepare(struct directory_admin *a, const char *text, struct str key,
                  struct sql_stmt **out, struct err *err) __attribute__((warn_unused_result));
/* Runs a statement with the key; *changed_out is how many rows it changed. */
int admin_change(struct directory_admin *a, const char *text, struct str key, int64_t *changed_out,
                 struct err *err) __attribute__((warn_unused_result));
/* "%@domain", the LIKE pattern of the addresses in a domain (a domain has neither % nor _). */
struct str admin_pattern(struct directory_admin *a, struct str domain);
/* The pattern of the addresses in a domain as a list names it; STR_NULL when it names none (all).
 */
int admin_in_domain(struct directory_admin *a, struct str domain, struct str *pattern_out,
                    struct err *err) __attribute__((warn_unused_result));
/* Reads each row of a prepared statement into an array of items of this size in m, in steps that
 * double. */
typedef void (*admin_row_fn)(struct sql_stmt *st, struct arena *m, void *item);
int admin_collect(struct sql_stmt *st, struct arena *m, size_t size, admin_row_fn row,
                  void *list_out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
