/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql.h - one small interface over SQL databases: connect, prepare, step, transaction, savepoint,
 * migrations. Floor 2 (sql). Threads: a connection and its statements belong to one thread at a
 * time. Calls block: lanes only (or before the loop runs). Statements are written in the common
 * subset of SQLite and MySQL (README.md); what differs is in `struct sql_driver`, chosen at
 * sql_open. A statement that ends in FOR UPDATE locks the rows it reads in MySQL; SQLite, whose
 * writer is alone, is not told the words. Three tokens in schema text are substituted by the
 * driver: %KEY% (integer primary key that the database numbers), %CLUSTERED% (WITHOUT ROWID /
 * nothing) and, at the end of CREATE TABLE, %UTF8% (MySQL: text in utf8mb4_bin, for tables that
 * other programs share; without it text is bytes, compared as bytes, as in SQLite).
 * Ownership: sql_prepare returns a statement cached by the connection (keyed by its text, which
 * must be a literal or live as long): never free it; sql_reset it when done. Text and blobs read
 * are valid until the next step or reset. Bound bytes must live until the step that uses them, and
 * until the reset. Errors: ERR_TEMP for what may pass (busy, disk full -> ERR_WHY_NO_SPACE, I/O,
 * the server is away, or refuses us), ERR_WHY_EXISTS for a unique key, else ERR_BUG. ERR_PERM comes
 * from sql_open and sql_migrate only: what a connection that was good meets may be mended.
 * A server that went away: what only reads outside a transaction, and sql_begin, connect again by
 * themselves, once a call. Within a transaction the loss is ERR_TEMP and the transaction is gone
 * (sql_in_transaction: false); its further statements fail until sql_rollback or sql_begin. So they
 * do when the server undid it because of a deadlock. */
#ifndef PH_SQL_SQL_H
#define PH_SQL_SQL_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

struct sql;
struct sql_stmt;

enum sql_sync {
    SQL_SYNC_FULL, /* a commit is on stable storage when it returns */
    SQL_SYNC_OFF   /* never for mail: negative control in tests, scratch databases */
};
enum sql_tls {
    SQL_TLS_AUTO,     /* demanded, unless the server is on this machine */
    SQL_TLS_REQUIRED, /* and its name is verified */
    SQL_TLS_OFF
};
/* A MySQL or MariaDB server (sql_url.h reads its URL). Strings live as long as the connection. */
struct sql_server {
    const char *host;    /* NULL: socket */
    const char *address; /* numeric, to connect to instead of host; NULL: host is looked up */
    unsigned port;       /* 0 = 3306 */
    const char *socket, *user, *password, *database; /* password NULL: none */
    const char *ca;                                  /* file; NULL: the system's */
    int tls;                                         /* enum sql_tls */
    bool unsafe;                /* take a server that doesn't flush at each commit, too */
    unsigned connect_ms, io_ms; /* 0 = 5 s, 30 s */
};
struct sql_conf {
    const struct sql_server *server; /* NULL: SQLite at `path` */
    const char *path;                /* of the SQLite file */
    bool read_only;                  /* queries only; the file must exist */
    enum sql_sync sync;
    unsigned busy_ms;     /* how long a lock is waited for */
    unsigned cache_kb;    /* page cache of this connection; 0 = 2000 */
    const char *vfs;      /* SQLite: a file layer of one's own (sql_tap.h); NULL: the default */
    bool own_checkpoints; /* the owner calls sql_wal_checkpoint itself, at a moment nobody waits for
                           */
};
int sql_open(const struct sql_conf *conf, struct sql **out, struct err *err)
    __attribute__((warn_unused_result));
void sql_close(struct sql **db);
const char *sql_engine(const struct sql *db); /* "sqlite", "mysql" */

int sql_exec(struct sql *db, const char *text, struct err *err) __attribute__((warn_unused_result));
int sql_prepare(struct sql *db, const char *text, struct sql_stmt **out, struct err *err)
    __attribute__((warn_unused_result));
/* Parameters count from 1, columns from 0. */
void sql_bind_int(struct sql_stmt *st, int i, int64_t v);
void sql_bind_text(struct sql_stmt *st, int i, struct str v);
void sql_bind_blob(struct sql_stmt *st, int i, struct str v);
void sql_bind_null(struct sql_stmt *st, int i);
int sql_step(struct sql_stmt *st, struct err *err)
    __attribute__((warn_unused_result)); /* 1 row, 0 done, -1 */
int sql_run(struct sql_stmt *st, struct err *err)
    __attribute__((warn_unused_result)); /* step to the end and reset: 0, -1 */
void sql_reset(struct sql_stmt *st);     /* also forgets the bindings */
int64_t sql_int(struct sql_stmt *st, int col);
struct str sql_text(struct sql_stmt *st, int col); /* NULL: .p == NULL */
struct str sql_blob(struct sql_stmt *st, int col);
bool sql_is_null(struct sql_stmt *st, int col);
int64_t sql_changes(struct sql *db);   /* rows the last statement changed */
int64_t sql_insert_id(struct sql *db); /* key of the last insert */

int sql_begin(struct sql *db, bool write, struct err *err)
    __attribute__((warn_unused_result)); /* write: takes the writer's lock now */
/* -1: rolled back. With ERR_WHY_UNKNOWN it is not known: the server went away between COMMIT and
 * its reply. Who must know writes a mark of his own in each transaction (a row only he writes, with
 * a number that never comes again) and looks for it on the connection, which sql_begin connects
 * again: if it is there, all of the transaction is; if not, nothing is and it may be run again. The
 * server may still be at the old commit then: read the mark FOR UPDATE, which waits for its end. */
int sql_commit(struct sql *db, struct err *err) __attribute__((warn_unused_result));
void sql_rollback(struct sql *db);
bool sql_in_transaction(const struct sql *db);
/* Nested once: a member of a batch. Rolling back undoes that member only. */
int sql_savepoint(struct sql *db, struct err *err) __attribute__((warn_unused_result));
int sql_savepoint_release(struct sql *db, struct err *err) __attribute__((warn_unused_result));
int sql_savepoint_rollback(struct sql *db, struct err *err) __attribute__((warn_unused_result));

/* Schema with version: migration n brings version n-1 to n, each in a transaction; in MySQL, which
 * commits at each CREATE or ALTER, statement by statement, going on where it was stopped. Refuses
 * (ERR_PERM) a database that a newer program wrote, and on a server one that holds tables of
 * something else and none of ours. `what` names the schema ("store", "directory") in table
 * schema_version. */
struct sql_migration {
    const char *doc;
    const char *const *statements; /* NULL-terminated, with tokens */
};
int sql_migrate(struct sql *db, const char *what, const struct sql_migration *list, unsigned n,
                struct err *err) __attribute__((warn_unused_result));

/* For who changes nothing: -1 (ERR_PERM) unless sql_migrate would find nothing to do. */
int sql_check_schema(struct sql *db, const char *what, unsigned n, struct err *err)
    __attribute__((warn_unused_result));
/* Which one it has; 0: none, as in a database without tables. Changes nothing. */
int sql_schema_version(struct sql *db, const char *what, int64_t *out, struct err *err)
    __attribute__((warn_unused_result));

/* SQLite: bytes in the WAL now, for metrics and the warning above 64 MB; truncates it when no
 * reader needs it. */
int64_t sql_wal_bytes(struct sql *db);
/* Bytes within the database that deleted rows left and new ones will take first. */
int64_t sql_free_bytes(struct sql *db);
/* With own_checkpoints: moves the WAL into the database when it has grown enough; cheap when it
 * hasn't. `gap`: nobody waits now, so 1000 pages are enough; else 4000, for fewer flushes under
 * load. */
int sql_wal_checkpoint(struct sql *db, bool gap, struct err *err)
    __attribute__((warn_unused_result));
/* A write or flush of this connection met an I/O error (not: disk full). What the kernel holds may
 * differ from what the disk holds, and no later flush would tell: write no more with this process.
 */
bool sql_flush_failed(const struct sql *db);
int sql_wal_truncate(struct sql *db, struct err *err) __attribute__((warn_unused_result));
#endif
