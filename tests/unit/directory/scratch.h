/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* scratch.h - a data folder of its own for each test, and rows as another program would write them.
 */
#ifndef PH_TESTS_DIRECTORY_SCRATCH_H
#define PH_TESTS_DIRECTORY_SCRATCH_H
#include "appliance/directory/directory_admin.h"
#include "appliance/sql/sql.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct scratch {
    char dir[64];
    struct err err;
};

static inline void scratch_init(struct scratch *s)
{
    snprintf(s->dir, sizeof s->dir, "/tmp/ph-directory-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

static inline void scratch_fini(struct scratch *s)
{
    static const char *const files[] = {"directory.db", "directory.db-wal", "directory.db-shm"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", s->dir, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(s->dir), 0);
}

static inline void scratch_sql(struct scratch *s, const char *text)
{
    char path[128];
    struct sql *db;
    snprintf(path, sizeof path, "%s/directory.db", s->dir);
    const struct sql_conf conf = {.path = path, .sync = SQL_SYNC_OFF, .busy_ms = 5000};
    if (sql_open(&conf, &db, &s->err) < 0 || sql_exec(db, text, &s->err) < 0)
        fail_msg("%s: %s", text, s->err.text);
    sql_close(&db);
}
#endif
