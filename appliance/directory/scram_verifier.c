/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* scram_verifier.c - what is stored of a password. RFC 5802 3, 5803. */
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include "appliance/directory/scram.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static bool mac(const unsigned char key[SCRAM_HASH], struct str text, unsigned char out[SCRAM_HASH])
{
    unsigned n = SCRAM_HASH;
    return HMAC(EVP_sha256(), key, SCRAM_HASH, (const unsigned char *)text.p, text.n, out, &n) !=
           NULL;
}

bool scram_make(struct str password, struct str salt, unsigned iterations,
                struct scram_verifier *out)
{
    unsigned char salted[SCRAM_HASH], client[SCRAM_HASH];
    size_t n = SCRAM_HASH;
    *out = (struct scram_verifier){.iterations = iterations, .n_salt = salt.n};
    if (salt.n == 0 || salt.n > SCRAM_SALT_MAX)
        return false;
    memcpy(out->salt, salt.p, salt.n);
    bool good =
        PKCS5_PBKDF2_HMAC(password.p, (int)password.n, out->salt, (int)salt.n, (int)iterations,
                          EVP_sha256(), SCRAM_HASH, salted) == 1 &&
        mac(salted, STR("Client Key"), client) &&
        EVP_Q_digest(NULL, "SHA256", NULL, client, sizeof client, out->stored_key, &n) == 1 &&
        mac(salted, STR("Server Key"), out->server_key);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client, sizeof client);
    return good;
}

void scram_print(const struct scram_verifier *v, struct buf *out)
{
    buf_printf(out, "SCRAM-SHA-256$%u:", v->iterations);
    text_base64_encode(str_of(v->salt, v->n_salt), out);
    buf_add_char(out, '$');
    text_base64_encode(str_of(v->stored_key, SCRAM_HASH), out);
    buf_add_char(out, ':');
    text_base64_encode(str_of(v->server_key, SCRAM_HASH), out);
}

/* min to max octets of base64. */
static bool decode(struct str text, size_t min, size_t max, unsigned char *out, size_t *n_out)
{
    struct buf b;
    buf_init(&b, max);
    bool good = text_base64_decode(text, &b) == 0 && buf_ok(&b) && b.n >= min;
    if (good) {
        memcpy(out, b.p, b.n);
        *n_out = b.n;
    }
    if (b.p)
        OPENSSL_cleanse(b.p, b.cap);
    buf_fini(&b);
    return good;
}

bool scram_parse(struct str text, struct scram_verifier *out)
{
    struct str rest, count, salt, stored, server;
    uint64_t iterations;
    size_t n;
    *out = (struct scram_verifier){0};
    if (!str_starts(text, STR("SCRAM-SHA-256$")))
        return false;
    if (!str_cut(str_skip(text, 14), ':', &count, &rest) || !str_cut(rest, '$', &salt, &rest) ||
        !str_cut(rest, ':', &stored, &server) ||
        str_to_u64(count, SCRAM_ITERATIONS_MAX, &iterations) < 0 || iterations == 0)
        return false;
    out->iterations = (unsigned)iterations;
    return decode(salt, 1, SCRAM_SALT_MAX, out->salt, &out->n_salt) &&
           decode(stored, SCRAM_HASH, SCRAM_HASH, out->stored_key, &n) &&
           decode(server, SCRAM_HASH, SCRAM_HASH, out->server_key, &n);
}

bool scram_parse_hash(struct str stored, struct scram_verifier *out)
{
    struct str rest, count, salt, key, server;
    uint64_t iterations;
    size_t n;
    *out = (struct scram_verifier){0};
    if (!str_istarts(stored, STR("{SCRAM-SHA-256}")))
        return false;
    if (!str_cut(str_skip(stored, 15), ',', &count, &rest) || !str_cut(rest, ',', &salt, &rest) ||
        !str_cut(rest, ',', &key, &server) ||
        str_to_u64(count, SCRAM_ITERATIONS_MAX, &iterations) < 0 ||
        iterations < SCRAM_ITERATIONS_MIN)
        return false;
    out->iterations = (unsigned)iterations;
    return decode(salt, 1, SCRAM_SALT_MAX, out->salt, &out->n_salt) &&
           decode(key, SCRAM_HASH, SCRAM_HASH, out->stored_key, &n) &&
           decode(server, SCRAM_HASH, SCRAM_HASH, out->server_key, &n);
}

void scram_salt(const unsigned char key[SCRAM_HASH], struct str account,
                unsigned char out[SCRAM_SALT])
{
    unsigned char md[SCRAM_HASH];
    if (!mac(key, account, md)) /* never seen; a salt may be anything */
        rand_bytes(md, sizeof md);
    memcpy(out, md, SCRAM_SALT);
}

void scram_fake(const unsigned char key[SCRAM_HASH], struct str account, unsigned iterations,
                struct scram_verifier *out)
{
    *out = (struct scram_verifier){.iterations = iterations, .n_salt = SCRAM_SALT};
    scram_salt(key, account, out->salt);
    rand_bytes(out->stored_key, SCRAM_HASH);
    rand_bytes(out->server_key, SCRAM_HASH);
}
