/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Tables that are written behind: here one of counters. */
#include "appliance/store/behind.h"
#include "bed.h"
#include <stdatomic.h>
#include <time.h>

struct count {
    struct behind_row link;
    struct str key;
    int64_t n;
};
static const struct log_ctx log_test = {.module = "test"};

static int add_up(struct sql *db, const struct count *c, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "UPDATE counter SET n = n + ? WHERE k = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, c->n);
    sql_bind_text(st, 2, c->key);
    if (sql_run(st, err))
        return -1;
    if (sql_changes(db))
        return 0;
    if (sql_prepare(db, "INSERT INTO counter(k, n) VALUES (?, ?)", &st, err))
        return -1;
    sql_bind_text(st, 1, c->key);
    sql_bind_int(st, 2, c->n);
    return sql_run(st, err);
}

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    for (struct behind_row *it = first; it; it = it->next)
        if (add_up(db, CONTAINER_OF(it, struct count, link), err))
            return -1;
    return 0;
}

static const struct behind_kind kind = {
    .log = &log_test, .event = "not_written", .after_ms = 5, .rows_max = 50, .write = write_all};

static bool note(struct behind *b, const char *key)
{
    struct arena *a;
    bool made;
    struct count *c = behind_add_key(b, str_from(key), sizeof *c, &a, &made);

    if (!c)
        return false;
    if (made)
        c->key = arena_str(a, str_from(key));
    c->n++;
    return true;
}

static void table(struct bed *b)
{
    bed_exec(b, "CREATE TABLE counter(k VARCHAR(50) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)");
}

static void collected_and_written(void **state)
{
    struct bed *b = *state;
    struct behind *t;

    table(b);
    t = behind_new(b->loop, b->store, &kind);
    assert_false(behind_waits(t));
    for (int i = 0; i < 10; i++)
        assert_true(note(t, i % 2 ? "odd" : "even"));
    assert_true(behind_waits(t));
    while (behind_waits(t))
        bed_turn(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM counter WHERE n = 5"), 2);
    note(t, "odd");
    behind_free(&t); /* writes what waits */
    assert_int_equal(bed_int(b, "SELECT n FROM counter WHERE k = 'odd'"), 6);
}

static void no_more_than_so_many_wait(void **state)
{
    struct bed *b = *state;
    struct behind *t;
    unsigned taken = 0;

    table(b);
    t = behind_new(b->loop, b->store, &kind);
    for (int i = 0; i < 60; i++) {
        char key[20];
        snprintf(key, sizeof key, "k%d", i);
        taken += note(t, key);
    }
    assert_int_equal(taken, 50);
    assert_true(note(t, "k7")); /* it waits already */
    behind_free(&t);
    assert_int_equal(bed_int(b, "SELECT SUM(n) FROM counter"), 51);
}

static void what_cannot_be_written_is_given_up(void **state)
{
    struct bed *b = *state;
    struct behind *t = behind_new(b->loop, b->store, &kind); /* there is no table */

    note(t, "x");
    while (behind_waits(t))
        bed_turn(b);
    note(t, "x");
    behind_free(&t);
}

static atomic_bool writing;

static int write_slowly(struct sql *db, struct behind_row *first, struct err *err)
{
    atomic_store(&writing, true);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    return write_all(db, first, err);
}

static void the_end_waits_for_what_is_under_way(void **state)
{
    static const struct behind_kind slow = {
        .log = &log_test, .event = "not_written", .rows_max = 50, .write = write_slowly};
    struct bed *b = *state;
    struct behind *t;

    table(b);
    atomic_store(&writing, false);
    t = behind_new(b->loop, b->store, &slow);
    assert_true(note(t, "x"));
    while (!atomic_load(&writing))
        bed_turn(b);
    behind_free(&t);
    assert_int_equal(bed_int(b, "SELECT n FROM counter"), 1);
}

static void nodes_add_up(void **state)
{
    struct bed *nodes[2] = {bed_new_node(NULL)};
    struct behind *t[2];

    (void)state;
    nodes[1] = bed_new_node(nodes[0]);
    table(nodes[0]);
    for (int k = 0; k < 2; k++)
        t[k] = behind_new(nodes[k]->loop, nodes[k]->store, &kind);
    for (int i = 0; i < 200; i++)
        for (int k = 0; k < 2; k++) {
            char key[20];
            snprintf(key, sizeof key, "k%d", i / 5); /* both make the row at about the same time */
            assert_true(note(t[k], key));
            bed_turn(nodes[k]);
        }
    behind_free(&t[0]);
    behind_free(&t[1]);
    assert_int_equal(bed_int(nodes[0], "SELECT SUM(n) FROM counter"), 400);
    assert_int_equal(bed_int(nodes[0], "SELECT COUNT(*) FROM counter WHERE n = 10"), 40);
    bed_free(&nodes[1]);
    bed_free(&nodes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(collected_and_written),
        BED_TEST(no_more_than_so_many_wait),
        BED_TEST(the_end_waits_for_what_is_under_way),
        BED_TEST(what_cannot_be_written_is_given_up),
        cmocka_unit_test(nodes_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
