/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/queue/srs.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    ADDRESS_MAX = 1024,
    PATH_MAX_OCTETS = 256, /* RFC 5321 4.5.3.1.3, angle brackets included */
    DAYS_MAX = 1024,       /* two characters of 5 bits: the stamp comes round again */
    HASH_MIN = 4,
    HASH_MAX = 27,
    DAY_MS = 24 * 3600 * 1000
};
static const char stamp_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* What was signed: SRS0 stamp, domain and local part; SRS1 host and the rest. */
struct signed_parts {
    struct str at[3];
    size_t n;
};

static unsigned hash_length(const struct srs_conf *c)
{
    return c->hash_length < HASH_MIN   ? HASH_MIN
           : c->hash_length > HASH_MAX ? HASH_MAX
                                       : c->hash_length;
}

/* The letters of a local part may change case on the way, so all is signed in lower case. */
static void add_lower(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(out, ascii_lower(s.p[i]));
}

/* Base64 of HMAC-SHA1, cut off: the letters that libsrs2 puts there. */
static bool sign(const struct srs_conf *c, struct str secret, const struct signed_parts *parts,
                 struct buf *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf text;
    buf_init(&text, 4 * ADDRESS_MAX);
    for (size_t i = 0; i < parts->n; i++)
        add_lower(&text, parts->at[i]);
    bool ok = buf_ok(&text) && HMAC(EVP_sha1(), secret.p, (int)secret.n,
                                    (const unsigned char *)text.p, text.n, mac, &n) != NULL;
    buf_fini(&text);
    if (!ok || text_base64_encode(str_of(mac, n), out))
        return false;
    buf_truncate(out, hash_length(c));
    return true;
}

/* In time that doesn't depend on where they differ. */
static bool same_hash(struct str a, struct str b)
{
    unsigned differs = a.n != b.n;
    for (size_t i = 0; i < a.n && i < b.n; i++)
        differs |= (unsigned)(ascii_lower(a.p[i]) ^ ascii_lower(b.p[i]));
    return !differs;
}

static bool is_signed(const struct srs_conf *c, struct str hash, const struct signed_parts *parts)
{
    bool good = false;
    for (size_t i = 0; i < c->n_secrets; i++) {
        struct buf ours;
        buf_init(&ours, 64);
        if (sign(c, c->secrets[i], parts, &ours) && same_hash(buf_str(&ours), hash))
            good = true;
        buf_fini(&ours);
    }
    return good;
}

static unsigned today(int64_t now_ms)
{
    return (unsigned)(now_ms / DAY_MS) % DAYS_MAX;
}

/* -1: not a stamp. */
static int stamp_days(struct str stamp)
{
    int days = 0;
    for (size_t i = 0; i < stamp.n; i++) {
        const char *at = memchr(stamp_letters, ascii_upper(stamp.p[i]), sizeof stamp_letters - 1);
        if (!at)
            return -1;
        days = days * 32 + (int)(at - stamp_letters);
    }
    return stamp.n == 2 ? days : -1;
}

/* "SRS0" or "SRS1" and the separator: '=', which ours has, '-' or '+'. */
static bool is_tagged(struct str local, char digit)
{
    return local.n > 5 && str_istarts(local, STR("SRS")) && local.p[3] == digit &&
           (local.p[4] == '=' || local.p[4] == '-' || local.p[4] == '+');
}

static int parse(struct arena *a, struct str address, struct address_path *path, struct err *err)
{
    struct str rest;
    struct str text = arena_printf(a, "<" STR_FMT ">", STR_ARG(address));
    if (address.n > ADDRESS_MAX || address_path_parse(a, text, path, &rest, err) || rest.n ||
        !path->domain.n)
        return ERR(err, ERR_PROTO, "not an address");
    return 0;
}

static int format(struct arena *a, struct str local, struct str domain, struct str *out,
                  struct err *err)
{
    struct buf text, lower;
    buf_init(&text, ADDRESS_MAX);
    buf_init(&lower, ADDRESS_MAX);
    add_lower(&lower, domain);
    struct address_path path = {.local = local, .domain = buf_str(&lower)};
    int rc = address_path_format(&path, &text);
    if (rc || text.n + 2 > PATH_MAX_OCTETS)
        rc = ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT,
                     "the rewritten sender would be longer than an address may be");
    else
        *out = arena_str(a, buf_str(&text));
    buf_fini(&lower);
    buf_fini(&text);
    return rc;
}

/* "TAG=hash=" and what was signed, with '=' between. */
static int compose(const struct srs_conf *c, struct arena *a, const char *tag,
                   const struct signed_parts *parts, struct str *out, struct err *err)
{
    struct buf local;
    int rc = -1;
    buf_init(&local, ADDRESS_MAX);
    buf_printf(&local, "%s=", tag);
    struct buf hash;
    buf_init(&hash, 64);
    bool ok = sign(c, c->secrets[0], parts, &hash);
    buf_add_str(&local, buf_str(&hash));
    buf_fini(&hash);
    for (size_t i = 0; i < parts->n; i++) {
        buf_add_char(&local, '=');
        buf_add_str(&local, parts->at[i]);
    }
    if (!ok)
        (void)ERR(err, ERR_TEMP, "the sender can't be signed");
    else if (!buf_ok(&local))
        (void)ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the sender is too long");
    else
        rc = format(a, buf_str(&local), c->domain, out, err);
    buf_fini(&local);
    return rc;
}

int srs_forward(const struct srs_conf *c, struct arena *a, struct str sender, int64_t now_ms,
                struct str *out, struct err *err)
{
    struct address_path path;
    struct signed_parts parts = {.n = 2};
    *out = sender;
    if (!sender.n)
        return 0;
    if (!c->n_secrets || !c->domain.n)
        return ERR(err, ERR_BUG, "SRS without a secret or a domain");
    if (parse(a, sender, &path, err))
        return -1;
    if (str_ieq(path.domain, c->domain))
        return 0;
    /* Another forwarder's: its address is kept whole, and only the first one is remembered. */
    if (is_tagged(path.local, '0')) {
        parts.at[0] = path.domain;
        parts.at[1] = str_skip(path.local, 4);
        return compose(c, a, "SRS1", &parts, out, err);
    }
    struct str rest, hash;
    if (is_tagged(path.local, '1') && str_cut(str_skip(path.local, 5), '=', &hash, &rest) &&
        str_cut(rest, '=', &parts.at[0], &parts.at[1]) && parts.at[0].n && parts.at[1].n)
        return compose(c, a, "SRS1", &parts, out, err);
    unsigned days = today(now_ms);
    char stamp[2] = {stamp_letters[days / 32], stamp_letters[days % 32]};
    parts = (struct signed_parts){{str_of(stamp, 2), path.domain, path.local}, 3};
    return compose(c, a, "SRS0", &parts, out, err);
}

/* SRS0: back to who sent it. */
static int reverse_first(const struct srs_conf *c, struct arena *a, struct str local,
                         int64_t now_ms, struct str *out, struct err *err)
{
    struct str hash, rest = str_skip(local, 5);
    struct signed_parts parts = {.n = 3};
    if (!str_cut(rest, '=', &hash, &rest) || !str_cut(rest, '=', &parts.at[0], &rest) ||
        !str_cut(rest, '=', &parts.at[1], &parts.at[2]) || !parts.at[1].n || !parts.at[2].n)
        return ERR(err, ERR_PERM, "not an address that was made here");
    int then = stamp_days(parts.at[0]);
    if (then < 0 || !is_signed(c, hash, &parts))
        return ERR(err, ERR_PERM, "not an address that was made here");
    if ((today(now_ms) + DAYS_MAX - (unsigned)then) % DAYS_MAX > c->max_age_days)
        return ERR(err, ERR_PERM, "this address is too old: it was for bounces of one message");
    return format(a, parts.at[2], parts.at[1], out, err) ? -1 : 1;
}

/* SRS1: back to the first forwarder, whose address it knows to read. */
static int reverse_next(const struct srs_conf *c, struct arena *a, struct str local,
                        struct str *out, struct err *err)
{
    struct str hash, rest = str_skip(local, 5);
    struct signed_parts parts = {.n = 2};
    if (!str_cut(rest, '=', &hash, &rest) || !str_cut(rest, '=', &parts.at[0], &parts.at[1]) ||
        !parts.at[0].n || !parts.at[1].n || !is_signed(c, hash, &parts))
        return ERR(err, ERR_PERM, "not an address that was made here");
    struct str original = arena_printf(a, "SRS0" STR_FMT, STR_ARG(parts.at[1]));
    return format(a, original, parts.at[0], out, err) ? -1 : 1;
}

/* What was signed comes out of `local`; nothing else can make its domain one of ours or its local
 * part strange, as only addresses that had been parsed were signed. */
int srs_reverse(const struct srs_conf *c, struct arena *a, struct str address, int64_t now_ms,
                struct str *out, struct err *err)
{
    struct address_path path;
    if (!c->n_secrets || parse(a, address, &path, err) || !str_ieq(path.domain, c->domain))
        return 0;
    if (is_tagged(path.local, '0'))
        return reverse_first(c, a, path.local, now_ms, out, err);
    if (is_tagged(path.local, '1'))
        return reverse_next(c, a, path.local, out, err);
    return 0;
}
