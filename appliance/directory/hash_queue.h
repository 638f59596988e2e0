/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hash_queue.h - which password is hashed next: those who are likely to be our users come first.
 * Floor 3 (directory, private). Threads: loop only.
 *
 * In front of lane `auth`, two queues. Favoured is whose device is known, and whose account has
 * logged in lately, of that account two at a time. All others are strangers: at most half of the
 * threads hash for them, and only when nobody favoured waits. So however many logins are guessed,
 * a user waits for no more than what other users want. Both queues are bounded. */
#ifndef PH_DIRECTORY_HASH_QUEUE_H
#define PH_DIRECTORY_HASH_QUEUE_H
#include "appliance/base/str.h"
#include "appliance/io/lanes.h"

enum { HASH_QUEUE_FAVOURED = 200, HASH_QUEUE_STRANGERS = 100 };

struct hash_job {                     /* embedded; zeroed, run and done set */
    void (*run)(struct hash_job *j);  /* on a worker */
    void (*done)(struct hash_job *j); /* on the loop */
    struct str account;               /* lives until done() */
    /* private */
    struct job job;
    struct list link;
    struct hash_queue *queue;
    bool favoured, of_account;
    bool skipped; /* out, in done(): run() was not called, hash_queue_stop() came first */
};
struct hash_queue;
struct hash_queue *hash_queue_new(struct lane *lane, unsigned threads);
/* Before the lane is freed: nothing is run any more, and what waits is answered soon. */
void hash_queue_stop(struct hash_queue *q);
void hash_queue_free(struct hash_queue **q); /* when all is answered */
/* device: it is known. recent: the account has logged in lately. -1: the queue is full. */
int hash_queue_submit(struct hash_queue *q, struct hash_job *j, bool device, bool recent)
    __attribute__((warn_unused_result));
size_t hash_queue_waiting(const struct hash_queue *q, bool favoured);
#endif
