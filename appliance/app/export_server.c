/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* export_server.c - what an export reads: accounts, mailboxes, and messages, a piece at a time and
 * no more than the client has read. On lane store. */
#include "appliance/app/import_session.h"

enum { PIECE = 64 << 10, OUT_ENOUGH = 256 << 10, LIST = 64 };

static json_t *string_of(struct str s)
{
    json_t *v = json_stringn(s.p ? s.p : "", s.n);

    return v ? v : json_string("(not UTF-8)");
}

void import_read_accounts(struct import_session *s, struct store_reader *r)
{
    struct account_info *list;
    size_t n;

    if (account_list(r, s->ask_mem, &list, &n, &s->ask.err) != 0)
        return;
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        if (!list[i].detached)
            json_array_append_new(all, string_of(list[i].name));
    s->ask.answer = json_pack("{so}", "accounts", all);
}

static bool among(const struct str *list, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], name))
            return true;
    return false;
}

void import_read_folders(struct import_session *s, struct store_reader *r)
{
    struct str name = str_from(json_string_value(json_object_get(s->ask.request, "account")));
    struct mailbox_info *list;
    struct account_info account;
    struct str *subscribed;
    size_t n, n_subscribed;

    if (account_find(r, s->ask_mem, name, &account, &s->ask.err) != 0 ||
        mailbox_list(r, s->ask_mem, account.id, &list, &n, &s->ask.err) != 0 ||
        mailbox_subscriptions(r, s->ask_mem, account.id, &subscribed, &n_subscribed, &s->ask.err) !=
            0)
        return;
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            all, json_pack("{sI so sI sI sI sI sb}", "id", (json_int_t)list[i].id, "name",
                           string_of(list[i].name), "special", (json_int_t)list[i].special,
                           "uidvalidity", (json_int_t)list[i].uidvalidity, "uidnext",
                           (json_int_t)list[i].uidnext, "messages", (json_int_t)list[i].messages,
                           "subscribed", among(subscribed, n_subscribed, list[i].name)));
    s->ask.answer = json_pack("{so}", "folders", all);
}

/* ---- Messages. */

static void put_json(struct import_session *s, json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT);

    json_decref(v);
    if (text)
        buf_printf(&s->ask.out, "%s\n", text);
    free(text);
}

static void put_chunk(struct import_session *s, struct str bytes)
{
    while (bytes.n) {
        struct str piece = str_take(bytes, PIECE);
        buf_printf(&s->ask.out, "%zu\n", piece.n);
        buf_add_str(&s->ask.out, piece);
        bytes = str_skip(bytes, piece.n);
    }
}

static int put_keywords(struct import_session *s, struct store_reader *r)
{
    struct mailbox_keyword *list;
    size_t n;

    if (mailbox_keywords(r, s->ask_mem, s->ask.id, &list, &n, &s->ask.err) != 0)
        return -1;
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all,
                              json_pack("[Io]", (json_int_t)list[i].bit, string_of(list[i].name)));
    put_json(s, json_pack("{so}", "keywords", all));
    return 0;
}

/* From `offset` of its data on, until there is enough for now. True: that was all of it. */
static bool put_data(struct import_session *s, struct body_reader *b)
{
    struct buf scratch;
    struct str piece;
    struct err err = {0};
    bool whole = false;

    buf_init(&scratch, PIECE);
    do { /* at least one piece: offset 0 means that nothing was sent */
        if (body_read(b, s->ask.offset, PIECE, &scratch, &piece, &err) != 0) {
            buf_add_z(&s->ask.out, "-\n"); /* the client drops what it has of it */
            s->ask.offset = 0;
            buf_fini(&scratch);
            return true;
        }
        put_chunk(s, piece);
        s->ask.offset += piece.n;
        whole = piece.n < PIECE;
    } while (!whole && s->ask.out.n < OUT_ENOUGH);
    buf_fini(&scratch);
    if (whole) {
        buf_add_z(&s->ask.out, "0\n");
        s->ask.offset = 0;
    }
    return whole;
}

/* True: the next one. */
static bool put_message(struct import_session *s, struct store_reader *r,
                        const struct message_info *m)
{
    struct arena *mem = arena_new(0);
    bool first = s->ask.offset == 0, whole = true;
    struct body_reader b;
    struct err err = {0};

    if (first)
        put_json(s, json_pack("{sI sI sI}", "uid", (json_int_t)m->uid, "flags",
                              (json_int_t)m->flags, "at", (json_int_t)m->internal_ms));
    if (body_open(r, mem, m->body, BODY_WANT_HEAD | BODY_WANT_DATA, &b, &err) != 0) {
        buf_add_z(&s->ask.out, "-\n");
        s->ask.offset = 0;
    } else {
        if (first) {
            put_chunk(s, m->prefix);
            put_chunk(s, b.head);
        }
        whole = put_data(s, &b);
        body_close(&b);
    }
    arena_free(&mem);
    return whole;
}

void import_read_messages(struct import_session *s, struct store_reader *r)
{
    struct message_query q = {
        .first = s->ask.next, .last = UINT32_MAX, .max = LIST, .want_prefix = true};
    struct message_info *list;
    size_t n, i = 0;

    arena_clear(s->ask_mem);
    if (!s->ask.begun && put_keywords(s, r) != 0)
        return;
    s->ask.begun = true;
    if (message_range(r, s->ask_mem, s->ask.id, &q, &list, &n, &s->ask.err) != 0)
        return;
    /* One that is sent in part and was expunged meanwhile: it ends here. */
    if (s->ask.offset && (n == 0 || list[0].uid != s->ask.next)) {
        buf_add_z(&s->ask.out, "-\n");
        s->ask.offset = 0;
    }
    while (i < n && s->ask.out.n < OUT_ENOUGH) {
        s->ask.next = list[i].uid;
        if (!put_message(s, r, &list[i]))
            break;
        s->ask.next = list[i++].uid + 1;
    }
    s->ask.more = i < n || n == LIST;
    if (!s->ask.more)
        put_json(s, json_pack("{sb}", "end", 1));
}
