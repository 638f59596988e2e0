/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_mysql_connect.c - connects to a MySQL server and asks whether mail may be trusted to it. */
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql_mysql.h"
#include "appliance/sql/sql_url.h"
#include <pthread.h>
#include <stdlib.h>

enum {
    CONNECT_MS = 5000,
    IO_MS = 30000,
    PROBE_AFTER_MS = 2000, /* idle; a firewall or the server may have forgotten us */
    SLOW_MS = 500,         /* an attempt that took longer isn't repeated at once */
    AWAY_MAX_MS = 5000,
    TELL_EVERY_MS = 60000
};

static const struct log_ctx log_database = {.module = "database"};

/* ---- The library. */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;

static void thread_leave(void *value)
{
    (void)value;
    mysql_thread_end();
}

static void library_start(void)
{
    CHECK(mysql_library_init(0, NULL, NULL) == 0);
    CHECK(pthread_key_create(&thread_key, thread_leave) == 0);
}

void mysql_thread_enter(void)
{
    CHECK(pthread_once(&library_once, library_start) == 0);
    if (pthread_getspecific(thread_key))
        return;
    mysql_thread_init();
    CHECK(pthread_setspecific(thread_key, &thread_key) == 0);
}

/* ---- Options. */

static void set_tls(MYSQL *h, const struct sql_server *s)
{
    bool wanted = sql_server_wants_tls(s);

    if (wanted && s->ca)
        mysql_options(h, MYSQL_OPT_SSL_CA, s->ca);
    if (wanted)
        mysql_options(h, MYSQL_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3");
#ifdef MARIADB_BASE_VERSION
    mysql_flag on = wanted;
    mysql_options(h, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_options(h, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
#else
    unsigned mode = wanted ? SSL_MODE_VERIFY_IDENTITY : SSL_MODE_DISABLED;
    mysql_options(h, MYSQL_OPT_SSL_MODE, &mode);
#endif
}

static unsigned seconds(unsigned ms, unsigned usual)
{
    return ((ms ? ms : usual) + 999) / 1000;
}

static void set_options(MYSQL *h, const struct sql_server *s)
{
    unsigned connect_s = seconds(s->connect_ms, CONNECT_MS), io_s = seconds(s->io_ms, IO_MS);
    unsigned protocol = s->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    unsigned no = 0;

    mysql_options(h, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(h, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_options(h, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_options(h, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(h, MYSQL_OPT_LOCAL_INFILE, &no); /* a server could ask for our files */
    mysql_options(h, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options4(h, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "posthouse");
    set_tls(h, s);
}

/* ---- The session. */

static int64_t number(MYSQL_ROW row, unsigned i)
{
    return row[i] ? strtoll(row[i], NULL, 10) : 0;
}

/* What 250 promises is only true if each commit is flushed. Who starts is refused for good; where
 * mail waits for it, the server will be mended before its senders give up. */
static int check_flush(struct mysql_conn *c, MYSQL_ROW row, struct err *err)
{
    enum err_kind kind = c->opened ? ERR_TEMP : ERR_PERM;

    if (!c->must_flush)
        return 0;
    if (number(row, 0) != 1)
        return ERR_WHY(err, kind, ERR_WHY_DENIED,
                       "the database server would lose mail on a power cut: set "
                       "innodb_flush_log_at_trx_commit = 1 there (it is %lld), or "
                       "database.unsafe = yes here",
                       (long long)number(row, 0));
    if (number(row, 1) != 0 && number(row, 2) != 1)
        return ERR_WHY(err, kind, ERR_WHY_DENIED,
                       "the database server would lose mail on a power cut: set sync_binlog = 1 "
                       "there (it is %lld), or database.unsafe = yes here",
                       (long long)number(row, 2));
    if (!row[5] || strcmp(row[5], "NO") == 0 || strcmp(row[5], "DISABLED") == 0)
        return ERR_WHY(err, kind, ERR_WHY_DENIED,
                       "the database server has no InnoDB: enable it there, mail needs its "
                       "transactions");
    return 0;
}

static int read_variables(struct mysql_conn *c, struct err *err)
{
    MYSQL_RES *result;
    MYSQL_ROW row;
    int rc;

    if (mysql_query(c->handle,
                    "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, "
                    "@@max_allowed_packet, @@innodb_rollback_on_timeout, (SELECT support FROM "
                    "information_schema.engines WHERE engine = 'InnoDB')") != 0 ||
        !(result = mysql_store_result(c->handle)))
        return mysql_fail(c, mysql_errno(c->handle), mysql_error(c->handle), "variables", err);
    row = mysql_fetch_row(result);
    rc = row ? check_flush(c, row, err) : ERR(err, ERR_TEMP, "database: no variables");
    if (row) {
        c->max_packet = (uint64_t)number(row, 3);
        c->timeout_ends_tx = number(row, 4) != 0;
    }
    mysql_free_result(result);
    return rc;
}

static int start_session(struct mysql_conn *c, struct err *err)
{
    unsigned wait_s = seconds(c->busy_ms, 1000);
    struct buf b;
    unsigned code;

    buf_init(&b, 1000);
    buf_printf(&b,
               "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,"
               "NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,NO_UNSIGNED_SUBTRACTION', "
               "innodb_lock_wait_timeout = %u, autocommit = 1, time_zone = '+00:00'",
               wait_s);
    code = mysql_text(c, "SET NAMES utf8mb4 COLLATE utf8mb4_bin");
    if (!code)
        code = mysql_text(c, buf_z(&b));
    buf_fini(&b);
    /* A reader's transaction sees one moment; a writer sees what others committed meanwhile. */
    if (!code)
        code =
            mysql_text(c, c->read_only ? "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
                                       : "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    if (!code && c->read_only)
        code = mysql_text(c, "SET SESSION TRANSACTION READ ONLY");
    if (code)
        return mysql_fail(c, code, mysql_error(c->handle), "session", err);
    return read_variables(c, err);
}

/* ---- Connecting. */

static int real_connect(struct mysql_conn *c, struct err *err)
{
    const struct sql_server *s = &c->server;
    /* TLS verifies the name that the library was given. */
    const char *host = s->address && !sql_server_wants_tls(s) ? s->address : s->host;

    mysql_thread_enter();
    c->handle = mysql_init(NULL);
    CHECK(c->handle);
    set_options(c->handle, s);
    if (!mysql_real_connect(c->handle, s->socket ? NULL : host, s->user, s->password, s->database,
                            s->socket ? 0 : s->port, s->socket, CLIENT_FOUND_ROWS)) {
        c->last_error = mysql_errno(c->handle);
        err_set(err, ERR_TEMP, c->last_error == 1045 ? ERR_WHY_DENIED : ERR_WHY_OTHER,
                "database: cannot connect to %s: %s (%u)", s->socket ? s->socket : s->host,
                mysql_error(c->handle), c->last_error);
        return -1;
    }
    if (sql_server_wants_tls(s) && !mysql_get_ssl_cipher(c->handle))
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_UNTRUSTED,
                       "database: %s offers no TLS, which database.tls demands", s->host);
    return 0;
}

/* It is there and won't do, and only a person can mend that. */
static void tell(struct mysql_conn *c, const struct err *err)
{
    uint64_t now = clock_mono_ms();

    if (!c->opened || err->why != ERR_WHY_DENIED ||
        (c->told_ms && now - c->told_ms < TELL_EVERY_MS))
        return;
    c->told_ms = now;
    log_error(&log_database, "database-refused", L_Z("why", err->text),
              L_Z("means", "mail is deferred until that is mended"));
}

int mysql_conn_open(struct mysql_conn *c, struct err *err)
{
    uint64_t began = clock_mono_ms();

    if (began < c->away_until_ms)
        return ERR(err, ERR_TEMP, "database: the server was not reached a moment ago");
    c->epoch++;
    if (real_connect(c, err) != 0 || start_session(c, err) != 0) {
        uint64_t now = clock_mono_ms(), took = now - began;
        mysql_conn_drop(c);
        tell(c, err);
        if (took > SLOW_MS)
            c->away_until_ms = now + (took < AWAY_MAX_MS ? took : AWAY_MAX_MS);
        return -1;
    }
    c->used_ms = clock_mono_ms();
    c->told_ms = 0;
    c->opened = true;
    return 0;
}

void mysql_conn_drop(struct mysql_conn *c)
{
    if (!c->handle)
        return;
    mysql_close(c->handle); /* its statements know that by themselves */
    c->handle = NULL;
    c->epoch++;
    if (c->tx != MYSQL_TX_NONE)
        c->tx = MYSQL_TX_GONE;
}

int mysql_conn_need(struct mysql_conn *c, struct err *err)
{
    mysql_thread_enter();
    if (c->tx == MYSQL_TX_GONE)
        return ERR(err, ERR_TEMP, "database: the transaction is gone (%u)", c->last_error);
    return c->handle ? 0 : mysql_conn_open(c, err);
}

int mysql_conn_probe(struct mysql_conn *c, struct err *err)
{
    if (mysql_conn_need(c, err) != 0)
        return -1;
    if (c->tx != MYSQL_TX_NONE || clock_mono_ms() - c->used_ms < PROBE_AFTER_MS ||
        mysql_ping(c->handle) == 0)
        return 0;
    mysql_conn_drop(c);
    return mysql_conn_open(c, err);
}
