/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue.h - mail that was acknowledged and isn't in its mailboxes yet: held until a filter stage
 * can judge it, or in quarantine (DESIGN.md 4, "Held mail"). A row of queue refers to the body as a
 * message does; queue_rcpt says whose copies wait. Floor 3 (store). Threads: *_tx on the commit
 * thread within an operation; the others with a reader. */
#ifndef PH_STORE_QUEUE_H
#define PH_STORE_QUEUE_H
#include "appliance/store/message.h"

enum queue_held { QUEUE_HELD = 1 /* for a stage */, QUEUE_QUARANTINE = 2 };
struct queue_entry {
    uint64_t id; /* of the transaction: in the 250 reply, Received and the log */
    enum queue_held held;
    int64_t since_ms, until_ms, next_ms; /* wall; next: when the stage is asked again */
    struct str sender;
    struct str stage; /* who held it; several: "a,b" */
    struct str reason;
    struct str view;     /* what else is known about the transaction, as its owner wrote it */
    uint64_t size, body; /* out */
    uint64_t n_rcpts;    /* out */
};
/* Operation: the sink (flushed) into the queue. Fails with ERR_WHY_LIMIT when the queue holds that
 * much. */
struct queue_put {
    struct store_op op;
    struct body_sink *sink;
    struct queue_entry entry;
    const struct message_recipient *rcpts;
    size_t n_rcpts;
    uint64_t count_max, bytes_max;
};
void queue_put_init(struct queue_put *q, void (*done)(struct store_op *));

/* Oldest first, at most max, with id > after; held 0: all; due_ms: only those whose next_ms is
 * past, 0: all. In arena. */
int queue_list(struct store_reader *r, struct arena *a, unsigned held, int64_t due_ms,
               uint64_t after, size_t max, struct queue_entry **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
int queue_get(struct store_reader *r, struct arena *a, uint64_t id, struct queue_entry *out,
              struct err *err) __attribute__((warn_unused_result)); /* ERR_WHY_NOT_FOUND */
int queue_rcpts(struct store_reader *r, struct arena *a, uint64_t id,
                struct message_recipient **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* Into the mailboxes; mailbox: for all (NULL: as was decided before). Its row goes. */
int queue_release_tx(struct store_tx *tx, uint64_t id, const char *mailbox, struct err *err)
    __attribute__((warn_unused_result));
int queue_remove_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
/* Quarantine instead, or asked again later. */
int queue_keep_tx(struct store_tx *tx, uint64_t id, enum queue_held held, int64_t until_ms,
                  int64_t next_ms, struct str stage, struct str reason, struct err *err)
    __attribute__((warn_unused_result));
/* Another head for a message that is nowhere but in the queue. */
int queue_set_head_tx(struct store_tx *tx, uint64_t id, struct str head, struct err *err)
    __attribute__((warn_unused_result));
/* Those in quarantine whose time is over; *n_out: how many, at most 100. */
int queue_expire_tx(struct store_tx *tx, int64_t now_ms, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
