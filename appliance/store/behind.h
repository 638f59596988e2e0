/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* behind.h - tables of other rooms that are written behind: what changes often is collected in
 * memory and written together a while later, and at the end. What is lost in a crash is that while;
 * what a full disk or a database that is away costs is one warning. Never for mail.
 * Floor 3 (store). Threads: loop; write() on the commit thread, where the rows are its own. */
#ifndef PH_STORE_BEHIND_H
#define PH_STORE_BEHIND_H
#include "appliance/base/arena.h"
#include "appliance/base/log.h"
#include "appliance/store/news.h"

struct behind_row { /* the first member of the room's own */
    struct behind_row *next;
};
struct behind_kind {
    const struct log_ctx *log;
    const char *event; /* of the warning: "guard_not_written" */
    uint64_t after_ms;
    size_t rows_max; /* that may wait; more aren't kept */
    /* Inserts or changes them, in the order in which they came. Other nodes may do the same with
     * the same rows at the same time (store_op.upserts). */
    int (*write)(struct sql *db, struct behind_row *first, struct err *err);
    /* Several nodes: what the room keeps in memory of its rows, the others hear of (news.h), under
     * this name and the keys of behind_add_key(). Rows that wait here are not taken; resume is not
     * used. NULL: the rows are only added to, or read when they are needed. */
    const char *table;
    const struct news_kind *news;
};
struct behind;
/* kind lives as long as this. */
struct behind *behind_new(struct loop *l, struct store *s, const struct behind_kind *kind);
/* Writes what waits, and waits for that. Before the store is closed. */
void behind_free(struct behind **b);
/* With kind->news: before the rows are read at the start; ctx is for its functions. */
void behind_hear(struct behind *b, void *ctx);
/* A row of so many bytes, zero; *arena_out: for what belongs to it. NULL: too many wait. */
void *behind_add(struct behind *b, size_t size, struct arena **arena_out);
/* The one of this key that waits, or a new one. */
void *behind_add_key(struct behind *b, struct str key, size_t size, struct arena **arena_out,
                     bool *made_out);
bool behind_waits(const struct behind *b); /* something isn't written yet */
#endif
