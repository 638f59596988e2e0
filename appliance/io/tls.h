/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls.h - TLS contexts of servers and clients, and the small certificate authority of test
 * appliances. Floor 1 (io). Threads: contexts are made and replaced on the loop (or before it
 * runs). Server contexts: TLS 1.2 and 1.3, AEAD suites with forward secrecy, no compression, no
 * renegotiation, ECDSA or RSA keys, session tickets, SSL_MODE_RELEASE_BUFFERS (RFC 9325). */
#ifndef PH_IO_TLS_H
#define PH_IO_TLS_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

struct tls_ctx;
/* PEM files: the certificate with its chain, and its key. ERR_PERM with a sentence: missing,
 * unreadable, key does not fit. */
int tls_ctx_server(const char *cert_file, const char *key_file, struct tls_ctx **out,
                   struct err *err) __attribute__((warn_unused_result));
/* The same from the text of the files; names are for the error. Any thread, which may then hand it
 * to the loop. */
struct tls_pem {
    struct str cert, key;
    const char *cert_name, *key_name;
};
int tls_ctx_from_pem(const struct tls_pem *pem, struct tls_ctx **out, struct err *err)
    __attribute__((warn_unused_result));
/* Names that the certificate is for: is `host` among them? */
bool tls_ctx_covers(const struct tls_ctx *t, const char *host);
/* Seconds until the certificate's end; negative: it is over. */
long tls_ctx_seconds_left(const struct tls_ctx *t);
/* For connections to others: TLS 1.2 and 1.3, with OpenSSL's suites and security level, so that old
 * servers (CBC) are spoken to. A certificate below the level (RSA-1024) does where nothing is
 * demanded, and proves nothing. ca_file: PEM; NULL or empty: the system's, read now and not later;
 * to have none is no error, but then nobody is known. Sessions aren't resumed (a DANE or MTA-STS
 * demand holds for each connection). */
int tls_ctx_client(const char *ca_file, struct tls_ctx **out, struct err *err)
    __attribute__((warn_unused_result));
enum tls_trust {
    TLS_TRUST_NONE, /* encrypted, with whomever */
    TLS_TRUST_PKIX, /* a known authority vouches for one of the names (RFC 6125, no CN) */
    TLS_TRUST_DANE  /* one of the TLSA records fits (RFC 6698, 7671, 7672) */
};
struct tls_tlsa {
    uint8_t usage, selector, matching;
    struct str data;
};
struct tls_demand {
    enum tls_trust trust;
    /* [0]: SNI too, unless an IP address, and with DANE the TLSA base domain; the others are as
     * good. Host names and IP addresses, NULL-terminated; a last dot is ignored. */
    const char *const *names;
    const struct tls_tlsa *tlsa; /* DANE: of DNSSEC-validated answers. Usages 2 and 3 only count */
    size_t n_tlsa;
};
/* How many of them can be used with SMTP (RFC 7672 3.1.3, and OpenSSL knows selector and matching
 * type): none means that DANE can't be demanded, but TLS must. */
size_t tls_tlsa_usable(const struct tls_tlsa *tlsa, size_t n);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *t);
void tls_ctx_unref(struct tls_ctx **t);

/* The test CA: in folder dirfd, makes ca.pem, ca-key.pem (ECDSA P-256, 10 years) and a server
 * certificate cert.pem, key.pem for `names` (NULL-terminated: host names and IP addresses as
 * subjectAltName; first is CN), once; later calls keep the CA and renew the server certificate when
 * it expires within 30 days, doesn't cover all names or wasn't signed by this CA. Keys are mode
 * 0600, written whole and renamed. Both certificates are good for server authentication only
 * (extended key usage). A CA whose key is missing or another's is ERR_PERM, never replaced: clients
 * may trust it. */
int tls_ca_ensure(int dirfd, const char *const *names, struct err *err)
    __attribute__((warn_unused_result));
#endif
