/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/password_schemes.h"

#include "appliance/base/mem.h"
#include "appliance/base/text.h"

enum encoding { AS_GUESSED, AS_TEXT, AS_BASE64, AS_HEX };

struct scheme {
    const char *name; /* as in {NAME} */
    enum password_kind kind;
    const char *shown; /* NULL for CRYPT: its $id$ says */
    const EVP_MD *(*md)(void);
    bool salted;
};
/* The names and encodings are Dovecot's, which Flurdy databases were written with or moved to. */
static const struct scheme schemes[] = {
    {"CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"YESCRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"BLF-CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"SHA512-CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"SHA256-CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"MD5-CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"DES-CRYPT", PASSWORD_CRYPT, NULL, NULL, false},
    {"PLAIN", PASSWORD_PLAIN, "plain", NULL, false},
    {"CLEARTEXT", PASSWORD_PLAIN, "plain", NULL, false},
    {"CLEAR", PASSWORD_PLAIN, "plain", NULL, false},
    {"SHA", PASSWORD_DIGEST, "sha", EVP_sha1, false},
    {"SHA1", PASSWORD_DIGEST, "sha", EVP_sha1, false},
    {"SSHA", PASSWORD_DIGEST, "ssha", EVP_sha1, true},
    {"SHA256", PASSWORD_DIGEST, "sha256", EVP_sha256, false},
    {"SSHA256", PASSWORD_DIGEST, "ssha256", EVP_sha256, true},
    {"SHA512", PASSWORD_DIGEST, "sha512", EVP_sha512, false},
    {"SSHA512", PASSWORD_DIGEST, "ssha512", EVP_sha512, true},
    {"MD5", PASSWORD_DIGEST, "md5", EVP_md5, false},
    {"PLAIN-MD5", PASSWORD_DIGEST, "md5", EVP_md5, false},
    {"LDAP-MD5", PASSWORD_DIGEST, "md5", EVP_md5, false},
    {"SMD5", PASSWORD_DIGEST, "smd5", EVP_md5, true},
    {"ARGON2I", PASSWORD_KDF, "argon2i", NULL, false},
    {"ARGON2ID", PASSWORD_KDF, "argon2id", NULL, false},
    {"PBKDF2", PASSWORD_KDF, "pbkdf2", NULL, false},
    {"SCRAM-SHA-1", PASSWORD_KDF, "scram-sha-1", EVP_sha1, false},
    {"SCRAM-SHA-256", PASSWORD_KDF, "scram-sha-256", EVP_sha256, false},
    {"CRAM-MD5", PASSWORD_KDF, "cram-md5", NULL, false},
    {"HMAC-MD5", PASSWORD_KDF, "cram-md5", NULL, false},
};
static const struct {
    const char *prefix, *shown;
} crypt_ids[] = {
    {"$y$", "yescrypt"},     {"$gy$", "gost-yescrypt"}, {"$7$", "scrypt"},  {"$2a$", "bcrypt"},
    {"$2b$", "bcrypt"},      {"$2x$", "bcrypt"},        {"$2y$", "bcrypt"}, {"$6$", "sha512-crypt"},
    {"$5$", "sha256-crypt"}, {"$sha1$", "sha1crypt"},   {"$md5", "sunmd5"}, {"$1$", "md5-crypt"},
    {"$3$", "nt"},
};

static bool is_des_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '.' && c <= '9'))
            return false;
    }
    return true;
}

static const char *crypt_name(struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(crypt_ids); i++)
        if (str_starts(s, str_from(crypt_ids[i].prefix)))
            return crypt_ids[i].shown;
    if (s.n == 20 && s.p[0] == '_' && is_des_text(str_skip(s, 1)))
        return "bsdi-crypt";
    return s.n == 13 && is_des_text(s) ? "des-crypt" : NULL;
}

static const struct scheme *find_scheme(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_ieq(name, str_from(schemes[i].name)))
            return &schemes[i];
    return NULL;
}

/* "SSHA.hex" -> SSHA, AS_HEX */
static struct str cut_encoding(struct str name, enum encoding *out)
{
    static const struct {
        const char *suffix;
        enum encoding as;
    } suffixes[] = {{".b64", AS_BASE64}, {".base64", AS_BASE64}, {".hex", AS_HEX}};
    *out = AS_GUESSED;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        struct str suffix = str_from(suffixes[i].suffix);
        if (str_iends(name, suffix)) {
            *out = suffixes[i].as;
            return str_take(name, name.n - suffix.n);
        }
    }
    return name;
}

static int decode_base64(struct str text, struct buf *out)
{
    char padded[PASSWORD_STORED_MAX + 4];
    size_t n = text.n;
    if (n > PASSWORD_STORED_MAX)
        return -1;
    if (n)
        memcpy(padded, text.p, n);
    while (n % 4) /* some directories leave the padding out */
        padded[n++] = '=';
    return text_base64_decode(str_of(padded, n), out);
}

static int decode(struct str text, enum encoding as, struct password_form *out)
{
    struct buf b;
    int r = -1;
    buf_init(&b, PASSWORD_STORED_MAX);
    if (as == AS_TEXT)
        r = buf_add_str(&b, text);
    else if (as == AS_HEX)
        r = text_hex_decode(text, &b);
    else
        r = decode_base64(text, &b);
    if (r == 0 && buf_ok(&b)) {
        out->n = b.n;
        if (b.n)
            memcpy(out->bytes, b.p, b.n);
        out->bytes[b.n] = 0;
    }
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    return r;
}

static void read_crypt(struct str text, enum encoding as, struct password_form *out)
{
    if (decode(text, as == AS_GUESSED ? AS_TEXT : as, out) < 0)
        return;
    out->name = crypt_name(str_of(out->bytes, out->n));
    if (out->name)
        out->kind = PASSWORD_CRYPT;
    else
        out->name = "unknown";
}

static bool is_argon2(struct str text)
{
    return str_starts(text, STR("$argon2i$")) || str_starts(text, STR("$argon2id$"));
}

static void read_kdf(const char *name, const EVP_MD *md, struct str text, enum encoding as,
                     struct password_form *out)
{
    bool argon2 = strncmp(name, "argon2", 6) == 0;
    if (decode(text, as == AS_GUESSED ? AS_TEXT : as, out) < 0)
        return;
    if (argon2 && !is_argon2(str_of(out->bytes, out->n)))
        return;
    out->name = name;
    out->md = md;
    out->kind = PASSWORD_KDF;
}

static void read_plain(struct str text, enum encoding as, struct password_form *out)
{
    if (decode(text, as == AS_GUESSED ? AS_TEXT : as, out) < 0)
        return;
    out->name = out->n ? "plain" : "none";
    out->kind = out->n ? PASSWORD_PLAIN : PASSWORD_NONE;
}

static void read_digest(const struct scheme *s, struct str text, enum encoding as,
                        struct password_form *out)
{
    size_t size = (size_t)EVP_MD_get_size(s->md());
    if (as == AS_GUESSED)
        as = !s->salted && text.n == 2 * size ? AS_HEX : AS_BASE64;
    if (decode(text, as, out) < 0 || (s->salted ? out->n <= size : out->n != size))
        return;
    out->md = s->md();
    out->salted = s->salted;
    out->name = s->shown;
    out->kind = PASSWORD_DIGEST;
}

static void read_scheme(struct str stored, struct password_form *out)
{
    struct str name, text;
    enum encoding as;
    if (!str_cut(str_skip(stored, 1), '}', &name, &text))
        return;
    const struct scheme *s = find_scheme(cut_encoding(name, &as));
    if (!s)
        return;
    if (s->kind == PASSWORD_KDF)
        read_kdf(s->shown, s->md ? s->md() : NULL, text, as, out);
    else if (s->kind == PASSWORD_CRYPT && is_argon2(text))
        read_kdf("argon2", NULL, text, as, out);
    else if (s->kind == PASSWORD_CRYPT || (s->md == EVP_md5 && str_starts(text, STR("$1$"))))
        read_crypt(text, as, out);
    else if (s->kind == PASSWORD_PLAIN)
        read_plain(text, as, out);
    else
        read_digest(s, text, as, out);
}

void password_form_read(struct str stored, struct password_form *out)
{
    *out = (struct password_form){.kind = PASSWORD_UNKNOWN, .name = "unknown"};
    if (stored.n == 0 || stored.p[0] == '!' || stored.p[0] == '*') {
        out->kind = PASSWORD_NONE;
        out->name = "none";
        return;
    }
    if (stored.n > PASSWORD_STORED_MAX || memchr(stored.p, 0, stored.n))
        return;
    if (stored.p[0] == '{')
        read_scheme(stored, out);
    else if (is_argon2(stored))
        read_kdf(str_starts(stored, STR("$argon2id$")) ? "argon2id" : "argon2i", NULL, stored,
                 AS_TEXT, out);
    else
        read_crypt(stored, AS_TEXT, out);
}

bool password_form_current(const struct password_form *form)
{
    return form->kind == PASSWORD_CRYPT && strcmp(form->name, "yescrypt") == 0;
}
