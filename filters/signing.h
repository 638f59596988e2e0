/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* signing.h - what the stages that sign have in common: the keys, the job's memory, and what
 * becomes of mail that can't be signed. Floor 4 (filters). Threads: the job owns its work from
 * ph_host.job() until it is answered; the rest on the loop. */
#ifndef PH_FILTERS_SIGNING_H
#define PH_FILTERS_SIGNING_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "filters/dkim_keys.h"
#include "filters/stage.h"

/* First member of a stage's own struct, which is allocated with MEM_NEW. */
struct signing_work {
    struct dkim_ring *ring; /* holds the keys */
    struct arena *arena;
    struct err err; /* why it failed */
    bool failed;
};

struct filters;
/* The keys of now, whichever stage has them open. NULL: none. Who keeps it takes a reference. */
struct dkim_ring *signing_ring(const struct filters *f);
const struct dkim_keys *dkim_sign_keys(const void *inst); /* of those stages */
const struct dkim_keys *arc_seal_keys(const void *inst);
/* Of a domain's signers the one for ARC: RSA where there is one, as some verifiers know nothing
 * else (RFC 8617 has no algorithms of its own). */
const struct dkim_signer *signing_rsa(const struct dkim_signer *first);

void signing_work_free(void *work); /* the whole of it: for ph_host.job() */

/* True: it failed, and the turn is answered: to be tried again (ERR_TEMP), or, as it never will be,
 * sent without. what: "not signed". */
bool signing_failed(const struct ph_host *host, ph_turn turn, const struct signing_work *w,
                    const char *what);
#endif
