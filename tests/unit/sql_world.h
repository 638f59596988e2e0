/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_world.h - a database of its own for a test, in the server that PH_TEST_DATABASE names
 * (tests/lib/mariadb.py); without that variable there is none, and the test takes SQLite. Suites
 * that run on both engines are run twice (tests/run.py). After cmocka.h. */
#ifndef PH_TESTS_SQL_WORLD_H
#define PH_TESTS_SQL_WORLD_H
#include "appliance/base/mem.h"
#include "appliance/sql/sql_url.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sql_world {
    struct sql_server at;          /* the server, and nobody's database */
    struct sql_server server;      /* with the one of this test */
    const struct sql_server *conf; /* for sql_conf.server: NULL without a server */
    struct arena *m;
};

static inline void sql_world_exec(struct sql_world *w, const char *verb)
{
    struct sql_conf conf = {.server = &w->at, .sync = SQL_SYNC_OFF};
    struct sql *db = NULL;
    struct err err = {0};
    char text[120];

    snprintf(text, sizeof text, "%s DATABASE %s", verb, w->server.database);
    if (sql_open(&conf, &db, &err) != 0 || sql_exec(db, text, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    sql_close(&db);
}

/* False: no server. */
static inline bool sql_world_open(struct sql_world *w)
{
    static unsigned count;
    const char *base = getenv("PH_TEST_DATABASE");
    struct err err = {0};

    *w = (struct sql_world){.conf = NULL};
    if (!base || !*base)
        return false;
    w->m = arena_new(0);
    if (sql_server_parse(arena_printf(w->m, "%sinformation_schema", base), w->m, &w->at, &err) != 0)
        fail_msg("PH_TEST_DATABASE: %s", err.text);
    w->at.socket = getenv("PH_TEST_DATABASE_SOCKET"); /* reached from any network namespace */
    w->server = w->at;
    w->server.unsafe = true; /* it is quick, and does not flush */
    w->server.database = arena_printf(w->m, "ph_u_%d_%u", (int)getpid(), ++count).p;
    w->conf = &w->server;
    sql_world_exec(w, "CREATE");
    return true;
}

static inline void sql_world_close(struct sql_world *w)
{
    if (!w->conf)
        return;
    sql_world_exec(w, "DROP");
    arena_free(&w->m);
    w->conf = NULL;
}
#endif
