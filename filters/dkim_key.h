/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_key.h - keys of DKIM: made, read from PEM, written as a record of the DNS, used to sign.
 * Floor 4 (filters). Threads: any; a struct dkim_key is never changed. They take time (a new RSA
 * key some 100 ms): not on the loop. Private keys never reach a log or an error's text. */
#ifndef PH_FILTERS_DKIM_KEY_H
#define PH_FILTERS_DKIM_KEY_H
#include "appliance/base/buf.h"
#include "filters/dkim_tags.h"

enum { DKIM_PEM_MAX = 16 << 10, DKIM_RSA_BITS = 2048, DKIM_RSA_MOST = 4096 };

struct dkim_key;
void dkim_key_free(struct dkim_key **k);
int dkim_key_new(enum dkim_key_type type, struct dkim_key **out, struct err *err)
    __attribute__((warn_unused_result)); /* RSA of DKIM_RSA_BITS */
/* A private key, PKCS #8 or #1, without a password; RSA of 1024 to DKIM_RSA_MOST bits (RFC 8301).
 */
int dkim_key_read(struct str pem, struct dkim_key **out, struct err *err)
    __attribute__((warn_unused_result));
int dkim_key_write(const struct dkim_key *k, struct buf *pem_out, struct err *err)
    __attribute__((warn_unused_result)); /* PKCS #8; the caller wipes it */
/* A public key as in p= of a record, decoded: SubjectPublicKeyInfo or RSAPublicKey; 32 octets of
 * Ed25519. */
int dkim_key_read_public(enum dkim_key_type type, struct str raw, struct dkim_key **out,
                         struct err *err) __attribute__((warn_unused_result));

enum dkim_key_type dkim_key_type(const struct dkim_key *k);
unsigned dkim_key_bits(const struct dkim_key *k);
/* p=: its public half. RSA as SubjectPublicKeyInfo. */
int dkim_key_public(const struct dkim_key *k, struct buf *base64_out, struct err *err)
    __attribute__((warn_unused_result));
/* "v=DKIM1; k=rsa; p=..." */
int dkim_key_record(const struct dkim_key *k, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
/* The signature over bytes whose SHA-256 is to be signed. Base64. */
int dkim_key_sign(const struct dkim_key *k, struct str bytes, struct buf *base64_out,
                  struct err *err) __attribute__((warn_unused_result));
/* Is it the signature, decoded, of these bytes by this (public) key? */
bool dkim_key_verify(const struct dkim_key *k, struct str bytes, struct str signature);
/* A line of a zone file, its texts in strings of at most 255 octets (RFC 1035 3.3.14). */
void dkim_zone_line(struct str selector, struct str domain, struct str record, struct buf *out);
#endif
