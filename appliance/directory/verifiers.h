/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* verifiers.h - which accounts have no SCRAM verifier. Floor 3 (directory, private). Threads: that
 * of the connections; blocks. An account that can't log in with a password needs none. */
#ifndef PH_DIRECTORY_VERIFIERS_H
#define PH_DIRECTORY_VERIFIERS_H
#include "appliance/directory/rows.h"

struct verifiers_ask {
    /* Each enabled user's scheme; a literal. NULL: nobody wants to know */
    void (*on_scheme)(void *ctx, const char *scheme);
    void *ctx;
    bool first;  /* end at the first one missing */
    size_t most; /* users; 0: however many. More are ERR_PERM, ERR_WHY_LIMIT */
};
struct verifiers {
    uint64_t users, accounts, missing; /* users: enabled ones; accounts: that can log in */
};
int verifiers_count(struct rows *rows, struct sql *own, const struct verifiers_ask *ask,
                    struct verifiers *out, struct err *err) __attribute__((warn_unused_result));
#endif
