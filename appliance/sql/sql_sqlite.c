/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_sqlite.c - the SQLite driver: WAL mode, one connection a thread.
 * Checkpoints are started here and not by SQLite's own hook, which would swallow an I/O error of
 * the database file: the next checkpoint would then flush nothing, succeed, and let the WAL be
 * overwritten. */
#include "appliance/base/mem.h"
#include "appliance/sql/sql_driver.h"
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PAGE_BYTES = 4096, CHECKPOINT_FRAMES = 1000, CHECKPOINT_FRAMES_BUSY = 4000 };

static pthread_once_t configured = PTHREAD_ONCE_INIT;

struct sqlite_conn {
    sqlite3 *db;
    char *wal_path;
    bool own_checkpoints, flush_failed;
    int wal_frames; /* in the WAL after the last commit of this connection */
    unsigned busy_ms;
};

/* ---- Errors. */

static bool io_damage(int code)
{
    return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC ||
           code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_CLOSE;
}

static void classify(int code, int sys_errno, enum err_kind *kind, enum err_why *why)
{
    *kind = ERR_TEMP;
    *why = ERR_WHY_OTHER;
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        *why = ERR_WHY_BUSY;
        break;
    case SQLITE_FULL:
        *why = ERR_WHY_NO_SPACE;
        break;
    case SQLITE_IOERR: /* the -shm file can't grow: SQLITE_IOERR_SHMSIZE */
        if (!io_damage(code) && (sys_errno == ENOSPC || sys_errno == EDQUOT))
            *why = ERR_WHY_NO_SPACE;
        break;
    case SQLITE_CONSTRAINT:
        *kind = ERR_BUG;
        if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
            code == SQLITE_CONSTRAINT_ROWID) {
            *kind = ERR_TEMP;
            *why = ERR_WHY_EXISTS;
        }
        break;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        *kind = ERR_BUG;
        break;
    default: /* corrupt, cannot open, out of memory: an operator may mend it */
        break;
    }
}

static int fail(struct sqlite_conn *c, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(c->db), sys_errno = sqlite3_system_errno(c->db);
    enum err_kind kind;
    enum err_why why;

    if (io_damage(code))
        c->flush_failed = true;
    classify(code, sys_errno, &kind, &why);
    return ERR_WHY(err, kind, why, "database: %s: %s (%d%s%s)", doing, sqlite3_errmsg(c->db), code,
                   sys_errno ? ": " : "", sys_errno ? strerror(sys_errno) : "");
}

/* ---- Checkpoints. */

static int checkpoint(struct sqlite_conn *c, int mode, struct err *err)
{
    int rc = sqlite3_wal_checkpoint_v2(c->db, NULL, mode, NULL, NULL);

    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        return 0;
    return fail(c, "checkpoint", err);
}

static int on_wal(void *ctx, sqlite3 *db, const char *name, int frames)
{
    struct sqlite_conn *c = ctx;
    struct err ignored; /* what counts is kept in flush_failed */

    (void)db;
    (void)name;
    c->wal_frames = frames;
    if (!c->own_checkpoints && frames >= CHECKPOINT_FRAMES)
        (void)checkpoint(c, SQLITE_CHECKPOINT_PASSIVE, &ignored);
    return SQLITE_OK;
}

static int sqlite_wal_checkpoint(void *conn, bool gap, struct err *err)
{
    struct sqlite_conn *c = conn;

    if (c->wal_frames < (gap ? CHECKPOINT_FRAMES : CHECKPOINT_FRAMES_BUSY))
        return 0;
    c->wal_frames = 0; /* with a reader in the way the next commit says so again */
    return checkpoint(c, SQLITE_CHECKPOINT_PASSIVE, err);
}

static int sqlite_wal_truncate(void *conn, struct err *err)
{
    struct sqlite_conn *c = conn;
    int rc;

    sqlite3_busy_timeout(c->db, 0); /* don't wait for readers: the next gap will do */
    rc = checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, err);
    sqlite3_busy_timeout(c->db, (int)c->busy_ms);
    return rc;
}

static int64_t sqlite_wal_bytes(void *conn)
{
    struct sqlite_conn *c = conn;
    struct stat st;

    return stat(c->wal_path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t sqlite_free_bytes(void *conn)
{
    struct sqlite_conn *c = conn;
    sqlite3_stmt *st;
    int64_t pages = 0;

    if (sqlite3_prepare_v2(c->db, "PRAGMA freelist_count", -1, &st, NULL) != SQLITE_OK)
        return 0;
    if (sqlite3_step(st) == SQLITE_ROW)
        pages = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return pages * PAGE_BYTES;
}

static bool sqlite_flush_failed(const void *conn)
{
    return ((const struct sqlite_conn *)conn)->flush_failed;
}

/* ---- Connection. */

static int sqlite_exec(void *conn, const char *text, struct err *err)
{
    struct sqlite_conn *c = conn;

    if (sqlite3_exec(c->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return fail(c, "statement", err);
    return 0;
}

static int pragmas(struct sqlite_conn *c, const struct sql_conf *conf, struct err *err)
{
    char text[400];

    snprintf(text, sizeof text,
             "%sPRAGMA synchronous=%s; PRAGMA cache_size=-%u; PRAGMA temp_store=MEMORY; "
             "PRAGMA query_only=%d; PRAGMA trusted_schema=OFF;",
             conf->read_only ? "" : "PRAGMA journal_mode=WAL; ",
             conf->sync == SQL_SYNC_OFF ? "OFF" : "FULL", conf->cache_kb ? conf->cache_kb : 2000,
             conf->read_only);
    return sqlite_exec(c, text, err);
}

static void sqlite_close(void *conn)
{
    struct sqlite_conn *c = conn;

    if (!c)
        return;
    if (c->flush_failed) /* closing would checkpoint and delete the WAL: leave it for recovery */
        sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    sqlite3_close_v2(c->db);
    mem_free(c->wal_path);
    mem_free(c);
}

/* Its statistics of memory would take one lock for every allocation of all threads. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int sqlite_open(const struct sql_conf *conf, void **conn_out, struct err *err)
{
    struct sqlite_conn *c = MEM_NEW(struct sqlite_conn);
    size_t n = strlen(conf->path);
    /* A reader is opened for writing too, else it could not recover a WAL; query_only keeps it from
     * writing. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc;

    pthread_once(&configured, configure);
    c->own_checkpoints = conf->own_checkpoints;
    c->busy_ms = conf->busy_ms;
    c->wal_path = mem_alloc(n + 5);
    memcpy(c->wal_path, conf->path, n);
    memcpy(c->wal_path + n, "-wal", 5);
    if (!conf->read_only)
        flags |= SQLITE_OPEN_CREATE;
    rc = sqlite3_open_v2(conf->path, &c->db, flags, conf->vfs);
    if (rc != SQLITE_OK) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot open database %s: %s", conf->path,
                c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc));
        goto failed;
    }
    sqlite3_busy_timeout(c->db, (int)c->busy_ms);
    if (pragmas(c, conf, err) != 0) {
        err_context(err, "%s", conf->path);
        goto failed;
    }
    if (!conf->read_only)
        sqlite3_wal_hook(c->db, on_wal, c);
    *conn_out = c;
    return 0;
failed:
    sqlite_close(c);
    return -1;
}

static bool sqlite_in_transaction(void *conn)
{
    return !sqlite3_get_autocommit(((struct sqlite_conn *)conn)->db);
}

static int64_t sqlite_changes(void *conn)
{
    return sqlite3_changes64(((struct sqlite_conn *)conn)->db);
}

static int64_t sqlite_insert_id(void *conn)
{
    return sqlite3_last_insert_rowid(((struct sqlite_conn *)conn)->db);
}

/* ---- Statements. Binding fails only for a bad index or a size over 1 GB: bugs. */

static int sqlite_prepare(void *conn, const char *text, void **st_out, struct err *err)
{
    static const struct str lock = {" FOR UPDATE", 11};
    struct sqlite_conn *c = conn;
    struct str s = str_from(text);
    sqlite3_stmt *st = NULL;

    if (str_ends(s, lock)) /* the writer is alone */
        s.n -= lock.n;
    if (sqlite3_prepare_v3(c->db, s.p, (int)s.n, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK)
        return fail(c, "prepare", err);
    *st_out = st;
    return 0;
}

static void sqlite_finalize(void *st)
{
    sqlite3_finalize(st);
}

static void sqlite_bind_int(void *st, int i, int64_t v)
{
    CHECK(sqlite3_bind_int64(st, i, v) == SQLITE_OK);
}

/* An empty view is an empty value, never NULL, wherever it points. */
static void sqlite_bind_text(void *st, int i, struct str v)
{
    CHECK(sqlite3_bind_text64(st, i, v.p ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK);
}

static void sqlite_bind_blob(void *st, int i, struct str v)
{
    CHECK(sqlite3_bind_blob64(st, i, v.p ? v.p : "", v.n, SQLITE_STATIC) == SQLITE_OK);
}

static void sqlite_bind_null(void *st, int i)
{
    CHECK(sqlite3_bind_null(st, i) == SQLITE_OK);
}

static int sqlite_step(void *conn, void *st, struct err *err)
{
    int rc = sqlite3_step(st);

    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : fail(conn, "step", err);
}

static void sqlite_reset(void *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

static int64_t sqlite_get_int(void *st, int col)
{
    return sqlite3_column_int64(st, col);
}

static struct str sqlite_get_text(void *st, int col)
{
    const char *p = (const char *)sqlite3_column_text(st, col);

    return p ? str_of(p, (size_t)sqlite3_column_bytes(st, col)) : STR_NULL;
}

static struct str sqlite_get_blob(void *st, int col)
{
    const void *p = sqlite3_column_blob(st, col);

    if (p)
        return str_of(p, (size_t)sqlite3_column_bytes(st, col));
    return sqlite3_column_type(st, col) == SQLITE_NULL ? STR_NULL : STR("");
}

static bool sqlite_is_null(void *st, int col)
{
    return sqlite3_column_type(st, col) == SQLITE_NULL;
}

const struct sql_driver sql_driver_sqlite = {
    .engine = "sqlite",
    .key_token = "INTEGER PRIMARY KEY",
    .clustered_token = "WITHOUT ROWID",
    .utf8_token = "",
    .table_options = "",
    .has_versions = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_version'",
    .open = sqlite_open,
    .close = sqlite_close,
    .exec = sqlite_exec,
    .in_transaction = sqlite_in_transaction,
    .changes = sqlite_changes,
    .insert_id = sqlite_insert_id,
    .prepare = sqlite_prepare,
    .finalize = sqlite_finalize,
    .bind_int = sqlite_bind_int,
    .bind_text = sqlite_bind_text,
    .bind_blob = sqlite_bind_blob,
    .bind_null = sqlite_bind_null,
    .step = sqlite_step,
    .reset = sqlite_reset,
    .get_int = sqlite_get_int,
    .get_text = sqlite_get_text,
    .get_blob = sqlite_get_blob,
    .is_null = sqlite_is_null,
    .wal_bytes = sqlite_wal_bytes,
    .free_bytes = sqlite_free_bytes,
    .wal_checkpoint = sqlite_wal_checkpoint,
    .wal_truncate = sqlite_wal_truncate,
    .flush_failed = sqlite_flush_failed,
};
