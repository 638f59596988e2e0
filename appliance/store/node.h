/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* node.h - one of several processes on one database. Private to this folder.
 * A node holds a number (1 to 63, in its ids) by a row of table `node`: who owns it, until when by
 * the database's clock, up to which id it may have given out, and the mark of its last transaction.
 * The row is renewed while the process runs; one that ran out may be taken over, beginning above
 * the ids that were reserved. Each transaction writes its mark into the row, and only the owner
 * can: so a node that was given up for dead writes nothing any more, whatever it believes, and a
 * COMMIT whose reply was lost is decided by the mark. What a node has taken for itself (mail it
 * sends, a COPY under way, the sweeper) carries the owner's number, and is free again when that
 * one's lease is over. All functions may be called
 * with a store that is alone, whose s->node is NULL. Threads: as said. */
#ifndef PH_STORE_NODE_H
#define PH_STORE_NODE_H
#include "appliance/store/store_private.h"

enum { NODE_LEASE_MS = 15000, NODE_RENEW_MS = 3000 };

/* Waits for a number, if the store is shared. Blocking, before the loop runs. */
int node_open(struct store *s, struct sql *db, struct err *err) __attribute__((warn_unused_result));
void node_close(struct store *s, struct sql *db); /* gives its number back; NULL: can't */
void node_free(struct store *s);

/* ---- Commit thread, outside a transaction. */
uint64_t node_wait_ms(struct store *s); /* until it wants to be tended; UINT64_MAX: never */
/* Renews what runs out, takes a number if there is none. -1: there is none, nothing may be written.
 * *changed_out: other nodes ended, or this one has another number. */
int node_tend(struct store *s, struct sql *db, bool *changed_out, struct err *err)
    __attribute__((warn_unused_result));
/* Last in a transaction. *mark_out: 0 when the store is alone. */
int node_mark_tx(struct store_tx *tx, uint64_t *mark_out, struct err *err)
    __attribute__((warn_unused_result));
enum node_fate { NODE_COMMITTED, NODE_UNDONE, NODE_UNDECIDED };
/* What became of the transaction with that mark whose COMMIT had no answer. Waits for the database
 * for some time. */
enum node_fate node_decide(struct store *s, struct sql *db, uint64_t mark);

/* ---- Any thread. */
unsigned node_number(const struct store *s); /* 0: alone */
/* Who this is; 0: alone, or for the moment without a lease. */
uint64_t node_owner(const struct store *s);
/* The same with or without a lease: what a transaction writes, which its mark decides about. */
uint64_t node_self(const struct store *s);
/* The database's time, as far as is known without asking: for `until > ?`. */
int64_t node_db_ms(const struct store *s);

/* Others live, as far as is known: one that has come since is seen with the next renewal. Any
 * thread. */
bool node_others(const struct store *s);

/* Its node lives and is another one than this. */
int node_elsewhere_tx(struct store_tx *tx, uint64_t owner, bool *out, struct err *err)
    __attribute__((warn_unused_result));

/* A row's owner is free to be replaced: nobody, this node, or one whose lease is over. Binds two
 * parameters: node_self(), node_db_ms(). */
#define NODE_FREE(column)                                                                          \
    "(" column " = 0 OR " column " = ? OR NOT EXISTS "                                             \
    "(SELECT 1 FROM node WHERE node.owner = " column " AND node.until > ?))"
#endif
