/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/resign.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/arc_make.h"
#include "filters/outbound.h"
#include "filters/signing.h"

struct resign {
    struct arena *arena;
    struct dkim_ring *ring;         /* NULL: no keys */
    const struct dkim_signer *dkim; /* NULL: no signature of ours was taken off */
    const struct dkim_signer *arc;  /* the same of a set */
    struct str results, cv;         /* of that set */
    unsigned instance;
};
/* A set as it stands, from the top. */
static const struct str arc_names[] = {
    {"ARC-Seal", 8}, {"ARC-Message-Signature", 21}, {"ARC-Authentication-Results", 26}};

struct resign *resign_new(const struct filters *f)
{
    struct resign *r = MEM_NEW(struct resign);
    struct dkim_ring *ring = f ? signing_ring(f) : NULL;

    r->arena = arena_new(0);
    r->ring = ring ? dkim_ring_ref(ring) : NULL;
    return r;
}

void resign_free(struct resign **rp)
{
    struct resign *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    if (r->ring)
        dkim_ring_unref(&r->ring);
    arena_free(&r->arena);
    mem_free(r);
}

/* ---- Taken off */

/* NULL: another one's, or its keys are gone. */
static const struct dkim_signer *signer_of(const struct resign *r, enum dkim_kind kind,
                                           struct str value, struct dkim_signature *sig)
{
    const struct dkim_signer *s;
    char why[DKIM_WHY];

    if (!r->ring ||
        dkim_kind_parse(r->arena, kind, value, clock_wall_ms() / 1000, sig, why) != DKIM_NONE)
        return NULL;
    s = dkim_ring_find(r->ring, sig->domain);
    return s && str_eq(s->domain, sig->domain) ? s : NULL;
}

/* The set of the stage arc_seal, if it stands among these fields. */
static void find_set(struct resign *r, struct str fields)
{
    struct dkim_signature sig;
    struct header_field seal, results;

    for (size_t i = 0; i < ARRAY_LEN(arc_names); i++)
        if (header_count(fields, arc_names[i]) != 1)
            return;
    if (!header_find(fields, arc_names[0], 0, &seal) ||
        !header_find(fields, arc_names[2], 0, &results))
        return;
    r->arc = signing_rsa(signer_of(r, DKIM_KIND_ARC_SEAL, seal.value, &sig));
    if (!r->arc)
        return;
    r->results = arena_str(r->arena, results.value);
    r->cv = arena_str(r->arena, sig.cv);
    r->instance = sig.instance;
}

static bool is_of_set(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(arc_names); i++)
        if (str_ieq(name, arc_names[i]))
            return true;
    return false;
}

static bool is_ours(struct resign *r, const struct header_field *f)
{
    const struct dkim_signer *s;
    struct dkim_signature sig;

    if (!str_ieq(f->name, STR("DKIM-Signature")))
        return r->arc && is_of_set(f->name);
    s = signer_of(r, DKIM_KIND_SIGNATURE, f->value, &sig);
    if (!s || (r->dkim && r->dkim != s))
        return false;
    r->dkim = s;
    return true;
}

void resign_take_off(struct resign *r, struct str head, size_t prefix, struct buf *rest)
{
    struct str fields = str_take(head, prefix);
    struct header_field f;

    find_set(r, fields);
    while (header_next(&fields, &f))
        if (!is_ours(r, &f))
            buf_add_str(rest, f.raw);
    buf_add_str(rest, str_skip(head, prefix));
}

/* ---- Made again */

static int64_t read_text(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct str *text = ctx;
    struct str piece = str_take(offset < text->n ? str_skip(*text, (size_t)offset) : STR_NULL, n);

    if (piece.n)
        memcpy(to, piece.p, piece.n);
    return (int64_t)piece.n;
}

static void put_field(struct buf *fields, struct str name, struct str value)
{
    buf_printf(fields, STR_FMT ": " STR_FMT "\r\n", STR_ARG(name), STR_ARG(value));
}

static int make_dkim(struct resign *r, const struct dkim_message *m, int64_t now,
                     struct buf *fields, struct err *err)
{
    struct str values[DKIM_SIGNERS_MAX];
    size_t n;

    if (dkim_seal(r->arena, m, r->dkim, now, values, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        put_field(fields, STR("DKIM-Signature"), values[i]);
    return 0;
}

static int make_set(struct resign *r, const struct dkim_message *m, int64_t now, struct buf *fields,
                    struct err *err)
{
    const struct arc_new set = {.signer = r->arc,
                                .instance = r->instance,
                                .cv = r->cv.p,
                                .results = r->results,
                                .now = now};
    struct str values[ARRAY_LEN(arc_names)];
    struct arc_chain c; /* as it came */

    arc_chain_read(&c, r->arena, m->head, now);
    if (arc_make(r->arena, &c, m, &set, &values[1], &values[0], err))
        return -1;
    values[2] = r->results;
    for (size_t i = 0; i < ARRAY_LEN(arc_names); i++)
        put_field(fields, arc_names[i], values[i]);
    return 0;
}

int resign_make(struct resign *r, struct str text, struct buf *fields, struct err *err)
{
    const int64_t now = clock_wall_ms() / 1000;
    const struct dkim_message m = {
        .head = outbound_message(text).head, .read = read_text, .ctx = &text};

    if (r->dkim && make_dkim(r, &m, now, fields, err))
        return -1;
    return r->arc ? make_set(r, &m, now, fields, err) : 0;
}
