/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/io/tls_private.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CA_DAYS = 3650,
    SERVER_DAYS = 365,
    RENEW_DAYS = 30,
    CN_MAX = 64,          /* RFC 5280 A.1: ub-common-name-length */
    FILE_MAX = 256 * 1024 /* of what we read back */
};

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void pair_free(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    *p = (struct pair){0};
}

static int crypto_failed(struct err *err, const char *what)
{
    const char *s = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return ERR(err, ERR_TEMP, "cannot make %s: %s", what, s ? s : "OpenSSL failed");
}

/* ---- files ---- */

/* *out NULL: there is no such file. */
static int file_read(int dirfd, const char *name, BIO **out, struct err *err)
{
    *out = NULL;
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0
                               : ERR(err, ERR_PERM, "cannot open %s: %s", name, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        close(fd);
        return ERR(err, ERR_PERM, "%s is no certificate or key file", name);
    }
    FILE *f = fdopen(fd, "r");
    BIO *b = f ? BIO_new_fp(f, BIO_CLOSE) : NULL;
    CHECK(b); /* memory */
    *out = b;
    return 0;
}

static int no_password(char *out, int cap, int writing, void *ctx)
{
    (void)out;
    (void)cap;
    (void)writing;
    (void)ctx;
    return 0;
}

static int cert_read(int dirfd, const char *name, X509 **out, struct err *err)
{
    BIO *b;
    if (file_read(dirfd, name, &b, err) != 0)
        return -1;
    *out = b ? PEM_read_bio_X509(b, NULL, no_password, NULL) : NULL;
    bool bad = b && !*out;
    BIO_free(b);
    ERR_clear_error();
    return bad ? ERR(err, ERR_PERM, "%s holds no certificate", name) : 0;
}

static int key_read(int dirfd, const char *name, EVP_PKEY **out, struct err *err)
{
    BIO *b;
    if (file_read(dirfd, name, &b, err) != 0)
        return -1;
    *out = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
    bool bad = b && !*out;
    BIO_free(b);
    ERR_clear_error();
    return bad ? ERR(err, ERR_PERM, "%s holds no key", name) : 0;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return -1;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return fsync(fd);
}

/* Whole or not at all: written beside, then renamed. */
static int file_write(int dirfd, const char *name, mode_t mode, BIO *content, struct err *err)
{
    char tmp[64], suffix[9], *p;
    rand_text(suffix, sizeof(suffix) - 1);
    snprintf(tmp, sizeof(tmp), ".%s.%s", name, suffix);
    long n = BIO_get_mem_data(content, &p);
    int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return ERR(err, ERR_PERM, "cannot write %s: %s", name, strerror(errno));
    int rc = fchmod(fd, mode) != 0 ? -1 : write_all(fd, p, (size_t)n);
    if (rc == 0)
        rc = renameat(dirfd, tmp, dirfd, name);
    if (rc == 0)
        rc = fsync(dirfd);
    if (rc != 0) {
        rc = ERR(err, ERR_TEMP, "cannot write %s: %s", name, strerror(errno));
        unlinkat(dirfd, tmp, 0);
    }
    close(fd);
    return rc;
}

/* The key first: a certificate found without its key would be a puzzle, a key alone is replaced. */
static int pair_write(int dirfd, const struct pair *p, const char *cert_name, const char *key_name,
                      struct err *err)
{
    BIO *key = BIO_new(BIO_s_secmem()), *cert = BIO_new(BIO_s_mem());
    CHECK(key && cert);
    int rc = 0;
    if (PEM_write_bio_PrivateKey(key, p->key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert, p->cert) != 1)
        rc = crypto_failed(err, cert_name);
    if (rc == 0)
        rc = file_write(dirfd, key_name, 0600, key, err);
    if (rc == 0)
        rc = file_write(dirfd, cert_name, 0644, cert, err);
    BIO_free(key);
    BIO_free(cert);
    return rc;
}

/* ---- certificates ---- */

static time_t now_at(void)
{
    return (time_t)(clock_wall_ms() / 1000);
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok ? 0 : -1;
}

/* subjectAltName, built from values: a name is never read as configuration text. */
static int add_names(X509 *cert, const char *const *names)
{
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    CHECK(all);
    int ok = 1;
    for (; *names && ok; names++) {
        GENERAL_NAME *g = GENERAL_NAME_new();
        ok = g && sk_GENERAL_NAME_push(all, g) > 0;
        if (!ok)
            break;
        if (tls_is_ip(*names)) {
            ASN1_OCTET_STRING *ip = a2i_IPADDRESS(*names);
            ok = ip != NULL;
            if (ok)
                GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
        } else {
            ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
            ok = dns && ASN1_STRING_set(dns, *names, -1) == 1;
            GENERAL_NAME_set0_value(g, GEN_DNS, dns);
        }
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(all);
    return ok ? 0 : -1;
}

static int set_basics(struct pair *p, const char *cn, int days)
{
    unsigned char serial[16];
    rand_bytes(serial, sizeof(serial));
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, of one length */
    BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
    time_t now = now_at();
    X509_NAME *name = X509_get_subject_name(p->cert);
    int ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(p->cert)) &&
             X509_set_version(p->cert, X509_VERSION_3) == 1 &&
             /* a client's clock may be a little slow */
             X509_time_adj_ex(X509_getm_notBefore(p->cert), 0, -3600, &now) &&
             X509_time_adj_ex(X509_getm_notAfter(p->cert), days, 0, &now) &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                                        -1, 0) == 1 &&
             X509_set_pubkey(p->cert, p->key) == 1;
    BN_free(bn);
    return ok ? 0 : -1;
}

static int pair_begin(struct pair *p, const char *cn, int days)
{
    p->key = EVP_EC_gen("P-256");
    p->cert = X509_new();
    return p->key && p->cert ? set_basics(p, cn, days) : -1;
}

static int ca_make(struct pair *ca, struct err *err)
{
    char cn[64], tag[9];
    rand_text(tag, sizeof(tag) - 1); /* two CAs in one client's store stay apart */
    snprintf(cn, sizeof(cn), "posthouse test CA %s", tag);
    if (pair_begin(ca, cn, CA_DAYS) != 0 ||
        X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) != 1 ||
        add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        add_extension(ca->cert, ca->cert, NID_ext_key_usage, "serverAuth") ||
        add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash") ||
        X509_sign(ca->cert, ca->key, EVP_sha256()) <= 0)
        return crypto_failed(err, "the test CA");
    return 0;
}

static int server_make(struct pair *srv, const struct pair *ca, const char *const *names,
                       struct err *err)
{
    /* A first name too long for CN still is a subjectAltName, which is what clients look at. */
    const char *cn = strlen(names[0]) <= CN_MAX ? names[0] : "posthouse";
    if (pair_begin(srv, cn, SERVER_DAYS) != 0 ||
        X509_set_issuer_name(srv->cert, X509_get_subject_name(ca->cert)) != 1 ||
        add_extension(srv->cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") ||
        add_extension(srv->cert, ca->cert, NID_key_usage, "critical,digitalSignature") ||
        add_extension(srv->cert, ca->cert, NID_ext_key_usage, "serverAuth") ||
        add_extension(srv->cert, ca->cert, NID_subject_key_identifier, "hash") ||
        add_extension(srv->cert, ca->cert, NID_authority_key_identifier, "keyid") ||
        add_names(srv->cert, names) != 0 || X509_sign(srv->cert, ca->key, EVP_sha256()) <= 0)
        return crypto_failed(err, "the server certificate");
    return 0;
}

/* ---- which are still good ---- */

static bool valid_for_days(const X509 *cert, int days)
{
    time_t then = now_at() + (time_t)days * 86400, now = now_at();
    return X509_cmp_time(X509_get0_notBefore(cert), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(cert), &then) > 0;
}

static bool covers(X509 *cert, const char *const *names)
{
    unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS;
    for (; *names; names++) {
        int rc = tls_is_ip(*names) ? X509_check_ip_asc(cert, *names, flags)
                                   : X509_check_host(cert, *names, 0, flags, NULL);
        if (rc != 1)
            return false;
    }
    return true;
}

static bool server_good(const struct pair *srv, const struct pair *ca, const char *const *names)
{
    bool good = srv->cert && srv->key && X509_check_private_key(srv->cert, srv->key) == 1 &&
                X509_check_issued(ca->cert, srv->cert) == X509_V_OK &&
                X509_verify(srv->cert, X509_get0_pubkey(ca->cert)) == 1 &&
                valid_for_days(srv->cert, RENEW_DAYS) && covers(srv->cert, names);
    ERR_clear_error();
    return good;
}

static int ca_ensure(int dirfd, struct pair *ca, struct err *err)
{
    if (cert_read(dirfd, "ca.pem", &ca->cert, err) != 0 ||
        key_read(dirfd, "ca-key.pem", &ca->key, err) != 0)
        return -1;
    /* Clients trust ca.pem: it is never replaced while it could be somebody's. */
    if (ca->cert && !ca->key)
        return ERR(err, ERR_PERM, "ca.pem is there but its key ca-key.pem is not");
    if (ca->cert && X509_check_private_key(ca->cert, ca->key) != 1) {
        ERR_clear_error();
        return ERR(err, ERR_PERM, "ca-key.pem is not the key of ca.pem");
    }
    if (ca->cert && valid_for_days(ca->cert, 1))
        return 0;
    pair_free(ca);
    if (ca_make(ca, err) != 0)
        return -1;
    return pair_write(dirfd, ca, "ca.pem", "ca-key.pem", err);
}

static int server_ensure(int dirfd, const struct pair *ca, const char *const *names,
                         struct err *err)
{
    struct pair srv = {0};
    struct err ignored; /* what cannot be read is renewed */
    err_clear(&ignored);
    int rc = 0;
    if (cert_read(dirfd, "cert.pem", &srv.cert, &ignored) != 0 ||
        key_read(dirfd, "key.pem", &srv.key, &ignored) != 0 || !server_good(&srv, ca, names)) {
        pair_free(&srv);
        rc = server_make(&srv, ca, names, err);
        if (rc == 0)
            rc = pair_write(dirfd, &srv, "cert.pem", "key.pem", err);
    }
    pair_free(&srv);
    return rc;
}

static bool usable_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t n = strlen(name);
    return tls_is_ip(name) || (n > 0 && n <= 253 && strspn(name, letters) == n);
}

int tls_ca_ensure(int dirfd, const char *const *names, struct err *err)
{
    CHECK(names[0]);
    for (const char *const *n = names; *n; n++)
        if (!usable_name(*n))
            return ERR(err, ERR_PERM, "\"%.64s\" cannot be the name of a server", *n);
    ERR_clear_error();
    struct pair ca = {0};
    int rc = ca_ensure(dirfd, &ca, err);
    if (rc == 0)
        rc = server_ensure(dirfd, &ca, names, err);
    pair_free(&ca);
    return rc;
}
