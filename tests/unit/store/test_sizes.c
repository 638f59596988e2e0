/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* How much there is, counted in slices. */
#include "bed.h"

enum { ROWS = 25000, BYTES = 7 };

static struct store_sizes count(struct bed *b, unsigned *slices)
{
    struct store_sizing z = {0};
    struct err err = {0};

    for (*slices = 0; !z.done; ++*slices)
        assert_int_equal(store_size_slice(b->reader, &z, &err), 0);
    assert_int_equal(store_size_slice(b->reader, &z, &err), 0); /* done is done */
    return z.sizes;
}

static void nothing(void **state)
{
    struct bed *b = *state;
    unsigned slices;
    struct store_sizes s = count(b, &slices);

    assert_int_equal(s.accounts + s.mailboxes + s.messages + s.bodies + s.body_bytes, 0);
    assert_int_equal(slices, 3);
}

static void some(void **state)
{
    struct bed *b = *state;
    struct str text = STR("Subject: x\r\n\r\ntext\r\n");
    unsigned slices;
    uint64_t id = bed_account(b, "a@example.com");
    uint64_t mailboxes = count(b, &slices).mailboxes;

    bed_account(b, "b@example.com");
    bed_deliver(b, "a@example.com", "INBOX", text);
    bed_fill(b, bed_mailbox(b, id, "INBOX").id, 9, 0); /* one body */
    struct store_sizes s = count(b, &slices);
    assert_int_equal(s.accounts, 2);
    assert_true(mailboxes > 0);
    assert_int_equal(s.mailboxes, 2 * mailboxes);
    assert_int_equal(s.messages, 10);
    assert_true(s.message_bytes > 10 * 20);
    assert_int_equal(s.bodies, 2);
    assert_int_equal(s.body_bytes, bed_int(b, "SELECT SUM(size) FROM body"));
    bed_check(b);
}

static int add_rows(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    return sql_exec(
        store_tx_sql(tx),
        "INSERT INTO body(id, size, refs, place, sha256, data_size) "
        "WITH RECURSIVE d(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM d WHERE i < 249) "
        "SELECT (a.i * 250 + b.i + 1) * 1000, 7, 1, 0, x'', 0 FROM d a, d b WHERE a.i < 100",
        err);
}

static void many_in_slices(void **state)
{
    struct bed *b = *state;
    unsigned slices;

    bed_call(b, add_rows, NULL);
    struct store_sizes s = count(b, &slices);
    assert_int_equal(s.bodies, ROWS);
    assert_int_equal(s.body_bytes, ROWS * BYTES);
    assert_int_equal(slices, 5);
}

static void space_is_known(void **state)
{
    struct bed *b = *state;
    uint64_t free_bytes = 0, min_free = 0;

    assert_int_equal(store_space(b->store, &free_bytes, &min_free), 0);
    assert_true(free_bytes > 0);
    assert_int_equal(min_free, (100u << 20) + (64u << 20));
    store_set_message_limit(b->store, 100u << 20);
    assert_int_equal(store_space(b->store, &free_bytes, &min_free), 0);
    assert_int_equal(min_free, (200u << 20) + (64u << 20));
    b->conf.min_free = 7;
    assert_int_equal(store_space(b->store, &free_bytes, &min_free), 0);
    assert_int_equal(min_free, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BED_TEST(nothing), BED_TEST(some), BED_TEST(many_in_slices),
                                       BED_TEST(space_is_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
