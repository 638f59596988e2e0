/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/tls.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/io/tls_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

/* RFC 9325 3.4: who gets hold of the key of tickets reads the sessions that they resume. */
enum { TICKET_KEY_MS = 12 * 3600 * 1000 };

/* A key under a password would make OpenSSL ask on the terminal. */
static int no_password(char *out, int cap, int writing, void *ctx)
{
    (void)out;
    (void)cap;
    (void)writing;
    (void)ctx;
    return 0;
}

const char *tls_why(void)
{
    const char *s = ERR_reason_error_string(ERR_peek_last_error());
    return s ? s : "not usable";
}

static int settle_options(SSL_CTX *ctx)
{
    /* RFC 9325 3 and 4 */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets need none */
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    static const unsigned char id[] = "posthouse";
    char groups[] = "X25519:P-256:P-384"; /* the macro casts const away */
    return SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) == 1 &&
                   SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") == 1 &&
                   SSL_CTX_set1_groups_list(ctx, groups) == 1
               ? 0
               : -1;
}

static int load_files(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct err *err)
{
    if (access(cert_file, R_OK) != 0)
        return ERR(err, ERR_PERM, "cannot read the certificate %s: %s", cert_file, strerror(errno));
    if (access(key_file, R_OK) != 0)
        return ERR(err, ERR_PERM, "cannot read the key %s: %s", key_file, strerror(errno));
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return ERR(err, ERR_PERM, "%s holds no usable certificate: %s", cert_file, tls_why());
    /* OpenSSL compares it with the certificate at once. */
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        if (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH)
            return ERR(err, ERR_PERM, "the key %s does not belong to the certificate %s", key_file,
                       cert_file);
        return ERR(err, ERR_PERM, "%s holds no usable key without a password: %s", key_file,
                   tls_why());
    }
    if (SSL_CTX_check_private_key(ctx) != 1)
        return ERR(err, ERR_PERM, "the key %s does not belong to the certificate %s", key_file,
                   cert_file);
    return 0;
}

bool tls_is_ip(const char *name)
{
    unsigned char a[16];
    return inet_pton(AF_INET, name, a) == 1 || inet_pton(AF_INET6, name, a) == 1;
}

SSL_CTX *tls_server_new(struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx && settle_options(ctx) == 0)
        return ctx;
    err_set(err, ERR_BUG, ERR_WHY_OTHER, "cannot set up TLS: %s", tls_why());
    SSL_CTX_free(ctx);
    return NULL;
}

struct tls_ctx *tls_ctx_wrap(SSL_CTX *ctx)
{
    struct tls_ctx *t = MEM_NEW(struct tls_ctx);
    t->ctx = ctx;
    t->refs = 1;
    t->ticket_key_ms = clock_mono_ms(); /* OpenSSL has just made one */
    return t;
}

void tls_ctx_freshen(struct tls_ctx *t, uint64_t now_ms)
{
    unsigned char keys[80]; /* OpenSSL's: name, HMAC, AES */
    if (now_ms - t->ticket_key_ms < TICKET_KEY_MS)
        return;
    rand_bytes(keys, sizeof keys);
    CHECK(SSL_CTX_set_tlsext_ticket_keys(t->ctx, keys, sizeof keys) == 1);
    OPENSSL_cleanse(keys, sizeof keys);
    t->ticket_key_ms = now_ms;
}

int tls_ctx_server(const char *cert_file, const char *key_file, struct tls_ctx **out,
                   struct err *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = tls_server_new(err);
    int rc = ctx ? load_files(ctx, cert_file, key_file, err) : -1;
    ERR_clear_error();
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    *out = tls_ctx_wrap(ctx);
    return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *t)
{
    t->refs++;
    return t;
}

void tls_ctx_unref(struct tls_ctx **tp)
{
    struct tls_ctx *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    CHECK(t->refs > 0);
    if (--t->refs > 0)
        return;
    SSL_CTX_free(t->ctx);
    mem_free(t);
}
