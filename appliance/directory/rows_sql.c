/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_sql.h"

#include "appliance/base/mem.h"
#include "appliance/directory/import_mark.h"
#include "appliance/directory/schema.h"
#include "appliance/mail/address.h"

enum { DESTINATION_MAX = 1 << 20 };

struct rows_sql {
    struct rows rows;
    struct sql *db;
    bool own;                  /* the connection */
    bool notes;                /* our own tables */
    struct arena *m, *scratch; /* scratch: the values of the query that runs */
    struct rows_query queries[ROWS_ASKS];
    bool tells_address[ROWS_ASKS]; /* in its row; else it may */
};

static struct rows_sql *sql_of(struct rows *r)
{
    return CONTAINER_OF(r, struct rows_sql, rows);
}

/* Visible ASCII: the same in every character set, and to every collation but for its case. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return true;
}

/* Prepares, binds and steps: 1 row, 0 none, -1. The caller resets unless -1. Tables whose character
 * set lacks a letter of the name don't have it: that is no failure of theirs. */
static int ask_with(struct sql *db, struct arena *scratch, const struct rows_query *q,
                    const struct rows_values *v, struct sql_stmt **st_out, struct err *err)
{
    arena_clear(scratch);
    if (sql_prepare(db, q->text, st_out, err) < 0)
        return -1;
    for (unsigned i = 0; i < q->n; i++)
        sql_bind_text(*st_out, (int)i + 1, rows_query_value(scratch, q->params[i], v));
    int r = sql_step(*st_out, err);
    if (r >= 0)
        return r;
    sql_reset(*st_out);
    return err->why == ERR_WHY_CHARSET && !is_plain(v->address) ? 0 : -1;
}

static int ask(struct rows *r, enum rows_ask which, struct str address, struct str domain,
               struct sql_stmt **st_out, struct err *err)
{
    struct rows_sql *s = sql_of(r);
    struct rows_values v = {.address = address, .domain = domain};
    if (address.p)
        address_split(address, &v.local, &v.domain);
    return ask_with(s->db, s->scratch, &s->queries[which], &v, st_out, err);
}

/* As the directory keys it. A database compares without the spaces at the end. */
static bool is_same(struct str told, struct str asked)
{
    struct buf folded;
    struct err err;
    told = str_trim(told);
    if (str_ieq(told, asked))
        return true;
    buf_init(&folded, 4 * told.n + 16);
    bool same =
        told.n <= 1000 && address_fold(told, &folded, &err) == 0 && str_eq(buf_str(&folded), asked);
    buf_fini(&folded);
    return same;
}

/* A database that takes letters for equal that aren't (collations do, for accents) may answer with
 * another's row. col: where a preset tells the address. A query of the settings may tell it there,
 * or what is before its "@"; when it doesn't, a name in plain ASCII is believed. */
static bool is_other(struct rows *r, enum rows_ask which, struct sql_stmt *st, int col,
                     struct str asked)
{
    struct rows_sql *s = sql_of(r);
    struct str told = sql_text(st, col), local, domain;
    size_t at;
    if (s->tells_address[which])
        return told.n && !is_same(told, asked);
    address_split(asked, &local, &domain);
    bool whole = str_chr(told, '@', &at);
    if (told.n && is_same(whole ? told
                                : arena_printf(s->scratch, STR_FMT "@" STR_FMT, STR_ARG(told),
                                               STR_ARG(domain)),
                          asked))
        return false;
    return !is_plain(asked) || (whole && !is_plain(str_trim(told)));
}

static int sql_rows_hosted(struct rows *r, struct str domain, bool *hosted_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = ask(r, ROWS_DOMAIN, STR_NULL, domain, &st, err);
    if (rc < 0)
        return -1;
    if (rc == 1) {
        struct str transport = sql_text(st, 0);
        *hosted_out =
            !str_istarts(transport, STR("smtp:")) && !str_istarts(transport, STR("relay:"));
    }
    sql_reset(st);
    return 0;
}

static int sql_rows_user(struct rows *r, struct str address, bool *found_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = ask(r, ROWS_USER, address, STR_NULL, &st, err);
    if (rc < 0)
        return -1;
    *found_out = rc == 1 && !is_other(r, ROWS_USER, st, 0, address);
    sql_reset(st);
    return 0;
}

/* Several rows are one list. Queries of the settings needn't tell whose it is: nobody gets an
 * account by an alias. */
static int sql_rows_alias(struct rows *r, struct arena *m, struct str address, struct str *out,
                          struct err *err)
{
    struct sql_stmt *st;
    struct buf list;
    bool tells = sql_of(r)->tells_address[ROWS_ALIAS], found = false;
    int rc = ask(r, ROWS_ALIAS, address, STR_NULL, &st, err);
    if (rc <= 0) {
        if (rc == 0)
            sql_reset(st);
        return rc;
    }
    buf_init(&list, DESTINATION_MAX);
    for (; rc == 1; rc = sql_step(st, err)) {
        if (tells && is_other(r, ROWS_ALIAS, st, 1, address))
            continue;
        found = true;
        if (list.n)
            buf_add_char(&list, ',');
        buf_add_str(&list, sql_text(st, 0));
    }
    if (rc == 0 && !buf_ok(&list))
        rc = ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the address has too many destinations");
    if (rc == 0 && found)
        *out = arena_str(m, buf_str(&list));
    buf_fini(&list);
    sql_reset(st);
    return rc;
}

static int sql_rows_first_domain(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                                 struct err *err)
{
    struct sql_stmt *st;
    int rc = ask(r, ROWS_DOMAINS, STR_NULL, STR_NULL, &st, err);
    if (rc < 0)
        return -1;
    if (rc == 1) {
        *out = arena_str(m, sql_text(st, 0));
        rc = sql_step(st, err);
        *only_out = rc == 0;
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* A domain name has neither "%" nor "_", so it can stand in a pattern. */
static int sql_rows_first_user(struct rows *r, struct arena *m, struct str domain, struct str *out,
                               struct err *err)
{
    struct sql_stmt *st;
    for (size_t i = 0; i < domain.n; i++)
        if (domain.p[i] == '%' || domain.p[i] == '_')
            return 0;
    int rc = ask(r, ROWS_DOMAIN_USER, STR_NULL, domain, &st, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && !resolve_fold(m, sql_text(st, 0), out))
        *out = STR("");
    sql_reset(st);
    return 0;
}

static int sql_rows_login(struct rows *r, struct arena *m, struct str address,
                          struct rows_login *out, struct err *err)
{
    struct str local, domain;
    struct sql_stmt *st;
    address_split(address, &local, &domain);
    int rc = ask(r, ROWS_DOMAIN, STR_NULL, domain, &st, err);
    if (rc < 0)
        return -1;
    sql_reset(st);
    if (rc == 0)
        return 0;
    rc = ask(r, ROWS_LOGIN, address, STR_NULL, &st, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && !is_other(r, ROWS_LOGIN, st, 2, address)) {
        out->found = true;
        out->stored = arena_str(m, sql_text(st, 0));
        out->quota_bytes = schema_quota(sql_text(st, 1));
    }
    sql_reset(st);
    return 0;
}

static int sql_rows_users(struct rows *r, rows_user_fn fn, void *ctx, struct err *err)
{
    struct sql_stmt *st;
    struct arena *m = arena_new(0);
    struct str address;
    int rc = ask(r, ROWS_USERS, STR_NULL, STR_NULL, &st, err), end = 0;
    if (rc >= 0) {
        for (; rc == 1 && end == 0; rc = end == 0 ? sql_step(st, err) : 0) {
            if (resolve_fold(m, sql_text(st, 0), &address))
                end = fn(ctx, address, err);
            arena_clear(m);
        }
        sql_reset(st);
    }
    arena_free(&m);
    return rc < 0 || end < 0 ? -1 : 0;
}

static int sql_rows_moved(struct rows *r, struct arena *m, struct str address, struct str *out,
                          struct err *err)
{
    struct sql_stmt *st;
    if (!sql_of(r)->queries[ROWS_MOVED].text)
        return 0;
    int rc = ask(r, ROWS_MOVED, address, STR_NULL, &st, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && sql_text(st, 0).n)
        *out = arena_str(m, sql_text(st, 0));
    sql_reset(st);
    return 0;
}

/* A list of recipients that names none of the domain doesn't speak of it. */
static int sql_rows_relayed(struct rows *r, struct str address, bool *relayed_out, struct err *err)
{
    static const enum rows_ask asked[] = {ROWS_BACKUP, ROWS_RELAY, ROWS_RELAYS};
    const struct rows_query *q = sql_of(r)->queries;
    bool found[3] = {false, false, false};
    struct str local, domain;
    struct sql_stmt *st;
    address_split(address, &local, &domain);
    for (unsigned i = 0; i < 3 && q[asked[i]].text; i++) {
        int rc = i == 1 ? ask(r, asked[i], address, STR_NULL, &st, err)
                        : ask(r, asked[i], STR_NULL, domain, &st, err);
        if (rc < 0)
            return -1;
        sql_reset(st);
        found[i] = rc == 1;
        if (i == 0 && !found[0])
            return 0;
    }
    *relayed_out = found[0] && (found[1] || !found[2]);
    return 0;
}

/* On a server each statement is a round trip, and one that stands alone sees one state anyway. */
static int sql_rows_begin(struct rows *r, struct err *err)
{
    struct sql *db = sql_of(r)->db;
    return strcmp(sql_engine(db), "sqlite") == 0 ? sql_begin(db, false, err) : 0;
}

static void sql_rows_end(struct rows *r)
{
    struct sql *db = sql_of(r)->db;
    if (sql_in_transaction(db))
        sql_rollback(db);
}

static void sql_rows_close(struct rows *r)
{
    struct rows_sql *s = sql_of(r);
    if (s->own)
        sql_close(&s->db);
    arena_free(&s->m);
    arena_free(&s->scratch);
    mem_free(s);
}

static const struct rows_kind kind = {.name = "sql",
                                      .begin = sql_rows_begin,
                                      .end = sql_rows_end,
                                      .close = sql_rows_close,
                                      .hosted = sql_rows_hosted,
                                      .user = sql_rows_user,
                                      .alias = sql_rows_alias,
                                      .first_domain = sql_rows_first_domain,
                                      .first_user = sql_rows_first_user,
                                      .login = sql_rows_login,
                                      .users = sql_rows_users,
                                      .moved = sql_rows_moved,
                                      .relayed = sql_rows_relayed};

/* The first variant that the database can prepare. 0 with text NULL: there is none, and needn't. */
static int choose(struct sql *db, struct arena *m, const struct rows_sql_conf *conf,
                  enum rows_ask which, struct rows_query *out, struct err *err)
{
    const char *set = conf->queries[which], *text;
    struct sql_stmt *st;
    struct err first = {.kind = ERR_NONE};
    for (unsigned i = 0;
         (text = set && set[0] ? (i ? NULL : set) : rows_preset_query(conf->preset, which, i));
         i++) {
        if (rows_query_read(m, text, rows_ask_letters(which), out, err) < 0)
            return err_context(err, "%s", rows_ask_name(which));
        if (sql_prepare(db, out->text, &st, err) == 0)
            return 0;
        if (err->kind == ERR_TEMP && err->why != ERR_WHY_DENIED)
            return -1;
        if (first.kind == ERR_NONE)
            first = *err;
    }
    out->text = NULL;
    if (first.kind == ERR_NONE || (rows_ask_optional(which) && !(set && set[0])))
        return 0;
    *err = first;
    err->kind = ERR_PERM;
    return err_context(err, "%s", rows_ask_name(which));
}

int rows_sql_check(const struct rows_sql_conf *conf, struct err *err)
{
    struct arena *m = arena_new(0);
    struct rows_query q;
    int rc = 0;
    if (!rows_preset_known(conf->preset))
        rc = ERR(err, ERR_PROTO, "there is no preset \"%.50s\"", conf->preset);
    for (unsigned i = 0; rc == 0 && i < ROWS_ASKS; i++)
        if (conf->queries[i] && conf->queries[i][0] &&
            rows_query_read(m, conf->queries[i], rows_ask_letters((enum rows_ask)i), &q, err) < 0)
            rc = err_context(err, "%s", rows_ask_name((enum rows_ask)i));
    arena_free(&m);
    return rc;
}

int rows_sql_new(struct sql *db, bool own, const struct rows_sql_conf *conf, struct rows **out,
                 struct err *err)
{
    struct rows_sql *s = MEM_NEW(struct rows_sql);
    int rc = 0;
    s->rows.kind = &kind;
    s->db = db;
    s->m = arena_new(0);
    s->scratch = arena_new(0);
    for (unsigned i = 0; rc == 0 && i < ROWS_SET_HASH; i++) {
        rc = choose(db, s->m, conf, (enum rows_ask)i, &s->queries[i], err);
        s->tells_address[i] = !conf->queries[i] || !conf->queries[i][0];
    }
    *out = NULL;
    if (rc < 0) {
        sql_rows_close(&s->rows);
        return -1;
    }
    s->own = own;
    *out = &s->rows;
    return 0;
}

int rows_sql_own(struct sql *db, bool own, struct rows **out, struct err *err)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"};
    return rows_sql_new(db, own, &conf, out, err);
}

int rows_sql_writer(struct sql *db, const struct rows_sql_conf *conf, struct rows **out,
                    struct err *err)
{
    struct rows_sql *s = MEM_NEW(struct rows_sql);
    s->rows.kind = &kind;
    s->db = db;
    s->m = arena_new(0);
    s->scratch = arena_new(0);
    *out = NULL;
    if (choose(db, s->m, conf, ROWS_SET_HASH, &s->queries[ROWS_SET_HASH], err) < 0) {
        sql_rows_close(&s->rows);
        return -1;
    }
    s->own = true;
    s->notes = conf->own;
    *out = &s->rows;
    return 0;
}

static int set_hash(struct rows_sql *s, const struct rows_values *v, bool *changed_out,
                    struct err *err)
{
    struct sql_stmt *st;
    if (ask_with(s->db, s->scratch, &s->queries[ROWS_SET_HASH], v, &st, err) < 0)
        return -1;
    *changed_out = sql_changes(s->db) > 0;
    sql_reset(st);
    return *changed_out && s->notes ? import_note_upgrade(s->db, v->address, v->old, v->hash, err)
                                    : 0;
}

int rows_sql_set_hash(struct rows *writer, struct str address, struct str old, struct str hash,
                      bool *changed_out, struct err *err)
{
    struct rows_sql *s = sql_of(writer);
    struct rows_values v = {.address = address, .hash = hash, .old = old};
    *changed_out = false;
    address_split(address, &v.local, &v.domain);
    if (!s->notes)
        return set_hash(s, &v, changed_out, err);
    if (sql_begin(s->db, true, err) < 0)
        return -1;
    if (set_hash(s, &v, changed_out, err) == 0)
        return sql_commit(s->db, err);
    sql_rollback(s->db);
    *changed_out = false;
    return -1;
}
