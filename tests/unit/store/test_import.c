/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/store/import.h"
#include "bed.h"

#define NAME "xandros@example.com"

static struct import_mailbox open_box(struct bed *b, const char *name, uint32_t uidvalidity)
{
    struct import_mailbox m;

    import_mailbox_init(&m, NULL);
    m.account = STR(NAME);
    m.mailbox = str_from(name);
    m.uidvalidity = uidvalidity;
    m.subscribe = true;
    bed_run(b, &m.op);
    return m;
}

struct one {
    struct import_item item;
    struct import_batch batch;
};

/* One item as a batch of its own. */
static struct one bring(struct bed *b, uint64_t mailbox, uint32_t uidvalidity,
                        struct import_item item)
{
    struct one o = {.item = item};
    struct import_item *list[1] = {&o.item};

    import_batch_init(&o.batch, NULL);
    o.batch.mailbox = mailbox;
    o.batch.source = STR("maildir");
    o.batch.uidvalidity = uidvalidity;
    o.batch.items = list;
    o.batch.n_items = 1;
    if (item.what == IMPORT_ADD)
        o.item.sink = bed_sink(b, STR("Subject: one\r\n\r\ntext\r\n"));
    bed_run(b, &o.batch.op);
    body_sink_free(&o.item.sink);
    return o;
}

static struct one add(struct bed *b, const struct import_mailbox *m, const char *key, uint32_t uid)
{
    return bring(b, m->id, m->uidvalidity,
                 (struct import_item){.what = IMPORT_ADD,
                                      .key = str_from(key),
                                      .uid = uid,
                                      .state = 7,
                                      .flags = MESSAGE_SEEN,
                                      .internal_ms = 1000});
}

static void test_uids_are_kept(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 1234);
    struct import_end end;

    assert_int_equal(m.uidvalidity_now, 1234);
    assert_false(m.made);
    assert_int_equal(add(b, &m, "a", 5).item.uid_now, 5);
    assert_int_equal(add(b, &m, "b", 9).item.uid_now, 9);
    import_end_init(&end, NULL);
    end.mailbox = m.id;
    end.uidvalidity = 1234;
    end.uidnext = 40;
    bed_run(b, &end.op);
    struct mailbox_info info = bed_mailbox(b, m.account_id, "INBOX");
    assert_int_equal(info.uidvalidity, 1234);
    assert_int_equal(info.uidnext, 40);
    assert_int_equal(info.unseen, 0);
    assert_int_equal(info.recent_from, 40);
    end.uidnext = 30; /* never lowered */
    end.op.waited_for = false;
    bed_run(b, &end.op);
    assert_int_equal(bed_mailbox(b, m.account_id, "INBOX").uidnext, 40);
    bed_check(b);
}

static void test_known_is_not_brought_again(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "Work/2024", 0);
    struct import_known *known;
    struct err err = {0};
    size_t n;

    assert_true(m.made);
    uint32_t first = add(b, &m, "b", 0).item.uid_now;
    add(b, &m, "a", 0);
    struct one again = add(b, &m, "b", 0);
    assert_int_equal(again.item.result, IMPORT_KNOWN);
    assert_int_equal(again.item.uid_now, first);
    assert_int_equal(bed_mailbox(b, m.account_id, "Work/2024").messages, 2);
    assert_int_equal(
        import_known(b->reader, b->arena, m.id, STR("maildir"), STR(""), 1, &known, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_true(str_eq(known[0].key, STR("a")));
    assert_int_equal(known[0].state, 7);
    assert_int_equal(
        import_known(b->reader, b->arena, m.id, STR("maildir"), STR("a"), 10, &known, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(known[0].uid, first);
    assert_int_equal(
        import_known(b->reader, b->arena, m.id, STR("mbox"), STR(""), 10, &known, &n, &err), 0);
    assert_int_equal(n, 0);
}

/* A number beside the messages, of one source, replaced by the next. */
static void test_mark(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 1234);
    struct import_known *known;
    struct err err = {0};
    struct import_end end;
    size_t n;

    (void)add(b, &m, "a", 5);
    for (int64_t value = 7; value < 9; value++) {
        import_end_init(&end, NULL);
        end.mailbox = m.id;
        end.source = STR("imap:a");
        end.mark = STR("%mark-1234");
        end.mark_state = value;
        bed_run(b, &end.op);
        assert_int_equal(
            import_known(b->reader, b->arena, m.id, STR("imap:a"), STR(""), 9, &known, &n, &err),
            0);
        assert_int_equal(n, 1);
        assert_true(str_eq(known[0].key, STR("%mark-1234")));
        assert_int_equal(known[0].uid, 0);
        assert_int_equal(known[0].state, value);
    }
    assert_int_equal(
        import_known(b->reader, b->arena, m.id, STR("maildir"), STR(""), 9, &known, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(known[0].uid, 5);
}

static void test_flags_and_removal(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 77);
    const struct str words[] = {STR("$Forwarded"), STR("work")};
    struct message_info info;
    struct err err = {0};
    uint32_t uid = add(b, &m, "a", 3).item.uid_now;
    struct import_item change = {.what = IMPORT_FLAGS,
                                 .key = STR("a"),
                                 .uid = uid,
                                 .state = 8,
                                 .flags = MESSAGE_FLAGGED,
                                 .keywords = words,
                                 .n_keywords = 2};

    assert_int_equal(bring(b, m.id, 77, change).item.result, IMPORT_DONE);
    assert_int_equal(message_get(b->reader, b->arena, m.id, uid, &info, &err), 0);
    assert_int_equal(info.flags, MESSAGE_FLAGGED | 3u << MESSAGE_KEYWORD_FIRST);
    assert_int_equal(bed_mailbox(b, m.account_id, "INBOX").unseen, 1);
    assert_int_equal(bed_int(b, "SELECT state FROM imported"), 8);
    change.what = IMPORT_REMOVE;
    assert_int_equal(bring(b, m.id, 77, change).item.result, IMPORT_DONE);
    assert_int_equal(message_get(b->reader, b->arena, m.id, uid, &info, &err), -1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM imported"), 0);
    assert_int_equal(bring(b, m.id, 77, change).item.result, IMPORT_GONE);
    bed_check(b);
}

static void test_keywords_without_room_are_counted(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 0);
    char text[60][16];
    struct str words[60];

    for (int i = 0; i < 60; i++) {
        snprintf(text[i], sizeof text[i], "k%d", i);
        words[i] = str_from(text[i]);
    }
    struct one o =
        bring(b, m.id, 0,
              (struct import_item){
                  .what = IMPORT_ADD, .key = STR("a"), .keywords = words, .n_keywords = 60});
    assert_int_equal(o.item.result, IMPORT_DONE);
    assert_int_equal(o.item.lost, 5);
    assert_int_equal(bed_mailbox(b, m.account_id, "INBOX").messages, 1);
}

/* A UID of the source that is another message's here: the mailbox may not stay what clients know.
 */
static void test_clash_renews_uidvalidity(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 500);

    add(b, &m, "a", 1);
    assert_int_equal(bed_deliver(b, NAME, "INBOX", STR("Subject: x\r\n\r\nx\r\n")), 2);
    struct one o = add(b, &m, "b", 2);
    assert_int_equal(o.item.uid_now, 3);
    assert_int_not_equal(o.batch.uidvalidity_now, 500);
    assert_int_equal(bed_mailbox(b, m.account_id, "INBOX").uidvalidity, o.batch.uidvalidity_now);
    assert_true(o.batch.uidvalidity_now > 500);
    assert_int_equal(add(b, &m, "c", 90).item.uid_now, 4);
    bed_check(b);
}

static void test_a_gap_is_no_clash(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 500);

    add(b, &m, "c", 10);
    struct one late = add(b, &m, "a", 4); /* came to light later */
    assert_int_equal(late.item.uid_now, 11);
    assert_int_equal(late.batch.uidvalidity_now, 500);
}

static void test_uidvalidity_only_where_nothing_was(void **state)
{
    struct bed *b = *state;
    uint64_t account = bed_account(b, NAME);
    uint32_t own = bed_mailbox(b, account, "INBOX").uidvalidity;

    bed_deliver(b, NAME, "INBOX", STR("Subject: x\r\n\r\nx\r\n"));
    assert_int_equal(open_box(b, "INBOX", 500).uidvalidity_now, own);
    /* higher than the account's own: later mailboxes get higher ones still */
    assert_int_equal(open_box(b, "Later", 3000000000).uidvalidity_now, 3000000000);
    assert_true(open_box(b, "Next", 0).uidvalidity_now > 3000000000);
}

static int delete_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    bool more;

    return mailbox_delete_tx(tx, *(uint64_t *)ctx, STR("Box"), &more, err);
}

/* Deleted and brought again, its UIDs could mean other messages than before. */
static void test_uidvalidity_never_twice(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "Box", 500);

    add(b, &m, "a", 1);
    bed_call(b, delete_fn, &m.account_id);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM imported"), 0);
    assert_int_not_equal(open_box(b, "Box", 500).uidvalidity_now, 500);
    assert_int_equal(open_box(b, "Box2", 500).uidvalidity_now, 500);
}

enum { MANY = 3000 };

/* Slices of one operation, with deliveries between them. */
static void test_many_in_slices(void **state)
{
    struct bed *b = *state;
    struct import_mailbox m = open_box(b, "INBOX", 9);
    struct import_item *items = mem_alloc(MANY * sizeof *items),
                       **list = mem_alloc(MANY * sizeof *list);
    char(*keys)[16] = mem_alloc((size_t)MANY * sizeof *keys);
    struct import_batch batch;

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "key%u", i);
        items[i] = (struct import_item){.what = IMPORT_ADD,
                                        .key = str_from(keys[i]),
                                        .uid = 2 * i + 1,
                                        .sink = bed_sink(b, STR("A: b\r\n\r\nx"))};
        list[i] = &items[i];
    }
    import_batch_init(&batch, bed_done);
    batch.mailbox = m.id;
    batch.source = STR("maildir");
    batch.uidvalidity = 9;
    batch.items = list;
    batch.n_items = MANY;
    assert_int_equal(store_submit(b->store, &batch.op), 0);
    bed_deliver(b, NAME, "Junk", STR("Subject: x\r\n\r\nx\r\n"));
    while (!batch.op.waited_for)
        bed_turn(b);
    assert_false(batch.op.failed);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(items[i].uid_now, 2 * i + 1);
        body_sink_free(&items[i].sink);
    }
    assert_int_equal(bed_mailbox(b, m.account_id, "INBOX").messages, MANY);
    mem_free(items);
    mem_free(list);
    mem_free(keys);
    bed_check(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_uids_are_kept),
        BED_TEST(test_known_is_not_brought_again),
        BED_TEST(test_mark),
        BED_TEST(test_flags_and_removal),
        BED_TEST(test_keywords_without_room_are_counted),
        BED_TEST(test_clash_renews_uidvalidity),
        BED_TEST(test_a_gap_is_no_clash),
        BED_TEST(test_uidvalidity_only_where_nothing_was),
        BED_TEST(test_uidvalidity_never_twice),
        BED_TEST(test_many_in_slices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
