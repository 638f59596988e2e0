/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_migrate.c - brings a schema to this program's version.
 * Where DDL is part of a transaction a migration happens as a whole or not at all. Elsewhere each
 * statement's end is noted in schema_version.step, and whoever comes next goes on there: the one
 * statement that may have been done without its note is then allowed to find itself done. */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql_private.h"

enum { TABLES_MAX = 100, TABLE_NAME_MAX = 64 };

/* ---- Texts. */

static bool is_ddl(const char *text)
{
    struct str s = str_from(text);

    return str_starts(s, STR("CREATE ")) || str_starts(s, STR("ALTER ")) ||
           str_starts(s, STR("DROP "));
}

static bool substitute(struct buf *b, struct str *rest, struct str token, const char *by)
{
    if (!str_starts(*rest, token))
        return false;
    buf_add_z(b, by);
    *rest = str_skip(*rest, token.n);
    return true;
}

static int run_schema_text(struct sql *db, const char *text, struct err *err)
{
    const struct sql_driver *d = db->driver;
    struct str rest = str_from(text);
    bool utf8 = false;
    struct buf b;
    int rc;

    buf_init(&b, 1 << 20);
    while (rest.n) {
        if (substitute(&b, &rest, STR("%KEY%"), d->key_token) ||
            substitute(&b, &rest, STR("%CLUSTERED%"), d->clustered_token))
            continue;
        if (substitute(&b, &rest, STR("%UTF8%"), d->utf8_token)) {
            utf8 = true;
            continue;
        }
        buf_add_char(&b, *rest.p);
        rest = str_skip(rest, 1);
    }
    if (!utf8 && str_starts(str_from(text), STR("CREATE TABLE ")))
        buf_add_z(&b, d->table_options);
    CHECK(buf_ok(&b));
    rc = sql_exec(db, buf_z(&b), err);
    buf_fini(&b);
    return rc;
}

/* ---- What is noted. */

struct progress {
    int64_t version, step; /* of migration version + 1 so many statements are done */
};

static int read_progress(struct sql *db, const char *what, struct progress *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = (struct progress){0};
    if (sql_prepare(db,
                    db->driver->ddl_commits
                        ? "SELECT version, step FROM schema_version WHERE what = ?"
                        : "SELECT version, 0 FROM schema_version WHERE what = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, str_from(what));
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct progress){.version = sql_int(st, 0), .step = sql_int(st, 1)};
    sql_reset(st);
    if (rc != 0 || !db->driver->ddl_commits)
        return rc < 0 ? -1 : 0;
    if (sql_prepare(db, "INSERT INTO schema_version(what, version, step) VALUES (?, 0, 0)", &st,
                    err) != 0)
        return -1;
    sql_bind_text(st, 1, str_from(what));
    return sql_run(st, err);
}

static int write_progress(struct sql *db, const char *what, struct progress p, struct err *err)
{
    const char *text = "UPDATE schema_version SET version = ? WHERE what = ?";
    struct sql_stmt *st;

    if (db->driver->ddl_commits)
        text = "UPDATE schema_version SET version = ?, step = ? WHERE what = ?";
    else if (p.version == 1)
        text = "INSERT INTO schema_version(version, what) VALUES (?, ?)";
    if (sql_prepare(db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, p.version);
    if (db->driver->ddl_commits)
        sql_bind_int(st, 2, p.step);
    sql_bind_text(st, db->driver->ddl_commits ? 3 : 2, str_from(what));
    return sql_run(st, err);
}

/* ---- One migration. */

static int migrate_whole(struct sql *db, const char *what, const struct sql_migration *m,
                         struct progress *p, struct err *err)
{
    if (sql_begin(db, true, err) != 0)
        return -1;
    for (const char *const *s = m->statements; *s; s++) {
        if (run_schema_text(db, *s, err) != 0)
            goto failed;
    }
    p->version++;
    if (write_progress(db, what, *p, err) == 0)
        return sql_commit(db, err);
failed:
    sql_rollback(db);
    return -1;
}

/* A statement and its note are one transaction where they can be. */
static int migrate_step(struct sql *db, const char *what, const char *text, struct progress next,
                        bool resumed, struct err *err)
{
    if (is_ddl(text)) {
        if (run_schema_text(db, text, err) != 0 && !(resumed && db->driver->ddl_is_done(db->conn)))
            return -1;
        return write_progress(db, what, next, err);
    }
    if (sql_begin(db, true, err) != 0)
        return -1;
    if (run_schema_text(db, text, err) == 0 && write_progress(db, what, next, err) == 0)
        return sql_commit(db, err);
    sql_rollback(db);
    return -1;
}

static int migrate_stepwise(struct sql *db, const char *what, const struct sql_migration *m,
                            struct progress *p, struct err *err)
{
    int64_t step = 0;
    const int64_t first = p->step;

    for (const char *const *s = m->statements; *s; s++, step++) {
        if (step < first)
            continue;
        struct progress next = {.version = p->version, .step = step + 1};
        if (migrate_step(db, what, *s, next, step == first, err) != 0)
            return -1;
    }
    *p = (struct progress){.version = p->version + 1};
    return write_progress(db, what, *p, err);
}

/* ---- All of them. */

static bool table_name(const char *text, char out[TABLE_NAME_MAX])
{
    struct str s = str_from(text);
    size_t n;

    if (!str_starts(s, STR("CREATE TABLE ")))
        return false;
    s = str_skip(s, 13);
    n = strcspn(s.p, " (");
    if (n >= TABLE_NAME_MAX)
        return false;
    memcpy(out, s.p, n);
    out[n] = '\0';
    return true;
}

static int check_tables(struct sql *db, const struct sql_migration *list, unsigned n,
                        struct err *err)
{
    char(*names)[TABLE_NAME_MAX] = mem_alloc(TABLES_MAX * TABLE_NAME_MAX);
    const char *tables[TABLES_MAX];
    size_t count = 0;
    int rc;

    for (unsigned i = 0; i < n; i++) {
        for (const char *const *s = list[i].statements; *s && count < TABLES_MAX; s++) {
            if (table_name(*s, names[count])) {
                tables[count] = names[count];
                count++;
            }
        }
    }
    rc = db->driver->check_tables(db->conn, tables, count, err);
    mem_free(names);
    return rc;
}

static int refuse_newer(const char *what, int64_t version, unsigned n, struct err *err)
{
    return ERR(err, ERR_PERM,
               "the database was written by a newer posthouse (schema %s is version %lld, this "
               "program knows %u): run that version or restore a backup",
               what, (long long)version, n);
}

static int migrate_all(struct sql *db, const char *what, const struct sql_migration *list,
                       unsigned n, struct err *err)
{
    struct progress p;

    if (read_progress(db, what, &p, err) != 0)
        return -1;
    if (p.version > n)
        return refuse_newer(what, p.version, n, err);
    for (unsigned i = (unsigned)p.version; i < n; i++) {
        int rc = db->driver->ddl_commits ? migrate_stepwise(db, what, &list[i], &p, err)
                                         : migrate_whole(db, what, &list[i], &p, err);
        if (rc != 0)
            return err_context(err, "schema %s version %u (%s)", what, i + 1, list[i].doc);
    }
    return 0;
}

static int make_version_table(struct sql *db, struct err *err)
{
    if (!db->driver->ddl_commits)
        return sql_exec(db,
                        "CREATE TABLE IF NOT EXISTS schema_version("
                        "what VARCHAR(64) NOT NULL PRIMARY KEY, version INTEGER NOT NULL)",
                        err);
    struct buf b;
    buf_init(&b, 1000);
    buf_printf(&b,
               "CREATE TABLE IF NOT EXISTS schema_version(what VARCHAR(64) NOT NULL PRIMARY KEY, "
               "version INTEGER NOT NULL, step INTEGER NOT NULL)%s",
               db->driver->table_options);
    int rc = sql_exec(db, buf_z(&b), err);
    buf_fini(&b);
    return rc;
}

static int has_versions(struct sql *db, bool *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, db->driver->has_versions, &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    *out = rc == 1 && sql_int(st, 0) == 1;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int sql_schema_version(struct sql *db, const char *what, int64_t *out, struct err *err)
{
    struct sql_stmt *st;
    bool there;
    int rc;

    *out = 0;
    if (has_versions(db, &there, err) != 0)
        return -1;
    if (!there)
        return 0;
    if (sql_prepare(db, "SELECT version FROM schema_version WHERE what = ?", &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, str_from(what));
    rc = sql_step(st, err);
    if (rc == 1)
        *out = sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int sql_check_schema(struct sql *db, const char *what, unsigned n, struct err *err)
{
    int64_t version;

    if (sql_schema_version(db, what, &version, err) != 0)
        return -1;
    if (version > n)
        return refuse_newer(what, version, n, err);
    if (version == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "the database has no tables of posthouse yet (schema %s): start posthouse "
                       "serve once, which makes them",
                       what);
    if (version < n)
        return ERR(err, ERR_PERM,
                   "the database is an older posthouse's (schema %s is version %lld of %u): start "
                   "posthouse serve once, which brings it up to date",
                   what, (long long)version, n);
    return 0;
}

/* Tables of ours among those of somebody else would be in the way of both. */
static int refuse_foreign(struct sql *db, struct err *err)
{
    struct sql_stmt *st;
    bool ours;
    int rc;

    if (!db->driver->tables)
        return 0;
    if (has_versions(db, &ours, err) != 0)
        return -1;
    if (ours)
        return 0;
    if (sql_prepare(db, db->driver->tables, &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    if (rc == 1 && sql_int(st, 0) > 0)
        rc = ERR(err, ERR_PERM,
                 "the database " STR_FMT
                 " isn't empty, and what it holds isn't posthouse's (table " STR_FMT
                 "): make one for posthouse alone, and name that",
                 STR_ARG(str_take(sql_text(st, 2), 64)), STR_ARG(str_take(sql_text(st, 1), 64)));
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int sql_migrate(struct sql *db, const char *what, const struct sql_migration *list, unsigned n,
                struct err *err)
{
    struct err ignored;
    int rc;

    if (db->driver->schema_lock && db->driver->schema_lock(db->conn, true, err) != 0)
        return -1;
    rc = refuse_foreign(db, err) != 0 || make_version_table(db, err) != 0 ||
                 migrate_all(db, what, list, n, err) != 0
             ? -1
             : 0;
    if (db->driver->schema_lock)
        (void)db->driver->schema_lock(db->conn, false, &ignored);
    if (rc == 0 && db->driver->check_tables)
        rc = check_tables(db, list, n, err);
    return rc;
}
