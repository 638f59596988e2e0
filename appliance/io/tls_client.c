/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* TLS towards others: contexts, what is demanded of a peer's certificate, and its verification. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/io/tls_private.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { NAME_MAX_LEN = 253 }; /* RFC 1035 2.3.4, written out without the last dot */

/* RFC 7218: the words for the numbers of RFC 6698 2.1 */
enum { PKIX_TA, PKIX_EE, DANE_TA, DANE_EE };
enum { SELECTOR_CERT, SELECTOR_SPKI };
enum { MATCHING_FULL, MATCHING_SHA256, MATCHING_SHA512 };

/* ---- contexts ---- */

/* Loaded whole now, never looked up later in a folder: a handshake reads no files, and the sandbox
 * needs to leave none open. */
static void load_system_authorities(SSL_CTX *ctx)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem"                   /* Alpine, BSD */
    };
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    SSL_CTX_set_default_verify_file(ctx); /* OpenSSL's own, or SSL_CERT_FILE */
    for (size_t i = 0; i < sizeof(bundles) / sizeof(*bundles); i++) {
        if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0)
            break;
        X509_STORE_load_file(store, bundles[i]);
    }
    ERR_clear_error();
}

static int settle_client(SSL_CTX *ctx)
{
    /* Old servers are better spoken to with CBC than in the clear: OpenSSL's own list of suites and
     * its security level stay. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_dane_enable(ctx) == 1
               ? 0
               : -1;
}

static int on_verify(X509_STORE_CTX *x, void *arg);

int tls_ctx_client(const char *ca_file, struct tls_ctx **out, struct err *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int rc = 0;
    if (!ctx || settle_client(ctx) != 0)
        rc = ERR(err, ERR_BUG, "cannot set up TLS: %s", tls_why());
    else if (!ca_file || !ca_file[0])
        load_system_authorities(ctx);
    else if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
        rc = ERR(err, ERR_PERM, "%s holds no usable certificates of authorities: %s", ca_file,
                 tls_why());
    ERR_clear_error();
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    *out = tls_ctx_wrap(ctx);
    (*out)->client = true;
    return 0;
}

/* ---- TLSA records ---- */

static bool whole_certificate(const unsigned char *p, size_t n)
{
    const unsigned char *at = p;
    X509 *x = d2i_X509(NULL, &at, (long)n);
    bool good = x && at == p + n && X509_get0_pubkey(x);
    X509_free(x);
    ERR_clear_error();
    return good;
}

static bool whole_key(const unsigned char *p, size_t n)
{
    const unsigned char *at = p;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)n);
    bool good = key && at == p + n;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}

static bool usable(const struct tls_tlsa *t)
{
    const unsigned char *p = (const unsigned char *)t->data.p;
    /* RFC 7672 3.1.3: PKIX-TA(0) and PKIX-EE(1) are not for SMTP, which has no agreed authorities.
     */
    if (t->usage != DANE_TA && t->usage != DANE_EE)
        return false;
    if (t->selector != SELECTOR_CERT && t->selector != SELECTOR_SPKI)
        return false;
    switch (t->matching) {
    case MATCHING_FULL:
        if (t->data.n == 0 || t->data.n > UINT16_MAX) /* of an RDATA */
            return false;
        return t->selector == SELECTOR_CERT ? whole_certificate(p, t->data.n)
                                            : whole_key(p, t->data.n);
    case MATCHING_SHA256:
        return t->data.n == 32;
    case MATCHING_SHA512:
        return t->data.n == 64;
    default:
        return false;
    }
}

size_t tls_tlsa_usable(const struct tls_tlsa *tlsa, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += usable(&tlsa[i]);
    return found;
}

/* ---- the demand ---- */

static bool is_host(const char *name, size_t n)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    /* A name that begins with a dot would stand for all below it (X509_check_host). */
    return n > 0 && n <= NAME_MAX_LEN && name[0] != '.' && strspn(name, letters) >= n;
}

static void add_name(struct tls_peer *p, const char *name)
{
    size_t n = strlen(name);
    if (n > 0 && name[n - 1] == '.')
        n--;
    if (!is_host(name, n) && !tls_is_ip(name)) /* no certificate can be for it */
        return;
    char *copy = mem_alloc(n + 1);
    memcpy(copy, name, n);
    p->names = mem_realloc(p->names, (p->n_names + 1) * sizeof(*p->names));
    p->names[p->n_names++] = copy;
}

static int demand_dane(SSL *ssl, const struct tls_peer *p, const struct tls_demand *want,
                       struct err *err)
{
    size_t added = 0;
    if (p->n_names == 0 || tls_is_ip(p->names[0]))
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_UNTRUSTED, "DANE needs the name of the host");
    if (SSL_dane_enable(ssl, p->names[0]) != 1)
        return ERR(err, ERR_TEMP, "cannot set up DANE: %s", tls_why());
    /* RFC 7671 5.1, RFC 7672 3.1.1: DANE-EE(3) is about the key, whatever names there are. The
     * others' names are looked at in on_verify(), as without DANE. */
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), NULL, 0);
    for (size_t i = 0; i < want->n_tlsa; i++) {
        const struct tls_tlsa *t = &want->tlsa[i];
        if (usable(t) && SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching,
                                           (const unsigned char *)t->data.p, t->data.n) == 1)
            added++;
    }
    ERR_clear_error();
    /* Without records OpenSSL would be content with a known authority. */
    if (added == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_UNTRUSTED, "no TLSA record of %s can be used",
                       p->names[0]);
    return 0;
}

struct tls_peer *tls_peer_new(SSL *ssl, const struct tls_demand *want, struct err *err)
{
    struct tls_peer *p = MEM_NEW(struct tls_peer);
    p->demanded = want->trust;
    for (const char *const *name = want->names; name && *name; name++)
        add_name(p, *name);
    SSL_set_app_data(ssl, p);
    /* RFC 6066 3: no address. Names are in the order of `want`, but for those nobody can have. */
    if (p->n_names > 0 && !tls_is_ip(p->names[0]))
        SSL_set_tlsext_host_name(ssl, p->names[0]);
    if (want->trust == TLS_TRUST_NONE) {
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL); /* on_verify() runs all the same */
        /* Whoever is content with any certificate is with a server from before RFC 5746. */
        SSL_set_options(ssl, SSL_OP_LEGACY_SERVER_CONNECT);
    } else {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    }
    if (want->trust == TLS_TRUST_DANE && demand_dane(ssl, p, want, err) != 0)
        tls_peer_free(&p);
    return p;
}

void tls_peer_free(struct tls_peer **pp)
{
    struct tls_peer *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    for (size_t i = 0; i < p->n_names; i++)
        mem_free(p->names[i]);
    mem_free(p->names);
    mem_free(p);
}

/* ---- verification ---- */

/* RFC 6125 6.4: subjectAltName only, "*" only as the whole leftmost label. */
static bool is_for(X509 *cert, const char *name)
{
    unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    return (tls_is_ip(name) ? X509_check_ip_asc(cert, name, 0)
                            : X509_check_host(cert, name, strlen(name), flags, NULL)) == 1;
}

static bool is_for_any(X509 *cert, const struct tls_peer *p)
{
    for (size_t i = 0; i < p->n_names; i++)
        if (is_for(cert, p->names[i]))
            return true;
    return false;
}

static bool fits_end_entity(SSL *ssl)
{
    uint8_t usage;
    SSL_set_verify_result(ssl, X509_V_OK); /* of before; else it answers nothing */
    return SSL_get0_dane_tlsa(ssl, &usage, NULL, NULL, NULL, NULL) >= 0 && usage == DANE_EE;
}

static int on_verify(X509_STORE_CTX *x, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_peer *p = SSL_get_app_data(ssl);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(x), (time_t)(clock_wall_ms() / 1000));
    bool dane = p->demanded == TLS_TRUST_DANE;
    bool good = X509_verify_cert(x) == 1;
    if (good && !(dane && fits_end_entity(ssl)) && !is_for_any(X509_STORE_CTX_get0_cert(x), p)) {
        X509_STORE_CTX_set_error_depth(x, 0);
        X509_STORE_CTX_set_error(x, X509_V_ERR_HOSTNAME_MISMATCH);
        good = false;
    }
    if (!good && X509_STORE_CTX_get_error(x) == X509_V_OK)
        X509_STORE_CTX_set_error(x, X509_V_ERR_UNSPECIFIED);
    p->why = X509_STORE_CTX_get_error(x);
    if (good)
        p->proved = dane ? TLS_TRUST_DANE : TLS_TRUST_PKIX;
    return good || p->demanded == TLS_TRUST_NONE;
}

bool tls_peer_refused(const struct tls_peer *p, struct err *err)
{
    if (p->demanded == TLS_TRUST_NONE || p->proved != TLS_TRUST_NONE || p->why == X509_V_OK)
        return false;
    const char *name = p->n_names > 0 ? p->names[0] : "the peer", *fault;
    switch (p->why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        fault = "has expired";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        fault = "is not valid yet";
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        fault = "is for another name";
        break;
    case X509_V_ERR_DANE_NO_MATCH:
        fault = "fits none of its TLSA records";
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        fault = "is of an unknown authority";
        break;
    default:
        err_set(err, ERR_TEMP, ERR_WHY_UNTRUSTED, "the certificate of %.100s is not good: %s", name,
                X509_verify_cert_error_string(p->why));
        return true;
    }
    err_set(err, ERR_TEMP, ERR_WHY_UNTRUSTED, "the certificate of %.100s %s", name, fault);
    return true;
}
