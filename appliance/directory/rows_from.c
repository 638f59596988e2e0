/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_from.h"

#include "appliance/base/mem.h"
#include "appliance/directory/rows_files.h"
#include "appliance/directory/rows_system.h"
#include "appliance/directory/schema.h"
#include "appliance/sql/sql_url.h"

static const char *keep(struct rows_from *s, const char *text)
{
    return text && text[0] ? arena_str(s->m, str_from(text)).p : NULL;
}

/* A DSN without a password takes directory.password. Whether that server flushes is the business of
 * who writes mail there: here it is asked, and at most a hash is changed. */
static int read_server(struct rows_from *s, const struct directory_conf *conf, const char *name,
                       const char *url, struct sql_server *out, struct err *err)
{
    if (sql_server_parse(arena_str(s->m, str_from(url)), s->m, out, err) < 0)
        return err_context(err, "directory.%s", name);
    if (!out->database)
        return ERR(err, ERR_PERM, "directory.%s names no database", name);
    sql_server_set(out, &(struct sql_server_words){.password = keep(s, conf->password),
                                                   .ca = keep(s, conf->ca),
                                                   .tls = conf->tls,
                                                   .unsafe = true,
                                                   .connect_ms = conf->timeout,
                                                   .io_ms = conf->timeout});
    return 0;
}

static int read_mysql(struct rows_from *s, const struct directory_conf *conf, struct err *err)
{
    static const char *const presets[] = {
        [DIRECTORY_FLURDY] = "flurdy", [DIRECTORY_POSTFIXADMIN] = "postfixadmin"};
    const char *const queries[ROWS_ASKS] = {
        [ROWS_DOMAIN] = conf->query_domain,   [ROWS_USER] = conf->query_user,
        [ROWS_ALIAS] = conf->query_alias,     [ROWS_LOGIN] = conf->query_login,
        [ROWS_DOMAINS] = conf->query_domains, [ROWS_DOMAIN_USER] = conf->query_domain_user,
        [ROWS_USERS] = conf->query_users,     [ROWS_MOVED] = conf->query_moved,
        [ROWS_BACKUP] = conf->query_backup,   [ROWS_RELAY] = conf->query_relay,
        [ROWS_RELAYS] = conf->query_relays,   [ROWS_SET_HASH] = conf->query_set_hash};
    if (!conf->url || !conf->url[0])
        return ERR(err, ERR_PERM, "directory.url is missing: which database has the accounts?");
    if (read_server(s, conf, "url", conf->url, &s->lookups, err) < 0 ||
        (conf->changes && conf->changes[0] &&
         read_server(s, conf, "changes", conf->changes, &s->changes, err) < 0))
        return -1;
    s->sql.preset = presets[conf->preset];
    for (unsigned i = 0; i < ROWS_ASKS; i++)
        s->sql.queries[i] = keep(s, queries[i]);
    return rows_sql_check(&s->sql, err);
}

static const struct sql_server *keep_server(struct rows_from *s, const struct sql_server *in)
{
    if (!in)
        return NULL;
    struct sql_server *out = arena_dup(s->m, in, sizeof *in);
    const char **const texts[] = {&out->host,     &out->address,  &out->socket, &out->user,
                                  &out->password, &out->database, &out->ca};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = keep(s, *texts[i]);
    return out;
}

static int read_conf(struct rows_from *s, const struct directory_conf *conf, struct err *err)
{
    bool may_upgrade = s->kind == DIRECTORY_FROM_OWN;
    s->own = keep_server(s, conf->database);
    s->origin = keep(s, conf->origin);
    s->uid_min = (uint64_t)conf->uid_min;
    s->uid_max = (uint64_t)conf->uid_max;
    if (s->kind == DIRECTORY_FROM_MYSQL && read_mysql(s, conf, err) < 0)
        return -1;
    if (s->kind == DIRECTORY_FROM_FILES && (!conf->folder || conf->folder[0] != '/'))
        return ERR(err, ERR_PERM,
                   "directory.folder is the full name of the folder with passwd/ "
                   "and aliases/");
    if (s->kind == DIRECTORY_FROM_FILES)
        s->files = rows_files_shared_new(conf->folder);
    if (s->kind == DIRECTORY_FROM_SYSTEM && !s->origin)
        return ERR(err, ERR_PERM, "the users of the system are in the domain main.origin: set it");
    if (s->changes.database)
        may_upgrade = true;
    s->upgrades =
        may_upgrade &&
        (conf->upgrade_hashes == DIRECTORY_UPGRADE_YES ||
         (conf->upgrade_hashes == DIRECTORY_UPGRADE_AUTO && s->kind == DIRECTORY_FROM_OWN));
    if (conf->upgrade_hashes == DIRECTORY_UPGRADE_YES && !may_upgrade)
        return ERR(err, ERR_PERM,
                   "directory.upgrade_hashes needs directory.changes: a connection "
                   "that may change rows");
    return 0;
}

int rows_from_new(const char *dir, const struct directory_conf *conf, struct rows_from **out,
                  struct err *err)
{
    struct rows_from *s = MEM_NEW(struct rows_from);
    s->m = arena_new(0);
    s->dir = arena_str(s->m, str_from(dir)).p;
    s->kind = (enum directory_source)conf->source;
    s->as_is = conf->as_is;
    *out = NULL;
    if (read_conf(s, conf, err) < 0) {
        if (err->kind == ERR_PROTO)
            err->kind = ERR_PERM;
        rows_from_free(&s);
        return -1;
    }
    *out = s;
    return 0;
}

void rows_from_free(struct rows_from **s)
{
    if (!*s)
        return;
    rows_files_shared_free(&(*s)->files);
    arena_free(&(*s)->m);
    mem_free(*s);
    *s = NULL;
}

static int open_server(const struct sql_server *server, bool read_only, struct sql **out,
                       struct err *err)
{
    const struct sql_conf conf = {
        .server = server, .read_only = read_only, .sync = SQL_SYNC_FULL, .busy_ms = 5000};
    return sql_open(&conf, out, err);
}

/* The preset's tables on a connection: of ours or of others. */
static int over(struct sql *db, const struct rows_sql_conf *conf, bool writer, struct rows **out,
                struct err *err)
{
    static const struct rows_sql_conf own = {.preset = "flurdy", .own = true};
    if (!conf->preset)
        conf = &own;
    if ((writer ? rows_sql_writer(db, conf, out, err) : rows_sql_new(db, true, conf, out, err)) ==
        0)
        return 0;
    sql_close(&db);
    return -1;
}

int rows_from_open(const struct rows_from *s, struct rows **out, struct err *err)
{
    struct sql *db;
    *out = NULL;
    if (s->kind == DIRECTORY_FROM_FILES) {
        *out = rows_files_new(s->files);
        return 0;
    }
    if (s->kind == DIRECTORY_FROM_SYSTEM)
        return rows_system_new(s->origin, s->uid_min, s->uid_max, out, err);
    if ((s->kind == DIRECTORY_FROM_MYSQL
             ? open_server(&s->lookups, true, &db, err)
             : directory_schema_open(s->dir, s->own, SCHEMA_READ, &db, err)) < 0)
        return -1;
    return over(db, &s->sql, false, out, err);
}

enum schema_how rows_from_how(const struct rows_from *s)
{
    return s->as_is ? SCHEMA_AS_IS : SCHEMA_CHANGE;
}

int rows_from_open_writer(const struct rows_from *s, struct rows **out, struct err *err)
{
    struct sql *db;
    *out = NULL;
    if (s->kind != DIRECTORY_FROM_OWN && !s->changes.database)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_READ_ONLY, "the directory may not be changed");
    if ((s->kind == DIRECTORY_FROM_MYSQL
             ? open_server(&s->changes, false, &db, err)
             : directory_schema_open(s->dir, s->own, SCHEMA_CHANGE, &db, err)) < 0)
        return -1;
    return over(db, &s->sql, true, out, err);
}

int rows_from_open_tables(const struct rows_from *s, struct sql **out, bool *read_only_out,
                          struct err *err)
{
    *out = NULL;
    *read_only_out = false;
    if (s->kind == DIRECTORY_FROM_OWN)
        return directory_schema_open(s->dir, s->own, rows_from_how(s), out, err);
    if (s->kind != DIRECTORY_FROM_MYSQL || strcmp(s->sql.preset, "flurdy") != 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_READ_ONLY,
                       "accounts are managed where they come from: see directory.source");
    *read_only_out = !s->changes.database;
    return open_server(*read_only_out ? &s->lookups : &s->changes, *read_only_out, out, err);
}
