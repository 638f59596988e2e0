/* room: imap */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_imap_response.c - any bytes as what an IMAP server says: the same events whatever the
 * pieces, bounded; and each response read as each of those that are read. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "imap/client/response.h"

static void read_folder(const struct imap_response *r, struct arena *a)
{
    struct imap_folder f;
    struct buf name;

    if (imap_response_folder(r, a, &f) != 0)
        return;
    buf_init(&name, 1 << 16);
    if (imap_folder_name(&f, &name) == 0)
        CHECK(name.n > 0 && text_utf8_valid(buf_str(&name)));
    buf_fini(&name);
}

static void read_response(const struct imap_response *r)
{
    struct arena *a = arena_new(0);
    struct imap_fetched f;
    struct imap_namespaces n;

    if (imap_response_fetched(r, a, &f) == 0) {
        CHECK(f.seq > 0 && f.n_keywords <= IMAP_FETCHED_KEYWORDS);
        for (size_t i = 0; i < f.n_keywords; i++)
            CHECK(f.keywords[i].n > 0 && text_ascii(f.keywords[i]));
    }
    read_folder(r, a);
    if (imap_response_namespaces(r, a, &n) == 0)
        CHECK(n.n_others <= IMAP_NAMESPACES);
    (void)imap_response_capabilities(r->rest);
    arena_free(&a);
}

static void note(struct buf *said, const struct imap_response *r)
{
    CHECK(r->rest.n <= IMAP_RESPONSE_MAX);
    buf_printf(said, "%d %d %llu<", r->kind, r->status, (unsigned long long)r->number);
    buf_add_str(said, r->tag);
    buf_add_str(said, r->code);
    buf_add_str(said, r->arguments);
    buf_add_str(said, r->text);
    buf_add_str(said, r->name);
    buf_add_str(said, r->rest);
    buf_add_z(said, ">\n");
    read_response(r);
}

static void take_all(struct str in, size_t piece, struct buf *said)
{
    struct imap_response_reader r;
    enum imap_response_got got = IMAP_GOT_NOTHING;

    imap_response_init(&r);
    while (in.n && got != IMAP_GOT_BAD) {
        struct str part = str_take(in, piece);
        size_t used;
        in = str_skip(in, part.n);
        while ((got = imap_response_take(&r, part, &used)) != IMAP_GOT_NOTHING &&
               got != IMAP_GOT_BAD) {
            CHECK(used <= part.n);
            part = str_skip(part, used);
            if (got == IMAP_GOT_PIECE)
                buf_add_str(said, r.piece);
            else if (got == IMAP_GOT_END)
                buf_add_z(said, "<end>\n");
            else {
                if (got == IMAP_GOT_TEXT)
                    buf_printf(said, "<text %llu>", (unsigned long long)r.size);
                note(said, &r.response);
            }
        }
        CHECK(got == IMAP_GOT_BAD || used == part.n);
    }
    if (got == IMAP_GOT_BAD)
        buf_add_z(said, r.bad);
    imap_response_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 3, 7};
    struct str in = str_of(data, size);
    struct buf whole, part;

    buf_init(&whole, 256 * size + 256);
    take_all(in, size + 1, &whole);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        buf_init(&part, 256 * size + 256);
        take_all(in, pieces[i], &part);
        CHECK(str_eq(buf_str(&whole), buf_str(&part)));
        buf_fini(&part);
    }
    buf_fini(&whole);
    return 0;
}
