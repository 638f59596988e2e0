/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The queue, which several nodes empty. */
#include "appliance/store/node.h"
#include "queue_bed.h"


struct nodes {
    struct bed *a, *b;
};

static const struct queue_to both[] = {QB_TO("r@x", "x", 100), QB_TO("s@x", "x", 100)};

static int setup(void **state)
{
    struct nodes *n = MEM_NEW(struct nodes);

    n->a = bed_new_node(NULL);
    n->b = bed_new_node(n->a);
    qb_put(n->a, 11, "a@b", both, 2);
    *state = n;
    return 0;
}

static int teardown(void **state)
{
    struct nodes *n = *state;

    bed_free(&n->b);
    bed_free(&n->a);
    mem_free(n);
    return 0;
}

static uint64_t claim(struct bed *b, uint32_t n, uint32_t tries, int64_t next_ms, bool taken)
{
    struct queue_claim_row row = {.id = 11, .n = n, .tries = tries, .next_ms = next_ms};
    struct queue_claim q;

    queue_claim_init(&q, NULL);
    q.rows = &row;
    q.n = 1;
    bed_run(b, &q.op);
    assert_int_equal(row.taken, taken);
    assert_int_not_equal(q.owner, 0);
    return q.owner;
}

static size_t settle(struct bed *b, uint64_t owner, uint32_t n, enum queue_what what)
{
    const struct queue_result r = {
        .id = 11, .n = n, .what = what, .next_ms = 200, .last = STR("later")};
    struct queue_settle q;

    queue_settle_init(&q, NULL);
    q.results = &r;
    q.n_results = 1;
    q.owner = owner;
    bed_run(b, &q.op);
    return q.n_found;
}

static int run_text(struct store_tx *tx, void *ctx, struct err *err)
{
    return sql_exec(store_tx_sql(tx), ctx, err);
}

static void run(struct bed *b, const char *sql)
{
    bed_call(b, run_text, (void *)(uintptr_t)sql);
}

static size_t sites(struct bed *b)
{
    struct queue_site *list;
    struct err err;
    size_t n;

    assert_int_equal(queue_sites(b->reader, b->arena, STR(""), 10, &list, &n, &err), 0);
    return n;
}

static void what_one_has_the_other_does_not_see(void **state)
{
    struct nodes *n = *state;
    struct queue_to *list;
    uint64_t owner = claim(n->a, 0, 0, 100, true);

    assert_int_equal(qb_due(n->b, "x", 1000, &list), 1);
    assert_int_equal(list[0].n, 1);
    assert_int_equal(qb_due(n->a, "x", 1000, &list), 2); /* its own */
    claim(n->b, 0, 0, 100, false);
    assert_int_equal(claim(n->a, 0, 0, 100, true), owner);
    claim(n->a, 1, 0, 100, true);
    assert_int_equal(sites(n->b), 0);
    assert_int_equal(sites(n->a), 1);
    assert_int_equal(settle(n->a, owner, 0, QUEUE_LATER), 1);
    assert_int_equal(sites(n->b), 1);
    assert_int_equal(qb_due(n->b, "x", 1000, &list), 1);
    assert_int_equal(list[0].next_ms, 200);
    assert_int_equal(list[0].tries, 1);
    claim(n->b, 0, 0, 100, false); /* as it was before */
    owner = claim(n->b, 0, 1, 200, true);
    assert_int_equal(settle(n->b, owner, 0, QUEUE_SETTLED), 1);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM queue_to"), 1);
}

static void who_ended_leaves_its_rows(void **state)
{
    struct nodes *n = *state;
    struct queue_to *list;
    uint64_t before = claim(n->a, 0, 0, 100, true), after;

    assert_int_equal(qb_due(n->b, "x", 1000, &list), 1);
    run(n->b, "UPDATE node SET until = 0 WHERE n = 1"); /* a is taken for dead */
    assert_int_equal(qb_due(n->b, "x", 1000, &list), 2);
    after = claim(n->b, 0, 0, 100, true);
    assert_int_not_equal(before, after);
    assert_int_equal(settle(n->a, before, 0, QUEUE_SETTLED), 0);
    assert_int_equal(settle(n->a, before, 0, QUEUE_LATER), 0);
    assert_int_equal(settle(n->b, after, 0, QUEUE_SETTLED), 1);
    bed_check(n->a);
}

static void an_orderly_end_frees_at_once(void **state)
{
    struct nodes *n = *state;
    struct queue_to *list;

    claim(n->b, 0, 0, 100, true);
    assert_int_equal(qb_due(n->a, "x", 1000, &list), 1);
    bed_reopen(n->b);
    assert_int_equal(qb_due(n->a, "x", 1000, &list), 2);
    claim(n->a, 0, 0, 100, true);
}

static void the_last_one_takes_the_message(void **state)
{
    struct nodes *n = *state;
    uint64_t a = claim(n->a, 0, 0, 100, true), b = claim(n->b, 1, 0, 100, true);

    settle(n->a, a, 0, QUEUE_SETTLED);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM queue"), 1);
    settle(n->b, b, 1, QUEUE_SETTLED);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM queue"), 0);
    bed_check(n->a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_one_has_the_other_does_not_see, setup, teardown),
        cmocka_unit_test_setup_teardown(who_ended_leaves_its_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(an_orderly_end_frees_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_one_takes_the_message, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
