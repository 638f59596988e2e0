/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/schema.h"

#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Names and meaning are Flurdy's, so that rows can be loaded as they are. uid, gid, home and
 * maildir are kept for programs that share the tables; nothing here reads them. */
static const char *const version_1[] = {
    "CREATE TABLE domains (pkid %KEY%, domain VARCHAR(255) NOT NULL UNIQUE,"
    " transport VARCHAR(255) NOT NULL DEFAULT 'virtual:', enabled INTEGER NOT NULL DEFAULT 1) "
    "%UTF8%",
    "CREATE TABLE users (id VARCHAR(320) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL DEFAULT "
    "'',"
    " uid INTEGER NOT NULL DEFAULT 5000, gid INTEGER NOT NULL DEFAULT 5000,"
    " home VARCHAR(255) NOT NULL DEFAULT '/var/spool/mail/virtual',"
    " maildir VARCHAR(400) NOT NULL DEFAULT '', enabled INTEGER NOT NULL DEFAULT 1,"
    " change_password INTEGER NOT NULL DEFAULT 1, clear VARCHAR(511) NOT NULL DEFAULT '',"
    " crypt VARCHAR(511) NOT NULL DEFAULT '', quota VARCHAR(255) NOT NULL DEFAULT '') %CLUSTERED% "
    "%UTF8%",
    "CREATE TABLE aliases (pkid %KEY%, mail VARCHAR(320) NOT NULL UNIQUE, destination TEXT NOT "
    "NULL,"
    " enabled INTEGER NOT NULL DEFAULT 1) %UTF8%",
    NULL};
static const char *const version_2[] = {
    "CREATE TABLE relocated (oldadr VARCHAR(320) NOT NULL PRIMARY KEY,"
    " newadr VARCHAR(320) NOT NULL) %CLUSTERED% %UTF8%",
    "CREATE TABLE backups (domain VARCHAR(255) NOT NULL PRIMARY KEY,"
    " transport VARCHAR(255) NOT NULL DEFAULT '') %CLUSTERED% %UTF8%",
    "CREATE TABLE relays (recipient VARCHAR(320) NOT NULL PRIMARY KEY,"
    " status VARCHAR(255) NOT NULL DEFAULT 'OK') %CLUSTERED% %UTF8%",
    /* What an import has brought of another system, so that the next one sees what changed there:
     * import_mark.h. */
    "CREATE TABLE directory_import (kind VARCHAR(20) NOT NULL, name VARCHAR(320) NOT NULL,"
    " digest VARCHAR(64) NOT NULL, PRIMARY KEY (kind, name)) %CLUSTERED% %UTF8%",
    NULL};
static const struct sql_migration migrations[] = {
    {"domains, users, aliases", version_1},
    {"relocated, backups, relays, imports", version_2},
};

/* It holds password hashes: nobody else reads it, whatever the umask and the folder's mode. SQLite
 * gives its other files the same mode. Only a new file is opened here: closing one that SQLite has
 * open in this process would drop SQLite's locks (POSIX). */
static int make_private(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return ERR(err, ERR_PERM, "cannot make %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return 0;
}

int schema_connect(const char *dir, const struct sql_server *server, enum schema_how how,
                   struct sql **out, struct err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/directory.db", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return ERR(err, ERR_PERM, "the name of the data folder is too long");
    const struct sql_conf conf = {.server = server,
                                  .path = path,
                                  .read_only = how != SCHEMA_CHANGE,
                                  .sync = SQL_SYNC_FULL,
                                  .busy_ms = 5000};
    if (!server && how == SCHEMA_AS_IS && access(path, F_OK) != 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "there is no %s yet: start posthouse serve once, which makes it", path);
    if (!server && how == SCHEMA_CHANGE && make_private(path, err) < 0)
        return -1;
    return sql_open(&conf, out, err);
}

int directory_schema_open(const char *dir, const struct sql_server *server, enum schema_how how,
                          struct sql **out, struct err *err)
{
    int rc = 0;
    if (schema_connect(dir, server, how, out, err) < 0)
        return -1;
    if (how == SCHEMA_AS_IS)
        rc = sql_check_schema(*out, "directory", ARRAY_LEN(migrations), err);
    else if (how == SCHEMA_CHANGE)
        rc = sql_migrate(*out, "directory", migrations, ARRAY_LEN(migrations), err);
    if (rc < 0)
        sql_close(out);
    return rc;
}

static uint64_t unit_of(struct str s)
{
    switch (s.n ? ascii_lower(s.p[0]) : 's') {
    case 's':
    case 'b':
        return 1;
    case 'k':
        return 1ull << 10;
    case 'm':
        return 1ull << 20;
    case 'g':
        return 1ull << 30;
    case 't':
        return 1ull << 40;
    default: /* 'C' counts messages */
        return 0;
    }
}

uint64_t schema_quota(struct str text)
{
    struct str part;
    while (text.n) {
        size_t digits = 0;
        uint64_t n;
        str_cut(text, ',', &part, &text);
        part = str_trim(part);
        while (digits < part.n && part.p[digits] >= '0' && part.p[digits] <= '9')
            digits++;
        if (digits == 0)
            continue;
        uint64_t unit = unit_of(str_trim(str_skip(part, digits)));
        if (unit == 0)
            continue;
        /* A figure beyond what can be counted means "no limit", not "the default". */
        if (str_to_u64(str_take(part, digits), (uint64_t)INT64_MAX / unit, &n) < 0)
            return INT64_MAX;
        return n * unit;
    }
    return 0;
}
