/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls_private.h - the inside of a TLS context, for conn_tls.c and conn_tls_client.c. Floor 1 (io),
 * private to this folder. */
#ifndef PH_IO_TLS_PRIVATE_H
#define PH_IO_TLS_PRIVATE_H
#include "appliance/io/tls.h"
#include <openssl/types.h>

struct tls_ctx {
    SSL_CTX *ctx;
    uint64_t ticket_key_ms; /* when the key of session tickets was made */
    unsigned refs;
    bool client;
};

SSL_CTX *tls_server_new(struct err *err); /* without certificate; NULL: err */
struct tls_ctx *tls_ctx_wrap(SSL_CTX *ctx);
/* Gives session tickets a new key when theirs has served its time; before each handshake. */
void tls_ctx_freshen(struct tls_ctx *t, uint64_t now_ms);
const char *tls_why(void); /* OpenSSL's last reason */
bool tls_is_ip(const char *name);

/* tls_client.c: what is demanded of the peer of one connection, and what its certificate proved. It
 * belongs to an SSL and must live as long. */
struct tls_peer {
    enum tls_trust demanded, proved;
    char **names; /* those that a certificate can be for */
    size_t n_names;
    int why; /* X509_V_ERR_... */
};
struct tls_peer *tls_peer_new(SSL *ssl, const struct tls_demand *want,
                              struct err *err); /* or NULL */
void tls_peer_free(struct tls_peer **p);
/* OpenSSL has refused before what isn't; for a handshake in which no certificate was seen at all.
 */
static inline bool tls_peer_satisfied(const struct tls_peer *p)
{
    return p->demanded == TLS_TRUST_NONE || p->proved == p->demanded;
}
/* True when the certificate was seen and isn't what was demanded: err says why. */
bool tls_peer_refused(const struct tls_peer *p, struct err *err);
#endif
