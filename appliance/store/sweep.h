/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sweep.h - what the sweeper's rounds (sweeper.c) and the rows they remove (sweep_rows.c) share.
 * Private to them. */
#ifndef PH_STORE_SWEEP_H
#define PH_STORE_SWEEP_H
#include "appliance/store/store_private.h"

struct sweep_at { /* goes back to where its slice began when that is undone */
    int step;
    uint64_t mailbox; /* of the expunged rows */
    size_t n_files;
};
struct sweep {
    struct sweep_at at, slice_began;
    struct buf files; /* ids of bodies whose file goes */
    bool elsewhere;   /* another node sweeps now: nothing was done */
};
/* One slice of a round. STORE_DONE, STORE_AGAIN, -1. Commit thread. */
int sweep_slice_tx(struct sweep *w, struct store_tx *tx, bool rerun, struct err *err)
    __attribute__((warn_unused_result));
int64_t sweep_grace_ms(struct store *s); /* any thread */
#endif
