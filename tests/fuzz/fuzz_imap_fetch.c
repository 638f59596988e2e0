/* room: imap */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_imap_fetch.c - FETCH's items. What is accepted has a label that is read back as the same
 * section, and, asked of a message, gives as many octets as it announces. */
#include "appliance/base/mem.h"
#include "imap/fetch_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char message_head[] = "From: a@b\r\nSubject: x\r\n"
                                   "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
static const char message_data[] = "--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
                                   "Subject: in\r\nTo: c@d\r\n\r\ninner\r\n--b--\r\n";

static void read_label_again(struct arena *a, const struct fetch_section *s)
{
    struct fetch_items again;
    const char *why;
    struct buf b;
    buf_init(&b, s->label.n + 100);
    buf_add_str(&b, s->label);
    if (s->partial) { /* the response says where it begins only */
        buf_truncate(&b, b.n - 1);
        buf_printf(&b, ".%llu>", (unsigned long long)s->count);
    }
    struct imap_cursor c = {.rest = buf_str(&b), .arena = a};
    CHECK(fetch_items_parse(&c, false, &again, &why) == 0 && imap_at_end(&c));
    CHECK(again.n == 1);
    if (again.list[0].kind == FETCH_SECTION)
        CHECK(str_eq(again.list[0].section->label, s->label));
    buf_fini(&b);
}

static void answer(struct arena *a, const struct fetch_section *s)
{
    struct mime_part *root;
    struct fetch_stream stream;
    struct err err;
    struct buf out, space;
    struct str data = str_from(message_data), head = str_from(message_head);
    struct body_reader body = {.data_size = data.n, .fd = -1, .data = data, .data_loaded = true};
    CHECK(mime_parse(a, head, data, &root) == 0);
    buf_init(&out, 1 << 16);
    buf_init(&space, 1 << 16);
    struct fetch_message m = {.arena = a,
                              .prefix = STR("Return-Path: <>\r\n"),
                              .head = head,
                              .body = &body,
                              .root = root,
                              .space = &space};
    if (fetch_section_resolve(s, &m, &stream, &err) == 0) {
        uint64_t promised = fetch_stream_left(&stream);
        CHECK(fetch_stream_run(&stream, &m, &out, SIZE_MAX, &err) == 0);
        CHECK(out.n == promised && (!s->partial || out.n <= s->count));
    }
    buf_fini(&out);
    buf_fini(&space);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(0);
    struct imap_cursor c = {.rest = str_of(data, size), .arena = a};
    struct fetch_items items;
    const char *why = NULL;
    if (fetch_items_parse(&c, size & 1, &items, &why))
        CHECK(why);
    else
        for (size_t i = 0; i < items.n; i++)
            if (items.list[i].kind == FETCH_SECTION) {
                read_label_again(a, items.list[i].section);
                answer(a, items.list[i].section);
            }
    arena_free(&a);
    return 0;
}
