/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_ring.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"

static const struct log_ctx log_dkim = {.module = "filters"};

struct ring_key {
    struct dkim_signer signer;
    struct dkim_key *key;
    struct ring_key *older; /* of all */
};
struct dkim_ring {
    unsigned refs;
    struct arena *arena;
    struct map *domains; /* the first struct dkim_signer of each */
    struct ring_key *last;
};

static void add(struct dkim_ring *r, const struct dkim_row *row)
{
    struct ring_key *k = ARENA_NEW(r->arena, struct ring_key);
    struct err err = {0};

    if (dkim_key_read(row->pem, &k->key, &err)) {
        log_error(&log_dkim, "dkim_key_unusable", L_STR("domain", row->domain),
                  L_STR("selector", row->selector), L_Z("reason", err.text));
        return;
    }
    k->signer = (struct dkim_signer){.next = map_get(r->domains, row->domain),
                                     .domain = arena_str(r->arena, row->domain),
                                     .selector = arena_str(r->arena, row->selector),
                                     .key = k->key};
    k->older = r->last;
    r->last = k;
    map_set(r->domains, row->domain, &k->signer);
}

struct dkim_ring *dkim_ring_new(struct dkim_row *rows, size_t n)
{
    struct dkim_ring *r = MEM_NEW(struct dkim_ring);

    r->refs = 1;
    r->arena = arena_new(0);
    r->domains = map_new();
    for (size_t i = 0; i < n; i++)
        if (rows[i].state == DKIM_ACTIVE)
            add(r, &rows[i]);
    dkim_rows_wipe(rows, n);
    return r;
}

struct dkim_ring *dkim_ring_ref(struct dkim_ring *r)
{
    r->refs++;
    return r;
}

void dkim_ring_unref(struct dkim_ring **rp)
{
    struct dkim_ring *r = *rp;

    *rp = NULL;
    if (!r || --r->refs)
        return;
    for (struct ring_key *k = r->last; k; k = k->older)
        dkim_key_free(&k->key);
    map_free(&r->domains);
    arena_free(&r->arena);
    mem_free(r);
}

const struct dkim_signer *dkim_ring_find(const struct dkim_ring *r, struct str domain)
{
    const struct dkim_signer *found = NULL;
    struct str label;

    while (r && domain.n && !found) {
        found = map_get(r->domains, domain);
        if (!str_cut(domain, '.', &label, &domain))
            break;
    }
    return found;
}
