/* room: imap */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_imap_search.c - a search, its first line, over a message, the rest. Once the text is read
 * all is decided; a decision made earlier stands. */
#include "appliance/base/mem.h"
#include "imap/search_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t uids[] = {1, 5, 6};
static struct mailbox_keyword keywords[] = {{.bit = 8, .name = {"$Junk", 5}}};
static struct imap_view view = {.uids = uids,
                                .n = 3,
                                .cap = 3,
                                .uidnext = 7,
                                .recent_from = 6,
                                .keywords = keywords,
                                .n_keywords = 1};

/* The head ends as the store would have it. */
static struct str head_of(struct arena *a, struct str *message)
{
    struct header_split split = {0};
    uint64_t end = message->n;
    struct str tail = STR_NULL;
    enum header_split_end how = header_split_feed(&split, *message, &end);
    if (how != HEADER_SPLIT_DONE)
        tail = STR("\r\n\r\n");
    if (how == HEADER_SPLIT_MORE)
        end = message->n;
    char *p = arena_alloc(a, end + tail.n + 1);
    memcpy(p, message->p ? message->p : "", end);
    memcpy(p + end, tail.p ? tail.p : "", tail.n);
    *message = str_skip(*message, end);
    return str_of(p, end + tail.n);
}

static void match(struct arena *a, const struct search_program *p, struct str message)
{
    struct message_info row = {.uid = 5, .flags = MESSAGE_SEEN | 1 << 8, .size = message.n};
    struct search_message m = {.uid = 5, .recent_from = 6, .row = &row};
    enum search_truth early = search_match(p->root, &m);
    struct str head = head_of(a, &message);
    search_message_head(&m, a, STR("Return-Path: <>\r\n"), head);
    enum search_truth t = search_match(p->root, &m);
    CHECK(early == SEARCH_UNKNOWN || early == t);
    early = t;

    struct mime_part *root;
    struct search_scan scan;
    struct err err;
    struct body_reader body = {
        .data_size = message.n, .fd = -1, .data = message, .data_loaded = true};
    int more;
    CHECK(mime_parse(a, head, message, &root) == 0);
    search_scan_init(&scan, a, p);
    search_scan_begin(&scan, a, root);
    m.hits = scan.hits;
    do {
        more = search_scan_step(&scan, &body, &err);
        t = search_match(p->root, &m);
        CHECK(early == SEARCH_UNKNOWN || early == t);
        early = t;
    } while (more > 0);
    CHECK(more == 0 && t != SEARCH_UNKNOWN);
    search_scan_fini(&scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(0);
    struct str query, message;
    struct search_program p;
    const char *why = NULL;
    str_cut(str_of(data, size), '\n', &query, &message);
    struct imap_cursor c = {.rest = query, .arena = a};
    if (search_program_parse(&c, &view, &p, &why) != SEARCH_FINE)
        CHECK(why);
    else
        match(a, &p, message);
    arena_free(&a);
    return 0;
}
