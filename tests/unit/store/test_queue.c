/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Held mail: into the queue, bounded, listed, released, removed; references always right. */
#include "appliance/store/queue.h"
#include "bed.h"

#define TEXT STR("From: a@b\r\nSubject: hi\r\n\r\nHello\r\n")

static int try_put(struct bed *b, uint64_t id, enum queue_held held, int64_t until, struct err *err)
{
    const struct message_recipient two[] = {
        {.account = STR("a@x"), .mailbox = STR("INBOX"), .prefix = STR("To: a\r\n")},
        {.account = STR("b@x"), .mailbox = STR("INBOX")}};
    struct queue_put q;

    queue_put_init(&q, NULL);
    q.sink = bed_sink(b, TEXT);
    q.rcpts = two;
    q.n_rcpts = 2;
    q.count_max = 3;
    q.bytes_max = 1 << 20;
    q.entry = (struct queue_entry){.id = id,
                                   .held = held,
                                   .since_ms = 1,
                                   .until_ms = until,
                                   .next_ms = 100,
                                   .sender = STR("s@there"),
                                   .stage = STR("virus"),
                                   .view = str_of("k\0v", 4)};
    int rc = bed_try(b, &q.op);
    *err = q.op.err;
    body_sink_free(&q.sink);
    return rc;
}

static void put(struct bed *b, uint64_t id, enum queue_held held, int64_t until)
{
    struct err err;

    if (try_put(b, id, held, until, &err))
        fail_msg("%s", err.text);
}

static size_t listed(struct bed *b, unsigned held, int64_t due, struct queue_entry **out)
{
    struct err err;
    size_t n;

    assert_int_equal(queue_list(b->reader, b->arena, held, due, 0, 100, out, &n, &err), 0);
    return n;
}

static int release_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_release_tx(tx, *(uint64_t *)ctx, NULL, err);
}

static int release_junk_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_release_tx(tx, *(uint64_t *)ctx, "Junk", err);
}

static int remove_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_remove_tx(tx, *(uint64_t *)ctx, err);
}

static int head_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_set_head_tx(tx, *(uint64_t *)ctx, STR("Subject: other\r\n\r\n"), err);
}

static int expire_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_expire_tx(tx, 1000, ctx, err);
}

static void in_and_out(void **state)
{
    struct bed *b = *state;
    struct queue_entry *list;
    struct message_recipient *rcpts;
    struct err err;
    uint64_t ids[] = {11, 12, 13};
    size_t n;

    for (int i = 0; i < 3; i++)
        put(b, ids[i], i ? QUEUE_QUARANTINE : QUEUE_HELD, 5000);
    assert_int_equal(try_put(b, 14, QUEUE_HELD, 5000, &err), -1); /* count_max */
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    assert_int_equal(listed(b, 0, 0, &list), 3);
    assert_int_equal(listed(b, QUEUE_HELD, 99, &list), 0);
    assert_int_equal(listed(b, QUEUE_HELD, 100, &list), 1);
    assert_int_equal(list[0].id, 11);
    assert_int_equal(list[0].n_rcpts, 2);
    assert_int_equal(list[0].size, TEXT.n);
    assert_true(str_eq(list[0].sender, STR("s@there")));
    assert_true(str_eq(list[0].view, str_of("k\0v", 4)));
    assert_int_equal(queue_rcpts(b->reader, b->arena, 12, &rcpts, &n, &err), 0);
    assert_int_equal(n, 2);
    bed_check(b);
    bed_call(b, head_fn, &ids[0]);
    bed_call(b, release_fn, &ids[0]);
    bed_call(b, release_junk_fn, &ids[1]);
    bed_call(b, remove_fn, &ids[2]);
    assert_int_equal(bed_try_call(b, remove_fn, &ids[2], &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(listed(b, 0, 0, &list), 0);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 1);
    assert_int_equal(bed_mailbox(b, bed_account(b, "b@x"), "Junk").messages, 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_rcpt"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body WHERE refs = 2"), 2);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body WHERE refs = 0"), 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_head WHERE LENGTH(head) = 18"), 1);
    bed_check(b);
}

static void survives_a_restart_and_expires(void **state)
{
    struct bed *b = *state;
    struct queue_entry *list;
    size_t n;

    put(b, 11, QUEUE_QUARANTINE, 999);
    put(b, 12, QUEUE_QUARANTINE, 5000);
    put(b, 13, QUEUE_HELD, 999); /* its time ends in the hands of its stage */
    bed_reopen(b);
    bed_call(b, expire_fn, &n);
    assert_int_equal(n, 1);
    assert_int_equal(listed(b, 0, 0, &list), 2);
    assert_int_equal(list[0].id, 12);
    bed_check(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(in_and_out),
        BED_TEST(survives_a_restart_and_expires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
