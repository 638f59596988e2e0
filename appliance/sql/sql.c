/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql.c - connection, statement cache and transactions, the same for every engine. */
#include "appliance/base/buf.h"
#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/sql/sql_driver.h"

struct sql_stmt {
    struct sql *db;
    void *st;
    struct list active; /* in db->active between its first step and its reset */
};
struct sql {
    const struct sql_driver *driver;
    void *conn;
    struct map *statements; /* text -> struct sql_stmt */
    struct list active;
};

int sql_open(const struct sql_conf *conf, struct sql **out, struct err *err)
{
    const struct sql_driver *driver = &sql_driver_sqlite;
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

static int run_text(struct sql *db, const char *text, struct err *err)
{
    struct sql_stmt *st;

    return sql_prepare(db, text, &st, err) == 0 ? sql_run(st, err) : -1;
}

int sql_begin(struct sql *db, bool write, struct err *err)
{
    return run_text(db, write ? db->driver->begin_write : db->driver->begin_read, err);
}

int sql_commit(struct sql *db, struct err *err)
{
    reset_active(db);
    if (run_text(db, db->driver->commit, err) == 0)
        return 0;
    sql_rollback(db);
    return -1;
}

void sql_rollback(struct sql *db)
{
    struct err ignored = {0}; /* the engine may have rolled back by itself */

    reset_active(db);
    if (sql_in_transaction(db))
        (void)run_text(db, db->driver->rollback, &ignored);
}

bool sql_in_transaction(const struct sql *db)
{
    return db->driver->in_transaction(db->conn);
}

int sql_savepoint(struct sql *db, struct err *err)
{
    return run_text(db, "SAVEPOINT member", err);
}

int sql_savepoint_release(struct sql *db, struct err *err)
{
    return run_text(db, "RELEASE SAVEPOINT member", err);
}

int sql_savepoint_rollback(struct sql *db, struct err *err)
{
    reset_active(db);
    if (run_text(db, "ROLLBACK TO SAVEPOINT member", err) != 0)
        return -1;
    return run_text(db, "RELEASE SAVEPOINT member", err);
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

/* ---- Migrations. */

static int run_schema_text(struct sql *db, const char *text, struct err *err)
{
    struct buf b;
    struct str rest = str_from(text);
    int rc;

    buf_init(&b, 1 << 20);
    while (rest.n) {
        if (str_starts(rest, STR("%KEY%"))) {
            buf_add_z(&b, db->driver->key_token);
            rest = str_skip(rest, 5);
        } else if (str_starts(rest, STR("%CLUSTERED%"))) {
            buf_add_z(&b, db->driver->clustered_token);
            rest = str_skip(rest, 11);
        } else if (str_starts(rest, STR("%UTF8%"))) {
            buf_add_z(&b, db->driver->utf8_token);
            rest = str_skip(rest, 6);
        } else {
            buf_add_char(&b, *rest.p);
            rest = str_skip(rest, 1);
        }
    }
    CHECK(buf_ok(&b));
    rc = sql_exec(db, buf_z(&b), err);
    buf_fini(&b);
    return rc;
}

static int schema_version(struct sql *db, const char *what, int64_t *version_out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT version FROM schema_version WHERE what = ?", &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, str_from(what));
    rc = sql_step(st, err);
    *version_out = rc == 1 ? sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int set_schema_version(struct sql *db, const char *what, int64_t version, struct err *err)
{
    struct sql_stmt *st;
    const char *text = version == 1 ? "INSERT INTO schema_version(version, what) VALUES (?, ?)"
                                    : "UPDATE schema_version SET version = ? WHERE what = ?";

    if (sql_prepare(db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, version);
    sql_bind_text(st, 2, str_from(what));
    return sql_run(st, err);
}

static int migrate_one(struct sql *db, const char *what, const struct sql_migration *m,
                       unsigned number, struct err *err)
{
    if (sql_begin(db, true, err) != 0)
        return -1;
    for (const char *const *s = m->statements; *s; s++) {
        if (run_schema_text(db, *s, err) != 0)
            goto failed;
    }
    if (set_schema_version(db, what, number, err) == 0)
        return sql_commit(db, err);
failed:
    sql_rollback(db);
    return err_context(err, "schema %s version %u (%s)", what, number, m->doc);
}

int sql_migrate(struct sql *db, const char *what, const struct sql_migration *list, unsigned n,
                struct err *err)
{
    int64_t version;

    if (sql_exec(db,
                 "CREATE TABLE IF NOT EXISTS schema_version("
                 "what VARCHAR(64) NOT NULL PRIMARY KEY, version INTEGER NOT NULL)",
                 err) != 0 ||
        schema_version(db, what, &version, err) != 0)
        return -1;
    if (version > n)
        return ERR(err, ERR_PERM,
                   "the database was written by a newer posthouse (schema %s is version %lld, "
                   "this program knows %u): run that version or restore a backup",
                   what, (long long)version, n);
    for (unsigned i = (unsigned)version; i < n; i++) {
        if (migrate_one(db, what, &list[i], i + 1, err) != 0)
            return -1;
    }
    return 0;
}
