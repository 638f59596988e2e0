/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/auth_cache.h"

#include "appliance/base/buf.h"
#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/base/rand.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { MAC_SIZE = 32, KEY_SIZE = 32, PROOF_MAX = 8192 };

struct entry {
    struct list link; /* oldest first */
    char *account;
    uint64_t until_ms;
    unsigned char mac[MAC_SIZE];
};
struct auth_cache {
    uint64_t ttl_ms;
    size_t max;
    struct map *by_account;
    struct list entries;
    unsigned char key[KEY_SIZE];
};

struct auth_cache *auth_cache_new(uint64_t ttl_ms, size_t max)
{
    struct auth_cache *c = MEM_NEW(struct auth_cache);
    c->ttl_ms = ttl_ms;
    c->max = max;
    c->by_account = map_new();
    list_init(&c->entries);
    rand_bytes(c->key, sizeof c->key);
    return c;
}

static void drop(struct auth_cache *c, struct entry *e)
{
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

/* Lengths go before the parts, so that no two logins are the same bytes. */
static bool make_mac(const struct auth_cache *c, struct str account, struct str password,
                     struct str stored, unsigned char out[MAC_SIZE])
{
    const uint64_t sizes[] = {account.n, password.n, stored.n};
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

bool auth_cache_knows(struct auth_cache *c, struct str account, struct str password,
                      struct str stored, uint64_t now_ms)
{
    unsigned char mac[MAC_SIZE];
    struct entry *e = map_get(c->by_account, account);
    if (!e)
        return false;
    if (now_ms >= e->until_ms) {
        drop(c, e);
        return false;
    }
    return make_mac(c, account, password, stored, mac) && CRYPTO_memcmp(mac, e->mac, MAC_SIZE) == 0;
}

void auth_cache_add(struct auth_cache *c, struct str account, struct str password,
                    struct str stored, uint64_t now_ms)
{
    unsigned char mac[MAC_SIZE];
    struct entry *old = map_get(c->by_account, account);
    if (c->ttl_ms == 0 || c->max == 0 || !make_mac(c, account, password, stored, mac))
        return;
    if (old)
        drop(c, old);
    else if (map_count(c->by_account) >= c->max)
        drop(c, LIST_ITEM(c->entries.next, struct entry, link));
    struct entry *e = MEM_NEW(struct entry);
    e->account = str_dup_z(account);
    e->until_ms = now_ms + c->ttl_ms;
    memcpy(e->mac, mac, MAC_SIZE);
    list_add(&c->entries, &e->link);
    map_set(c->by_account, str_from(e->account), e);
}

size_t auth_cache_count(const struct auth_cache *c)
{
    return map_count(c->by_account);
}
