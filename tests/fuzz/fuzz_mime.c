/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A message has one structure, whatever the pieces it comes in; its parts lie inside one another
 * and in order; and bytes that aren't meta, or nearly are, never misbehave when decoded. */
#include "appliance/base/mem.h"
#include "appliance/mail/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count;

static void check_parts(const struct mime_part *p, uint64_t from, uint64_t to, unsigned depth)
{
    CHECK(depth < MIME_MAX_DEPTH);
    for (; p; p = p->next) {
        CHECK(++count <= MIME_MAX_PARTS);
        CHECK(p->head_at >= from && p->head_at <= to && p->head_size <= to - p->head_at);
        CHECK(p->body_at == p->head_at + p->head_size && p->body_size <= to - p->body_at);
        CHECK(p->lines <= p->body_size && p->type.n > 0 && p->subtype.n > 0 && p->encoding.n > 0);
        CHECK(!p->inner_head_size ||
              (p->child && p->inner_head_at == p->child->head_at && p->child->envelope));
        from = p->body_at + p->body_size;
        check_parts(p->child, p->body_at, from, depth + 1);
    }
}

static void check_lines(const struct mime_part *p, struct str data)
{
    for (; p; p = p->next) {
        uint64_t lines = 0;
        for (uint64_t i = 0; i < p->body_size; i++)
            lines += data.p[p->body_at + i] == '\n';
        CHECK(lines == p->lines);
        check_lines(p->child, data);
    }
}

static void scan(struct str head, struct str data, size_t step, struct buf *meta)
{
    struct mime_scan *s = mime_scan_new(head);
    for (; data.n > 0; data = str_skip(data, step))
        mime_scan_feed(s, str_take(data, step));
    CHECK(mime_scan_end(&s, head, meta) == 0);
}

static void decode(struct str meta)
{
    struct arena *a = arena_new(0);
    struct mime_part *root;
    count = 0;
    if (mime_meta_decode(a, meta, &root) == 0)
        check_parts(root, 0, UINT64_MAX >> 2, 0);
    CHECK(arena_used(a) <= 64 * meta.n + 1000 * MIME_MAX_PARTS);
    arena_free(&a);
}

static void whole_and_pieces(struct str head, struct str data)
{
    struct arena *a = arena_new(0);
    struct mime_part *root;
    struct buf whole, pieces;
    buf_init(&whole, MIME_META_MAX);
    buf_init(&pieces, MIME_META_MAX);
    scan(head, data, SIZE_MAX >> 1, &whole);
    for (size_t step = 1; step < 60; step = step * 2 + 1) {
        buf_clear(&pieces);
        scan(head, data, step, &pieces);
        CHECK(str_eq(buf_str(&whole), buf_str(&pieces)));
    }
    CHECK(mime_meta_decode(a, buf_str(&whole), &root) == 0);
    count = 0;
    CHECK(root->body_size == data.n && root->body_at == 0);
    check_parts(root, 0, data.n, 0);
    check_lines(root, data);
    if (data.n > 0 && whole.n > 0) { /* a damage that depends on the input */
        size_t at = ((unsigned char)data.p[0] + data.n) % whole.n;
        whole.p[at] = (char)(whole.p[at] ^ (1 << data.n % 8));
        decode(buf_str(&whole));
    }
    buf_fini(&pieces);
    buf_fini(&whole);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct header_split split = {0};
    uint64_t head;
    header_split_feed(&split, in, &head);
    whole_and_pieces(str_take(in, head), str_skip(in, head));
    decode(in);
    return 0;
}
