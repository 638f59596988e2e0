/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* srs.h - Sender Rewriting Scheme: forwarded mail gets a sender in our own domain, so that SPF
 * holds at the next host, and its bounces find the way back. SRS0=HHHH=TT=domain=local@ours, SRS1
 * for senders that are SRS already (libsrs2's format, so that others' tools read it). Pure. Floor 5
 * (smtp). Threads: any. */
#ifndef PH_SMTP_SRS_H
#define PH_SMTP_SRS_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"

struct srs_conf {
    struct str secrets[4]; /* [0] signs; all verify */
    size_t n_secrets;
    struct str domain;     /* ours */
    unsigned max_age_days; /* 21 */
    unsigned hash_length;  /* characters, 4 or more */
};
/* sender: "local@domain". Empty (the null sender) and one in `domain` itself stay as they are. -1
 * ERR_WHY_LIMIT: the result is no address any more (local part over 64 octets is allowed by most
 * hosts and by this; over 256 the address isn't). */
int srs_forward(const struct srs_conf *c, struct arena *a, struct str sender, int64_t now_ms,
                struct str *out, struct err *err) __attribute__((warn_unused_result));
/* Is this an address that srs_forward made? Then 1 and the original; 0: not SRS; -1: SRS, but
 * forged or too old (ERR_PERM). Case of the local part may have been changed on the way. */
int srs_reverse(const struct srs_conf *c, struct arena *a, struct str address, int64_t now_ms,
                struct str *out, struct err *err) __attribute__((warn_unused_result));
#endif
