/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_query.h - a query as settings and presets write it, made into SQL with bound parameters.
 * Floor 3 (directory, private). Threads: any (pure).
 * %s is the whole address, %u what stands before its "@", %d the domain, %h a new hash, %o the one
 * before it, %% a percent sign. Nothing that a client sent becomes part of the text: a placeholder
 * is a parameter, and a literal that holds one ('@%d', '%u@%d') becomes one parameter as a whole,
 * so queries of Postfix and Dovecot can be copied. Refused: "?", a backslash, ";" and comments. */
#ifndef PH_DIRECTORY_ROWS_QUERY_H
#define PH_DIRECTORY_ROWS_QUERY_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"

enum { ROWS_QUERY_PARAMS = 12, ROWS_QUERY_MAX = 4000 };
struct rows_query {
    const char *text; /* NULL: there is none */
    unsigned n;
    struct str params[ROWS_QUERY_PARAMS]; /* patterns for rows_query_value() */
};
struct rows_values {
    struct str address, local, domain, hash, old;
};
/* letters: the placeholders that may stand in it. Memory from m. ERR_PROTO: what is wrong. */
int rows_query_read(struct arena *m, const char *text, const char *letters, struct rows_query *out,
                    struct err *err) __attribute__((warn_unused_result));
struct str rows_query_value(struct arena *m, struct str pattern, const struct rows_values *v);
#endif
