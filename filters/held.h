/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held.h - mail that no stage could judge yet (on_error = hold): given back to the chain at the
 * stage that held it, again and again until it is judged or its time is over; and the end of what
 * lies in quarantine. Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_HELD_H
#define PH_FILTERS_HELD_H
#include "filters/chain.h"

struct queue_entry;
struct queue_gone;
struct store_tx;
/* For who puts a message into the queue (appliance/store/queue.h) after a run at PH_MESSAGE: what
 * the chain needs to go on with it, appended to `view`; times, stage and reason of the entry, whose
 * `held` is set. Strings are the chain's. */
void held_fill(const struct chain *c, const struct ph_view *v, struct buf *view,
               struct queue_entry *e);
/* One of its recipients, and who gets a copy for it: here, elsewhere. Appended to `view`: stages
 * may yet remove it. */
void held_recipient(struct buf *view, struct str address, const struct str *accounts,
                    size_t n_accounts, const struct str *remotes, size_t n_remotes);
/* Should it turn out to be junk, it goes into quarantine: appended to `view`, too. */
void held_quarantine_junk(struct buf *view);

/* Somebody has looked at it and lets it go (commands): into its mailboxes at once. Copies that
 * leave pass PH_OUTBOUND first: *later_out, they stay held until the server of this store has
 * looked (held_wake), which needs no command. What those stages refuse comes back into quarantine.
 * On the commit thread. */
int held_release_tx(struct store_tx *tx, uint64_t id, const char *mailbox, bool *later_out,
                    struct queue_gone *gone, struct err *err) __attribute__((warn_unused_result));

struct held;
struct held *held_new(struct filters *f);
void held_free(struct held **h);
void held_wake(struct held *h);     /* looks now (tests) */
void held_wake_all(struct held *h); /* and at those whose next try lies ahead, too */
#endif
