/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#define OPENSSL_SUPPRESS_DEPRECATED /* MD5_CTX: CRAM-MD5 keeps the state of a digest half way */
#include "appliance/directory/password_kdf.h"

#include "appliance/base/text.h"
#include <argon2.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <string.h>

enum { ITERATIONS_MAX = 10000000, MEMORY_MAX_KB = 262144, PASSES_MAX = 64, LANES_MAX = 16 };

/* ---- argon2: "$argon2id$v=19$m=65536,t=3,p=1$salt$hash" */

static bool argon_number(struct str s, const char *key, uint64_t max, uint64_t *out)
{
    return str_starts(s, str_from(key)) && str_to_u64(str_skip(s, strlen(key)), max, out) == 0;
}

/* libargon2 would take gigabytes when the text says so. */
static bool argon_is_bounded(struct str text)
{
    struct str part, rest, m, t, p;
    uint64_t v;
    str_cut(str_skip(text, 1), '$', &part, &rest);
    if (str_starts(rest, STR("v=")))
        str_cut(rest, '$', &part, &rest);
    str_cut(rest, '$', &part, &rest);
    str_cut(part, ',', &m, &part);
    str_cut(part, ',', &t, &p);
    return argon_number(m, "m=", MEMORY_MAX_KB, &v) && argon_number(t, "t=", PASSES_MAX, &v) &&
           argon_number(p, "p=", LANES_MAX, &v);
}

static int check_argon2(struct str password, const struct password_form *form)
{
    argon2_type type =
        str_starts(str_of(form->bytes, form->n), STR("$argon2id$")) ? Argon2_id : Argon2_i;
    if (!argon_is_bounded(str_of(form->bytes, form->n)))
        return -1;
    int r = argon2_verify(form->bytes, password.p, password.n, type);
    return r == ARGON2_OK ? 1 : r == ARGON2_VERIFY_MISMATCH ? 0 : -1;
}

/* ---- PBKDF2 as Dovecot writes it: "$1$salt$rounds$hex", HMAC-SHA-1 */

static int pbkdf2(struct str password, struct str salt, uint64_t rounds, const EVP_MD *md,
                  unsigned char *out, size_t n)
{
    return PKCS5_PBKDF2_HMAC(password.p, (int)password.n, (const unsigned char *)salt.p,
                             (int)salt.n, (int)rounds, md, (int)n, out) == 1
               ? 0
               : -1;
}

static int check_pbkdf2(struct str password, const struct password_form *form)
{
    struct str text = str_of(form->bytes, form->n), salt, rounds, hex;
    unsigned char hash[SHA_DIGEST_LENGTH];
    struct buf want;
    uint64_t n;
    int r = -1;
    if (!str_starts(text, STR("$1$")) || !str_cut(str_skip(text, 3), '$', &salt, &text) ||
        !str_cut(text, '$', &rounds, &hex) || str_to_u64(rounds, ITERATIONS_MAX, &n) < 0 || n == 0)
        return -1;
    buf_init(&want, PASSWORD_STORED_MAX);
    if (text_hex_decode(hex, &want) == 0 && want.n == sizeof hash &&
        pbkdf2(password, salt, n, EVP_sha1(), hash, sizeof hash) == 0)
        r = CRYPTO_memcmp(hash, want.p, sizeof hash) == 0;
    buf_fini(&want);
    return r;
}

/* ---- SCRAM as Dovecot writes it: "rounds,salt,StoredKey,ServerKey" (RFC 5802 3) */

static int stored_key(struct str password, struct str salt, uint64_t rounds, const EVP_MD *md,
                      unsigned char out[EVP_MAX_MD_SIZE])
{
    static const unsigned char word[] = "Client Key";
    unsigned char salted[EVP_MAX_MD_SIZE], key[EVP_MAX_MD_SIZE];
    size_t n = (size_t)EVP_MD_get_size(md);
    unsigned made = 0;
    int r = pbkdf2(password, salt, rounds, md, salted, n);
    if (r == 0 && (!HMAC(md, salted, (int)n, word, sizeof word - 1, key, &made) ||
                   !EVP_Digest(key, n, out, &made, md, NULL)))
        r = -1;
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(key, sizeof key);
    return r;
}

static int check_scram(struct str password, const struct password_form *form)
{
    struct str text = str_of(form->bytes, form->n), rounds, salt64, key64, rest;
    unsigned char key[EVP_MAX_MD_SIZE];
    struct buf salt, want;
    uint64_t n;
    int r = -1;
    if (!str_cut(text, ',', &rounds, &text) || !str_cut(text, ',', &salt64, &text) ||
        !str_cut(text, ',', &key64, &rest) || str_to_u64(rounds, ITERATIONS_MAX, &n) < 0 || n == 0)
        return -1;
    buf_init(&salt, PASSWORD_STORED_MAX);
    buf_init(&want, PASSWORD_STORED_MAX);
    if (text_base64_decode(salt64, &salt) == 0 && text_base64_decode(key64, &want) == 0 &&
        want.n == (size_t)EVP_MD_get_size(form->md) &&
        stored_key(password, buf_str(&salt), n, form->md, key) == 0)
        r = CRYPTO_memcmp(key, want.p, want.n) == 0;
    buf_fini(&want);
    buf_fini(&salt);
    return r;
}

/* ---- CRAM-MD5 as Dovecot writes it: the states of HMAC-MD5's outer and inner digest after the key
 * (RFC 2104), eight words, little-endian, in hex */

static void put_state(const MD5_CTX *c, unsigned char out[16])
{
    const MD5_LONG words[4] = {c->A, c->B, c->C, c->D};
    for (unsigned i = 0; i < 16; i++)
        out[i] = (unsigned char)(words[i / 4] >> 8 * (i % 4));
}

static int check_cram_md5(struct str password, const struct password_form *form)
{
    unsigned char block[MD5_CBLOCK] = {0}, made[32];
    struct buf want;
    MD5_CTX c;
    int r = -1;
    if (password.n > sizeof block)
        MD5((const unsigned char *)password.p, password.n, block);
    else
        memcpy(block, password.p, password.n);
    for (unsigned outer = 2; outer-- > 0;) {
        unsigned char pad = outer ? 0x5c : 0x36, xored[MD5_CBLOCK];
        for (unsigned i = 0; i < sizeof xored; i++)
            xored[i] = block[i] ^ pad;
        MD5_Init(&c);
        MD5_Update(&c, xored, sizeof xored);
        put_state(&c, outer ? made : made + 16);
        explicit_bzero(xored, sizeof xored);
    }
    explicit_bzero(block, sizeof block);
    buf_init(&want, 64);
    if (text_hex_decode(str_of(form->bytes, form->n), &want) == 0 && want.n == sizeof made)
        r = CRYPTO_memcmp(made, want.p, sizeof made) == 0;
    buf_fini(&want);
    return r;
}

bool password_kdf_check(struct str password, const struct password_form *form, struct err *err)
{
    static const struct {
        const char *name;
        int (*check)(struct str password, const struct password_form *form);
    } checks[] = {{"argon2", check_argon2},
                  {"pbkdf2", check_pbkdf2},
                  {"scram", check_scram},
                  {"cram-md5", check_cram_md5}};
    int r = -1;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (str_starts(str_from(form->name), str_from(checks[i].name)))
            r = checks[i].check(password, form);
    if (r < 0)
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "the stored %s hash cannot be read", form->name);
    return r == 1;
}
