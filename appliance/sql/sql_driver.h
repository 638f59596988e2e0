/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_driver.h - what an engine must offer; private to this folder.
 * sql.c keeps the statement cache, transactions and migrations; a driver only talks to its library.
 * `conn` and `st` are the driver's own objects. Functions that can fail return 0 / -1 (step: 1, 0,
 * -1) and fill err by the rules of sql.h. */
#ifndef PH_SQL_SQL_DRIVER_H
#define PH_SQL_SQL_DRIVER_H
#include "appliance/sql/sql.h"

enum sql_control {
    SQL_BEGIN_READ,
    SQL_BEGIN_WRITE,
    SQL_COMMIT,
    SQL_ROLLBACK, /* also when there is nothing to roll back */
    SQL_SAVEPOINT,
    SQL_SAVEPOINT_RELEASE,
    SQL_SAVEPOINT_ROLLBACK
};
struct sql_driver {
    const char *engine;
    const char *key_token;       /* for %KEY% */
    const char *clustered_token; /* for %CLUSTERED% */
    const char *utf8_token;      /* for %UTF8% */
    const char *table_options;   /* after each CREATE TABLE of a schema without %UTF8% */
    /* DDL commits by itself, so migrations go statement by statement (sql_migrate.c). */
    bool ddl_commits;
    bool (*ddl_is_done)(const void *conn); /* the statement failed, for it was done before */
    /* What the schema's tables must be like beyond their columns: `tables` are their names. */
    int (*check_tables)(void *conn, const char *const *tables, size_t n, struct err *err);
    /* Text of a question: 1 if table schema_version is there and ours. */
    const char *has_versions;
    /* Text of a question: how many tables there are, the first one's name, the database's. NULL:
     * the file is our own anyway. */
    const char *tables;
    /* One migration at a time; the end of the connection also ends the lock. NULL: no need. */
    int (*schema_lock)(void *conn, bool lock, struct err *err);

    /* NULL: common texts are prepared and run. */
    int (*control)(void *conn, enum sql_control what, struct err *err);

    int (*open)(const struct sql_conf *conf, void **conn_out, struct err *err);
    void (*close)(void *conn); /* all its statements are finalized already */
    int (*exec)(void *conn, const char *text, struct err *err);
    bool (*in_transaction)(void *conn);
    int64_t (*changes)(void *conn);
    int64_t (*insert_id)(void *conn);

    int (*prepare)(void *conn, const char *text, void **st_out, struct err *err);
    void (*finalize)(void *st);
    void (*bind_int)(void *st, int i, int64_t v);
    void (*bind_text)(void *st, int i, struct str v);
    void (*bind_blob)(void *st, int i, struct str v);
    void (*bind_null)(void *st, int i);
    int (*step)(void *conn, void *st, struct err *err);
    void (*reset)(void *st);
    int64_t (*get_int)(void *st, int col);
    struct str (*get_text)(void *st, int col);
    struct str (*get_blob)(void *st, int col);
    bool (*is_null)(void *st, int col);

    int64_t (*wal_bytes)(void *conn);
    int64_t (*free_bytes)(void *conn);
    int (*wal_checkpoint)(void *conn, bool gap, struct err *err);
    int (*wal_truncate)(void *conn, struct err *err);
    bool (*flush_failed)(const void *conn);
};
extern const struct sql_driver sql_driver_sqlite, sql_driver_mysql;
#endif
