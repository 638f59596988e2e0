/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What only a server can do: types of its own, connections that break, deadlocks, settings that
 * would lose mail. Needs PH_TEST_DATABASE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>

#include "tests/unit/sql/tcp_cut.h"
#include "tests/unit/sql_world.h"

struct scratch {
    struct sql_world world;
    struct sql *db;
};

static struct sql *open_with(const struct sql_server *server)
{
    struct sql_conf conf = {.server = server, .busy_ms = 30000};
    struct err err = {0};
    struct sql *db = NULL;

    if (sql_open(&conf, &db, &err) != 0)
        fail_msg("%s", err.text);
    return db;
}

static int setup(void **state)
{
    struct scratch *s = MEM_NEW(struct scratch);

    *state = s;
    if (sql_world_open(&s->world))
        s->db = open_with(&s->world.server);
    return 0;
}

static int teardown(void **state)
{
    struct scratch *s = *state;

    sql_close(&s->db);
    sql_world_close(&s->world);
    mem_free(s);
    return 0;
}

static struct scratch *need(void **state)
{
    struct scratch *s = *state;

    if (!s->db) {
        print_message("# no server: PH_TEST_DATABASE isn't set\n");
        skip();
    }
    return s;
}

static void run(struct sql *db, const char *text)
{
    struct err err = {0};

    if (sql_exec(db, text, &err) != 0)
        fail_msg("%s: %s", text, err.text);
}

static int64_t one(struct sql *db, const char *text)
{
    struct sql_stmt *st;
    struct err err = {0};

    if (sql_prepare(db, text, &st, &err) != 0 || sql_step(st, &err) != 1)
        fail_msg("%s: %s", text, err.text);
    int64_t v = sql_int(st, 0);
    sql_reset(st);
    return v;
}

static int try(struct sql *db, const char *text, struct err *err)
{
    struct sql_stmt *st;

    return sql_prepare(db, text, &st, err) == 0 ? sql_run(st, err) : -1;
}

/* ---- Values. */

static void every_type_is_read(void **state)
{
    struct scratch *s = need(state);
    struct sql_stmt *st;
    struct err err = {0};

    run(s->db, "CREATE TABLE t(a TINYINT UNSIGNED, b BIGINT UNSIGNED, c DECIMAL(20, 2), d DOUBLE, "
               "e VARCHAR(20), f DATE)");
    run(s->db,
        "INSERT INTO t VALUES (200, 18446744073709551615, -12.50, 2.5, '17x', '2026-01-02')");
    run(s->db, "INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, NULL)");
    assert_int_equal(
        sql_prepare(
            s->db,
            "SELECT a, b, c, d, e, f, a = 200, COUNT(*) OVER (), NULL, ? FROM t ORDER BY a DESC",
            &st, &err),
        0);
    sql_bind_text(st, 1, STR("bound"));
    assert_int_equal(sql_step(st, &err), 1);
    assert_int_equal(sql_int(st, 0), 200);
    assert_true((uint64_t)sql_int(st, 1) == UINT64_MAX);
    assert_true(str_eq(sql_text(st, 1), STR("18446744073709551615")));
    assert_int_equal(sql_int(st, 2), -12);
    assert_true(str_eq(sql_text(st, 2), STR("-12.50")));
    assert_int_equal(sql_int(st, 3), 2);
    assert_int_equal(sql_int(st, 4), 17);
    assert_true(str_eq(sql_text(st, 5), STR("2026-01-02")));
    assert_int_equal(sql_int(st, 6), 1);
    assert_int_equal(sql_int(st, 7), 2);
    assert_true(sql_is_null(st, 8));
    assert_true(str_eq(sql_text(st, 9), STR("bound")));
    assert_true(str_eq(sql_text(st, 0), STR("200")));
    assert_int_equal(sql_step(st, &err), 1);
    for (int i = 0; i < 6; i++) {
        assert_true(sql_is_null(st, i));
        assert_int_equal(sql_int(st, i), 0);
        assert_null(sql_text(st, i).p);
    }
    sql_reset(st);
    assert_int_equal(one(s->db, "SELECT SUM(a) FROM t"), 200); /* DECIMAL */
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t WHERE a > 255"), 0);
}

static void rows_of_any_size(void **state)
{
    static const size_t sizes[] = {0, 1, 255, 256, 257, 70000, 3000000, 10, 65536, 300};
    struct scratch *s = need(state);
    char *bytes = mem_alloc(3000000);
    struct sql_stmt *st, *other;
    struct err err = {0};

    run(s->db, "CREATE TABLE t(i BIGINT PRIMARY KEY, b LONGBLOB NOT NULL, c LONGBLOB NOT NULL)");
    for (size_t i = 0; i < 3000000; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(sql_prepare(s->db, "INSERT INTO t VALUES (?, ?, ?)", &st, &err), 0);
        sql_bind_int(st, 1, (int64_t)i);
        sql_bind_blob(st, 2, str_of(bytes, sizes[i]));
        sql_bind_blob(st, 3, str_of(bytes, sizes[ARRAY_LEN(sizes) - 1 - i]));
        assert_int_equal(sql_run(st, &err), 0);
    }
    assert_int_equal(sql_prepare(s->db, "SELECT b, c FROM t ORDER BY i", &st, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(sql_step(st, &err), 1);
        assert_true(str_eq(sql_blob(st, 0), str_of(bytes, sizes[i])));
        assert_true(str_eq(sql_blob(st, 1), str_of(bytes, sizes[ARRAY_LEN(sizes) - 1 - i])));
        /* another statement runs in between */
        assert_int_equal(sql_prepare(s->db, "SELECT LENGTH(b) FROM t WHERE i = ?", &other, &err),
                         0);
        sql_bind_int(other, 1, (int64_t)i);
        assert_int_equal(sql_step(other, &err), 1);
        assert_int_equal(sql_int(other, 0), sizes[i]);
        sql_reset(other);
    }
    assert_int_equal(sql_step(st, &err), 0);
    sql_reset(st);
    mem_free(bytes);
}

static void too_large_a_value_breaks_nothing(void **state)
{
    struct scratch *s = need(state);
    int64_t max = one(s->db, "SELECT @@max_allowed_packet");
    char *bytes = mem_alloc((size_t)max);
    struct sql_stmt *st;
    struct err err = {0};

    run(s->db, "CREATE TABLE t(b LONGBLOB NOT NULL)");
    assert_int_equal(sql_begin(s->db, true, &err), 0);
    assert_int_equal(sql_prepare(s->db, "INSERT INTO t VALUES (?)", &st, &err), 0);
    sql_bind_blob(st, 1, str_of(bytes, (size_t)max));
    assert_int_equal(sql_run(st, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    assert_non_null(strstr(err.text, "max_allowed_packet"));
    sql_bind_blob(st, 1, STR("small"));
    assert_int_equal(sql_run(st, &err), 0);
    assert_int_equal(sql_commit(s->db, &err), 0);
    mem_free(bytes);
}

/* Text of our own tables is bytes, as in SQLite. */
static void text_is_bytes(void **state)
{
    static const char *const tables[] = {"CREATE TABLE t(x VARCHAR(1000) NOT NULL PRIMARY KEY)",
                                         NULL};
    static const struct sql_migration list[] = {{"text", tables}};
    static const char *const texts[] = {"a", "a ", "A", "\xc3\xa4", "\xff\xfe", "a\x80z", ""};
    struct scratch *s = need(state);
    struct sql_stmt *st;
    struct err err = {0};

    assert_int_equal(sql_migrate(s->db, "test", list, 1, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(sql_prepare(s->db, "INSERT INTO t VALUES (?)", &st, &err), 0);
        sql_bind_text(st, 1, str_from(texts[i]));
        if (sql_run(st, &err) != 0)
            fail_msg("%zu: %s", i, err.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(sql_prepare(s->db, "SELECT x FROM t WHERE x = ?", &st, &err), 0);
        sql_bind_text(st, 1, str_from(texts[i]));
        assert_int_equal(sql_step(st, &err), 1);
        assert_true(str_eq(sql_text(st, 0), str_from(texts[i])));
        assert_int_equal(sql_step(st, &err), 0);
        sql_reset(st);
    }
}

static void changes_counts_rows_found(void **state)
{
    struct scratch *s = need(state);
    struct err err = {0};

    run(s->db, "CREATE TABLE t(i BIGINT)");
    run(s->db, "INSERT INTO t VALUES (1), (1)");
    assert_int_equal(try(s->db, "UPDATE t SET i = 1 WHERE i = 1", &err), 0);
    assert_int_equal(sql_changes(s->db), 2);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 2);
    assert_int_equal(sql_changes(s->db), 2); /* a SELECT changes nothing of that */
}

/* ---- Connections. */

static void kill_connection(struct scratch *s, int64_t id)
{
    struct sql *other = open_with(&s->world.server);
    char text[100];

    snprintf(text, sizeof text, "KILL %lld", (long long)id);
    run(other, text);
    snprintf(text, sizeof text,
             "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %lld", (long long)id);
    while (one(other, text) != 0)
        sched_yield();
    sql_close(&other);
}

static void a_lost_connection_comes_back(void **state)
{
    struct scratch *s = need(state);
    struct err err = {0};
    struct sql_stmt *st;

    run(s->db, "CREATE TABLE t(i BIGINT)");
    assert_int_equal(try(s->db, "INSERT INTO t VALUES (1)", &err), 0);
    int64_t id = one(s->db, "SELECT CONNECTION_ID()");
    kill_connection(s, id);
    assert_int_equal(sql_prepare(s->db, "SELECT CONNECTION_ID()", &st, &err), 0);
    assert_int_not_equal(one(s->db, "SELECT CONNECTION_ID()"), id); /* reads again */
    kill_connection(s, one(s->db, "SELECT CONNECTION_ID()"));
    if (sql_begin(s->db, true, &err) || try(s->db, "INSERT INTO t VALUES (1)", &err))
        fail_msg("%s", err.text);
    assert_int_equal(sql_commit(s->db, &err), 0);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 2);
    assert_int_equal(sql_prepare(s->db, "SELECT @@sql_mode", &st, &err), 0); /* a whole session */
    assert_int_equal(sql_step(st, &err), 1);
    size_t at;
    assert_true(str_find(sql_text(st, 0), STR("ANSI_QUOTES"), &at));
    sql_reset(st);
}

/* What follows the loss must not become a transaction of its own. */
static void a_transaction_that_is_lost_stays_lost(void **state)
{
    struct scratch *s = need(state);
    struct err err = {0};

    run(s->db, "CREATE TABLE t(i BIGINT)");
    assert_int_equal(sql_begin(s->db, true, &err), 0);
    assert_int_equal(try(s->db, "INSERT INTO t VALUES (1)", &err), 0);
    kill_connection(s, one(s->db, "SELECT CONNECTION_ID()"));
    assert_int_equal(try(s->db, "INSERT INTO t VALUES (2)", &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_false(sql_in_transaction(s->db));
    assert_int_equal(try(s->db, "INSERT INTO t VALUES (3)", &err), -1);
    assert_int_equal(sql_exec(s->db, "INSERT INTO t VALUES (4)", &err), -1);
    assert_int_equal(try(s->db, "SELECT 5", &err), -1);
    assert_int_equal(sql_savepoint(s->db, &err), -1);
    assert_int_equal(sql_commit(s->db, &err), -1);
    assert_int_equal(err.why, ERR_WHY_OTHER); /* known: it is not there */
    sql_rollback(s->db);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 0);
    assert_int_equal(try(s->db, "INSERT INTO t VALUES (6)", &err), 0);
}

static int commit_one(struct sql *db, struct err *err)
{
    assert_int_equal(sql_begin(db, true, err), 0);
    assert_int_equal(try(db, "INSERT INTO t VALUES (1)", err), 0);
    return sql_commit(db, err);
}

static void a_lost_answer_to_commit_is_unknown(void **state)
{
    struct scratch *s = need(state);
    struct sql_server server = s->world.server;
    struct tcp_cut wire;
    struct err err = {0};
    struct sql *db;

    run(s->db, "CREATE TABLE t(i BIGINT)");
    tcp_cut_start(&wire, server.port);
    server.socket = NULL;
    server.port = wire.port;
    server.host = "127.0.0.1";
    db = open_with(&server);
    assert_int_equal(commit_one(db, &err), 0);
    assert_int_equal(sql_begin(db, true, &err), 0);
    assert_int_equal(try(db, "INSERT INTO t VALUES (1)", &err), 0);
    atomic_store(&wire.when, CUT_REPLIES);
    assert_int_equal(sql_commit(db, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(err.why, ERR_WHY_UNKNOWN);
    assert_false(sql_in_transaction(db));
    atomic_store(&wire.when, CUT_NOT);
    assert_int_equal(sql_begin(db, true, &err), 0);
    assert_int_equal(one(db, "SELECT COUNT(*) FROM t FOR UPDATE"), 2); /* it was done */
    assert_int_equal(try(db, "INSERT INTO t VALUES (1)", &err), 0);
    atomic_store(&wire.when, CUT_ASKING);
    assert_int_equal(sql_commit(db, &err), -1);
    assert_int_equal(err.why, ERR_WHY_UNKNOWN);
    atomic_store(&wire.when, CUT_NOT);
    assert_int_equal(sql_begin(db, true, &err), 0);
    assert_int_equal(one(db, "SELECT COUNT(*) FROM t FOR UPDATE"), 2); /* it was not */
    sql_rollback(db);
    /* one that only read has nothing to be unknown */
    assert_int_equal(sql_begin(db, false, &err), 0);
    atomic_store(&wire.when, CUT_ASKING);
    assert_int_equal(sql_commit(db, &err), 0);
    sql_close(&db);
    tcp_cut_stop(&wire);
}

static void what_writes_is_not_sent_twice(void **state)
{
    struct scratch *s = need(state);
    struct sql_server server = s->world.server;
    struct tcp_cut wire;
    struct err err = {0};
    struct sql_stmt *st;
    struct sql *db;

    run(s->db, "CREATE TABLE t(i BIGINT)");
    tcp_cut_start(&wire, server.port);
    server.socket = NULL;
    server.port = wire.port;
    db = open_with(&server);
    assert_int_equal(sql_prepare(db, "INSERT INTO t VALUES (1)", &st, &err), 0);
    atomic_store(&wire.when, CUT_REPLIES);
    assert_int_equal(sql_run(st, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(atomic_load(&wire.asked), 1);
    atomic_store(&wire.when, CUT_NOT);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 1);
    assert_int_equal(sql_run(st, &err), 0); /* prepared again */
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 2);
    sql_close(&db);
    tcp_cut_stop(&wire);
}

/* ---- Locks. */

struct rival {
    struct sql *db;
    struct err err;
    int rc;
};

static void *rival_run(void *ctx)
{
    struct rival *r = ctx;

    r->rc = try(r->db, "UPDATE t SET n = 2 WHERE i = 1", &r->err);
    return NULL;
}

static void the_victim_of_a_deadlock_is_out(void **state)
{
    struct scratch *s = need(state);
    struct rival rival = {.db = open_with(&s->world.server)};
    struct err err = {0};
    pthread_t thread;

    run(s->db, "CREATE TABLE t(i BIGINT PRIMARY KEY, n BIGINT)");
    run(s->db, "INSERT INTO t VALUES (1, 0), (2, 0)");
    assert_int_equal(sql_begin(s->db, true, &err), 0);
    assert_int_equal(sql_begin(rival.db, true, &err), 0);
    assert_int_equal(try(s->db, "UPDATE t SET n = 1 WHERE i = 1", &err), 0);
    assert_int_equal(try(rival.db, "UPDATE t SET n = 2 WHERE i = 2", &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, rival_run, &rival), 0);
    int rc = try(s->db, "UPDATE t SET n = 1 WHERE i = 2", &err);
    struct err rival_err;
    if (rc != 0) { /* it has to give way before the other can go on */
        assert_false(sql_in_transaction(s->db));
        assert_int_equal(sql_savepoint(s->db, &rival_err), -1);
    }
    pthread_join(thread, NULL);
    assert_int_equal(rc + rival.rc, -1); /* one of them, whichever began later to wait */
    struct sql *victim = rc ? s->db : rival.db, *winner = rc ? rival.db : s->db;
    const struct err *why = rc ? &err : &rival.err;
    assert_int_equal(why->kind, ERR_TEMP);
    assert_int_equal(why->why, ERR_WHY_BUSY);
    struct err ignored;
    assert_false(sql_in_transaction(victim));
    assert_int_equal(try(victim, "INSERT INTO t VALUES (3, 3)", &ignored), -1);
    assert_int_equal(sql_commit(winner, &err), 0);
    sql_rollback(victim);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM t"), 2);
    sql_close(&rival.db);
}

/* ---- Who may be trusted. */

static void a_server_that_does_not_flush_is_refused(void **state)
{
    struct scratch *s = need(state);
    struct sql_server server = s->world.server;
    struct sql_conf conf = {.server = &server, .sync = SQL_SYNC_FULL};
    struct err err = {0};
    struct sql *db;

    assert_int_equal(one(s->db, "SELECT @@innodb_flush_log_at_trx_commit"), 0);
    server.unsafe = false;
    assert_int_equal(sql_open(&conf, &db, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "innodb_flush_log_at_trx_commit = 1"));
    assert_non_null(strstr(err.text, "database.unsafe"));
    conf.read_only = true; /* who only reads loses nothing */
    assert_int_equal(sql_open(&conf, &db, &err), 0);
    sql_close(&db);
}

static void a_table_without_transactions_is_refused(void **state)
{
    static const char *const tables[] = {"CREATE TABLE body(id %KEY%)", "CREATE TABLE x(i BIGINT)",
                                         NULL};
    static const struct sql_migration list[] = {{"tables", tables}};
    struct scratch *s = need(state);
    struct sql_server server = s->world.server;
    struct sql_conf conf = {.server = &server, .sync = SQL_SYNC_OFF};
    struct err err = {0};
    struct sql *db;

    assert_int_equal(sql_migrate(s->db, "test", list, 1, &err), 0);
    run(s->db, "CREATE TABLE foreign_one(i BIGINT) ENGINE=MyISAM"); /* not ours */
    server.unsafe = false;
    assert_int_equal(sql_open(&conf, &db, &err), 0);
    assert_int_equal(sql_migrate(db, "test", list, 1, &err), 0);
    run(s->db, "ALTER TABLE body ENGINE=MyISAM");
    assert_int_equal(sql_migrate(db, "test", list, 1, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "ALTER TABLE body ENGINE=InnoDB"));
    sql_close(&db);
}

static void a_database_of_others_is_left_alone(void **state)
{
    static const char *const tables[] = {"CREATE TABLE body(id %KEY%)", NULL};
    static const struct sql_migration list[] = {{"tables", tables}};
    struct scratch *s = need(state);
    struct err err = {0};
    int64_t version;

    /* Many programs have a table of that name. */
    run(s->db, "CREATE TABLE schema_version(installed_rank BIGINT, version BIGINT)");
    run(s->db, "CREATE TABLE customers(i BIGINT)");
    assert_int_equal(sql_schema_version(s->db, "test", &version, &err), 0);
    assert_int_equal(version, 0);
    assert_int_equal(sql_migrate(s->db, "test", list, 1, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, s->world.server.database));
    assert_non_null(strstr(err.text, "(table customers)"));
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM information_schema.tables WHERE "
                                "table_schema = DATABASE()"),
                     2);
    run(s->db, "DROP TABLE schema_version, customers");
    assert_int_equal(sql_migrate(s->db, "test", list, 1, &err), 0);
    assert_int_equal(sql_schema_version(s->db, "test", &version, &err), 0);
    assert_int_equal(version, 1);
    run(s->db, "CREATE TABLE customers(i BIGINT)"); /* whoever has put it there since */
    assert_int_equal(sql_migrate(s->db, "test", list, 1, &err), 0);
}

static int open_tls(struct scratch *s, const char *host, const char *ca, struct err *err)
{
    struct sql_server server = s->world.server;
    struct sql_conf conf = {.server = &server, .sync = SQL_SYNC_OFF};
    struct sql *db;

    server.socket = NULL;
    server.tls = SQL_TLS_REQUIRED;
    server.host = host;
    server.ca = ca;
    if (sql_open(&conf, &db, err) != 0)
        return -1;
    struct sql_stmt *st;
    assert_int_equal(sql_prepare(db, "SHOW SESSION STATUS LIKE 'Ssl_cipher'", &st, err), 0);
    assert_int_equal(sql_step(st, err), 1);
    assert_true(sql_text(st, 1).n > 0);
    sql_close(&db);
    return 0;
}

/* The certificate is for localhost, by an authority of its own. */
static void tls_is_with_whom_it_should_be(void **state)
{
    struct scratch *s = need(state);
    const char *ca = getenv("PH_TEST_DATABASE_CA");
    struct err err = {0};

    assert_non_null(ca);
    if (open_tls(s, "localhost", ca, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(open_tls(s, "127.0.0.1", ca, &err), -1); /* another name */
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(open_tls(s, "localhost", NULL, &err), -1); /* nobody vouches for it */
    assert_int_equal(open_tls(s, "localhost", "/nonexistent.pem", &err), -1);
}

/* ---- Migrations. */

static const char *const steps[] = {"CREATE TABLE a(i BIGINT)", "INSERT INTO a VALUES (1)",
                                    "CREATE INDEX a_i ON a(i)", "ALTER TABLE a ADD COLUMN j BIGINT",
                                    "UPDATE a SET j = i + 1",   NULL};
static const struct sql_migration stepwise[] = {{"steps", steps}};

/* Killed after statement `done`, before (noted = false) or after that was noted. */
static void resume_after(struct scratch *s, unsigned done, bool noted)
{
    struct err err = {0};
    char text[100];

    run(s->db, "DROP TABLE IF EXISTS schema_version, a");
    assert_int_equal(sql_migrate(s->db, "test", stepwise, 0, &err), 0);
    for (unsigned i = 0; i < done; i++)
        run(s->db, steps[i]);
    snprintf(text, sizeof text, "UPDATE schema_version SET step = %u", noted ? done : done - 1);
    run(s->db, text);
    if (sql_migrate(s->db, "test", stepwise, 1, &err) != 0)
        fail_msg("after %u: %s", done, err.text);
    assert_int_equal(one(s->db, "SELECT COUNT(*) FROM a"), 1);
    assert_int_equal(one(s->db, "SELECT j FROM a"), 2);
    assert_int_equal(one(s->db, "SELECT version * 100 + step FROM schema_version"), 100);
}

static void a_migration_goes_on_where_it_was_killed(void **state)
{
    struct scratch *s = need(state);

    for (unsigned done = 1; done <= 5; done++) {
        resume_after(s, done, true);
        if (done != 2 && done != 5) /* what isn't DDL is noted in its own transaction */
            resume_after(s, done, false);
    }
    /* but what is there and isn't ours is no step of ours */
    struct err err = {0};
    run(s->db, "DROP TABLE IF EXISTS schema_version, a");
    run(s->db, "CREATE TABLE a(i BIGINT)");
    run(s->db, "CREATE INDEX a_i ON a(i)");
    assert_int_equal(sql_migrate(s->db, "test", stepwise, 1, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_type_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_any_size, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_a_value_breaks_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_counts_rows_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_that_is_lost_stays_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_to_commit_is_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(what_writes_is_not_sent_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(the_victim_of_a_deadlock_is_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_does_not_flush_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_without_transactions_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_database_of_others_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(tls_is_with_whom_it_should_be, setup, teardown),
        cmocka_unit_test_setup_teardown(a_migration_goes_on_where_it_was_killed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
