/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl_client.h"

#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include "appliance/directory/scram.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

enum kind { KIND_SCRAM, KIND_PLAIN, KIND_LOGIN };
enum { STEP_BEGIN, STEP_ASKED, STEP_WORK, STEP_PROOF, STEP_PASSWORD, STEP_LAST, STEP_OVER };
enum { HASH = SHA256_DIGEST_LENGTH, SALT_MAX = 512, MESSAGE_MAX = 4096, NONCE = 32 };

static const struct {
    struct str name;
    enum kind kind;
} mechanisms[] = {
    {{"SCRAM-SHA-256", 13}, KIND_SCRAM}, {{"PLAIN", 5}, KIND_PLAIN}, {{"LOGIN", 5}, KIND_LOGIN}};

struct sasl_client {
    size_t mechanism;
    enum kind kind;
    int step;
    char user[SASL_CLIENT_TEXT_MAX], password[SASL_CLIENT_TEXT_MAX], nonce[NONCE + 1];
    size_t user_n, password_n;
    struct buf out, plain; /* what is sent, and its text before base64 */
    struct buf message;    /* SCRAM: AuthMessage (RFC 5802 3) */
    char *full_nonce;      /* client's and server's */
    unsigned char salt[SALT_MAX], salted[HASH], server_signature[HASH];
    size_t salt_n;
    int iterations;
    bool worked, proved;
};

static int find(struct str mechanism)
{
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
        if (str_ieq(mechanism, mechanisms[i].name))
            return (int)i;
    return -1;
}

bool sasl_client_knows(struct str mechanism)
{
    return find(mechanism) >= 0;
}

const char *sasl_client_name(const struct sasl_client *c)
{
    return mechanisms[c->mechanism].name.p;
}

static bool can_be_sent(struct str s)
{
    if (s.n == 0 || s.n > SASL_CLIENT_TEXT_MAX || !text_utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

int sasl_client_new(struct str mechanism, struct str user, struct str password,
                    struct sasl_client **out, struct err *err)
{
    int at = find(mechanism);
    *out = NULL;
    if (at < 0)
        return ERR(err, ERR_PERM, "the SASL mechanism isn't known");
    if (!can_be_sent(user))
        return ERR(err, ERR_PERM,
                   "a user name is 1 to %d octets of UTF-8 without control characters",
                   SASL_CLIENT_TEXT_MAX);
    if (!can_be_sent(password))
        return ERR(err, ERR_PERM,
                   "a password is 1 to %d octets of UTF-8 without control characters",
                   SASL_CLIENT_TEXT_MAX);
    struct sasl_client *c = MEM_NEW(struct sasl_client);
    c->mechanism = (size_t)at;
    c->kind = mechanisms[at].kind;
    memcpy(c->user, user.p, user.n);
    memcpy(c->password, password.p, password.n);
    c->user_n = user.n;
    c->password_n = password.n;
    rand_text(c->nonce, NONCE);
    buf_init(&c->out, 2 * MESSAGE_MAX);
    buf_init(&c->plain, MESSAGE_MAX);
    buf_init(&c->message, 2 * MESSAGE_MAX);
    /* Room for all at once: what moved would leave the password behind. */
    char *space;
    CHECK(buf_reserve(&c->out, 2 * MESSAGE_MAX, &space) == 0);
    CHECK(buf_reserve(&c->plain, MESSAGE_MAX, &space) == 0);
    *out = c;
    return 0;
}

void sasl_client_set_nonce(struct sasl_client *c, const char *nonce)
{
    CHECK(strlen(nonce) <= NONCE);
    memcpy(c->nonce, nonce, strlen(nonce) + 1);
}

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    buf_fini(b);
}

void sasl_client_free(struct sasl_client **cp)
{
    struct sasl_client *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    wipe(&c->out);
    wipe(&c->plain);
    wipe(&c->message);
    mem_free(c->full_nonce);
    OPENSSL_cleanse(c, sizeof *c);
    mem_free(c);
}

static struct str user_of(const struct sasl_client *c)
{
    return str_of(c->user, c->user_n);
}

static struct str password_of(const struct sasl_client *c)
{
    return str_of(c->password, c->password_n);
}

static enum sasl_client_step give(struct sasl_client *c, struct str text, struct str *out)
{
    buf_clear(&c->out);
    text_base64_encode(text, &c->out);
    *out = buf_str(&c->out);
    return SASL_CLIENT_SEND;
}

static enum sasl_client_step fail(struct sasl_client *c, struct err *err, const char *why)
{
    c->step = STEP_OVER;
    err_set(err, ERR_PROTO, ERR_WHY_OTHER, "%s: %s", sasl_client_name(c), why);
    return SASL_CLIENT_ERROR;
}

/* RFC 5802 5.1: n=user,r=nonce; "," and "=" of the name are written out. */
static void first_bare(struct sasl_client *c, struct buf *out)
{
    buf_add_z(out, "n=");
    for (size_t i = 0; i < c->user_n; i++) {
        if (c->user[i] == '=')
            buf_add_z(out, "=3D");
        else if (c->user[i] == ',')
            buf_add_z(out, "=2C");
        else
            buf_add_char(out, c->user[i]);
    }
    buf_printf(out, ",r=%s", c->nonce);
}

static void first_message(struct sasl_client *c)
{
    buf_clear(&c->plain);
    if (c->kind == KIND_SCRAM) {
        buf_add_z(&c->plain, "n,,"); /* no channel binding, no other identity */
        first_bare(c, &c->plain);
        return;
    }
    buf_add_char(&c->plain, '\0');
    buf_add_str(&c->plain, user_of(c));
    buf_add_char(&c->plain, '\0');
    buf_add_str(&c->plain, password_of(c));
}

bool sasl_client_initial(struct sasl_client *c, size_t max, struct str *out)
{
    *out = STR("");
    if (c->kind == KIND_LOGIN || c->step != STEP_BEGIN)
        return false;
    first_message(c);
    give(c, buf_str(&c->plain), out);
    if (out->n > max)
        return false;
    c->step = c->kind == KIND_SCRAM ? STEP_ASKED : STEP_LAST;
    return true;
}

static int decode(struct str text, size_t max, struct buf *out)
{
    buf_init(out, max);
    return text_base64_decode(text, out) == 0 && buf_ok(out) ? 0 : -1;
}

static int take_salt(struct sasl_client *c, struct str text)
{
    struct buf salt;
    int r = decode(text, SALT_MAX, &salt);
    if (r == 0 && salt.n > 0) {
        memcpy(c->salt, salt.p, salt.n);
        c->salt_n = salt.n;
    }
    buf_fini(&salt);
    return r == 0 && c->salt_n > 0 ? 0 : -1;
}

static bool good_nonce(const struct sasl_client *c, struct str nonce)
{
    struct str ours = str_from(c->nonce);
    bool good = str_starts(nonce, ours) && nonce.n > ours.n;
    for (size_t i = 0; good && i < nonce.n; i++)
        good = nonce.p[i] > ' ' && nonce.p[i] < 0x7f;
    return good;
}

/* r=nonce,s=salt,i=count; what may follow is an extension that binds nobody (m= comes first). */
static enum sasl_client_step server_first(struct sasl_client *c, struct str said, struct err *err)
{
    struct str rest = said, nonce, salt, count;
    uint64_t n;
    if (!scram_attribute(&rest, 'r', &nonce) || !scram_attribute(&rest, 's', &salt) ||
        !scram_attribute(&rest, 'i', &count) || take_salt(c, salt) != 0)
        return fail(c, err, "the server's first message isn't one");
    if (!good_nonce(c, nonce))
        return fail(c, err, "the server's nonce doesn't continue ours");
    if (str_to_u64(count, UINT64_MAX, &n) != 0 || n < SASL_CLIENT_ITERATIONS_MIN)
        return fail(c, err, "the server asks for too few iterations (RFC 7677 4)");
    if (n > SASL_CLIENT_ITERATIONS_MAX)
        return fail(c, err, "the server asks for too many iterations");
    c->iterations = (int)n;
    mem_free(c->full_nonce);
    c->full_nonce = str_dup_z(nonce);
    buf_clear(&c->message);
    first_bare(c, &c->message);
    buf_add_char(&c->message, ',');
    buf_add_str(&c->message, said);
    buf_printf(&c->message, ",c=biws,r=%s", c->full_nonce);
    if (!buf_ok(&c->message))
        return fail(c, err, "the server's first message is too long");
    c->step = STEP_WORK;
    c->worked = false;
    return SASL_CLIENT_WORK;
}

void sasl_client_work(struct sasl_client *c)
{
    c->worked = PKCS5_PBKDF2_HMAC(c->password, (int)c->password_n, c->salt, (int)c->salt_n,
                                  c->iterations, EVP_sha256(), HASH, c->salted) == 1;
}

static bool hmac(const unsigned char key[HASH], struct str text, unsigned char out[HASH])
{
    unsigned n = HASH;
    return HMAC(EVP_sha256(), key, HASH, (const unsigned char *)text.p, text.n, out, &n) != NULL;
}

static bool prove(struct sasl_client *c, unsigned char proof[HASH])
{
    unsigned char client[HASH], stored[HASH], server[HASH], signature[HASH];
    struct str message = buf_str(&c->message);
    size_t n = HASH;
    bool good = hmac(c->salted, STR("Client Key"), client) &&
                EVP_Q_digest(NULL, "SHA256", NULL, client, sizeof client, stored, &n) == 1 &&
                hmac(stored, message, signature) && hmac(c->salted, STR("Server Key"), server) &&
                hmac(server, message, c->server_signature);
    for (size_t i = 0; good && i < HASH; i++)
        proof[i] = (unsigned char)(client[i] ^ signature[i]);
    OPENSSL_cleanse(client, sizeof client);
    OPENSSL_cleanse(stored, sizeof stored);
    OPENSSL_cleanse(server, sizeof server);
    OPENSSL_cleanse(c->salted, sizeof c->salted);
    return good;
}

enum sasl_client_step sasl_client_worked(struct sasl_client *c, struct str *out, struct err *err)
{
    unsigned char proof[HASH];
    *out = STR("");
    CHECK(c->step == STEP_WORK);
    if (!c->worked || !prove(c, proof))
        return fail(c, err, "the key could not be computed");
    buf_clear(&c->plain);
    buf_printf(&c->plain, "c=biws,r=%s,p=", c->full_nonce);
    text_base64_encode(str_of(proof, sizeof proof), &c->plain);
    if (!buf_ok(&c->plain))
        return fail(c, err, "the server's nonce is too long");
    c->step = STEP_PROOF;
    return give(c, buf_str(&c->plain), out);
}

static enum sasl_client_step server_final(struct sasl_client *c, struct str said, struct str *out,
                                          struct err *err)
{
    struct str value, rest = said;
    struct buf signature;
    if (scram_attribute(&rest, 'e', &value))
        return fail(c, err, "the server refused the login");
    rest = said;
    if (!scram_attribute(&rest, 'v', &value))
        return fail(c, err, "the server's last message isn't one");
    bool good = decode(value, HASH, &signature) == 0 && signature.n == HASH &&
                CRYPTO_memcmp(signature.p, c->server_signature, HASH) == 0;
    buf_fini(&signature);
    if (!good)
        return fail(c, err, "the server doesn't know the password: it isn't the one we mean");
    c->proved = true;
    c->step = STEP_LAST;
    *out = STR("");
    return SASL_CLIENT_SEND;
}

static enum sasl_client_step take(struct sasl_client *c, struct str said, struct str *out,
                                  struct err *err)
{
    switch (c->step) {
    case STEP_BEGIN:
        if (c->kind == KIND_LOGIN) { /* whatever words it asks with */
            c->step = STEP_PASSWORD;
            return give(c, user_of(c), out);
        }
        sasl_client_initial(c, SIZE_MAX, out);
        return SASL_CLIENT_SEND;
    case STEP_PASSWORD:
        c->step = STEP_LAST;
        return give(c, password_of(c), out);
    case STEP_ASKED:
        return server_first(c, said, err);
    case STEP_PROOF:
        return server_final(c, said, out, err);
    default:
        return fail(c, err, "the server asks when all is said");
    }
}

enum sasl_client_step sasl_client_feed(struct sasl_client *c, struct str challenge, struct str *out,
                                       struct err *err)
{
    struct buf said;
    enum sasl_client_step step;
    *out = STR("");
    /* What asks for nothing that depends on it needn't be base64. */
    if (c->step != STEP_ASKED && c->step != STEP_PROOF)
        return take(c, STR(""), out, err);
    if (decode(challenge, MESSAGE_MAX, &said) == 0)
        step = take(c, buf_str(&said), out, err);
    else
        step = fail(c, err, "the server's message isn't base64");
    buf_fini(&said);
    return step;
}

int sasl_client_finish(const struct sasl_client *c, struct err *err)
{
    if (c->kind == KIND_SCRAM && !c->proved)
        return ERR(err, ERR_PROTO, "%s: the server took the login without proving itself",
                   sasl_client_name(c));
    if (c->step != STEP_LAST)
        return ERR(err, ERR_PROTO, "%s: the server took the login before it was said",
                   sasl_client_name(c));
    return 0;
}
