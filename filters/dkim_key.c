/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_key.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

enum { RAW = 32, STRING_MAX = 255, RSA_LEAST = 1024 };

struct dkim_key {
    EVP_PKEY *pkey;
};

static int failed(struct err *err, const char *what)
{
    ERR_clear_error(); /* the queue is the thread's, and could name more than it should */
    return ERR(err, ERR_PERM, "%s", what);
}

void dkim_key_free(struct dkim_key **kp)
{
    struct dkim_key *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    mem_free(k);
}

/* Takes pkey over. */
static struct dkim_key *wrap(EVP_PKEY *pkey)
{
    struct dkim_key *k = MEM_NEW(struct dkim_key);

    k->pkey = pkey;
    return k;
}

int dkim_key_new(enum dkim_key_type type, struct dkim_key **out, struct err *err)
{
    EVP_PKEY *pkey = type == DKIM_KEY_RSA
                         ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)DKIM_RSA_BITS)
                         : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (!pkey)
        return failed(err, "a key can't be made");
    *out = wrap(pkey);
    return 0;
}

static int check(struct dkim_key **k, struct err *err)
{
    int id = EVP_PKEY_get_base_id((*k)->pkey);

    if (id == EVP_PKEY_ED25519)
        return 0;
    int bits = EVP_PKEY_get_bits((*k)->pkey);
    bool fits = id == EVP_PKEY_RSA && bits >= RSA_LEAST && bits <= DKIM_RSA_MOST;
    if (fits)
        return 0;
    dkim_key_free(k);
    if (id != EVP_PKEY_RSA)
        return failed(err, "the key is neither RSA nor Ed25519");
    return ERR(err, ERR_PERM, "the key has %d bits; of RSA %d to %d are accepted", bits, RSA_LEAST,
               DKIM_RSA_MOST);
}

static int no_password(char *to, int n, int writing, void *ctx)
{
    (void)to;
    (void)n;
    (void)writing;
    (void)ctx;
    return -1; /* without it, OpenSSL would ask on the terminal */
}

int dkim_key_read(struct str pem, struct dkim_key **out, struct err *err)
{
    if (pem.n > DKIM_PEM_MAX)
        return failed(err, "it is too long for a key");
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    CHECK(bio);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (!pkey)
        return failed(err, "it is no private key in PEM without a password");
    *out = wrap(pkey);
    return check(out, err);
}

int dkim_key_write(const struct dkim_key *k, struct buf *pem_out, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *p = NULL;
    int rc = 0;

    CHECK(bio);
    if (PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1)
        rc = failed(err, "the key can't be written");
    long n = BIO_get_mem_data(bio, &p);
    if (rc == 0 && buf_add(pem_out, p, (size_t)n))
        rc = failed(err, "the key is too long");
    BIO_free(bio);
    return rc;
}

int dkim_key_read_public(enum dkim_key_type type, struct str raw, struct dkim_key **out,
                         struct err *err)
{
    const unsigned char *p = (const unsigned char *)raw.p;
    EVP_PKEY *pkey = NULL;

    if (type == DKIM_KEY_ED25519) {
        if (raw.n == RAW)
            pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p, raw.n);
    } else {
        pkey = d2i_PUBKEY(NULL, &p, (long)raw.n);
        p = (const unsigned char *)raw.p;
        if (!pkey) /* as RFC 6376 3.6.1 has it; nearly all write the other */
            pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long)raw.n);
    }
    if (!pkey)
        return failed(err, "its key can't be read");
    *out = wrap(pkey);
    if (EVP_PKEY_get_base_id(pkey) == (type == DKIM_KEY_RSA ? EVP_PKEY_RSA : EVP_PKEY_ED25519))
        return 0;
    dkim_key_free(out);
    return failed(err, "its key is of another type");
}

enum dkim_key_type dkim_key_type(const struct dkim_key *k)
{
    return EVP_PKEY_get_base_id(k->pkey) == EVP_PKEY_RSA ? DKIM_KEY_RSA : DKIM_KEY_ED25519;
}

unsigned dkim_key_bits(const struct dkim_key *k)
{
    return (unsigned)EVP_PKEY_get_bits(k->pkey);
}

int dkim_key_public(const struct dkim_key *k, struct buf *out, struct err *err)
{
    unsigned char *der = NULL, raw[RAW];
    size_t n = sizeof raw;

    if (dkim_key_type(k) == DKIM_KEY_ED25519) {
        if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
            return failed(err, "the public key can't be had");
        return text_base64_encode(str_of(raw, n), out);
    }
    int len = i2d_PUBKEY(k->pkey, &der);
    if (len <= 0)
        return failed(err, "the public key can't be had");
    int rc = text_base64_encode(str_of(der, (size_t)len), out);
    OPENSSL_free(der);
    return rc;
}

int dkim_key_record(const struct dkim_key *k, struct buf *out, struct err *err)
{
    buf_printf(out, "v=DKIM1; k=%s; p=", dkim_key_type_name(dkim_key_type(k)));
    return dkim_key_public(k, out, err) || !buf_ok(out) ? -1 : 0;
}

/* RFC 8463 3: Ed25519 signs the hash, not the text. */
static struct str to_sign(bool rsa, struct str bytes, unsigned char hash[SHA256_DIGEST_LENGTH])
{
    if (rsa)
        return bytes;
    SHA256((const unsigned char *)bytes.p, bytes.n, hash);
    return str_of(hash, SHA256_DIGEST_LENGTH);
}

int dkim_key_sign(const struct dkim_key *k, struct str bytes, struct buf *out, struct err *err)
{
    unsigned char hash[SHA256_DIGEST_LENGTH], sig[DKIM_RSA_MOST / 8];
    bool rsa = dkim_key_type(k) == DKIM_KEY_RSA;
    size_t n = sizeof sig;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    CHECK(md);
    bytes = to_sign(rsa, bytes, hash);
    bool ok = EVP_DigestSignInit(md, NULL, rsa ? EVP_sha256() : NULL, NULL, k->pkey) == 1 &&
              EVP_DigestSign(md, sig, &n, (const unsigned char *)bytes.p, bytes.n) == 1;
    EVP_MD_CTX_free(md);
    if (!ok)
        return failed(err, "the key doesn't sign");
    return text_base64_encode(str_of(sig, n), out);
}

bool dkim_key_verify(const struct dkim_key *k, struct str bytes, struct str signature)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    bool rsa = dkim_key_type(k) == DKIM_KEY_RSA;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    CHECK(md);
    bytes = to_sign(rsa, bytes, hash);
    bool ok = EVP_DigestVerifyInit(md, NULL, rsa ? EVP_sha256() : NULL, NULL, k->pkey) == 1 &&
              EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n,
                               (const unsigned char *)bytes.p, bytes.n) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return ok;
}

void dkim_zone_line(struct str selector, struct str domain, struct str record, struct buf *out)
{
    buf_printf(out, STR_FMT "._domainkey." STR_FMT ". IN TXT (", STR_ARG(selector),
               STR_ARG(domain));
    for (; record.n; record = str_skip(record, STRING_MAX)) {
        struct str piece = str_take(record, STRING_MAX);
        buf_printf(out, " \"" STR_FMT "\"", STR_ARG(piece));
    }
    buf_add_z(out, " )");
}
