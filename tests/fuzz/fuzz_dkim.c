/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: a key record, a line end, a message. Its signatures are verified, with that record and
 * with ours; the message is signed and the signature verified; canonical forms are the same in any
 * pieces. */
#include "filters/dkim_canon.h"
#include "filters/dkim_check.h"
#include "filters/dkim_seal.h"
#include "tests/fuzz/signed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dkim_verifier *verifier;

static void make(void)
{
    if (verifier)
        return;
    verifier = dkim_verifier_new();
    CHECK(verifier);
    signed_make_key();
}

/* ours: the first is signed with our key over the message as it is. */
static void check(struct str text, struct str rec, bool ours)
{
    const struct dkim_message m = {.head = signed_head(text), .read = signed_read, .ctx = &text};
    struct dkim_check c = {.min_bits = 1024};
    struct buf out;

    dkim_check_begin(&c, m.head, ours ? 1 : 3, 1700000000);
    for (size_t i = 0; i < c.n; i++)
        dkim_check_key(&c, &c.list[i], &rec, 1);
    dkim_check_run(verifier, &c, &m);
    CHECK(!dkim_check_open(&c));
    if (ours && m.head.n) /* what may be its first line ("From a") may be no other */
        CHECK(c.n == 1 && (c.list[0].result == DKIM_PASS || c.list[0].result == DKIM_NEUTRAL));
    buf_init(&out, 4000);
    for (size_t i = 0; i < c.n; i++) {
        buf_clear(&out);
        (void)dkim_one_write(&c.list[i], &out);
        for (size_t k = 0; k < out.n; k++)
            CHECK(out.p[k] != ';' && (unsigned char)out.p[k] >= ' ');
    }
    buf_fini(&out);
    dkim_check_fini(&c);
}

/* As the server lets it in. */
static bool whole_lines(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((text.p[i] == '\n' && (i == 0 || text.p[i - 1] != '\r')) ||
            (text.p[i] == '\r' && (i + 1 == text.n || text.p[i + 1] != '\n')))
            return false;
    return true;
}

/* Fields that libopendkim doesn't take belong to our message only, and it has more blanks. */
static bool plain(struct str head)
{
    struct header_field f;
    struct str rest = head;

    while (header_next(&rest, &f))
        for (size_t i = 0; i < f.name.n; i++)
            if (f.name.p[i] < '!' || f.name.p[i] > '~' || f.name.p[i] == ';' ||
                f.raw.p[f.name.n] == '\t')
                return false;
    for (size_t i = 0; i < head.n; i++)
        if (head.p[i] == '\v' || head.p[i] == '\f')
            return false;
    return true;
}

static void seal(struct str text)
{
    const struct dkim_signer signer = {
        .domain = STR("example.org"), .selector = STR("s"), .key = key};
    const struct dkim_message m = {.head = signed_head(text), .read = signed_read, .ctx = &text};
    struct arena *a = arena_new(0);
    struct str values[DKIM_SIGNERS_MAX];
    struct err err = {0};
    struct buf all;
    size_t n;

    (void)dkim_author_domain(a, m.head);
    if (m.head.n && whole_lines(text) && plain(m.head) &&
        dkim_seal(a, &m, &signer, 1700000000, values, &n, &err) == 0) {
        buf_init(&all, 1 << 22);
        buf_add_z(&all, "DKIM-Signature: ");
        buf_add_str(&all, values[0]);
        buf_add_z(&all, "\r\n");
        buf_add_str(&all, text);
        check(buf_str(&all), buf_str(&record), true);
        buf_fini(&all);
    }
    arena_free(&a);
}

static void collect(void *ctx, const char *p, size_t n)
{
    buf_add(ctx, p, n);
}

static void forms(struct str text, bool relaxed)
{
    static struct dkim_body b;
    struct buf whole, pieces;

    buf_init(&whole, 1 << 22);
    buf_init(&pieces, 1 << 22);
    dkim_body_begin(&b, relaxed, collect, &whole);
    dkim_body_feed(&b, text);
    dkim_body_end(&b);
    CHECK(b.length == whole.n);
    dkim_body_begin(&b, relaxed, collect, &pieces);
    for (size_t i = 0; i < text.n; i++)
        dkim_body_feed(&b, str_take(str_skip(text, i), 1));
    dkim_body_end(&b);
    CHECK(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1); /* exactly as long as it is said to be */
    struct str rec, text;

    make();
    str_cut(str_of(copy, size), '\n', &rec, &text);
    check(text, rec, false);
    check(text, buf_str(&record), false);
    seal(text);
    forms(text, false);
    forms(text, true);
    mem_free(copy);
    return 0;
}
