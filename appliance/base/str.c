/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/str.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static bool same_folded(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

bool str_ieq(struct str a, struct str b)
{
    return a.n == b.n && same_folded(a.p, b.p, a.n);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int r = n ? memcmp(a.p, b.p, n) : 0;
    return r ? r : (a.n > b.n) - (a.n < b.n);
}

int str_icmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    for (size_t i = 0; i < n; i++) {
        int r = (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);
        if (r)
            return r;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_take(s, prefix.n), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && same_folded(s.p, prefix.p, prefix.n);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

bool str_iends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_ieq(str_skip(s, s.n - suffix.n), suffix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    while (s.n && is_blank(*s.p))
        s.p++, s.n--;
    return s;
}

static bool found(size_t at, size_t *at_out)
{
    if (at_out)
        *at_out = at;
    return true;
}

bool str_find(struct str s, struct str what, size_t *at_out)
{
    if (what.n == 0)
        return found(0, at_out);
    if (what.n > s.n)
        return false;
    const char *p = memmem(s.p, s.n, what.p, what.n);
    return p && found((size_t)(p - s.p), at_out);
}

bool str_ifind(struct str s, struct str what, size_t *at_out)
{
    if (what.n == 0)
        return found(0, at_out);
    if (what.n > s.n)
        return false;
    char first = ascii_lower(*what.p);
    for (size_t i = 0; i <= s.n - what.n; i++)
        if (ascii_lower(s.p[i]) == first && same_folded(s.p + i, what.p, what.n))
            return found(i, at_out);
    return false;
}

bool str_chr(struct str s, char c, size_t *at_out)
{
    const char *p = s.n ? memchr(s.p, c, s.n) : NULL;
    return p && found((size_t)(p - s.p), at_out);
}

bool str_rchr(struct str s, char c, size_t *at_out)
{
    const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;
    return p && found((size_t)(p - s.p), at_out);
}

bool str_cut(struct str s, char c, struct str *head_out, struct str *rest_out)
{
    size_t at;
    bool cut = str_chr(s, c, &at);
    *head_out = cut ? str_take(s, at) : s;
    *rest_out = str_skip(s, cut ? at + 1 : s.n);
    return cut;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return -1;
    }
    if (v > max)
        return -1;
    *out = v;
    return 0;
}

char *str_dup_z(struct str s)
{
    CHECK(!str_chr(s, '\0', NULL));
    char *z = mem_realloc(NULL, s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return z;
}

/* Drawn before main(), so that hashing needs neither a lock nor a test. */
static uint64_t hash_key[2];

static void draw_hash_key(void) __attribute__((constructor));
static void draw_hash_key(void)
{
    rand_bytes(hash_key, sizeof hash_key);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    s->v0 ^= m;
}

/* SipHash-1-3: one round a word, three at the end. The value never leaves the process, so the
 * words are read in the machine's own byte order. */
uint64_t str_hash(struct str s)
{
    struct sip h = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                    hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t m;
        memcpy(&m, s.p + i, 8);
        sip_word(&h, m);
    }
    uint64_t tail = 0;
    if (i < s.n)
        memcpy(&tail, s.p + i, s.n - i);
    sip_word(&h, tail ^ ((uint64_t)s.n << 56));
    h.v2 ^= 0xff;
    sip_round(&h);
    sip_round(&h);
    sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t str_hash_fixed(struct str s)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
    return h;
}
