/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_mysql.h - what the files of the MySQL driver share; private to this folder. Built with
 * MariaDB's client library, or Oracle's where that is the one installed. */
#ifndef PH_SQL_SQL_MYSQL_H
#define PH_SQL_SQL_MYSQL_H
#include "appliance/sql/sql_driver.h"
#include <mysql.h>

#ifdef MARIADB_BASE_VERSION
typedef my_bool mysql_flag;
#else
typedef bool mysql_flag;
#endif

enum mysql_tx {
    MYSQL_TX_NONE,
    MYSQL_TX_READ,
    MYSQL_TX_WRITE,
    MYSQL_TX_GONE /* the server undid it, or is away: nothing runs until its owner has heard */
};
struct mysql_conn {
    struct sql_server server;
    bool read_only, must_flush;
    bool opened;      /* it was good once: what is wrong with the server now may pass */
    uint64_t told_ms; /* when the log was told so; mono */
    unsigned busy_ms;
    MYSQL *handle;  /* NULL: not connected */
    unsigned epoch; /* counts connections: statements of an earlier one are prepared again */
    enum mysql_tx tx;
    bool timeout_ends_tx; /* innodb_rollback_on_timeout */
    uint64_t max_packet;
    int64_t changes, insert_id;
    uint64_t used_ms;       /* of the last answer; mono */
    uint64_t away_until_ms; /* asking again before that would only wait */
    unsigned last_error;    /* the server's number of the last failure */
};

/* ---- sql_mysql_connect.c */
void mysql_thread_enter(void); /* each thread, before its first call */
int mysql_conn_open(struct mysql_conn *c, struct err *err) __attribute__((warn_unused_result));
void mysql_conn_drop(struct mysql_conn *c); /* a transaction is gone by that */
/* Connected, or connects if nothing is lost by that. */
int mysql_conn_need(struct mysql_conn *c, struct err *err) __attribute__((warn_unused_result));
/* The same before something that must not be sent twice: a connection that was idle for long is
 * asked whether it is still there. */
int mysql_conn_probe(struct mysql_conn *c, struct err *err) __attribute__((warn_unused_result));

/* ---- sql_mysql_error.c */
bool mysql_code_is_loss(unsigned code);
/* Fills err, drops the connection or marks the transaction as gone where the code says so. -1. */
int mysql_fail(struct mysql_conn *c, unsigned code, const char *text, const char *doing,
               struct err *err);

/* ---- sql_mysql.c */
/* One text, its results thrown away. 0, or the server's error number, not handled yet. */
unsigned mysql_text(struct mysql_conn *c, const char *text);

/* ---- sql_mysql_stmt.c */
int mysql_st_prepare(void *conn, const char *text, void **st_out, struct err *err);
void mysql_st_finalize(void *st);
void mysql_st_bind_int(void *st, int i, int64_t v);
void mysql_st_bind_text(void *st, int i, struct str v);
void mysql_st_bind_blob(void *st, int i, struct str v);
void mysql_st_bind_null(void *st, int i);
int mysql_st_step(void *conn, void *st, struct err *err);
void mysql_st_reset(void *st);
int64_t mysql_st_int(void *st, int col);
struct str mysql_st_text(void *st, int col);
bool mysql_st_is_null(void *st, int col);
#endif
