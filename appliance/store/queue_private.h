/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_private.h - the queue's rows, for the files queue_*.c alone. Threads: *_tx on the commit
 * thread; the others with whichever connection they are given. */
#ifndef PH_STORE_QUEUE_PRIVATE_H
#define PH_STORE_QUEUE_PRIVATE_H
#include "appliance/store/queue.h"
#include "appliance/store/store_private.h"

/* ---- queue_held.c */

/* Another node may remove it in this very moment. */
int queue_lock_held_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
/* ERR_WHY_NOT_FOUND */
int queue_held_get(struct sql *db, struct arena *a, uint64_t id, struct queue_entry *out,
                   struct err *err) __attribute__((warn_unused_result));
/* Its recipients here; uid: the number of their row. */
int queue_held_rcpts(struct sql *db, struct arena *a, uint64_t id, size_t max,
                     struct message_recipient **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* ---- queue_edit.c */

/* For the account account_id; 0: for who has that name now. */
int queue_insert_rcpt_tx(struct store_tx *tx, uint64_t id, size_t n,
                         const struct message_recipient *r, struct err *err)
    __attribute__((warn_unused_result));

/* ---- queue_rows.c */

#define QUEUE_ENTRY_COLUMNS                                                                        \
    "q.id, q.held, q.since, q.until, q.next_try, q.sender, q.stage, q.reason, q.info, q.body, "    \
    "b.size, (SELECT COUNT(*) FROM queue_rcpt r WHERE r.queue = q.id) + "                          \
    "(SELECT COUNT(*) FROM queue_to t WHERE t.queue = q.id) "                                      \
    "FROM queue q JOIN body b ON b.id = q.body "
void queue_entry_read(struct sql_stmt *st, struct arena *a, struct queue_entry *e);
/* That message, if it is held, or isn't, as said. 1; 0: there is none. */
int queue_entry_get(struct sql *db, struct arena *a, uint64_t id, bool held,
                    struct queue_entry *out, struct err *err) __attribute__((warn_unused_result));

#define QUEUE_TO_COLUMNS                                                                           \
    "t.queue, t.n, t.state, t.site, t.next_try, t.expires, t.tries, t.forced, t.warned, "          \
    "t.notify, "                                                                                   \
    "t.rcpt, t.sender, t.orcpt, t.last "
enum { QUEUE_TO_N_COLUMNS = 14 };
/* Views into the statement; queue_to_keep copies them. */
void queue_to_view(struct sql_stmt *st, struct queue_to *t);
void queue_to_keep(struct arena *a, struct queue_to *t);
/* Rows of a statement that begins with QUEUE_TO_COLUMNS, to its end or max. */
int queue_to_read_all(struct sql_stmt *st, struct arena *a, size_t max, struct queue_to **out,
                      size_t *n_out, struct err *err) __attribute__((warn_unused_result));

int queue_insert_entry_tx(struct store_tx *tx, const struct queue_entry *e, struct err *err)
    __attribute__((warn_unused_result));
/* queue_out and queue_to of an entry that is inserted. */
int queue_insert_leaves_tx(struct store_tx *tx, const struct queue_entry *e,
                           const struct queue_new *q, struct err *err)
    __attribute__((warn_unused_result));
int queue_run_by_id(struct store_tx *tx, const char *text, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
/* All rows of a message, and its reference to the body. */
int queue_delete_tx(struct store_tx *tx, uint64_t id, uint64_t body, struct err *err)
    __attribute__((warn_unused_result));
int queue_delete_to_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct err *err)
    __attribute__((warn_unused_result));
/* A message that leaves and has nobody left to go to is deleted; one that is gone already is not
 * missed. */
int queue_finish_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
#endif
