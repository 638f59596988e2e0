/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"
#include "shim.h"

/* An operation that writes one row into a table of ours, waits at a gate if it has one, and may
 * fail. */
struct probe {
    struct store_op op;
    struct bed *bed;
    int64_t value;
    bool fail;
    atomic_bool *gate; /* runs on when it is true */
    atomic_bool ran;
    unsigned runs, reruns, slices, slice_began, done, order;
};
static unsigned order;

static int probe_run(struct store_op *op, struct store_tx *tx)
{
    struct probe *p = CONTAINER_OF(op, struct probe, op);
    struct sql_stmt *st;

    p->runs++;
    p->reruns += op->rerun;
    if (op->rerun)
        p->slices = p->slice_began;
    p->slice_began = p->slices;
    if (sql_prepare(store_tx_sql(tx), "INSERT INTO probe(value) VALUES (?)", &st, &op->err) != 0)
        return -1;
    sql_bind_int(st, 1, p->value);
    if (sql_run(st, &op->err) != 0)
        return -1;
    atomic_store(&p->ran, true);
    while (p->gate && !atomic_load(p->gate))
        sched_yield();
    if (p->fail)
        return ERR_WHY(&op->err, ERR_PERM, ERR_WHY_DENIED, "as told");
    if (p->slices) {
        p->slices--;
        return STORE_AGAIN;
    }
    return STORE_DONE;
}

static void probe_done(struct store_op *op)
{
    struct probe *p = CONTAINER_OF(op, struct probe, op);

    p->done++;
    p->order = ++order;
    p->bed->pending--;
}

static void submit(struct bed *b, struct probe *p, enum store_class cls)
{
    p->bed = b;
    p->op.run = probe_run;
    p->op.done = probe_done;
    p->op.cls = cls;
    assert_int_equal(store_submit(b->store, &p->op), 0);
    b->pending++;
}

static void wait_all(struct bed *b)
{
    while (b->pending)
        bed_turn(b);
}

static void wait_ran(struct probe *p)
{
    while (!atomic_load(&p->ran))
        sched_yield();
}

/* A batch is ended by time, too: here it stands, unless a test turns it, however long a thread
 * waits for the processor. */
static _Atomic uint64_t now_ms;

static uint64_t standing(void)
{
    return now_ms;
}

static int setup(void **state)
{
    static const struct clock_source source = {.mono_ms = standing};

    now_ms = clock_mono_ms();
    clock_replace(&source);
    *state = bed_new();
    order = 0;
    bed_exec(*state, "CREATE TABLE probe(value BIGINT)");
    return 0;
}

static int teardown(void **state)
{
    atomic_store(&shim.fail_sync, 0);
    atomic_store(&shim.full_write, 0);
    int rc = bed_teardown(state);
    clock_replace(NULL);
    return rc;
}

static void what_gathers_is_one_commit(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe first = {.gate = &gate}, rest[100] = {0};
    struct store_stats before, after;

    store_stats(b->store, &before);
    int syncs = atomic_load(&shim.syncs);
    submit(b, &first, STORE_DELIVERY);
    wait_ran(&first);
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        submit(b, &rest[i], STORE_DELIVERY);
    atomic_store(&gate, true);
    wait_all(b);
    store_stats(b->store, &after);
    assert_int_equal(after.ops - before.ops, 101);
    assert_int_equal(after.batches - before.batches, 1);
    assert_int_equal(after.batch_ops_max, 101);
    if (!b->conf.server)
        assert_in_range(atomic_load(&shim.syncs) - syncs, 1, 2);
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        assert_int_equal(rest[i].done, 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM probe"), 101);
}

/* What comes to a batch that is old already waits for the next one, but one of each class. */
static void time_ends_a_batch(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe first = {.gate = &gate}, rest[3] = {0}, interactive[2] = {0}, bulk[2] = {0};
    struct store_stats before, after;

    store_stats(b->store, &before);
    submit(b, &first, STORE_DELIVERY);
    wait_ran(&first);
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        submit(b, &rest[i], STORE_DELIVERY);
    for (size_t i = 0; i < 2; i++) {
        submit(b, &interactive[i], STORE_INTERACTIVE);
        submit(b, &bulk[i], STORE_BULK);
    }
    now_ms += 18;
    atomic_store(&gate, true);
    wait_all(b);
    store_stats(b->store, &after);
    assert_int_equal(after.batches - before.batches, 2);
    assert_true(interactive[0].order < rest[0].order && bulk[0].order < rest[0].order);
    assert_true(rest[2].order < interactive[1].order && interactive[1].order < bulk[1].order);
}

static void a_failing_member_answers_for_itself(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe p[6] = {{.value = 1, .gate = &gate, .fail = true},
                         {.value = 2},
                         {.value = 4, .fail = true},
                         {.value = 8},
                         {.value = 16, .fail = true},
                         {.value = 32}};

    submit(b, &p[0], STORE_DELIVERY);
    wait_ran(&p[0]);
    for (size_t i = 1; i < ARRAY_LEN(p); i++)
        submit(b, &p[i], STORE_DELIVERY);
    atomic_store(&gate, true);
    wait_all(b);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        assert_int_equal(p[i].op.failed, p[i].fail);
        assert_int_equal(p[i].op.err.why, p[i].fail ? ERR_WHY_DENIED : ERR_WHY_OTHER);
        assert_int_equal(p[i].runs, 1);
    }
    assert_int_equal(bed_int(b, "SELECT SUM(value) FROM probe"), 2 + 8 + 32);
}

static void a_failing_member_takes_its_counters_back(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe first = {.gate = &gate};
    char name[400];
    struct message_recipient r[4] = {{.account = STR("a@x"), .mailbox = STR("INBOX")},
                                     {.account = STR("a@x"), .mailbox = STR("INBOX")},
                                     {.account = {name, sizeof name}, .mailbox = STR("INBOX")},
                                     {.account = STR("a@x"), .mailbox = STR("INBOX")}};
    struct message_delivery d[3];

    memset(name, 'n', sizeof name);
    bed_account(b, "a@x");
    submit(b, &first, STORE_DELIVERY);
    wait_ran(&first);
    for (int i = 0; i < 3; i++) {
        message_delivery_init(&d[i], bed_done);
        d[i].sink = bed_sink(b, STR("Subject: x\r\n\r\nhi\r\n"));
        d[i].rcpts = i == 0 ? &r[0] : i == 1 ? &r[1] : &r[3];
        d[i].n_rcpts = i == 1 ? 2 : 1; /* the second fails at its second recipient */
        assert_int_equal(store_submit(b->store, &d[i].op), 0);
    }
    atomic_store(&gate, true);
    while (!d[2].op.waited_for || !d[1].op.waited_for)
        bed_turn(b);
    wait_all(b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(d[i].op.failed, i == 1);
        body_sink_free(&d[i].sink);
    }
    assert_int_equal(r[0].uid, 1);
    assert_int_equal(r[3].uid, 2);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 2);
    bed_check(b);
}

static void better_classes_go_first(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe first = {.gate = &gate}, bulk = {0}, interactive = {0}, delivery = {0};

    submit(b, &first, STORE_INTERACTIVE);
    wait_ran(&first);
    submit(b, &bulk, STORE_BULK);
    submit(b, &interactive, STORE_INTERACTIVE);
    submit(b, &delivery, STORE_DELIVERY);
    atomic_store(&gate, true);
    wait_all(b);
    assert_true(delivery.order < interactive.order);
    assert_true(interactive.order < bulk.order);
}

static void slices_are_answered_once_at_the_end(void **state)
{
    struct bed *b = *state;
    struct probe bulk = {.slices = 7}, quick = {0};
    struct store_stats before, after;

    store_stats(b->store, &before);
    submit(b, &bulk, STORE_INTERACTIVE);
    submit(b, &quick, STORE_DELIVERY);
    wait_all(b);
    store_stats(b->store, &after);
    assert_int_equal(bulk.done, 1);
    assert_int_equal(bulk.runs, 8);
    assert_int_equal(bulk.op.cls, STORE_BULK);
    assert_true(after.batches - before.batches >= 8); /* one slice a batch */
    assert_true(quick.order < bulk.order);
}

static void a_full_disk_refuses_and_goes_on(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe p[3] = {{.gate = &gate}};

    bed_needs_sqlite(b);
    submit(b, &p[0], STORE_DELIVERY);
    wait_ran(&p[0]);
    submit(b, &p[1], STORE_DELIVERY);
    submit(b, &p[2], STORE_DELIVERY);
    atomic_store(&shim.full_write, -1);
    atomic_store(&gate, true);
    wait_all(b);
    for (int i = 0; i < 3; i++) {
        assert_true(p[i].op.failed);
        assert_int_equal(p[i].op.err.kind, ERR_TEMP);
        assert_int_equal(p[i].op.err.why, ERR_WHY_NO_SPACE);
    }
    assert_false(store_read_only(b->store));
    atomic_store(&shim.full_write, 0);
    struct probe again = {0};
    submit(b, &again, STORE_DELIVERY);
    wait_all(b);
    assert_false(again.op.failed);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM probe"), 1);
}

/* The commit of a batch fails for a passing reason: each member gets a transaction of its own. */
static void members_of_a_failed_commit_run_again_alone(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe p[3] = {{.gate = &gate, .value = 1}, {.value = 2}, {.value = 4, .slices = 1}};

    bed_needs_sqlite(b);
    submit(b, &p[0], STORE_DELIVERY);
    wait_ran(&p[0]);
    submit(b, &p[1], STORE_DELIVERY);
    submit(b, &p[2], STORE_DELIVERY);
    atomic_store(&shim.full_write, 1);
    atomic_store(&gate, true);
    wait_all(b);
    for (int i = 0; i < 3; i++) {
        assert_false(p[i].op.failed);
        assert_int_equal(p[i].reruns, 1);
    }
    assert_int_equal(p[2].runs, 3);
    assert_int_equal(bed_int(b, "SELECT SUM(value) FROM probe"), 1 + 2 + 4 + 4);
}

static void a_failed_flush_makes_the_store_read_only(void **state)
{
    struct bed *b = *state;
    atomic_bool gate = false;
    struct probe p[3] = {{.gate = &gate}}, late = {0};

    bed_needs_sqlite(b);
    submit(b, &p[0], STORE_DELIVERY);
    wait_ran(&p[0]);
    submit(b, &p[1], STORE_INTERACTIVE);
    submit(b, &p[2], STORE_BULK);
    atomic_store(&shim.fail_sync, 1); /* once: the next one would succeed, and lie */
    atomic_store(&gate, true);
    wait_all(b);
    for (int i = 0; i < 3; i++) {
        assert_true(p[i].op.failed);
        assert_int_equal(p[i].op.err.kind, ERR_TEMP);
        assert_int_equal(p[i].op.err.why, ERR_WHY_READ_ONLY);
    }
    assert_true(store_read_only(b->store));
    late.op.run = probe_run;
    assert_int_equal(store_submit(b->store, &late.op), -1);
    assert_int_equal(late.op.err.why, ERR_WHY_READ_ONLY);
}

static void reading_goes_on_when_read_only(void **state)
{
    struct bed *b = *state;
    struct probe p = {0}, after = {0};

    bed_needs_sqlite(b);
    bed_deliver(b, "a@x", "INBOX", STR("Subject: a\r\n\r\nb\r\n"));
    uint64_t account = bed_account(b, "a@x");
    atomic_store(&shim.fail_sync, 1);
    submit(b, &p, STORE_DELIVERY);
    wait_all(b);
    assert_true(store_read_only(b->store));
    assert_int_equal(bed_mailbox(b, account, "INBOX").messages, 1);
    bed_reopen(b);
    assert_false(store_read_only(b->store));
    submit(b, &after, STORE_DELIVERY);
    wait_all(b);
    assert_false(after.op.failed);
    assert_int_equal(bed_mailbox(b, account, "INBOX").messages, 1);
    bed_check(b);
}

static int zeros_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    return sql_exec(store_tx_sql(tx), "INSERT INTO probe(value) VALUES (zeroblob(68000000))", err);
}

static void a_large_wal_is_cut_when_no_reader_needs_it(void **state)
{
    struct bed *b = *state;
    struct store_stats stats;
    struct err err;

    bed_needs_sqlite(b);
    assert_int_equal(store_read_begin(b->reader, &err), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM probe"), 0);
    bed_call(b, zeros_fn, NULL);
    bed_account(b, "a@x"); /* what follows the first commit is done before the second begins */
    store_stats(b->store, &stats);
    assert_true(stats.wal_bytes > 64 << 20);
    store_read_end(b->reader);
    do {
        bed_account(b, "a@x");
        store_stats(b->store, &stats);
    } while (stats.wal_bytes > 1 << 20);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM probe"), 1);
}

static void on_swept(void *ctx)
{
    (*(int *)ctx)++;
}

static void sweeping_a_read_only_store_is_answered(void **state)
{
    struct bed *b = *state;
    struct probe p = {0};
    int swept = 0;

    bed_needs_sqlite(b);
    atomic_store(&shim.fail_sync, 1);
    submit(b, &p, STORE_DELIVERY);
    wait_all(b);
    store_sweep(b->store, on_swept, &swept);
    assert_int_equal(swept, 0);
    while (!swept)
        bed_turn(b);
}

/* ---- Without the loop. */

struct waiter {
    struct bed *bed;
    struct probe probe;
    int rc;
};

static void *wait_thread(void *arg)
{
    struct waiter *w = arg;

    w->probe.op.run = probe_run;
    w->rc = store_submit_wait(w->bed->store, &w->probe.op);
    return NULL;
}

static void other_threads_may_wait(void **state)
{
    struct bed *b = *state;
    struct waiter w[4];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        w[i] = (struct waiter){.bed = b, .probe = {.value = 1, .fail = i == 2}};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_thread, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(w[i].rc, i == 2 ? -1 : 0);
        assert_int_equal(w[i].probe.done, 0);
    }
    assert_int_equal(bed_int(b, "SELECT SUM(value) FROM probe"), 3);
}

static void closing_commits_what_waits(void **state)
{
    struct bed *b = *state;
    struct probe p[50] = {0};

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        submit(b, &p[i], i % 2 ? STORE_DELIVERY : STORE_BULK);
    bed_reopen(b);
    assert_int_equal(b->pending, 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM probe"), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_gathers_is_one_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(time_ends_a_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_member_answers_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_member_takes_its_counters_back, setup, teardown),
        cmocka_unit_test_setup_teardown(better_classes_go_first, setup, teardown),
        cmocka_unit_test_setup_teardown(slices_are_answered_once_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(members_of_a_failed_commit_run_again_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_flush_makes_the_store_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_goes_on_when_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_wal_is_cut_when_no_reader_needs_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sweeping_a_read_only_store_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(other_threads_may_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_commits_what_waits, setup, teardown),
    };
    shim_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
