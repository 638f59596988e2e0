/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sync.h - what changed in the selected mailbox since its view was made or last synced, as untagged
 * responses (RFC 3501 5.2, 7.3). Floor 5 (imap). Threads: imap_sync_work on lane store, as part of
 * a session's job. Order: FETCH FLAGS with the old numbers, EXPUNGE, then EXISTS and RECENT. All
 * changes up to the modseq and uidnext that the first call read are reported; what comes while it
 * runs is left to the next sync, but never lost. */
#ifndef PH_IMAP_SYNC_H
#define PH_IMAP_SYNC_H
#include "imap/command.h"

struct imap_sync {
    struct imap_view *view;
    bool expunges;                /* may be reported */
    bool uid;                     /* FETCH responses carry the UID (RFC 3501 6.4.8) */
    const struct uid_range *echo; /* see struct imap_command */
    size_t n_echo;
    const struct imap_command *cmd; /* whose hush() is asked; NULL: none */
    /* results */
    bool gone;   /* the mailbox was deleted */
    bool held;   /* there may be expunges that could not be reported */
    bool failed; /* err; may be tried again */
    struct err err;
    /* private */
    unsigned step;
    uint64_t modseq, floor;
    uint32_t uidnext, next;
    size_t range, n_before;
};
enum imap_work imap_sync_work(struct imap_sync *y, struct store_reader *r, struct buf *out,
                              uint64_t started_us);
#endif
