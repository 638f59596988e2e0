/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/auth_cache.h"

#include "appliance/base/buf.h"
#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/base/rand.h"
#include "appliance/mail/address.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { MAC_SIZE = 32, KEY_SIZE = 32, PROOF_MAX = 8192, PROOFS = 6 };

struct proof {
    bool set, app;
    uint64_t at_ms, quota_bytes;
    unsigned char password[MAC_SIZE], stored[MAC_SIZE];
};
struct entry {
    struct list link; /* used longest ago first */
    char *account;
    struct scram_verifier *verifier; /* or NULL */
    uint64_t verifier_ms, verifier_quota;
    struct proof proofs[PROOFS];
};
struct auth_cache {
    uint64_t ttl_ms, stale_ms;
    size_t max;
    struct map *by_account;
    struct list entries;
    unsigned char key[KEY_SIZE];
};

struct auth_cache *auth_cache_new(uint64_t ttl_ms, uint64_t stale_ms, size_t max)
{
    struct auth_cache *c = MEM_NEW(struct auth_cache);
    c->ttl_ms = ttl_ms;
    c->stale_ms = stale_ms;
    c->max = max;
    c->by_account = map_new();
    list_init(&c->entries);
    rand_bytes(c->key, sizeof c->key);
    return c;
}

static void drop_verifier(struct entry *e)
{
    if (e->verifier)
        explicit_bzero(e->verifier, sizeof *e->verifier);
    mem_free(e->verifier);
    e->verifier = NULL;
}

static void drop(struct auth_cache *c, struct entry *e)
{
    drop_verifier(e);
    map_del(c->by_account, str_from(e->account));
    list_del(&e->link);
    mem_free(e->account);
    mem_free(e);
}

void auth_cache_free(struct auth_cache **c)
{
    if (!*c)
        return;
    LIST_EACH(&(*c)->entries, it)
    drop(*c, LIST_ITEM(it, struct entry, link));
    map_free(&(*c)->by_account);
    explicit_bzero((*c)->key, KEY_SIZE);
    mem_free(*c);
    *c = NULL;
}

/* Lengths go before the parts, so that no two logins are the same bytes. stored .p NULL: of account
 * and password alone. */
static bool make_mac(const struct auth_cache *c, struct str account, struct str password,
                     struct str stored, unsigned char out[MAC_SIZE])
{
    const uint64_t sizes[] = {account.n, password.n, stored.p ? stored.n : UINT64_MAX};
    struct buf b;
    char *space;
    unsigned n = 0;
    buf_init(&b, PROOF_MAX);
    bool ok = buf_reserve(&b, sizeof sizes + account.n + password.n + stored.n, &space) == 0;
    if (ok) {
        buf_add(&b, sizes, sizeof sizes);
        buf_add_str(&b, account);
        buf_add_str(&b, password);
        buf_add_str(&b, stored);
        ok = buf_ok(&b) &&
             HMAC(EVP_sha256(), c->key, KEY_SIZE, (const unsigned char *)b.p, b.n, out, &n) != NULL;
    }
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    return ok && n == MAC_SIZE;
}

static uint64_t kept_ms(const struct auth_cache *c)
{
    return c->ttl_ms > c->stale_ms ? c->ttl_ms : c->stale_ms;
}

/* What is too old for anything goes; NULL: nothing is left. */
static struct entry *find(struct auth_cache *c, struct str account, uint64_t now_ms)
{
    struct entry *e = map_get(c->by_account, account);
    if (e && e->verifier && now_ms - e->verifier_ms >= kept_ms(c))
        drop_verifier(e);
    bool any = e && e->verifier;
    for (size_t i = 0; e && i < PROOFS; i++) {
        if (e->proofs[i].set && now_ms - e->proofs[i].at_ms >= kept_ms(c))
            e->proofs[i].set = false;
        any = any || e->proofs[i].set;
    }
    if (!e || any)
        return e;
    drop(c, e);
    return NULL;
}

static struct proof *find_proof(const struct auth_cache *c, struct entry *e, struct str password)
{
    unsigned char mac[MAC_SIZE];
    struct proof *found = NULL;
    if (!make_mac(c, str_from(e->account), password, STR_NULL, mac))
        return NULL;
    for (size_t i = 0; i < PROOFS; i++)
        if (e->proofs[i].set && CRYPTO_memcmp(mac, e->proofs[i].password, MAC_SIZE) == 0)
            found = &e->proofs[i];
    return found;
}

bool auth_cache_knows(struct auth_cache *c, struct str account, struct str password,
                      struct str stored, uint64_t now_ms)
{
    unsigned char mac[MAC_SIZE];
    struct entry *e = find(c, account, now_ms);
    struct proof *p = e ? find_proof(c, e, password) : NULL;
    if (!p || !make_mac(c, account, password, stored.p ? stored : STR(""), mac))
        return false;
    if (CRYPTO_memcmp(mac, p->stored, MAC_SIZE) != 0) {
        p->set = false; /* right once, and no more */
        return false;
    }
    return now_ms - p->at_ms < c->ttl_ms;
}

bool auth_cache_stale(struct auth_cache *c, struct str account, struct str password,
                      uint64_t *quota_out, uint64_t now_ms)
{
    struct entry *e = find(c, account, now_ms);
    struct proof *p = e ? find_proof(c, e, password) : NULL;
    if (!p || now_ms - p->at_ms >= c->stale_ms)
        return false;
    *quota_out = p->quota_bytes;
    return true;
}

bool auth_cache_recent(const struct auth_cache *c, struct str account, uint64_t now_ms)
{
    const struct entry *e = map_get(c->by_account, account);
    if (e && e->verifier && now_ms - e->verifier_ms < kept_ms(c))
        return true;
    for (size_t i = 0; e && i < PROOFS; i++)
        if (e->proofs[i].set && now_ms - e->proofs[i].at_ms < kept_ms(c))
            return true;
    return false;
}

static struct entry *entry_of(struct auth_cache *c, struct str account)
{
    struct entry *e = map_get(c->by_account, account);
    if (e) {
        list_del(&e->link);
        list_add(&c->entries, &e->link);
        return e;
    }
    if (map_count(c->by_account) >= c->max)
        drop(c, LIST_ITEM(c->entries.next, struct entry, link));
    e = MEM_NEW(struct entry);
    e->account = str_dup_z(account);
    list_add(&c->entries, &e->link);
    map_set(c->by_account, str_from(e->account), e);
    return e;
}

/* There is one main password; of app passwords the oldest gives way. */
static struct proof *place_of(const struct auth_cache *c, struct entry *e, struct str password,
                              bool app)
{
    struct proof *same = find_proof(c, e, password), *best = NULL;
    if (same)
        return same;
    for (size_t i = 0; i < PROOFS; i++) {
        struct proof *p = &e->proofs[i];
        if (!app && p->set && !p->app)
            return p;
        if (best && !best->set)
            continue;
        if (!p->set || (p->app && (!best || p->at_ms < best->at_ms)))
            best = p;
    }
    return best;
}

void auth_cache_add(struct auth_cache *c, struct str account, struct str password,
                    struct str stored, bool app, uint64_t quota_bytes, uint64_t now_ms)
{
    struct proof fresh = {.set = true, .app = app, .at_ms = now_ms, .quota_bytes = quota_bytes};
    if (kept_ms(c) == 0 || c->max == 0 ||
        !make_mac(c, account, password, STR_NULL, fresh.password) ||
        !make_mac(c, account, password, stored.p ? stored : STR(""), fresh.stored))
        return;
    struct entry *e = entry_of(c, account);
    struct proof *p = place_of(c, e, password, app);
    if (!p)
        return;
    /* What is stored has changed: the verifier is of the password before. */
    if (!app && p->set && memcmp(p->stored, fresh.stored, MAC_SIZE) != 0)
        drop_verifier(e);
    *p = fresh;
}

void auth_cache_add_verifier(struct auth_cache *c, struct str account,
                             const struct scram_verifier *v, uint64_t quota_bytes, uint64_t now_ms)
{
    if (c->stale_ms == 0 || c->max == 0)
        return;
    struct entry *e = entry_of(c, account);
    if (!e->verifier)
        e->verifier = MEM_NEW(struct scram_verifier);
    *e->verifier = *v;
    e->verifier_ms = now_ms;
    e->verifier_quota = quota_bytes;
}

bool auth_cache_verifier(struct auth_cache *c, struct str account, struct scram_verifier *out,
                         uint64_t *quota_out, uint64_t now_ms)
{
    struct entry *e = find(c, account, now_ms);
    if (!e || !e->verifier || now_ms - e->verifier_ms >= c->stale_ms)
        return false;
    *out = *e->verifier;
    *quota_out = e->verifier_quota;
    return true;
}

void auth_cache_forget(struct auth_cache *c, struct str account)
{
    LIST_EACH(&c->entries, it)
    {
        struct entry *e = LIST_ITEM(it, struct entry, link);
        if (address_fits(str_from(e->account), account))
            drop(c, e);
    }
}

size_t auth_cache_count(const struct auth_cache *c)
{
    return map_count(c->by_account);
}
