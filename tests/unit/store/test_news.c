/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Rows that several nodes keep in memory: here a table of words, written behind. */
#include "appliance/store/behind.h"
#include "appliance/store/node.h"
#include "bed.h"

enum { PAGES = 1200 /* words, more than two pages */ };

struct word {
    struct behind_row link;
    struct str key, value; /* value.p NULL: delete it */
};
struct memory {
    struct bed *bed;
    struct behind *behind;
    struct map *words;
    unsigned taken, forgotten;
};
static const struct log_ctx log_test = {.module = "test"};
static struct memory *a, *b;

static int write_word(struct sql *db, const struct word *w, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM word WHERE k = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, w->key);
    if (sql_run(st, err))
        return -1;
    if (!w->value.p)
        return 0;
    if (sql_prepare(db, "INSERT INTO word(k, v) VALUES (?, ?)", &st, err))
        return -1;
    sql_bind_text(st, 1, w->key);
    sql_bind_text(st, 2, w->value);
    return sql_run(st, err);
}

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    for (struct behind_row *it = first; it; it = it->next)
        if (write_word(db, CONTAINER_OF(it, struct word, link), err))
            return -1;
    return 0;
}

static int read_words(struct sql *db, const struct news_ask *ask, struct news_rows *out,
                      struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    ask->max ? "SELECT k, v FROM word WHERE k > ? ORDER BY k LIMIT ?"
                             : "SELECT k, v FROM word WHERE k = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, ask->key);
    if (ask->max)
        sql_bind_int(st, 2, (int64_t)ask->max);
    while ((rc = sql_step(st, err)) == 1) {
        struct str *row = news_row(out, sql_text(st, 0), sizeof *row);
        *row = arena_str(news_arena(out), sql_text(st, 1));
    }
    sql_reset(st);
    return rc;
}

/* ---- Memory. */

static void set(struct memory *m, struct str key, const struct str *value)
{
    char *new = value ? str_dup_z(*value) : NULL;
    char *old = new ? map_set(m->words, key, new) : map_del(m->words, key);

    mem_free(old);
}

static void take(void *ctx, struct str key, const void *row)
{
    struct memory *m = ctx;

    m->taken++;
    set(m, key, row);
}

static void forget(void *ctx)
{
    struct memory *m = ctx;
    struct str key;
    void *value;
    size_t at = 0;

    m->forgotten++;
    while (map_next(m->words, &at, &key, &value)) {
        map_del(m->words, key);
        mem_free(value);
    }
}

static const struct news_kind news = {.read = read_words, .take = take, .forget = forget};
static const struct behind_kind kind = {.log = &log_test,
                                        .event = "not_written",
                                        .after_ms = 5,
                                        .rows_max = 5000,
                                        .write = write_all,
                                        .table = "word",
                                        .news = &news};

static struct memory *memory_new(struct bed *bed)
{
    struct memory *m = MEM_NEW(struct memory);

    m->bed = bed;
    m->words = map_new();
    m->behind = behind_new(bed->loop, bed->store, &kind);
    behind_hear(m->behind, m);
    return m;
}

static void memory_free(struct memory **mp)
{
    struct memory *m = *mp;

    *mp = NULL;
    behind_free(&m->behind);
    forget(m);
    map_free(&m->words);
    mem_free(m);
}

static void put(struct memory *m, const char *key, const char *value)
{
    struct str v = value ? str_from(value) : STR_NULL;
    struct arena *arena;
    bool made;
    struct word *w = behind_add_key(m->behind, str_from(key), sizeof *w, &arena, &made);

    assert_non_null(w);
    w->key = arena_str(arena, str_from(key));
    w->value = value ? arena_str(arena, v) : STR_NULL;
    set(m, str_from(key), value ? &v : NULL);
}

static bool is(const struct memory *m, const char *key, const char *value)
{
    const char *found = map_get(m->words, str_from(key));

    return value ? found && strcmp(found, value) == 0 : !found;
}

static void turn(void)
{
    bed_turn(a->bed);
    if (b)
        bed_turn(b->bed);
}

static void until(const struct memory *m, const char *key, const char *value)
{
    while (!is(m, key, value))
        turn();
}

static void until_written(void)
{
    while (behind_waits(a->behind) || (b && behind_waits(b->behind)))
        turn();
}

/* ---- Tests, one after the other on the same two nodes. */

static int64_t told(void)
{
    return bed_int(a->bed, "SELECT COUNT(*) FROM row_change");
}

static void alone_nothing_is_told(void **state)
{
    (void)state;
    bed_exec(a->bed, "CREATE TABLE word(k VARCHAR(50) NOT NULL PRIMARY KEY, v VARCHAR(50) NOT "
                     "NULL)");
    for (int i = 0; i < PAGES; i++) {
        char key[20];
        snprintf(key, sizeof key, "k%d", i);
        put(a, key, "before");
    }
    until_written();
    assert_int_equal(told(), 0);
    assert_int_equal(bed_int(a->bed, "SELECT COUNT(*) FROM store_meta WHERE name = 'watch-14'"), 0);
    assert_int_equal(a->taken, 0);
}

/* What is written before the others know of a new node, too. */
static void who_joins_reads_again(void **state)
{
    (void)state;
    b = memory_new(bed_new_node(a->bed)); /* which has read nothing at its start */
    put(a, "early", "1");
    until(b, "early", "1");
    until(b, "k999", "before"); /* the last one by its bytes */
    assert_int_equal(map_count(b->words), PAGES + 1);
    assert_int_equal(b->forgotten, 0);
    while (!node_others(a->bed->store))
        turn();
}

static void each_hears_the_other(void **state)
{
    int64_t before = told();

    (void)state;
    put(a, "x", "1");
    put(b, "y", "2");
    until(b, "x", "1");
    until(a, "y", "2");
    put(a, "y", "3");
    put(b, "x", NULL);
    until(b, "y", "3");
    until(a, "x", NULL);
    assert_int_equal(told(), before + 4);
}

static void the_last_one_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char value[20];
        snprintf(value, sizeof value, "%d", i);
        put(i % 2 ? a : b, "both", value);
        put(i % 3 ? a : b, "both", value);
        for (int k = 0; k < i % 5; k++)
            turn();
    }
    until_written();
    put(a, "end", "a"); /* after all of those */
    until(b, "end", "a");
    put(b, "end", "b");
    until(a, "end", "b");
    assert_string_equal(map_get(a->words, STR("both")), map_get(b->words, STR("both")));
    char row[80];
    snprintf(row, sizeof row, "SELECT COUNT(*) FROM word WHERE k = 'both' AND v = '%s'",
             (char *)map_get(a->words, STR("both")));
    assert_int_equal(bed_int(a->bed, row), 1);
}

static int tell_and_fail(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    news_tell(tx, "word", STR("never"));
    return ERR(err, ERR_PERM, "on purpose");
}

static void what_is_undone_is_not_told(void **state)
{
    int64_t before = told();
    struct err err;

    (void)state;
    assert_int_equal(bed_try_call(a->bed, tell_and_fail, NULL, &err), -1);
    put(a, "x", "4");
    until(b, "x", "4");
    assert_int_equal(told(), before + 1);
    assert_int_equal(bed_int(a->bed, "SELECT MAX(seq) FROM row_change"), before + 1);
}

static int remove_all(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    return sql_exec(store_tx_sql(tx), "DELETE FROM row_change", err);
}

/* In one transaction: a change, and row_change goes back no further than after it. */
static int miss_one(struct store_tx *tx, void *ctx, struct err *err)
{
    return remove_all(tx, ctx, err) ||
                   sql_exec(store_tx_sql(tx), "DELETE FROM word WHERE k = 'k1'", err) ||
                   sql_exec(store_tx_sql(tx), "UPDATE word SET v = 'missed' WHERE k = 'k2'", err) ||
                   sql_exec(store_tx_sql(tx),
                            "UPDATE store_meta SET value = value + 7 WHERE name = 'watch-14'", err)
               ? -1
               : 0;
}

static void who_was_away_for_too_long_reads_all(void **state)
{
    unsigned forgotten = b->forgotten;

    (void)state;
    assert_true(is(b, "k1", "before"));
    bed_call(a->bed, miss_one, NULL);
    put(a, "later", "1");
    until(b, "later", "1");
    until(b, "k2", "missed");
    assert_true(is(b, "k1", NULL));
    until(b, "k999", "before");
    assert_true(b->forgotten > forgotten);
    put(b, "x", "5"); /* and goes on as before */
    until(a, "x", "5");
    put(a, "x", "6");
    until(b, "x", "6");
}

static void the_one_that_is_left_stops(void **state)
{
    struct bed *bed = b->bed;

    (void)state;
    memory_free(&b);
    bed_free(&bed);
    while (node_others(a->bed->store))
        turn();
    int64_t before = told();
    put(a, "x", "7");
    until_written();
    assert_int_equal(told(), before);
}

static int setup(void **state)
{
    (void)state;
    a = memory_new(bed_new_node(NULL));
    return 0;
}

static int teardown(void **state)
{
    struct bed *bed = a->bed, *other = b ? b->bed : NULL;

    (void)state;
    if (b) {
        memory_free(&b);
        bed_free(&other);
    }
    memory_free(&a);
    bed_free(&bed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_nothing_is_told),
        cmocka_unit_test(who_joins_reads_again),
        cmocka_unit_test(each_hears_the_other),
        cmocka_unit_test(the_last_one_stays),
        cmocka_unit_test(what_is_undone_is_not_told),
        cmocka_unit_test(who_was_away_for_too_long_reads_all),
        cmocka_unit_test(the_one_that_is_left_stops),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
