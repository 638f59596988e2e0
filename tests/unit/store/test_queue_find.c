/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Mail that leaves, found by what it is, and changed by a person: one, many, all. */
#include "queue_bed.h"

static void put_some(struct bed *b)
{
    const struct queue_to a[] = {QB_TO("x@one.example", "one.example", 100),
                                 QB_TO("y@two.example", "two.example", 200),
                                 QB_TO("z@sub.one.example", "relay:one:25", 300)};
    const struct queue_to c[] = {QB_TO("ü@dömain.example", "xn--dmain-jua.example", 100),
                                 QB_TO("l@[192.0.2.1]", "[192.0.2.1]", 100)};
    const struct queue_result failed[] = {
        {.id = 7, .n = 1, .what = QUEUE_LATER, .next_ms = 5000, .last = STR("421 Busy (mx.two)")},
        {.id = 9, .n = 0, .what = QUEUE_LATER, .next_ms = 5000, .last = STR("no route")}};

    qb_put(b, 7, "Sender@Here.example", a, 3);
    qb_put(b, 9, "", c, 2);
    qb_settle(b, failed, 2);
}

static size_t count(struct bed *b, struct queue_filter f)
{
    struct queue_to *list;

    return qb_find(b, &f, &list, NULL);
}

#define BY(...) count(b, (struct queue_filter){.state = -1, __VA_ARGS__})

static void filters(void **state)
{
    struct bed *b = *state;

    put_some(b);
    assert_int_equal(BY(.id = 0), 5);
    assert_int_equal(BY(.id = 7), 3);
    assert_int_equal(BY(.id = 8), 0);
    assert_int_equal(BY(.domain = STR("one.example")), 1);
    assert_int_equal(BY(.domain = STR("ONE.example")), 1);
    assert_int_equal(BY(.domain = STR(".one.example")), 2);
    assert_int_equal(BY(.domain = STR("ne.example")), 0);
    assert_int_equal(BY(.domain = STR("xn--dmain-jua.example")), 1);
    assert_int_equal(BY(.domain = STR("[192.0.2.1]")), 1);
    assert_int_equal(BY(.sender = STR("sender@here.example")), 3);
    assert_int_equal(BY(.sender = STR("@here.example")), 3);
    assert_int_equal(BY(.sender = STR("@.example")), 3);
    assert_int_equal(BY(.sender = STR("ender@here.example")), 0);
    assert_int_equal(BY(.sender = STR("<>")), 2);
    assert_int_equal(BY(.error = STR("busy")), 1);
    assert_int_equal(BY(.error = STR("o r"), .domain = STR("two.example")), 0);
    assert_int_equal(BY(.older_ms = 500), 0);
    assert_int_equal(BY(.older_ms = 501), 5);
    assert_int_equal(count(b, (struct queue_filter){.state = QUEUE_ON_HOLD}), 0);
    assert_int_equal(count(b, (struct queue_filter){.state = QUEUE_WAITING}), 5);
}

static void in_pages_with_entries(void **state)
{
    struct bed *b = *state;
    const struct queue_filter any = {.state = -1};
    struct queue_entry *entries;
    struct queue_to *list;
    uint64_t id = 0;
    uint32_t n = 0;
    size_t got, all = 0;
    struct err err;

    put_some(b);
    do {
        assert_int_equal(
            queue_find(b->reader, b->arena, &any, id, n, 2, &list, &entries, &got, &err), 0);
        for (size_t i = 0; i < got; i++) {
            assert_true(list[i].id > id || (list[i].id == id && (list[i].n > n || all == 0)));
            assert_int_equal(entries[i].id, list[i].id);
            assert_int_equal(entries[i].n_rcpts, list[i].id == 7 ? 3 : 2);
            assert_int_equal(entries[i].size, QB_TEXT.n);
            id = list[i].id;
            n = list[i].n;
        }
        all += got;
    } while (got == 2);
    assert_int_equal(all, 5);
}

static void held_and_let_go(void **state)
{
    struct bed *b = *state;
    const struct queue_filter seven = {.id = 7, .state = -1}, any = {.state = -1},
                              on_hold = {.state = QUEUE_ON_HOLD};
    struct queue_to *list;

    put_some(b);
    assert_int_equal(qb_change(b, QUEUE_HOLD, &seven, ""), 3);
    assert_int_equal(qb_change(b, QUEUE_HOLD, &seven, ""), 0); /* it is already */
    assert_int_equal(qb_due(b, "one.example", INT64_MAX, &list), 0);
    assert_int_equal(qb_change(b, QUEUE_RETRY, &any, ""), 2); /* what is on hold stays there */
    assert_int_equal(qb_change(b, QUEUE_RETRY, &on_hold, ""), 0);
    assert_int_equal(count(b, on_hold), 3);
    /* What ends while it is on hold (an attempt was under way) is recorded all the same. */
    qb_settle(b, &(struct queue_result){.id = 7, .n = 0, .what = QUEUE_SETTLED}, 1);
    qb_settle(b, &(struct queue_result){.id = 7, .n = 1, .what = QUEUE_LATER, .next_ms = 9}, 1);
    assert_int_equal(count(b, on_hold), 2);
    assert_int_equal(qb_change(b, QUEUE_RELEASE, &any, ""), 2);
    assert_int_equal(qb_due(b, "two.example", 0, &list), 1);
    assert_int_equal(list[0].tries, 2);
    bed_check(b);
}

static void rerouted(void **state)
{
    struct bed *b = *state;
    const struct queue_filter any = {.state = -1};
    struct queue_to *list;

    put_some(b);
    assert_int_equal(qb_change(b, QUEUE_REROUTE, &any, "relay:mail.example:2525"), 5);
    assert_int_equal(qb_due(b, "relay:mail.example:2525", 0, &list), 5);
    assert_true(list[0].forced && list[4].forced);
    assert_int_equal(qb_change(b, QUEUE_REROUTE, &any, ""), 5);
    assert_int_equal(qb_due(b, "one.example", 0, &list), 1);
    assert_false(list[0].forced);
    assert_int_equal(qb_due(b, "sub.one.example", 0, &list), 1);
    assert_int_equal(qb_due(b, "xn--dmain-jua.example", 0, &list), 1);
    assert_int_equal(qb_due(b, "[192.0.2.1]", 0, &list), 1);
    bed_check(b);
}

static void dropped(void **state)
{
    struct bed *b = *state;
    const struct queue_filter two = {.domain = STR("two.example"), .state = -1},
                              rest = {.state = -1};

    put_some(b);
    assert_int_equal(qb_change(b, QUEUE_DROP, &two, ""), 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue"), 2);
    bed_check(b);
    assert_int_equal(qb_change(b, QUEUE_DROP, &rest, ""), 4);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 2);
    bed_check(b);
}

/* ---- Many */

enum { MANY = 1500 };

static int many_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    const struct queue_to to[] = {QB_TO("x@one.example", "one.example", 100),
                                  QB_TO("y@two.example", "two.example", 100)};
    uint64_t body;

    if (body_insert_tx(tx, ctx, &body, err))
        return -1;
    for (unsigned i = 0; i < MANY; i++) {
        struct queue_new q = {.entry = {.id = 100 + i, .sender = STR("s@b")}, .to = to, .n_to = 2};
        if (queue_new_tx(tx, body, &q, err))
            return -1;
    }
    return 0;
}

static void put_many(struct bed *b)
{
    struct body_sink *sink = bed_sink(b, QB_TEXT);

    bed_call(b, many_fn, sink);
    body_sink_free(&sink);
}

static void many_in_slices(void **state)
{
    struct bed *b = *state;
    const struct queue_filter two = {.domain = STR("two.example"), .state = -1},
                              any = {.state = -1};

    put_many(b);
    assert_int_equal(qb_change(b, QUEUE_HOLD, &two, ""), MANY);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_to WHERE state = 1"), MANY);
    assert_int_equal(qb_change(b, QUEUE_REROUTE, &any, "relay:h:25"), 2 * MANY);
    assert_int_equal(qb_change(b, QUEUE_DROP, &two, ""), MANY);
    bed_check(b);
    assert_int_equal(qb_change(b, QUEUE_DROP, &any, ""), MANY);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue"), 0);
    assert_int_equal(bed_int(b, "SELECT refs FROM body"), 0);
    bed_check(b);
}

struct slices {
    struct queue_change_op q;
    int (*run)(struct store_op *op, struct store_tx *tx);
    unsigned calls;
};

/* Runs each slice as the committer does when the transaction of its batch was lost: undone, then
 * once more with `rerun`. */
static int run_twice(struct store_op *op, struct store_tx *tx)
{
    struct slices *s = CONTAINER_OF(op, struct slices, q.op);
    struct err err;

    s->calls++;
    assert_int_equal(sql_exec(tx->db, "SAVEPOINT lost", &err), 0);
    assert_true(s->run(op, tx) >= 0);
    assert_int_equal(sql_exec(tx->db, "ROLLBACK TO SAVEPOINT lost", &err), 0);
    assert_int_equal(sql_exec(tx->db, "RELEASE SAVEPOINT lost", &err), 0);
    op->rerun = true;
    tx->slice_end_us = 0; /* each chunk is a slice of its own */
    tx->slice_min_us = 0;
    return s->run(op, tx);
}

static void slices_that_run_again(void **state)
{
    struct bed *b = *state;
    struct slices s = {.calls = 0};

    put_many(b);
    queue_change_init(&s.q, NULL);
    s.q.what = QUEUE_HOLD;
    s.run = s.q.op.run;
    s.q.op.run = run_twice;
    bed_run(b, &s.q.op);
    assert_int_equal(s.q.count, 2 * MANY);
    assert_true(s.calls > 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_to WHERE state = 1"), 2 * MANY);
    bed_check(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(filters),
        BED_TEST(in_pages_with_entries),
        BED_TEST(held_and_let_go),
        BED_TEST(rerouted),
        BED_TEST(dropped),
        BED_TEST(many_in_slices),
        BED_TEST(slices_that_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
