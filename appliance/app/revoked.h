/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* revoked.h - logins that hold no more, on all nodes of one database: who changes a password,
 * disables or removes a user at one of them ends the sessions at the others within a second or so
 * (of nodes that know of one another: 3 s after a start). A node that was away for too long to hear
 * of them all ends the sessions of everybody. A command without a daemon tells them all.
 * Floor 6 (app). Threads: loop, except as said. */
#ifndef PH_APP_REVOKED_H
#define PH_APP_REVOKED_H
#include "appliance/store/store.h"

struct revoked;
/* account: a folded address, "@domain", or "@" for everybody's (address_fits). What this node tells
 * comes to others only. */
typedef void revoked_fn(void *ctx, struct str account);
struct revoked *revoked_new(struct store *s, revoked_fn *fn, void *ctx);
void revoked_free(struct revoked **r); /* before the store is closed */
void revoked_tell(struct revoked *r, struct str account);
/* From a program without a loop; waits until it is told. */
int revoked_tell_wait(struct store *s, struct str account, struct err *err)
    __attribute__((warn_unused_result));
#endif
