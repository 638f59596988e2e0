/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_sql.h - rows of the tables of a database: our own, or those of a mail system that stands.
 * Floor 3 (directory, private). Threads: that of the connection; blocks. What the tables look like
 * is told by a preset, query by query, and by queries of the settings, which replace the preset's.
 * Of each query the preset has variants; the first that the database can prepare counts, so a
 * missing column or an optional table (or one that our user may not read) is found out when it is
 * opened. Nothing is changed but by rows_sql_set_hash(). A name with letters that the tables'
 * character set lacks is not found. Nor is one outside plain ASCII by a query that doesn't tell the
 * address (or what is before its "@"): collations take "à" for "a", and that is another account. */
#ifndef PH_DIRECTORY_ROWS_SQL_H
#define PH_DIRECTORY_ROWS_SQL_H
#include "appliance/directory/rows.h"
#include "appliance/directory/rows_query.h"

enum rows_ask {
    ROWS_DOMAIN,      /* %d: its transport, when it is enabled */
    ROWS_USER,        /* %s: a row when it is enabled; the first column may be the address */
    ROWS_ALIAS,       /* %s: destinations, in one row or several; in presets the address */
    ROWS_LOGIN,       /* %s: hash, quota, and if there is a third column the address of an enabled
                       * user */
    ROWS_DOMAINS,     /* names of the enabled domains, the first one first */
    ROWS_DOMAIN_USER, /* %d: the first address of it, by name */
    ROWS_USERS,       /* the addresses of all enabled users */
    ROWS_MOVED,       /* %s: the new address; may be missing */
    ROWS_BACKUP,      /* %d: a row when we are its backup; may be missing */
    ROWS_RELAY,       /* %s: a row when the address may be taken in; may be missing */
    ROWS_RELAYS,      /* %d: a row when ROWS_RELAY has any address of the domain; as that one */
    ROWS_SET_HASH,    /* %h %o %s; only prepared when it is used */
    ROWS_ASKS
};
struct rows_sql_conf {
    const char *preset;             /* "flurdy", "postfixadmin" */
    const char *queries[ROWS_ASKS]; /* NULL or empty: as the preset has it */
    bool own;                       /* our own tables: an import notes there what it has read */
};
/* ERR_PROTO: a query can't be read, or the preset isn't known. Asks no database. */
int rows_sql_check(const struct rows_sql_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
/* own: the connection is closed with it. Else, and on -1, it stays the caller's. */
int rows_sql_new(struct sql *db, bool own, const struct rows_sql_conf *conf, struct rows **out,
                 struct err *err) __attribute__((warn_unused_result));
/* Over our own tables. */
int rows_sql_own(struct sql *db, bool own, struct rows **out, struct err *err)
    __attribute__((warn_unused_result));
/* Over a connection that may change things; it is closed with it, and stays the caller's on -1.
 * Answers nothing but rows_sql_set_hash(): it puts `hash` where `old` stands (as rows_login has
 * it), and notes that for the next import; *changed_out: it did. */
int rows_sql_writer(struct sql *db, const struct rows_sql_conf *conf, struct rows **out,
                    struct err *err) __attribute__((warn_unused_result));
int rows_sql_set_hash(struct rows *writer, struct str address, struct str old, struct str hash,
                      bool *changed_out, struct err *err) __attribute__((warn_unused_result));
/* rows_presets.c: the i-th variant of a preset's query, NULL behind the last one. */
bool rows_preset_known(const char *preset);
const char *rows_preset_query(const char *preset, enum rows_ask which, unsigned i);
const char *rows_ask_name(enum rows_ask which); /* as in the settings: "query_domain" */
const char *rows_ask_letters(enum rows_ask which);
bool rows_ask_optional(enum rows_ask which);
#endif
