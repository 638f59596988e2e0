/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_seal.h - signing a message: rsa-sha256 and ed25519-sha256, relaxed/relaxed, no l=.
 * Floor 4 (filters). Threads: any. Of own making, as libopendkim loses memory with each signature
 * of an Ed25519 key, decodes a private key for each message and reads it once for each signature.
 */
#ifndef PH_FILTERS_DKIM_SEAL_H
#define PH_FILTERS_DKIM_SEAL_H
#include "filters/dkim_check.h"
#include "filters/dkim_key.h"

enum { DKIM_SIGNERS_MAX = 4 };

struct dkim_signer {
    const struct dkim_signer *next;
    struct str domain, selector;
    const struct dkim_key *key;
};
/* The values of the DKIM-Signature fields, folded, one for each of the signers (the first
 * DKIM_SIGNERS_MAX of the list) that can sign. -1: the message can't be read or signed at all.
 * now: s. Takes about a millisecond, and time for large messages. */
int dkim_seal(struct arena *a, const struct dkim_message *m, const struct dkim_signer *signers,
              int64_t now, struct str values[DKIM_SIGNERS_MAX], size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* The same as an ARC-Message-Signature (RFC 8617 4.1.2), by this signer alone. */
int dkim_seal_message(struct arena *a, const struct dkim_message *m,
                      const struct dkim_signer *signer, unsigned instance, int64_t now,
                      struct str *value_out, struct err *err) __attribute__((warn_unused_result));
/* Signs a text and the field that follows it, both in relaxed form. value: of that field, up to its
 * "b="; gets the signature, folded. text: is the same afterwards. */
int dkim_seal_field(const struct dkim_key *key, const char *name, struct buf *text,
                    struct buf *value, struct err *err) __attribute__((warn_unused_result));
/* The domain of the author: of the first address in From, as A-labels. Empty: none. */
struct str dkim_author_domain(struct arena *a, struct str head);
#endif
