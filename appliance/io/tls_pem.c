/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A TLS context from certificate and key in memory. */
#include "appliance/io/tls_private.h"
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

static int no_password(char *out, int cap, int writing, void *ctx)
{
    (void)out;
    (void)cap;
    (void)writing;
    (void)ctx;
    return 0;
}

static BIO *reader(struct str s)
{
    return s.n && s.n < INT_MAX ? BIO_new_mem_buf(s.p, (int)s.n) : NULL;
}

/* The first certificate is ours, the others lead to its issuer. */
static int use_chain(SSL_CTX *ctx, BIO *in)
{
    X509 *x = in ? PEM_read_bio_X509_AUX(in, NULL, no_password, NULL) : NULL;
    int ok = x && SSL_CTX_use_certificate(ctx, x) == 1;

    X509_free(x);
    while (ok && (x = PEM_read_bio_X509(in, NULL, no_password, NULL)))
        if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
            X509_free(x);
            ok = 0;
        }
    /* It ends where there is no further PEM block; anything else is damage. */
    if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        ok = 0;
    if (ok)
        ERR_clear_error();
    return ok ? 0 : -1;
}

static int use_key(SSL_CTX *ctx, const struct tls_pem *pem, struct err *err)
{
    BIO *in = reader(pem->key);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    int rc = 0;

    if (!key)
        rc = ERR(err, ERR_PERM, "%s holds no usable key without a password: %s", pem->key_name,
                 tls_why());
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        rc = ERR(err, ERR_PERM, "the key %s does not belong to the certificate %s", pem->key_name,
                 pem->cert_name);
    EVP_PKEY_free(key);
    BIO_free(in);
    return rc;
}

int tls_ctx_from_pem(const struct tls_pem *pem, struct tls_ctx **out, struct err *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = tls_server_new(err);
    if (!ctx)
        return -1;
    BIO *chain = reader(pem->cert);
    int rc = use_chain(ctx, chain);
    BIO_free(chain);
    if (rc != 0)
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "%s holds no usable certificate: %s", pem->cert_name,
                tls_why());
    else
        rc = use_key(ctx, pem, err);
    ERR_clear_error();
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    *out = tls_ctx_wrap(ctx);
    return 0;
}

bool tls_ctx_covers(const struct tls_ctx *t, const char *host)
{
    X509 *x = SSL_CTX_get0_certificate(t->ctx);

    return x && X509_check_host(x, host, strlen(host), 0, NULL) == 1;
}

long tls_ctx_seconds_left(const struct tls_ctx *t)
{
    X509 *x = SSL_CTX_get0_certificate(t->ctx);
    int days = 0, seconds = 0;

    if (!x || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
        return 0;
    return days * 86400L + seconds;
}
