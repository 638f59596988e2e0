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

static const struct sql_migration migrations[] = {
    {"credentials", credentials},
};

int own_open(const char *dir, const struct sql_server *server, bool read_only, struct sql **out,
             struct err *err)
{
    if (schema_connect(dir, server, read_only, out, err) < 0)
        return -1;
    if (read_only || sql_migrate(*out, "accounts", migrations, ARRAY_LEN(migrations), err) == 0)
        return 0;
    sql_close(out);
    return -1;
}
