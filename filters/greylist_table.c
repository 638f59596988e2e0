/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/greylist_table.h"
#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

enum { HASH = 16, KEY = 1 + HASH, DIGEST = 32, VALUE = 80, BATCH = 4000, FRESH_MS = 3600 * 1000 };
enum kind { TRIPLET = 't', CLIENT = 'c', DOMAIN_ = 'd', PAIR = 'p' };

struct greylist_table {
    const struct ph_host *host;
};
struct key {
    unsigned char bytes[KEY];
};
struct seen {
    int64_t first, last;
    uint64_t times; /* triplet: passed; network: its triplets that did */
};

/* ---- Entries. */

static void hash_text(EVP_MD_CTX *md, const char *z)
{
    char c;

    for (; *z; z++) {
        c = ascii_lower(*z);
        CHECK(EVP_DigestUpdate(md, &c, 1));
    }
    CHECK(EVP_DigestUpdate(md, "", 1)); /* its end */
}

static struct key key_of(enum kind kind, const char *a, const char *b, const char *c)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char digest[DIGEST];
    struct key key;

    CHECK(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL));
    hash_text(md, a);
    hash_text(md, b);
    hash_text(md, c);
    CHECK(EVP_DigestFinal_ex(md, digest, NULL));
    EVP_MD_CTX_free(md);
    key.bytes[0] = (unsigned char)kind;
    memcpy(key.bytes + 1, digest, HASH);
    return key;
}

/* "first last times"; what can't be read was never written. */
static bool parse(const char *text, struct seen *out)
{
    return sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNu64, &out->first, &out->last, &out->times) ==
           3;
}

static bool read_value(const void *value, size_t n, struct seen *out)
{
    char text[VALUE];

    if (n >= sizeof text)
        return false;
    memcpy(text, value, n);
    text[n] = '\0';
    return parse(text, out);
}

static int write_value(const struct seen *s, char text[VALUE])
{
    return snprintf(text, VALUE, "%" PRId64 " %" PRId64 " %" PRIu64, s->first, s->last, s->times);
}

static bool get(const struct greylist_table *t, const struct key *k, struct seen *out)
{
    char text[VALUE];
    int64_t n = t->host->kv_get(t->host, k->bytes, KEY, text, sizeof text - 1);

    if (n < 0 || n >= (int64_t)sizeof text)
        return false;
    text[n] = '\0';
    return parse(text, out);
}

static bool put(struct greylist_table *t, const struct greylist_rules *r, const struct key *k,
                const struct seen *s, bool fresh)
{
    char text[VALUE];
    int n = write_value(s, text);

    if (fresh && greylist_table_count(t) >= r->entries)
        return false;
    return t->host->kv_set(t->host, k->bytes, KEY, text, (size_t)n, 0) == 0;
}

static bool older(int64_t at, uint64_t ms, int64_t now)
{
    return now > at && (uint64_t)(now - at) > ms;
}

static bool over(const struct greylist_rules *r, enum kind kind, const struct seen *s, int64_t now)
{
    if (kind == TRIPLET && s->times == 0)
        return older(s->first, r->window_ms, now);
    return older(s->last, kind == PAIR ? r->pair_ms : r->keep_ms, now);
}

/* Seen again: written only now and then, as every message would be one row otherwise. */
static void touch(struct greylist_table *t, const struct greylist_rules *r, const struct key *k,
                  struct seen *s, int64_t now)
{
    if (!older(s->last, FRESH_MS, now) && !older(s->last, r->keep_ms / 4, now))
        return;
    s->last = now;
    put(t, r, k, s, false);
}

/* ---- Removing. */

struct sweep {
    const struct greylist_rules *rules;
    int64_t now, before; /* before: also waiting triplets that began then; 0: none */
    size_t n, n_waiting;
    int64_t sum; /* of ms since they began */
    struct key *keys;
};

static bool on_entry(void *ctx, const void *key, size_t key_n, const void *value, size_t n)
{
    struct sweep *w = ctx;
    const char kind = *(const char *)key;
    struct seen s;
    bool good = read_value(value, n, &s);

    if (key_n != KEY) /* nobody's */
        return true;
    bool waits = good && kind == TRIPLET && s.times == 0;
    if (waits) {
        w->n_waiting++;
        w->sum += w->now > s.first ? w->now - s.first : 0;
    }
    if (!good || over(w->rules, (enum kind)kind, &s, w->now) || (waits && s.first < w->before))
        memcpy(w->keys[w->n++].bytes, key, KEY);
    return w->n < BATCH;
}

static size_t sweep(struct greylist_table *t, struct sweep *w)
{
    w->keys = mem_alloc(BATCH * sizeof *w->keys);
    w->n = 0;
    t->host->kv_each(t->host, on_entry, w);
    for (size_t i = 0; i < w->n; i++)
        (void)t->host->kv_delete(t->host, w->keys[i].bytes, KEY);
    mem_free(w->keys);
    return w->n;
}

bool greylist_prune(struct greylist_table *t, const struct greylist_rules *r, int64_t now)
{
    struct sweep w = {.rules = r, .now = now};

    return sweep(t, &w) == BATCH;
}

/* What waits longer than the average makes room: who floods the table with new triplets loses them,
 * and what has proved itself stays. */
static bool make_room(struct greylist_table *t, const struct greylist_rules *r, int64_t now)
{
    struct sweep w = {.rules = r, .now = now};

    if (sweep(t, &w))
        return true;
    if (w.n_waiting == 0)
        return false;
    w.before = now - w.sum / (int64_t)w.n_waiting + 1;
    return sweep(t, &w) > 0;
}

static bool add(struct greylist_table *t, const struct greylist_rules *r, const struct key *k,
                const struct seen *s)
{
    bool fresh = t->host->kv_get(t->host, k->bytes, KEY, NULL, 0) < 0;

    return put(t, r, k, s, fresh) || (fresh && make_room(t, r, s->last) && put(t, r, k, s, fresh));
}

/* ---- What stages ask. */

static bool known(struct greylist_table *t, const struct greylist_rules *r, const struct key *k,
                  enum kind kind, uint64_t times, int64_t now)
{
    struct seen s;

    if (!get(t, k, &s) || over(r, kind, &s, now) || s.times < times)
        return false;
    touch(t, r, k, &s, now);
    return true;
}

static void count(struct greylist_table *t, const struct greylist_rules *r, enum kind kind,
                  const char *a, const char *b, int64_t now)
{
    struct key k = key_of(kind, a, b, "");
    struct seen s;

    if (!get(t, &k, &s) || over(r, kind, &s, now))
        s = (struct seen){.first = now};
    s.last = now;
    s.times++;
    add(t, r, &k, &s);
}

enum greylist_answer greylist_ask(struct greylist_table *t, const struct greylist_rules *r,
                                  const char *client, const char *sender, const char *rcpt,
                                  int64_t now, uint64_t *wait_ms_out)
{
    struct key k = key_of(TRIPLET, client, sender, rcpt);
    struct seen s;

    *wait_ms_out = r->delay_ms;
    if (!get(t, &k, &s) || over(r, TRIPLET, &s, now) || s.first > now) { /* the clock went back */
        s = (struct seen){.first = now, .last = now};
        return add(t, r, &k, &s) ? GREYLIST_NEW : GREYLIST_FULL;
    }
    if (s.times) {
        touch(t, r, &k, &s, now);
        return GREYLIST_PASSED;
    }
    uint64_t waited = (uint64_t)(now - s.first);
    if (waited < r->delay_ms) {
        *wait_ms_out = r->delay_ms - waited;
        return GREYLIST_WAITING;
    }
    s.last = now;
    s.times = 1;
    put(t, r, &k, &s, false);
    if (r->successes)
        count(t, r, CLIENT, client, "", now);
    return GREYLIST_PASSED;
}

bool greylist_client_known(struct greylist_table *t, const struct greylist_rules *r,
                           const char *client, int64_t now)
{
    struct key k = key_of(CLIENT, client, "", "");

    return r->successes && known(t, r, &k, CLIENT, r->successes, now);
}

void greylist_domain_add(struct greylist_table *t, const struct greylist_rules *r,
                         const char *domain, int64_t now)
{
    if (!greylist_domain_known(t, r, domain, now))
        count(t, r, DOMAIN_, domain, "", now);
}

bool greylist_domain_known(struct greylist_table *t, const struct greylist_rules *r,
                           const char *domain, int64_t now)
{
    struct key k = key_of(DOMAIN_, domain, "", "");

    return known(t, r, &k, DOMAIN_, 1, now);
}

void greylist_pair_add(struct greylist_table *t, const struct greylist_rules *r, const char *here,
                       const char *there, int64_t now)
{
    if (!greylist_pair_known(t, r, here, there, now))
        count(t, r, PAIR, here, there, now);
}

bool greylist_pair_known(struct greylist_table *t, const struct greylist_rules *r, const char *here,
                         const char *there, int64_t now)
{
    struct key k = key_of(PAIR, here, there, "");

    return known(t, r, &k, PAIR, 1, now);
}

/* ---- Several nodes. */

/* One that is over is the older one: the other began anew. */
static struct seen merged(const struct greylist_rules *r, enum kind kind, const struct seen *own,
                          const struct seen *other, int64_t now)
{
    if (over(r, kind, own, now))
        return *other;
    if (over(r, kind, other, now))
        return *own;
    return (struct seen){.first = own->first < other->first ? own->first : other->first,
                         .last = own->last > other->last ? own->last : other->last,
                         .times = own->times > other->times ? own->times : other->times};
}

size_t greylist_merge(const struct greylist_rules *r, const void *key, size_t key_n,
                      const void *own, size_t own_n, const void *other, size_t other_n, void *out,
                      int64_t now)
{
    char text[VALUE], *to = out;
    struct seen a, b, both;

    memcpy(out, other, other_n);
    if (key_n != KEY || !read_value(own, own_n, &a) || !read_value(other, other_n, &b))
        return other_n;
    both = merged(r, (enum kind) * (const char *)key, &a, &b, now);
    int n = write_value(&both, text);
    memcpy(to, text, (size_t)n);
    return (size_t)n;
}

/* ---- Its life. */

struct greylist_table *greylist_table_new(const struct ph_host *host)
{
    struct greylist_table *t = MEM_NEW(struct greylist_table);

    t->host = host;
    return t;
}

void greylist_table_free(struct greylist_table **tp)
{
    mem_free(*tp);
    *tp = NULL;
}

size_t greylist_table_count(const struct greylist_table *t)
{
    return t->host->kv_count(t->host);
}
