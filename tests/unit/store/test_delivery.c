/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"
#include <sys/stat.h>

#define TEXT STR("From: a@b\r\nSubject: hi\r\n\r\nHello\r\n")

static void one_message_is_read_back(void **state)
{
    struct bed *b = *state;
    struct message_info info;
    struct body_reader body;
    struct mime_part *root;
    struct str data;
    struct err err;

    assert_int_equal(bed_deliver(b, "x@example.com", "INBOX", TEXT), 1);
    assert_int_equal(bed_deliver(b, "x@example.com", "INBOX", TEXT), 2);
    uint64_t account = bed_account(b, "x@example.com");
    struct mailbox_info m = bed_mailbox(b, account, "inbox");
    assert_int_equal(m.messages, 2);
    assert_int_equal(m.unseen, 2);
    assert_int_equal(m.uidnext, 3);
    assert_int_equal(message_get(b->reader, b->arena, m.id, 1, &info, &err), 0);
    assert_int_equal(info.internal_ms, 1700000000000);
    assert_int_equal(info.size, info.prefix.n + TEXT.n);
    assert_true(str_eq(info.prefix, STR("Return-Path: <a@b>\r\n")));
    assert_int_equal(
        body_open(b->reader, b->arena, info.body, BODY_WANT_HEAD | BODY_WANT_META, &body, &err), 0);
    assert_true(str_eq(body.head, STR("From: a@b\r\nSubject: hi\r\n\r\n")));
    assert_int_equal(body_read(&body, 2, 100, NULL, &data, &err), 0);
    assert_true(str_eq(data, STR("llo\r\n")));
    assert_int_equal(body_structure(&body, b->arena, &root, &err), 0);
    assert_true(str_ieq(root->type, STR("text")));
    assert_int_equal(root->body_size, 7);
    body_close(&body);
    bed_check(b);
}

static void recipients_share_one_body(void **state)
{
    struct bed *b = *state;
    struct message_recipient r[3] = {
        {.account = STR("a@x"), .mailbox = STR("INBOX"), .prefix = STR("To: a\r\n")},
        {.account = STR("b@x"), .mailbox = STR("Junk")},
        {.account = STR("a@x"), .mailbox = STR("no such")}};
    struct message_delivery d;

    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, TEXT);
    d.rcpts = r;
    d.n_rcpts = 3;
    bed_run(b, &d.op);
    body_sink_free(&d.sink);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 1);
    assert_int_equal(bed_int(b, "SELECT refs FROM body"), 3);
    assert_int_equal(r[0].uid, 1);
    assert_int_equal(r[2].uid, 2); /* fell back to INBOX */
    assert_int_equal(bed_mailbox(b, bed_account(b, "b@x"), "Junk").messages, 1);
    bed_check(b);
}

static void a_second_operation_uses_the_same_body(void **state)
{
    struct bed *b = *state;
    struct message_recipient r = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    struct body_sink *sink = bed_sink(b, TEXT);
    uint64_t body = 0;

    for (int i = 0; i < 2; i++) {
        struct message_delivery d;
        message_delivery_init(&d, NULL);
        d.sink = sink;
        d.rcpts = &r;
        d.n_rcpts = 1;
        bed_run(b, &d.op);
        assert_true(i == 0 || d.body == body);
        body = d.body;
    }
    body_sink_free(&sink);
    assert_int_equal(bed_int(b, "SELECT refs FROM body"), 2);
    bed_check(b);
}

static void all_or_none(void **state)
{
    struct bed *b = *state;
    char name[400];
    struct message_recipient r[2] = {{.account = STR("a@x"), .mailbox = STR("INBOX")},
                                     {.account = {name, sizeof name}, .mailbox = STR("INBOX")}};
    struct message_delivery d;

    memset(name, 'n', sizeof name);
    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, TEXT);
    d.rcpts = r;
    d.n_rcpts = 2;
    assert_int_equal(bed_try(b, &d.op), -1);
    body_sink_free(&d.sink);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM account"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_head"), 0);
    bed_check(b);
}

static int domain_quota_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return account_set_domain_quota_tx(tx, STR("example.com"), *(uint64_t *)ctx, err);
}

struct pair {
    struct message_delivery d[2];
    struct message_recipient r[2];
};

/* Both wait at once, and so are likely to be of one transaction. */
static void deliver_both(struct bed *b, struct pair *p, bool within_quota)
{
    for (int i = 0; i < 2; i++) {
        p->r[i] = (struct message_recipient){.account = i ? STR("two@example.com")
                                                          : STR("one@example.com"),
                                             .mailbox = STR("INBOX")};
        message_delivery_init(&p->d[i], bed_done);
        p->d[i].sink = bed_sink(b, TEXT);
        p->d[i].rcpts = &p->r[i];
        p->d[i].n_rcpts = 1;
        p->d[i].within_quota = within_quota;
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_submit(b->store, &p->d[i].op), 0);
    for (int i = 0; i < 2; i++) {
        while (!p->d[i].op.waited_for)
            bed_turn(b);
        body_sink_free(&p->d[i].sink);
    }
}

/* A domain with room for one of two: the second is refused, and nothing of it stays. */
static void two_at_once_stay_within_the_quota(void **state)
{
    struct bed *b = *state;
    uint64_t room = 2 * TEXT.n - 1;
    struct pair p;

    bed_account(b, "one@example.com");
    bed_account(b, "two@example.com");
    bed_call(b, domain_quota_fn, &room);
    deliver_both(b, &p, true);
    assert_false(p.d[0].op.failed);
    assert_true(p.d[1].op.failed);
    assert_int_equal(p.d[1].op.err.why, ERR_WHY_QUOTA);
    assert_int_equal(p.d[1].op.err.kind, ERR_TEMP);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 1);
    deliver_both(b, &p, true);
    assert_true(p.d[0].op.failed && p.d[1].op.failed);
    deliver_both(b, &p, false); /* what was promised */
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 3);
    room = TEXT.n - 1;
    bed_call(b, domain_quota_fn, &room);
    deliver_both(b, &p, true);
    assert_int_equal(p.d[0].op.err.kind, ERR_PERM); /* never fits */
    bed_check(b);
}

static void survives_a_restart(void **state)
{
    struct bed *b = *state;

    bed_deliver(b, "x@example.com", "INBOX", TEXT);
    uint64_t before = store_new_id(b->store);
    bed_reopen(b);
    assert_true(store_new_id(b->store) > before);
    assert_int_equal(bed_deliver(b, "x@example.com", "INBOX", TEXT), 2);
    bed_check(b);
}

static void nobody_else_may_read_it(void **state)
{
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm", "bodies"};
    struct bed *b = *state;
    struct stat st;
    char path[128];

    bed_needs_sqlite(b);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
    }
}

static void ids_go_up_whatever_the_clock_does(void **state)
{
    struct bed *b = *state;
    uint64_t last = 0;

    for (int i = 0; i < 200000; i++) {
        uint64_t id = store_new_id(b->store);
        assert_true(id > last);
        last = id;
    }
    assert_true(last < INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(one_message_is_read_back),
        BED_TEST(recipients_share_one_body),
        BED_TEST(a_second_operation_uses_the_same_body),
        BED_TEST(all_or_none),
        BED_TEST(two_at_once_stay_within_the_quota),
        BED_TEST(survives_a_restart),
        BED_TEST(ids_go_up_whatever_the_clock_does),
        BED_TEST(nobody_else_may_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
