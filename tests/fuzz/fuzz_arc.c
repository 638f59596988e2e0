/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: a key record, a line end, a message. Its ARC sets are verified with that record and with
 * ours; what is told of them can be read again; a set of ours added to what passed passes, and
 * altered doesn't. */
#include "filters/arc_facts.h"
#include "filters/arc_make.h"
#include "filters/authres.h"
#include "tests/fuzz/signed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1700000100 };

static void make(void)
{
    if (!key)
        signed_make_key();
}

/* Seals of ours (d=example.org) have our key, others that record. */
static void verify(struct arena *a, struct str text, struct str rec, struct arc_chain *c)
{
    const struct dkim_message m = {.head = signed_head(text), .read = signed_read, .ctx = &text};
    struct dkim_one *list[2 * ARC_SETS_MAX];

    arc_chain_read(c, a, m.head, NOW);
    CHECK(c->result != ARC_TEMPERROR && c->n <= ARC_SETS_MAX && c->highest <= ARC_SETS_MAX);
    size_t n = arc_chain_open(c, list);
    for (size_t i = 0; i < n; i++) {
        bool ours = str_eq(list[i]->sig.domain, STR("example.org"));
        struct str r = ours ? buf_str(&record) : rec;
        dkim_one_key(a, list[i], &r, 1);
    }
    arc_chain_run(c, &m);
    CHECK(c->result != ARC_PASS || (c->n && c->oldest >= 1 && c->oldest <= c->n));
}

static void tell(const struct arc_chain *c)
{
    struct arc_told one;
    struct buf b;
    size_t n = 0;

    buf_init(&b, ARC_FACT_MAX);
    arc_facts_authres(c, "192.0.2.1", &b);
    buf_clear(&b);
    arc_facts_words(c, &b);
    buf_clear(&b);
    arc_facts_sealers(c, &b);
    buf_clear(&b);
    arc_facts_sets(c, &b);
    for (size_t i = 0; i < b.n; i++)
        CHECK((unsigned char)b.p[i] >= ' ' && b.p[i] != 0x7f);
    for (struct str rest = buf_str(&b); arc_facts_next(&rest, &one); n++)
        CHECK(one.instance.n && one.domain.n);
    CHECK(n <= c->n && (n == c->n || c->n > 2));
    buf_fini(&b);
}

/* As it is, and with something more in its body. */
static void check_both(struct arena *a, struct buf *all, struct str rec, unsigned sets)
{
    struct arc_chain c;

    verify(a, buf_str(all), rec, &c);
    CHECK(c.result == ARC_PASS && c.n == sets);
    tell(&c);
    buf_add_z(all, "x");
    verify(a, buf_str(all), rec, &c);
    CHECK(c.result == ARC_FAIL);
}

static void add_set(struct str text, struct str rec, const struct arc_chain *before)
{
    const struct dkim_signer signer = {
        .domain = STR("example.org"), .selector = STR("s"), .key = key};
    const struct dkim_message m = {.head = signed_head(text), .read = signed_read, .ctx = &text};
    struct arena *a = arena_new(0);
    struct str message, seal;
    struct err err;
    struct buf all;
    const struct arc_new set = {.signer = &signer,
                                .instance = before->highest + 1,
                                .cv = before->n ? "pass" : "none",
                                .results = arena_printf(a, "i=%u; x; none", before->highest + 1),
                                .now = NOW};

    buf_init(&all, 1 << 22);
    if (arc_make(a, before, &m, &set, &message, &seal, &err) == 0) {
        buf_printf(&all, "ARC-Seal: " STR_FMT "\r\nARC-Message-Signature: " STR_FMT "\r\n",
                   STR_ARG(seal), STR_ARG(message));
        buf_printf(&all, "ARC-Authentication-Results: " STR_FMT "\r\n", STR_ARG(set.results));
        size_t added = all.n;
        buf_add_str(&all, text);
        /* What may be a first line ("From a") may be no other. */
        if (signed_head(buf_str(&all)).n == added + m.head.n)
            check_both(a, &all, rec, set.instance);
    }
    buf_fini(&all);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1); /* exactly as long as it is said to be */
    struct arena *a = arena_new(0);
    struct arc_claims claims;
    struct arc_chain c;
    struct str rec, text;

    make();
    str_cut(str_of(copy, size), '\n', &rec, &text);
    arc_claims_read(text, &claims);
    verify(a, text, rec, &c);
    tell(&c);
    if (signed_head(text).n && c.highest < ARC_SETS_MAX &&
        (c.result == ARC_PASS || c.result == ARC_NONE))
        add_set(text, rec, &c);
    arena_free(&a);
    mem_free(copy);
    return 0;
}
