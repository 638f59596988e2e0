/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer.h - what the files of the committer share: committer.c (the thread, its members and
 * their commit), committer_queue.c (what waits), committer_answer.c (what is told), committer_wal.c
 * (between batches). Private to them. */
#ifndef PH_STORE_COMMITTER_H
#define PH_STORE_COMMITTER_H
#include "appliance/store/store_private.h"

struct batch {
    uint64_t started_us;
    bool served[STORE_CLASSES];
    unsigned n_members;
    struct list members; /* ran, not committed */
    struct list again;   /* undone by a conflict with another node: once more, each alone */
    struct list settled; /* to be answered */
    struct buf changed;  /* mailbox ids */
};

/* ---- committer_queue.c */
void committer_requeue(struct committer *c, struct store_op *op); /* its next slice */
/* The best that waits, as long as the batch is young. NULL: none. */
struct store_op *committer_take(struct committer *c, struct batch *b);
enum committer_wait { COMMITTER_WORK, COMMITTER_TIME, COMMITTER_STOP };
/* STOP: stopping, and nothing waits. TIME: max_ms are over (UINT64_MAX: never). */
enum committer_wait committer_wait(struct committer *c, uint64_t max_ms);

/* ---- committer_answer.c */
void committer_answer(struct store *s, struct batch *b);

/* ---- committer_wal.c */
void committer_tend_wal(struct store *s, struct sql *db);
#endif
