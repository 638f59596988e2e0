/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/own.h"

#include "appliance/base/mem.h"
#include "appliance/directory/schema.h"

/* credential.kind: credential.h. No foreign key: users may be in a database of others. */
static const char *const credentials[] = {
    "CREATE TABLE credential (account VARCHAR(320) NOT NULL, kind SMALLINT NOT NULL,"
    " label VARCHAR(100) NOT NULL, data VARCHAR(1000) NOT NULL, created BIGINT NOT NULL,"
    " used BIGINT NOT NULL, PRIMARY KEY (account, kind, label)) %CLUSTERED%",
    NULL};

/* Times in s since 1970; away_until 0: for ever. at: when the sender was told. */
static const char *const options[] = {
    "CREATE TABLE account_option (account VARCHAR(320) NOT NULL PRIMARY KEY, sends SMALLINT NOT "
    "NULL,"
    " receives SMALLINT NOT NULL, keeps SMALLINT NOT NULL, forward VARCHAR(4000) NOT NULL,"
    " away SMALLINT NOT NULL, away_from BIGINT NOT NULL, away_until BIGINT NOT NULL) %CLUSTERED%",
    "CREATE TABLE vacation (account VARCHAR(320) NOT NULL PRIMARY KEY, days INTEGER NOT NULL,"
    " subject VARCHAR(500) NOT NULL, text LONGBLOB NOT NULL) %CLUSTERED%",
    "CREATE TABLE vacation_sent (account VARCHAR(320) NOT NULL, sender VARCHAR(320) NOT NULL,"
    " at BIGINT NOT NULL, PRIMARY KEY (account, sender)) %CLUSTERED%",
    NULL};

static const struct sql_migration migrations[] = {
    {"credentials", credentials},
    {"what accounts may", options},
};

/* That it can be asked is found out now; SQLite opens its files at the first question. */
static int try_it(struct sql *db, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(db, "SELECT 1 FROM credential WHERE account = '' AND kind = 0", &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

int own_open(const char *dir, const struct sql_server *server, enum schema_how how,
             struct sql **out, struct err *err)
{
    int rc;
    if (schema_connect(dir, server, how, out, err) < 0)
        return -1;
    if (how == SCHEMA_AS_IS)
        rc = sql_check_schema(*out, "accounts", ARRAY_LEN(migrations), err);
    else if (how == SCHEMA_READ)
        rc = try_it(*out, err);
    else
        rc = sql_migrate(*out, "accounts", migrations, ARRAY_LEN(migrations), err);
    if (rc < 0)
        sql_close(out);
    return rc;
}
