/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The tap sees what SQLite writes and flushes, and only of connections that name it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/sql/sql_tap.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct seen {
    char path[64];
    uint64_t events, wal_bytes, wal_flushes, covered;
    bool found;
} seen;

static bool is_wal(const char *path)
{
    return str_ends(str_from(path), STR("-wal"));
}

static void on_write(void *ctx, const char *path, uint64_t at, const void *p, size_t n)
{
    (void)at;
    assert_ptr_equal(ctx, &seen);
    assert_true(str_starts(str_from(path), str_from(seen.path)));
    seen.events++;
    if (!is_wal(path))
        return;
    seen.wal_bytes += n;
    size_t where;
    seen.found = seen.found || str_find(str_of(p, n), STR("a word to be found"), &where);
}

static void on_truncate(void *ctx, const char *path, uint64_t size)
{
    (void)ctx;
    (void)path;
    (void)size;
    seen.events++;
}

static uint64_t flush_begins(void *ctx)
{
    (void)ctx;
    return seen.events;
}

static void on_flush(void *ctx, const char *path, uint64_t began)
{
    (void)ctx;
    if (!is_wal(path))
        return;
    seen.wal_flushes++;
    seen.covered = began;
}

static const struct sql_tap tap = {.name = "seen",
                                   .ctx = &seen,
                                   .on_write = on_write,
                                   .on_truncate = on_truncate,
                                   .flush_begins = flush_begins,
                                   .on_flush = on_flush};

static struct sql *open_with(const char *vfs, enum sql_sync sync)
{
    struct sql_conf conf = {.path = seen.path, .sync = sync, .vfs = vfs};
    struct err err = {0};
    struct sql *db;

    if (sql_open(&conf, &db, &err) != 0)
        fail_msg("%s", err.text);
    return db;
}

static void insert(struct sql *db)
{
    struct err err = {0};

    seen.wal_bytes = seen.wal_flushes = seen.covered = seen.events = 0;
    seen.found = false;
    assert_int_equal(sql_exec(db, "CREATE TABLE IF NOT EXISTS t(x)", &err), 0);
    assert_int_equal(sql_exec(db, "INSERT INTO t VALUES ('a word to be found')", &err), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(seen.path, sizeof seen.path, "/tmp/ph-tap-XXXXXX");
    int fd = mkstemp(seen.path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    char side[80];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(side, sizeof side, "%s%s", seen.path, i ? "-shm" : "-wal");
        unlink(side);
    }
    return unlink(seen.path);
}

static void test_sees_writes_and_flushes(void **state)
{
    struct sql_tap_vfs *v;
    struct err err = {0};
    struct sql *db;

    (void)state;
    assert_int_equal(sql_tap_install(&tap, &v, &err), 0);
    db = open_with("seen", SQL_SYNC_FULL);
    insert(db);
    assert_true(seen.wal_bytes >= 4096 && seen.found);
    assert_true(seen.wal_flushes >= 2);
    assert_int_equal(seen.covered, seen.events); /* the commit's flush came last */
    sql_close(&db);

    db = open_with("seen", SQL_SYNC_OFF);
    insert(db);
    assert_true(seen.wal_bytes >= 4096 && seen.found);
    assert_int_equal(seen.wal_flushes, 0);

    struct sql *other = open_with(NULL, SQL_SYNC_FULL); /* the same locks: both at once */
    insert(other);
    assert_int_equal(seen.events, 0);
    sql_close(&other);
    sql_close(&db);
    sql_tap_remove(&v);
    assert_null(v);
}

static void test_unknown_name(void **state)
{
    struct sql_conf conf = {.path = seen.path, .vfs = "nobody"};
    struct err err = {0};
    struct sql *db;

    (void)state;
    assert_int_equal(sql_open(&conf, &db, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sees_writes_and_flushes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_name, setup, teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
