/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_hash.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include <openssl/evp.h>

enum { FIELDS_MAX = 2000, PIECE = 64 << 10 };

static int64_t read_view(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct ph_view *v = ctx;

    return v->read(v, offset, to, n);
}

struct dkim_message dkim_message_of(const struct ph_view *v)
{
    return (struct dkim_message){
        .head = {v->head, v->head_size}, .read = read_view, .ctx = (void *)(uintptr_t)v};
}

struct node {
    struct header_field field;
    const struct node *above; /* of the same name */
    size_t nth;
};
struct dkim_head {
    struct arena *arena;
    struct map *last; /* the lowest of each name, in small letters */
};

static struct str lower(struct arena *a, struct str name)
{
    char *to = arena_alloc(a, name.n + 1);

    for (size_t i = 0; i < name.n; i++)
        to[i] = ascii_lower(name.p[i]);
    return str_of(to, name.n);
}

int dkim_head_new(struct str head, struct dkim_head **out, struct err *err)
{
    struct dkim_head *h = MEM_NEW(struct dkim_head);
    struct header_field f;
    size_t n = 0;

    h->arena = arena_new(0);
    h->last = map_new();
    *out = h;
    while (header_next(&head, &f)) {
        if (++n > FIELDS_MAX) {
            dkim_head_free(out);
            return ERR(err, ERR_PERM, "the message has more than %d header fields", FIELDS_MAX);
        }
        struct node *one = ARENA_NEW(h->arena, struct node);
        struct str name = lower(h->arena, str_trim(f.name));
        one->field = f;
        one->above = map_get(h->last, name);
        one->nth = one->above ? one->above->nth + 1 : 1;
        map_set(h->last, name, one);
    }
    return 0;
}

void dkim_head_free(struct dkim_head **hp)
{
    struct dkim_head *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    map_free(&h->last);
    arena_free(&h->arena);
    mem_free(h);
}

size_t dkim_head_count(const struct dkim_head *h, struct str name)
{
    struct arena *a = arena_new(0);
    const struct node *last = map_get(h->last, lower(a, name));

    arena_free(&a);
    return last ? last->nth : 0;
}

void dkim_head_add(const struct dkim_head *h, struct str names, bool relaxed, struct buf *out)
{
    static const struct node none = {.above = NULL};
    struct arena *a = arena_new(0);
    struct map *next = map_new(); /* of names that were taken once: which is next */
    struct str name;
    bool more = true;

    while (more) {
        more = str_cut(names, ':', &name, &names);
        name = lower(a, str_trim(name));
        const struct node *one = map_get(next, name);
        if (!one)
            one = map_get(h->last, name);
        if (!one || one == &none)
            continue;
        map_set(next, name, (void *)(uintptr_t)(one->above ? one->above : &none));
        if (relaxed)
            dkim_field_relaxed(name, one->field.value, out);
        else
            buf_add_str(out, one->field.raw);
    }
    map_free(&next);
    arena_free(&a);
}

/* ---- Body */

static void hash_more(void *ctx, const char *p, size_t n)
{
    EVP_DigestUpdate(ctx, p, n);
}

int dkim_body_hash(const struct dkim_message *m, bool relaxed, struct buf *base64, struct err *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct dkim_body *body = MEM_NEW(struct dkim_body);
    char *piece = mem_alloc(PIECE);
    uint64_t at = m->head.n;
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    unsigned size = 0;
    int64_t n;

    CHECK(sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
    dkim_body_begin(body, relaxed, hash_more, sha);
    while ((n = m->read(m->ctx, at, piece, PIECE)) > 0) {
        dkim_body_feed(body, str_of(piece, (size_t)n));
        at += (uint64_t)n;
    }
    dkim_body_end(body);
    mem_free(body);
    mem_free(piece);
    EVP_DigestFinal_ex(sha, hash, &size);
    EVP_MD_CTX_free(sha);
    if (n < 0)
        return ERR(err, ERR_TEMP, "the message can't be read");
    return text_base64_encode(str_of(hash, size), base64);
}
