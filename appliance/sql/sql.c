/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql.c - connection, statement cache and transactions, the same for every engine. */
#include "appliance/base/map.h"
#include "appliance/sql/sql_private.h"

struct sql_stmt {
    struct sql *db;
    void *st;
    struct list active; /* in db->active between its first step and its reset */
};
int sql_open(const struct sql_conf *conf, struct sql **out, struct err *err)
{
    const struct sql_driver *driver = conf->server ? &sql_driver_mysql : &sql_driver_sqlite;
    void *conn = NULL;

    if (driver->open(conf, &conn, err) != 0)
        return -1;
    struct sql *db = MEM_NEW(struct sql);
    db->driver = driver;
    db->conn = conn;
    db->statements = map_new();
    list_init(&db->active);
    *out = db;
    return 0;
}

void sql_close(struct sql **dbp)
{
    struct sql *db = *dbp;
    size_t pos = 0;
    void *value;

    if (!db)
        return;
    *dbp = NULL;
    while (map_next(db->statements, &pos, NULL, &value)) {
        struct sql_stmt *st = value;
        db->driver->finalize(st->st);
        mem_free(st);
    }
    map_free(&db->statements);
    db->driver->close(db->conn);
    mem_free(db);
}

const char *sql_engine(const struct sql *db)
{
    return db->driver->engine;
}

int sql_exec(struct sql *db, const char *text, struct err *err)
{
    return db->driver->exec(db->conn, text, err);
}

int sql_prepare(struct sql *db, const char *text, struct sql_stmt **out, struct err *err)
{
    struct sql_stmt *st = map_get(db->statements, str_from(text));

    if (!st) {
        void *handle = NULL;
        if (db->driver->prepare(db->conn, text, &handle, err) != 0)
            return -1;
        st = MEM_NEW(struct sql_stmt);
        st->db = db;
        st->st = handle;
        list_init(&st->active);
        map_set(db->statements, str_from(text), st);
    }
    sql_reset(st);
    *out = st;
    return 0;
}

void sql_bind_int(struct sql_stmt *st, int i, int64_t v)
{
    st->db->driver->bind_int(st->st, i, v);
}

void sql_bind_text(struct sql_stmt *st, int i, struct str v)
{
    st->db->driver->bind_text(st->st, i, v);
}

void sql_bind_blob(struct sql_stmt *st, int i, struct str v)
{
    st->db->driver->bind_blob(st->st, i, v);
}

void sql_bind_null(struct sql_stmt *st, int i)
{
    st->db->driver->bind_null(st->st, i);
}

int sql_step(struct sql_stmt *st, struct err *err)
{
    if (list_empty(&st->active))
        list_add(&st->db->active, &st->active);
    return st->db->driver->step(st->db->conn, st->st, err);
}

int sql_run(struct sql_stmt *st, struct err *err)
{
    int rc;

    while ((rc = sql_step(st, err)) == 1)
        continue;
    sql_reset(st);
    return rc;
}

void sql_reset(struct sql_stmt *st)
{
    list_del(&st->active);
    st->db->driver->reset(st->st);
}

int64_t sql_int(struct sql_stmt *st, int col)
{
    return st->db->driver->get_int(st->st, col);
}

struct str sql_text(struct sql_stmt *st, int col)
{
    return st->db->driver->get_text(st->st, col);
}

struct str sql_blob(struct sql_stmt *st, int col)
{
    return st->db->driver->get_blob(st->st, col);
}

bool sql_is_null(struct sql_stmt *st, int col)
{
    return st->db->driver->is_null(st->st, col);
}

int64_t sql_changes(struct sql *db)
{
    return db->driver->changes(db->conn);
}

int64_t sql_insert_id(struct sql *db)
{
    return db->driver->insert_id(db->conn);
}

/* A statement left open by an error path would keep its snapshot, and the WAL could not shrink. */
static void reset_active(struct sql *db)
{
    LIST_EACH(&db->active, it)
    {
        sql_reset(LIST_ITEM(it, struct sql_stmt, active));
    }
}

/* Kept as a prepared statement where the driver has no shorter way. */
static int control(struct sql *db, enum sql_control what, struct err *err)
{
    static const char *const texts[] = {
        [SQL_BEGIN_READ] = "BEGIN",
        [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_SAVEPOINT] = "SAVEPOINT member",
        [SQL_SAVEPOINT_RELEASE] = "RELEASE SAVEPOINT member",
        [SQL_SAVEPOINT_ROLLBACK] = "ROLLBACK TO SAVEPOINT member",
    };
    struct sql_stmt *st;

    if (db->driver->control)
        return db->driver->control(db->conn, what, err);
    return sql_prepare(db, texts[what], &st, err) == 0 ? sql_run(st, err) : -1;
}

int sql_begin(struct sql *db, bool write, struct err *err)
{
    return control(db, write ? SQL_BEGIN_WRITE : SQL_BEGIN_READ, err);
}

int sql_commit(struct sql *db, struct err *err)
{
    reset_active(db);
    if (control(db, SQL_COMMIT, err) == 0)
        return 0;
    sql_rollback(db);
    return -1;
}

void sql_rollback(struct sql *db)
{
    struct err ignored = {0}; /* the engine may have rolled back by itself */

    reset_active(db);
    if (sql_in_transaction(db) || db->driver->control)
        (void)control(db, SQL_ROLLBACK, &ignored);
}

bool sql_in_transaction(const struct sql *db)
{
    return db->driver->in_transaction(db->conn);
}

int sql_savepoint(struct sql *db, struct err *err)
{
    return control(db, SQL_SAVEPOINT, err);
}

int sql_savepoint_release(struct sql *db, struct err *err)
{
    return control(db, SQL_SAVEPOINT_RELEASE, err);
}

int sql_savepoint_rollback(struct sql *db, struct err *err)
{
    reset_active(db);
    if (control(db, SQL_SAVEPOINT_ROLLBACK, err) != 0)
        return -1;
    return control(db, SQL_SAVEPOINT_RELEASE, err);
}

int64_t sql_free_bytes(struct sql *db)
{
    return db->driver->free_bytes(db->conn);
}

int64_t sql_wal_bytes(struct sql *db)
{
    return db->driver->wal_bytes(db->conn);
}

int sql_wal_checkpoint(struct sql *db, bool gap, struct err *err)
{
    return db->driver->wal_checkpoint(db->conn, gap, err);
}

int sql_wal_truncate(struct sql *db, struct err *err)
{
    return db->driver->wal_truncate(db->conn, err);
}

bool sql_flush_failed(const struct sql *db)
{
    return db->driver->flush_failed(db->conn);
}
