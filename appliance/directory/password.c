/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/password.h"

#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/directory/password_kdf.h"
#include "appliance/directory/password_schemes.h"
#include <crypt.h>
#include <openssl/crypto.h>

/* A fixed salt at yescrypt's default cost, as password_hash() writes it. */
static const char nobody_setting[] = "$y$j9T$SW7aWzo7JtN3bTGcvXvVX0";

/* crypt(3) takes C strings of at most 511 bytes; an empty password never logs anybody in. */
static bool usable(struct str password)
{
    return password.n > 0 && password.n < PASSWORD_MAX && !memchr(password.p, 0, password.n);
}

/* crypt_r with its 32 kB on the heap, and wiped. out: PASSWORD_HASH_MAX bytes. */
static bool run_crypt(struct str password, const char *setting, char *out)
{
    char phrase[PASSWORD_MAX];
    struct crypt_data *data = MEM_NEW(struct crypt_data);
    memcpy(phrase, password.p, password.n);
    phrase[password.n] = 0;
    const char *hash = crypt_rn(phrase, setting, data, (int)sizeof *data);
    bool ok = hash && hash[0] != '*' && strlen(hash) < PASSWORD_HASH_MAX;
    if (ok)
        memcpy(out, hash, strlen(hash) + 1);
    explicit_bzero(phrase, sizeof phrase);
    explicit_bzero(data, sizeof *data);
    mem_free(data);
    return ok;
}

int password_hash(struct str password, char out[PASSWORD_HASH_MAX], struct err *err)
{
    char seed[16], setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (!usable(password))
        return ERR(err, ERR_PERM, "a password has 1 to %d bytes and no NUL", PASSWORD_MAX - 1);
    rand_bytes(seed, sizeof seed);
    if (!crypt_gensalt_rn("$y$", 0, seed, (int)sizeof seed, setting, (int)sizeof setting) ||
        !run_crypt(password, setting, out))
        return ERR(err, ERR_TEMP, "libcrypt cannot make a yescrypt hash");
    return 0;
}

static bool check_crypt(struct str password, const struct password_form *form, struct err *err)
{
    char hash[PASSWORD_HASH_MAX];
    if (!run_crypt(password, form->bytes, hash)) {
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "libcrypt cannot read the stored %s hash",
                form->name);
        return false;
    }
    return strlen(hash) == form->n && CRYPTO_memcmp(hash, form->bytes, form->n) == 0;
}

/* Over digests, so that the time doesn't tell the length. */
static bool check_plain(struct str password, const struct password_form *form)
{
    unsigned char a[EVP_MAX_MD_SIZE], b[EVP_MAX_MD_SIZE];
    unsigned na = 0, nb = 0;
    if (!EVP_Digest(password.p, password.n, a, &na, EVP_sha256(), NULL) ||
        !EVP_Digest(form->bytes, form->n, b, &nb, EVP_sha256(), NULL))
        return false;
    return na == nb && CRYPTO_memcmp(a, b, na) == 0;
}

static bool check_digest(struct str password, const struct password_form *form)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    size_t size = (size_t)EVP_MD_get_size(form->md);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, form->md, NULL) &&
              EVP_DigestUpdate(ctx, password.p, password.n) &&
              EVP_DigestUpdate(ctx, form->bytes + size, form->n - size) &&
              EVP_DigestFinal_ex(ctx, md, &n);
    EVP_MD_CTX_free(ctx);
    return ok && n == size && CRYPTO_memcmp(md, form->bytes, size) == 0;
}

bool password_check(struct str password, struct str stored, struct err *err)
{
    struct password_form form;
    bool ok = false;
    err_clear(err);
    password_form_read(stored, &form);
    if (form.kind == PASSWORD_UNKNOWN)
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "the scheme of the stored password is not known");
    /* What can't match still takes its time, or a strange password would tell who exists. */
    if (!usable(password) || form.kind == PASSWORD_NONE || form.kind == PASSWORD_UNKNOWN)
        password_check_nobody(password);
    else if (form.kind == PASSWORD_CRYPT)
        ok = check_crypt(password, &form, err);
    else if (form.kind == PASSWORD_KDF)
        ok = password_kdf_check(password, &form, err);
    else if (form.kind == PASSWORD_PLAIN)
        ok = check_plain(password, &form);
    else
        ok = check_digest(password, &form);
    explicit_bzero(&form, sizeof form);
    return ok;
}

bool password_is_current(struct str stored)
{
    struct password_form form;
    password_form_read(stored, &form);
    bool current = password_form_current(&form);
    explicit_bzero(&form, sizeof form);
    return current;
}

void password_check_nobody(struct str password)
{
    char hash[PASSWORD_HASH_MAX];
    if (!usable(password))
        password = STR("nobody");
    (void)run_crypt(password, nobody_setting, hash);
}
