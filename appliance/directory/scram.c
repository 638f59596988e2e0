/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* scram.c - the exchange. RFC 5802 5, 7. */
#include "appliance/directory/scram.h"

#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { OUR_NONCE = 24, MESSAGE_MAX = 16384 };

bool scram_attribute(struct str *rest, char name, struct str *value)
{
    struct str one;
    str_cut(*rest, ',', &one, rest);
    if (one.n < 2 || one.p[0] != name || one.p[1] != '=')
        return false;
    *value = str_skip(one, 2);
    return true;
}

/* saslname: "=2C" and "=3D" are all that "=" may begin. */
static bool read_name(struct arena *a, struct str in, struct str *out)
{
    char *p = arena_alloc(a, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == 0)
            return false;
        if (in.p[i] != '=') {
            p[n++] = in.p[i];
            continue;
        }
        struct str three = str_take(str_skip(in, i), 3);
        if (!str_eq(three, STR("=2C")) && !str_eq(three, STR("=3D")))
            return false;
        p[n++] = three.p[1] == '2' ? ',' : '=';
        i += 2;
    }
    *out = str_of(p, n);
    return n > 0 && text_utf8_valid(*out);
}

static bool good_nonce(struct str nonce)
{
    for (size_t i = 0; i < nonce.n; i++)
        if (nonce.p[i] <= ' ' || nonce.p[i] >= 0x7f)
            return false;
    return nonce.n > 0 && nonce.n <= SCRAM_NONCE_MAX;
}

/* gs2-cbind-flag: what the client binds to goes to s->bound. */
static int read_flag(struct scram *s, struct str flag, bool plus, bool announced,
                     const struct scram_channel *channel, struct err *err)
{
    if (plus) {
        if (str_eq(flag, STR("p=tls-exporter")))
            s->bound = channel->exporter;
        else if (str_eq(flag, STR("p=tls-server-end-point")))
            s->bound = channel->end_point;
        else
            return ERR(err, ERR_PROTO,
                       "-PLUS needs the channel binding tls-exporter or "
                       "tls-server-end-point");
        if (s->bound.n == 0)
            return ERR(err, ERR_PROTO, "this connection has no such channel binding");
        return 0;
    }
    if (str_eq(flag, STR("y")) && announced) { /* RFC 5802 6 */
        s->downgraded = true;
        return ERR_WHY(err, ERR_PROTO, ERR_WHY_UNTRUSTED,
                       "the client wasn't shown that there is channel binding here");
    }
    if (!str_eq(flag, STR("y")) && !str_eq(flag, STR("n")))
        return ERR(err, ERR_PROTO, "channel binding needs the mechanism's -PLUS");
    return 0;
}

int scram_first(struct scram *s, struct arena *a, struct str message, bool plus, bool announced,
                const struct scram_channel *channel, struct err *err)
{
    struct str rest, flag, identity, name;
    *s = (struct scram){.arena = a};
    message = arena_str(a, message);
    if (message.n > MESSAGE_MAX)
        return ERR(err, ERR_PROTO, "the first message is too long");
    if (!str_cut(message, ',', &flag, &rest) || !str_cut(rest, ',', &identity, &rest))
        return ERR(err, ERR_PROTO, "the first message isn't one of SCRAM");
    s->bare = rest;
    s->header = str_take(message, message.n - rest.n);
    if (read_flag(s, flag, plus, announced, channel, err) < 0)
        return -1;
    if (identity.n &&
        (!str_starts(identity, STR("a=")) || !read_name(a, str_skip(identity, 2), &s->authzid)))
        return ERR(err, ERR_PROTO, "the authorization identity isn't one");
    if (!scram_attribute(&rest, 'n', &name) || !read_name(a, name, &s->user))
        return ERR(err, ERR_PROTO, "the user is empty, or not as SCRAM writes it");
    if (!scram_attribute(&rest, 'r', &s->nonce) || !good_nonce(s->nonce))
        return ERR(err, ERR_PROTO, "the nonce isn't one");
    return 0;
}

void scram_set_nonce(struct scram *s, struct str nonce)
{
    s->nonce = arena_printf(s->arena, STR_FMT STR_FMT, STR_ARG(s->nonce), STR_ARG(nonce));
    s->server_first = STR(""); /* .p set: it is whole */
}

struct str scram_challenge(struct scram *s, const struct scram_verifier *v)
{
    char nonce[OUR_NONCE + 1];
    struct buf b;
    s->verifier = *v;
    if (!s->server_first.p) {
        rand_text(nonce, OUR_NONCE);
        scram_set_nonce(s, str_from(nonce));
    }
    buf_init(&b, 1024);
    buf_printf(&b, "r=" STR_FMT ",s=", STR_ARG(s->nonce));
    text_base64_encode(str_of(v->salt, v->n_salt), &b);
    buf_printf(&b, ",i=%u", v->iterations);
    CHECK(buf_ok(&b));
    s->server_first = arena_str(s->arena, buf_str(&b));
    buf_fini(&b);
    return s->server_first;
}

static bool mac(const unsigned char key[SCRAM_HASH], struct str text, unsigned char out[SCRAM_HASH])
{
    unsigned n = SCRAM_HASH;
    return HMAC(EVP_sha256(), key, SCRAM_HASH, (const unsigned char *)text.p, text.n, out, &n) !=
           NULL;
}

/* RFC 5802 3: the proof is ClientKey XOR HMAC(StoredKey, AuthMessage). */
static bool proves(const struct scram *s, struct str auth, const unsigned char proof[SCRAM_HASH])
{
    unsigned char key[SCRAM_HASH], hashed[SCRAM_HASH];
    size_t n = SCRAM_HASH;
    if (!mac(s->verifier.stored_key, auth, key))
        return false;
    for (size_t i = 0; i < SCRAM_HASH; i++)
        key[i] = (unsigned char)(key[i] ^ proof[i]);
    bool good = EVP_Q_digest(NULL, "SHA256", NULL, key, sizeof key, hashed, &n) == 1 &&
                CRYPTO_memcmp(hashed, s->verifier.stored_key, SCRAM_HASH) == 0;
    OPENSSL_cleanse(key, sizeof key);
    return good;
}

/* c= is the header of the first message and what the client sees of the channel. */
static bool is_bound(const struct scram *s, struct str c)
{
    bool good = c.n == s->header.n + s->bound.n && memcmp(c.p, s->header.p, s->header.n) == 0;
    return good &&
           (s->bound.n == 0 || CRYPTO_memcmp(c.p + s->header.n, s->bound.p, s->bound.n) == 0);
}

static struct str server_last(struct scram *s, struct str auth)
{
    unsigned char signature[SCRAM_HASH];
    struct buf b;
    buf_init(&b, 128);
    buf_add_z(&b, "v=");
    if (mac(s->verifier.server_key, auth, signature))
        text_base64_encode(str_of(signature, sizeof signature), &b);
    struct str out = arena_str(s->arena, buf_str(&b));
    buf_fini(&b);
    return out;
}

/* The last ",p=" begins the proof: base64 has no comma. */
static bool cut_proof(struct str message, struct str *without, struct str *proof)
{
    for (size_t i = message.n; i >= 3; i--)
        if (memcmp(message.p + i - 3, ",p=", 3) == 0) {
            *without = str_take(message, i - 3);
            *proof = str_skip(message, i);
            return true;
        }
    return false;
}

static int check(struct scram *s, struct str without, struct str c, struct str proof,
                 bool *good_out, struct str *out, struct err *err)
{
    if (proof.n != SCRAM_HASH)
        return ERR(err, ERR_PROTO, "the proof isn't one");
    struct buf auth; /* AuthMessage; extensions may hold anything, so no printf */
    buf_init(&auth, 3 * MESSAGE_MAX);
    buf_add_str(&auth, s->bare);
    buf_add_char(&auth, ',');
    buf_add_str(&auth, s->server_first);
    buf_add_char(&auth, ',');
    buf_add_str(&auth, without);
    bool right = buf_ok(&auth) && proves(s, buf_str(&auth), (const unsigned char *)proof.p);
    s->misbound = right && !is_bound(s, c);
    *good_out = right && !s->misbound;
    if (*good_out)
        *out = server_last(s, buf_str(&auth));
    buf_fini(&auth);
    return 0;
}

int scram_last(struct scram *s, struct str message, bool *good_out, struct str *out,
               struct err *err)
{
    struct str without, proof_text, rest, c_text, nonce;
    struct buf c, proof;
    int r = -1;
    *good_out = false;
    *out = STR("");
    if (message.n > MESSAGE_MAX || !cut_proof(message, &without, &proof_text))
        return ERR(err, ERR_PROTO, "the last message isn't one of SCRAM");
    rest = without;
    if (!scram_attribute(&rest, 'c', &c_text) || !scram_attribute(&rest, 'r', &nonce))
        return ERR(err, ERR_PROTO, "the last message isn't one of SCRAM");
    if (!str_eq(nonce, s->nonce))
        return ERR(err, ERR_PROTO, "the nonce is another than the one given");
    buf_init(&c, MESSAGE_MAX);
    buf_init(&proof, SCRAM_HASH);
    if (text_base64_decode(c_text, &c) == 0 && text_base64_decode(proof_text, &proof) == 0)
        r = check(s, without, buf_str(&c), buf_str(&proof), good_out, out, err);
    else
        err_set(err, ERR_PROTO, ERR_WHY_OTHER, "the last message is not base64");
    buf_fini(&c);
    buf_fini(&proof);
    return r;
}
