/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tls_certs.h - authorities and servers' certificates of every kind, for tests of TLS clients. */
#ifndef PH_TESTS_IO_TLS_CERTS_H
#define PH_TESTS_IO_TLS_CERTS_H
#include "appliance/io/tls.h"
#include "end.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* One of tls_ca_ensure(): its server is mx.example.com and the addresses of loopback. */
struct authority {
    char folder[64], ca_file[96];
    X509 *cert;
    EVP_PKEY *key;
    X509 *server;
};

static inline void *pem_load(const char *folder, const char *name, bool key)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    void *x = key ? (void *)PEM_read_PrivateKey(f, NULL, NULL, NULL)
                  : (void *)PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(x);
    return x;
}

static inline void authority_make(struct authority *a, struct tls_ctx **server_out)
{
    static const char *const names[] = {"mx.example.com", "127.0.0.1", "::1", NULL};
    char cert[96], key[96];
    struct err err;
    snprintf(a->folder, sizeof(a->folder), "/tmp/ph-tlsc-XXXXXX");
    assert_non_null(mkdtemp(a->folder));
    int dirfd = open(a->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dirfd, names, &err), 0);
    close(dirfd);
    snprintf(a->ca_file, sizeof(a->ca_file), "%s/ca.pem", a->folder);
    snprintf(cert, sizeof(cert), "%s/cert.pem", a->folder);
    snprintf(key, sizeof(key), "%s/key.pem", a->folder);
    a->cert = pem_load(a->folder, "ca.pem", false);
    a->key = pem_load(a->folder, "ca-key.pem", true);
    a->server = pem_load(a->folder, "cert.pem", false);
    if (server_out)
        assert_int_equal(tls_ctx_server(cert, key, server_out, &err), 0);
}

static inline void authority_free(struct authority *a)
{
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    int dirfd = open(a->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlinkat(dirfd, files[i], 0);
    close(dirfd);
    rmdir(a->folder);
    X509_free(a->cert);
    EVP_PKEY_free(a->key);
    X509_free(a->server);
}

struct server_kind {
    const char *cn, *san; /* san: as in openssl.cnf; NULL: none */
    bool with_ca;         /* the authority's certificate is sent too */
};

/* A year's certificate, made by hand: tls_ca_ensure() makes only sensible ones. */
static inline X509 *server_cert(const struct authority *a, const struct server_kind *k,
                                EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 77);
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 365L * 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)k->cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(a->cert));
    X509_set_pubkey(x, key);
    if (k->san) {
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, k->san);
        assert_int_equal(X509_add_ext(x, ext, -1), 1);
        X509_EXTENSION_free(ext);
    }
    assert_true(X509_sign(x, a->key, EVP_sha256()) > 0);
    return x;
}

static inline struct str bio_text(BIO *b)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);
    return str_of(p, (size_t)n);
}

static inline struct tls_ctx *server_make(const struct authority *a, const struct server_kind *k)
{
    struct err err;
    struct tls_ctx *out = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = server_cert(a, k, key);
    BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert_pem, x);
    if (k->with_ca)
        PEM_write_bio_X509(cert_pem, a->cert);
    PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL);
    struct tls_pem pem = {bio_text(cert_pem), bio_text(key_pem), "cert", "key"};
    assert_int_equal(tls_ctx_from_pem(&pem, &out, &err), 0);
    BIO_free(cert_pem);
    BIO_free(key_pem);
    X509_free(x);
    EVP_PKEY_free(key);
    return out;
}

/* The data of a TLSA record, in `room`. */
static inline struct tls_tlsa tlsa_of(X509 *x, uint8_t usage, uint8_t selector, uint8_t matching,
                                      unsigned char *room, size_t cap)
{
    unsigned char *der = NULL;
    int n = selector ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : i2d_X509(x, &der);
    size_t size = matching == 0 ? (size_t)n : matching == 1 ? 32 : 64;
    assert_true(n > 0 && size <= cap);
    if (matching == 0)
        memcpy(room, der, size);
    else if (matching == 1)
        SHA256(der, (size_t)n, room);
    else
        SHA512(der, (size_t)n, room);
    OPENSSL_free(der);
    return (struct tls_tlsa){usage, selector, matching, str_of((const char *)room, size)};
}

/* ---- client and server, both ours, on one loop ---- */

/* The server's end, on the other side of c->fd, which it takes over. */
static inline void server_open(struct end *s, struct end *c, struct tls_ctx *tls)
{
    memset(s, 0, sizeof(*s));
    buf_init(&s->got, (size_t)1 << 20);
    s->loop = c->loop;
    s->fd = -1;
    s->conn = conn_adopt(c->loop, c->fd, tls);
    assert_non_null(s->conn);
    c->fd = -1;
    conn_set_handler(s->conn, end_on_event, s);
}
#endif
