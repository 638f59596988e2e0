/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/database.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/io/tls.h"
#include "appliance/sql/sql_url.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MARK "database" /* in the data folder: where its mail is */
enum { MARK_MAX = 300, PAUSE_MS = 1000, TELL_EVERY_MS = 10000 };

static const struct log_ctx log_database = {.module = "database"};

// clang-format off
const struct ph_setting database_settings[] = {
    PH_SETTING(TEXT, database_conf, url, 0, "", 0, 0,
        "The MySQL or MariaDB database that mail, queue, state and accounts are kept in: mysql://user@host[:port]/database, "
        "or mysql://user@/database?socket=/path. It exists and is empty at the first start. Messages larger than "
        "store.inline_limit stay in store.bodies. The file database in the data folder keeps which one it is: another one is "
        "refused until that file is removed. Empty: SQLite, in the data folder. The accounts may be elsewhere: directory.source."),
    PH_SETTING(SECRET, database_conf, password, 0, "", 0, 0,
        "The user's password. file:/path reads it from a file, which only its owner and group may read."),
    PH_SETTING(TEXT, database_conf, ca, 0, "", 0, 0,
        "File with the authorities that sign the server's certificate. Empty: the system's."),
    PH_SETTING_ENUM(database_conf, tls, 0, "auto", sql_tls_names,
        "auto demands TLS and the server's name in its certificate, unless the server is on this machine. off sends "
        "mail and passwords for everybody on the way to read."),
    PH_SETTING(TIME, database_conf, connect_timeout, 0, "5s", 1000, 60000,
        "How long the server may take to be reached."),
    PH_SETTING(TIME, database_conf, timeout, 0, "30s", 1000, 600000,
        "How long it may take to answer. After that it counts as gone: mail is deferred, clients are told to try later."),
    PH_SETTING(TIME, database_conf, wait, 0, "1min", 0, 3600 * 1000,
        "How long a start waits for the server to be reached."),
    PH_SETTING(BOOL, database_conf, unsafe, 0, "no", 0, 0,
        "Take a server that doesn't flush at each commit, too (innodb_flush_log_at_trx_commit and sync_binlog other than 1). "
        "A power cut of the server then loses mail whose receipt was confirmed."),
    PH_SETTING_END};
// clang-format on

int database_settle(struct database_conf *conf, const struct sql_server **out, struct err *err)
{
    struct sql_server *s = &conf->server;

    *out = NULL;
    database_fini(conf);
    if (!conf->url[0])
        return 0;
    conf->memory = arena_new(0);
    if (sql_server_parse(str_from(conf->url), conf->memory, s, err) != 0)
        return err_context(err, "database.url");
    if (s->password)
        return ERR(err, ERR_PROTO,
                   "database.url: everybody sees the password there: set database.password to "
                   "file:/path");
    sql_server_set(s, &(struct sql_server_words){.password = conf->password,
                                                 .ca = conf->ca,
                                                 .tls = conf->tls,
                                                 .unsafe = conf->unsafe,
                                                 .connect_ms = conf->connect_timeout,
                                                 .io_ms = conf->timeout});
    *out = s;
    return 0;
}

void database_fini(struct database_conf *conf)
{
    arena_free(&conf->memory);
    conf->server = (struct sql_server){0};
}

/* ---- The folder. */

static bool read_mark(const struct datadir *d, char out[MARK_MAX])
{
    int fd = openat(d->fd, MARK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? read(fd, out, MARK_MAX - 1) : 0;

    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return fd >= 0;
}

static struct str name_of(const struct database_conf *conf, struct arena *m)
{
    return str_take(sql_server_name(&conf->server, m), MARK_MAX - 2);
}

/* Who asks for it may change, what it is may not. */
static struct str without_user(struct str name)
{
    size_t n = name.n;

    while (n && name.p[n - 1] != '@')
        n--;
    return str_skip(name, n);
}

static int check_mark(const struct datadir *d, const struct database_conf *conf, const char *mark,
                      struct err *err)
{
    struct arena *m = arena_new(0);
    struct str name = name_of(conf, m);
    int rc = 0;

    if (!str_eq(without_user(name), without_user(str_from(mark))))
        rc =
            ERR(err, ERR_PERM,
                "database.url is another database than %s, which has the mail of this data folder: "
                "mend database.url, or if the mail has moved to the new one remove %s/" MARK,
                mark, d->path);
    arena_free(&m);
    return rc;
}

int database_check_folder(const struct datadir *d, const struct database_conf *conf,
                          struct err *err)
{
    char mark[MARK_MAX];
    bool marked = read_mark(d, mark);
    struct stat st;

    if (!conf->server.database && marked)
        return ERR(err, ERR_PERM,
                   "the mail of %s is in the database %s: set database.url, or use --config",
                   d->path, mark);
    if (!conf->server.database)
        return 0;
    if (marked)
        return check_mark(d, conf, mark, err);
    if (fstatat(d->fd, "store.db", &st, 0) == 0)
        return ERR(err, ERR_PERM,
                   "%s/store.db holds mail that the database does not: export it first and move "
                   "that file away, or unset database.url",
                   d->path);
    return 0;
}

int database_claim_folder(struct datadir *d, const struct database_conf *conf, struct err *err)
{
    char mark[MARK_MAX];
    struct arena *m;
    int rc = 0;

    if (!conf->server.database)
        return 0;
    m = arena_new(0);
    if (!read_mark(d, mark) || !str_eq(name_of(conf, m), str_from(mark)))
        rc =
            datadir_write(d, MARK, arena_printf(m, STR_FMT "\n", STR_ARG(name_of(conf, m))).p, err);
    arena_free(&m);
    return rc;
}

/* ---- The start. */

int database_check_ca(const struct sql_server *server, const char *setting, struct err *err)
{
    struct tls_ctx *tls = NULL;

    if (!server->database || !server->ca || !server->ca[0] || !sql_server_wants_tls(server))
        return 0;
    if (tls_ctx_client(server->ca, &tls, err) != 0)
        return err_context(err, "%s", setting);
    tls_ctx_unref(&tls);
    return 0;
}

static int try_once(const struct database_conf *conf, struct err *err)
{
    struct sql_conf sql = {.server = &conf->server, .sync = SQL_SYNC_FULL};
    struct sql *db;

    if (sql_open(&sql, &db, err) != 0)
        return -1;
    sql_close(&db);
    return 0;
}

int database_await(const struct database_conf *conf, struct err *err)
{
    uint64_t began = clock_mono_ms(), told = 0;

    if (!conf->server.database)
        return 0;
    if (database_check_ca(&conf->server, "database.ca", err) != 0)
        return -1; /* waiting wouldn't help */
    while (try_once(conf, err) != 0) {
        uint64_t now = clock_mono_ms();
        if (err->kind != ERR_TEMP || err->why == ERR_WHY_DENIED)
            return -1;
        if (now - began >= conf->wait)
            return err_context(err, "waited %llu s for it",
                               (unsigned long long)((now - began) / 1000));
        if (!told || now - told >= TELL_EVERY_MS) {
            log_warn(&log_database, "database-away", L_Z("why", err->text),
                     L_UINT("waiting_s", (conf->wait - (now - began)) / 1000));
            told = now;
        }
        nanosleep(&(struct timespec){.tv_sec = PAUSE_MS / 1000}, NULL);
    }
    if (told)
        log_info(&log_database, "database-back", L_UINT("after_ms", clock_mono_ms() - began));
    return 0;
}
