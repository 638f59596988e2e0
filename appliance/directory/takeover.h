/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* takeover.h - brings the accounts of another mail system into our own tables, again and again
 * until its MX is switched.
 * Floor 3 (directory). Threads: one; blocks. Read are the tables of Flurdy's guide (domains, users,
 * aliases, relocated, backups, relays) and PostfixAdmin's (domain, mailbox, alias, alias_domain),
 * of a dump or of a server; tables and columns that aren't there are done without. Hashes come as
 * they are; a clear password only where there is no hash. A run remembers what it read. The next
 * one brings what is new there, and of each row the values that changed there since. It leaves
 * alone what was changed or removed here, also where both sides changed it. A hash that a login
 * here has renewed counts as the password it was made of, so a new one there replaces it. What is
 * gone there stays here, and is told. */
#ifndef PH_DIRECTORY_TAKEOVER_H
#define PH_DIRECTORY_TAKEOVER_H
#include "appliance/directory/directory_admin.h"

enum takeover_kind {
    TAKEOVER_DOMAIN,
    TAKEOVER_USER,
    TAKEOVER_ALIAS,
    TAKEOVER_MOVED,
    TAKEOVER_BACKUP,
    TAKEOVER_RELAY,
    TAKEOVER_KINDS
};
const char *takeover_kind_name(enum takeover_kind k); /* "domain", ... */

enum takeover_outcome {
    TAKEOVER_ADDED,
    TAKEOVER_UPDATED, /* of a row, some values may be KEPT as well: it is told twice, and counted */
    TAKEOVER_UNCHANGED,
    TAKEOVER_KEPT,    /* it differs here, by somebody's will: left alone */
    TAKEOVER_REFUSED, /* no name that we could keep */
    TAKEOVER_GONE,    /* came with an earlier run and isn't there any more: left alone */
    TAKEOVER_OUTCOMES
};
const char *takeover_outcome_name(enum takeover_outcome o);

struct takeover_conf {
    bool dry_run; /* nothing is written */
    bool replace; /* what would be KEPT is UPDATED */
    void *ctx;
    /* Each row but the unchanged ones; why: a sentence, or NULL. May be NULL. */
    void (*on_row)(void *ctx, enum takeover_kind k, enum takeover_outcome o, struct str name,
                   const char *why);
    /* May be NULL: how far it has come; all 0: not known. */
    void (*progress)(void *ctx, uint64_t rows, size_t done, size_t all);
};
struct takeover_report {
    uint64_t counts[TAKEOVER_KINDS][TAKEOVER_OUTCOMES];
    bool found[TAKEOVER_KINDS]; /* there was a table of it */
};
struct takeover;
/* Into the tables that directory_admin_open_as() opens. */
int takeover_open(const char *dir, const struct directory_conf *directory,
                  const struct takeover_conf *conf, struct takeover **out, struct err *err)
    __attribute__((warn_unused_result));
int takeover_dump(struct takeover *t, struct str text, struct err *err)
    __attribute__((warn_unused_result));
int takeover_server(struct takeover *t, const struct sql_server *server, struct err *err)
    __attribute__((warn_unused_result));
/* Finds what is gone, and makes all durable. -1: what was reported before may be there already;
 * running again goes on. */
int takeover_end(struct takeover *t, struct takeover_report *out, struct err *err)
    __attribute__((warn_unused_result));
void takeover_close(struct takeover **t);
#endif
