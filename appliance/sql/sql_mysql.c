/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_mysql.c - the driver for MySQL and MariaDB: connections, transactions, tables.
 * A connection that is lost is noticed by the call that meets it and made again by the next one
 * that may: never in the middle of a transaction (sql.h). */
#include "appliance/sql/sql_mysql.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"

enum {
    LOCK_WAIT_S = 60,
    EXISTS_TABLE = 1050,
    EXISTS_COLUMN = 1060,
    EXISTS_INDEX = 1061,
    NOTHING_TO_DROP = 1091,
    NO_SUCH_TABLE = 1051
};

/* ---- Texts. */

unsigned mysql_text(struct mysql_conn *c, const char *text)
{
    if (mysql_query(c->handle, text) != 0)
        return mysql_errno(c->handle);
    for (int more = 0; more == 0; more = mysql_next_result(c->handle)) { /* -1: no more */
        MYSQL_RES *result = mysql_store_result(c->handle);
        if (!result && mysql_field_count(c->handle) != 0)
            return mysql_errno(c->handle);
        mysql_free_result(result);
    }
    if (mysql_errno(c->handle))
        return mysql_errno(c->handle);
    c->used_ms = clock_mono_ms();
    return 0;
}

/* The text lies in the handle, and is copied before that is closed. */
static int fail_text(struct mysql_conn *c, unsigned code, const char *doing, struct err *err)
{
    return mysql_fail(c, code, mysql_error(c->handle), doing, err);
}

static int driver_exec(void *conn, const char *text, struct err *err)
{
    struct mysql_conn *c = conn;
    unsigned code;

    if (mysql_conn_probe(c, err) != 0)
        return -1;
    code = mysql_text(c, text);
    if (code)
        return fail_text(c, code, "statement", err);
    c->changes = (int64_t)mysql_affected_rows(c->handle);
    c->insert_id = (int64_t)mysql_insert_id(c->handle);
    if (c->tx != MYSQL_TX_NONE && !(c->handle->server_status & SERVER_STATUS_IN_TRANS))
        c->tx = MYSQL_TX_NONE; /* DDL committed it */
    return 0;
}

/* ---- Transactions. */

static unsigned begin_texts(struct mysql_conn *c, bool write)
{
    unsigned code;

    if (write)
        return mysql_text(c, "START TRANSACTION");
    if (c->read_only)
        return mysql_text(c, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    code = mysql_text(c, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    return code ? code : mysql_text(c, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
}

static int begin(struct mysql_conn *c, bool write, struct err *err)
{
    unsigned code;

    if (c->tx == MYSQL_TX_READ || c->tx == MYSQL_TX_WRITE) /* it would commit silently */
        return ERR(err, ERR_BUG, "database: a transaction is open already");
    c->tx = MYSQL_TX_NONE;
    if (mysql_conn_need(c, err) != 0)
        return -1;
    code = begin_texts(c, write);
    if (code && mysql_code_is_loss(code)) { /* nothing is lost by doing that again */
        mysql_conn_drop(c);
        if (mysql_conn_open(c, err) != 0)
            return -1;
        code = begin_texts(c, write);
    }
    if (code)
        return fail_text(c, code, "begin", err);
    c->tx = write ? MYSQL_TX_WRITE : MYSQL_TX_READ;
    return 0;
}

static int commit(struct mysql_conn *c, struct err *err)
{
    bool wrote = c->tx == MYSQL_TX_WRITE;
    unsigned code;

    if (c->tx == MYSQL_TX_NONE)
        return ERR(err, ERR_BUG, "database: no transaction to commit");
    if (mysql_conn_need(c, err) != 0)
        return -1;
    code = mysql_text(c, "COMMIT");
    if (code == 0) {
        c->tx = MYSQL_TX_NONE;
        return 0;
    }
    fail_text(c, code, "commit", err);
    if (!mysql_code_is_loss(code))
        return -1;
    c->tx = MYSQL_TX_NONE;
    if (!wrote)
        return 0;
    err->why = ERR_WHY_UNKNOWN;
    return -1;
}

static void rollback(struct mysql_conn *c)
{
    enum mysql_tx tx = c->tx;

    c->tx = MYSQL_TX_NONE;
    if (c->handle && tx != MYSQL_TX_NONE && mysql_text(c, "ROLLBACK") != 0) {
        mysql_conn_drop(c); /* the server undoes it then */
        c->tx = MYSQL_TX_NONE;
    }
}

static int savepoint(struct mysql_conn *c, const char *text, struct err *err)
{
    unsigned code;

    if (mysql_conn_need(c, err) != 0)
        return -1;
    code = mysql_text(c, text);
    return code ? fail_text(c, code, "savepoint", err) : 0;
}

static int driver_control(void *conn, enum sql_control what, struct err *err)
{
    struct mysql_conn *c = conn;

    mysql_thread_enter();
    switch (what) {
    case SQL_BEGIN_READ:
    case SQL_BEGIN_WRITE:
        return begin(c, what == SQL_BEGIN_WRITE, err);
    case SQL_COMMIT:
        return commit(c, err);
    case SQL_ROLLBACK:
        rollback(c);
        return 0;
    case SQL_SAVEPOINT:
        return savepoint(c, "SAVEPOINT member", err);
    case SQL_SAVEPOINT_RELEASE:
        return savepoint(c, "RELEASE SAVEPOINT member", err);
    case SQL_SAVEPOINT_ROLLBACK:
        return savepoint(c, "ROLLBACK TO SAVEPOINT member", err);
    }
    return ERR(err, ERR_BUG, "database: no such control");
}

static bool driver_in_transaction(void *conn)
{
    const struct mysql_conn *c = conn;

    return c->tx == MYSQL_TX_READ || c->tx == MYSQL_TX_WRITE;
}

/* ---- Schemas. */

static bool driver_ddl_is_done(const void *conn)
{
    unsigned code = ((const struct mysql_conn *)conn)->last_error;

    return code == EXISTS_TABLE || code == EXISTS_COLUMN || code == EXISTS_INDEX ||
           code == NOTHING_TO_DROP || code == NO_SUCH_TABLE;
}

/* Another process may be at it: it's waited for, and finds nothing left to do. The lock's name is
 * the database's own: locks are the whole server's. */
static int driver_schema_lock(void *conn, bool lock, struct err *err)
{
    struct mysql_conn *c = conn;
    MYSQL_RES *result;
    MYSQL_ROW row;
    bool got;

    if (mysql_conn_probe(c, err) != 0)
        return -1;
    if (mysql_query(c->handle,
                    lock ? "SELECT GET_LOCK(CONCAT('posthouse ', MD5(DATABASE())), 60)"
                         : "SELECT RELEASE_LOCK(CONCAT('posthouse ', MD5(DATABASE())))") != 0 ||
        !(result = mysql_store_result(c->handle)))
        return fail_text(c, mysql_errno(c->handle), "lock of the schema", err);
    row = mysql_fetch_row(result);
    got = row && row[0] && row[0][0] == '1';
    mysql_free_result(result);
    if (!got)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY,
                       "database: another process is changing the schema");
    return 0;
}

static bool is_among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Somebody may have converted them: without transactions nothing here is true. */
static int driver_check_tables(void *conn, const char *const *tables, size_t n, struct err *err)
{
    struct mysql_conn *c = conn;
    MYSQL_RES *result;
    MYSQL_ROW row;
    int rc = 0;

    if (c->server.unsafe)
        return 0;
    if (mysql_conn_probe(c, err) != 0)
        return -1;
    if (mysql_query(c->handle, "SELECT table_name, engine FROM information_schema.tables WHERE "
                               "table_schema = DATABASE() AND engine <> 'InnoDB'") != 0 ||
        !(result = mysql_store_result(c->handle)))
        return fail_text(c, mysql_errno(c->handle), "tables", err);
    while (rc == 0 && (row = mysql_fetch_row(result))) {
        if (row[0] && is_among(row[0], tables, n))
            rc = ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED,
                         "table %s of the database has no transactions: run ALTER TABLE %s "
                         "ENGINE=InnoDB there (it is %s), or set database.unsafe = yes here",
                         row[0], row[0], row[1] ? row[1] : "?");
    }
    mysql_free_result(result);
    return rc;
}

/* ---- The connection. */

static void driver_close(void *conn)
{
    struct mysql_conn *c = conn;

    if (!c)
        return;
    mysql_thread_enter();
    mysql_conn_drop(c);
    mem_free(c);
}

static int driver_open(const struct sql_conf *conf, void **conn_out, struct err *err)
{
    struct mysql_conn *c = MEM_NEW(struct mysql_conn);

    c->server = *conf->server;
    c->read_only = conf->read_only;
    c->must_flush = conf->sync == SQL_SYNC_FULL && !conf->read_only && !conf->server->unsafe;
    c->busy_ms = conf->busy_ms;
    if (mysql_conn_open(c, err) != 0) {
        driver_close(c);
        return -1;
    }
    *conn_out = c;
    return 0;
}

static int64_t driver_changes(void *conn)
{
    return ((const struct mysql_conn *)conn)->changes;
}

static int64_t driver_insert_id(void *conn)
{
    return ((const struct mysql_conn *)conn)->insert_id;
}

/* ---- What is SQLite's own. */

static int64_t no_bytes(void *conn)
{
    (void)conn;
    return 0;
}

static int no_checkpoint(void *conn, bool gap, struct err *err)
{
    (void)conn;
    (void)gap;
    (void)err;
    return 0;
}

static int no_truncate(void *conn, struct err *err)
{
    (void)conn;
    (void)err;
    return 0;
}

/* The server stops by itself when a flush of its log fails. */
static bool no_flush_failed(const void *conn)
{
    (void)conn;
    return false;
}

const struct sql_driver sql_driver_mysql = {
    .engine = "mysql",
    .key_token = "BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT",
    .clustered_token = "",
    .utf8_token = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC",
    /* Text as bytes: no blank at the end is forgotten, nothing is refused for its encoding. */
    .table_options = " ENGINE=InnoDB DEFAULT CHARSET=binary ROW_FORMAT=DYNAMIC",
    .ddl_commits = true,
    /* Others call a table so, too. */
    .has_versions = "SELECT COUNT(*) = 3 FROM information_schema.columns WHERE table_schema = "
                    "DATABASE() AND table_name = 'schema_version' AND column_name IN ('what', "
                    "'version', 'step')",
    .tables = "SELECT COUNT(*), MIN(table_name), DATABASE() FROM information_schema.tables WHERE "
              "table_schema = DATABASE()",
    .ddl_is_done = driver_ddl_is_done,
    .check_tables = driver_check_tables,
    .schema_lock = driver_schema_lock,
    .control = driver_control,
    .open = driver_open,
    .close = driver_close,
    .exec = driver_exec,
    .in_transaction = driver_in_transaction,
    .changes = driver_changes,
    .insert_id = driver_insert_id,
    .prepare = mysql_st_prepare,
    .finalize = mysql_st_finalize,
    .bind_int = mysql_st_bind_int,
    .bind_text = mysql_st_bind_text,
    .bind_blob = mysql_st_bind_blob,
    .bind_null = mysql_st_bind_null,
    .step = mysql_st_step,
    .reset = mysql_st_reset,
    .get_int = mysql_st_int,
    .get_text = mysql_st_text,
    .get_blob = mysql_st_text,
    .is_null = mysql_st_is_null,
    .wal_bytes = no_bytes,
    .free_bytes = no_bytes,
    .wal_checkpoint = no_checkpoint,
    .wal_truncate = no_truncate,
    .flush_failed = no_flush_failed,
};
