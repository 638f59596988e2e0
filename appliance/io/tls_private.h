/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls_private.h - the inside of a TLS context, for conn_tls.c. Floor 1 (io), private to this
 * folder. */
#ifndef PH_IO_TLS_PRIVATE_H
#define PH_IO_TLS_PRIVATE_H
#include "appliance/io/tls.h"
#include <openssl/types.h>

struct tls_ctx {
    SSL_CTX *ctx;
    uint64_t ticket_key_ms; /* when the key of session tickets was made */
    unsigned refs;
};

SSL_CTX *tls_server_new(struct err *err); /* without certificate; NULL: err */
struct tls_ctx *tls_ctx_wrap(SSL_CTX *ctx);
/* Gives session tickets a new key when theirs has served its time; before each handshake. */
void tls_ctx_freshen(struct tls_ctx *t, uint64_t now_ms);
const char *tls_why(void); /* OpenSSL's last reason */
#endif
