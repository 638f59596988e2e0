/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A head in pieces ends where it ends as a whole; fields lie inside it; every value decodes. */
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str part, struct str all)
{
    CHECK(part.p >= all.p && part.p + part.n <= all.p + all.n);
}

static void split(struct str in, size_t step)
{
    struct header_split whole = {0}, pieces = {0};
    uint64_t end, part = 0;
    enum header_split_end how = header_split_feed(&whole, in, &end), now = HEADER_SPLIT_MORE;
    CHECK(end <= in.n && (how != HEADER_SPLIT_MORE || end == in.n));
    for (size_t at = 0; at < in.n && now == HEADER_SPLIT_MORE; at += step)
        now = header_split_feed(&pieces, str_take(str_skip(in, at), step), &part);
    CHECK(now == how && part == end);
}

static void field(struct arena *a, const struct header_field *f, struct buf *out)
{
    struct header_params p;
    struct str v;
    buf_clear(out);
    CHECK(header_unfold(f->value, out) == 0 && out->n <= f->value.n);
    buf_clear(out);
    CHECK(header_decode(f->value, out) == 0);
    header_params_parse(a, f->value, &p);
    CHECK(p.n <= 64);
    for (size_t i = 0; i < p.n; i++)
        CHECK(header_param_get(&p, p.list[i].name, &v));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), rest = in;
    struct arena *a = arena_new(0);
    struct header_field f, found;
    struct buf out;
    unsigned n = 0;
    buf_init(&out, size * 4 + 16);
    split(in, 1);
    split(in, 1 + size % 7);
    while (header_next(&rest, &f)) {
        inside(f.raw, in);
        inside(f.name, f.raw);
        inside(f.value, f.raw);
        CHECK(f.name.n > 0 && f.raw.p + f.raw.n == rest.p);
        field(a, &f, &out);
        if (n++ < 20)
            CHECK(header_find(in, f.name, header_count(in, f.name) - 1, &found));
    }
    field(a, &(struct header_field){.value = in}, &out);
    buf_fini(&out);
    arena_free(&a);
    return 0;
}
