/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows.h"

#include "appliance/directory/schema.h"
#include "appliance/mail/address.h"

enum { DESTINATION_MAX = 1 << 20 };

/* Prepares, binds and steps: 1 row, 0 none, -1. The caller resets unless -1. */
static int ask(struct sql *db, const char *text, struct str key, struct sql_stmt **st_out,
               struct err *err)
{
    if (sql_prepare(db, text, st_out, err) < 0)
        return -1;
    if (key.p)
        sql_bind_text(*st_out, 1, key);
    int r = sql_step(*st_out, err);
    if (r < 0)
        sql_reset(*st_out);
    return r;
}

int rows_hosted(struct sql *db, struct str domain, bool *hosted_out, struct err *err)
{
    struct sql_stmt *st;
    *hosted_out = false;
    int r =
        ask(db, "SELECT transport FROM domains WHERE domain = ? AND enabled = 1", domain, &st, err);
    if (r < 0)
        return -1;
    if (r == 1) {
        struct str transport = sql_text(st, 0);
        *hosted_out =
            !str_istarts(transport, STR("smtp:")) && !str_istarts(transport, STR("relay:"));
    }
    sql_reset(st);
    return 0;
}

int rows_user(struct sql *db, struct str address, bool *found_out, struct err *err)
{
    struct sql_stmt *st;
    int r = ask(db, "SELECT 1 FROM users WHERE id = ? AND enabled = 1", address, &st, err);
    if (r < 0)
        return -1;
    *found_out = r == 1;
    sql_reset(st);
    return 0;
}

static int rows_alias(struct sql *db, struct arena *m, struct str address, struct str *out,
                      struct err *err)
{
    struct sql_stmt *st;
    *out = STR_NULL;
    int r = ask(db, "SELECT destination FROM aliases WHERE mail = ? AND enabled = 1", address, &st,
                err);
    if (r < 0)
        return -1;
    if (r == 1) {
        struct str text = sql_text(st, 0);
        if (text.n > DESTINATION_MAX) {
            sql_reset(st);
            return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the address has too many destinations");
        }
        *out = arena_str(m, text);
    }
    sql_reset(st);
    return 0;
}

int rows_first_domain(struct sql *db, struct arena *m, struct str *out, bool *only_out,
                      struct err *err)
{
    struct sql_stmt *st;
    *out = STR("");
    *only_out = false;
    int r = ask(db, "SELECT domain FROM domains WHERE enabled = 1 ORDER BY pkid LIMIT 2", STR_NULL,
                &st, err);
    if (r < 0)
        return -1;
    if (r == 1) {
        *out = arena_str(m, sql_text(st, 0));
        r = sql_step(st, err);
        *only_out = r == 0;
    }
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

/* users have no number that would tell who came first. */
int rows_first_user(struct sql *db, struct arena *m, struct str domain, struct str *out,
                    struct err *err)
{
    struct sql_stmt *st;
    struct buf pattern;
    *out = STR("");
    buf_init(&pattern, 1024);
    buf_add_z(&pattern, "%@");
    for (size_t i = 0; i < domain.n; i++) {
        if (strchr("%_!", domain.p[i]))
            buf_add_char(&pattern, '!');
        buf_add_char(&pattern, domain.p[i]);
    }
    int r = ask(db,
                "SELECT id FROM users WHERE enabled = 1 AND id LIKE ? ESCAPE '!' ORDER BY id "
                "LIMIT 1",
                buf_str(&pattern), &st, err);
    buf_fini(&pattern);
    if (r < 0)
        return -1;
    if (r == 1)
        *out = arena_str(m, sql_text(st, 0));
    sql_reset(st);
    return 0;
}

static void read_login(struct sql_stmt *st, struct arena *m, struct rows_login *out)
{
    struct str hash = sql_text(st, 0), clear = sql_text(st, 1);
    out->found = true;
    out->quota_bytes = schema_quota(sql_text(st, 2));
    if (hash.n)
        out->stored = arena_str(m, hash);
    else if (clear.n)
        out->stored = arena_printf(m, "{PLAIN}" STR_FMT, STR_ARG(clear));
}

int rows_login(struct sql *db, struct arena *m, struct str address, struct rows_login *out,
               struct err *err)
{
    struct str local, domain;
    struct sql_stmt *st;
    *out = (struct rows_login){.stored = STR("")};
    address_split(address, &local, &domain);
    int r = ask(db, "SELECT 1 FROM domains WHERE domain = ? AND enabled = 1", domain, &st, err);
    if (r < 0)
        return -1;
    sql_reset(st);
    if (r == 0)
        return 0;
    r = ask(db, "SELECT crypt, clear, quota FROM users WHERE id = ? AND enabled = 1", address, &st,
            err);
    if (r < 0)
        return -1;
    if (r == 1)
        read_login(st, m, out);
    sql_reset(st);
    return 0;
}

static int source_hosted(void *ctx, struct str domain, bool *hosted_out, struct err *err)
{
    return rows_hosted(ctx, domain, hosted_out, err);
}
static int source_alias(void *ctx, struct arena *m, struct str address, struct str *out,
                        struct err *err)
{
    return rows_alias(ctx, m, address, out, err);
}
static int source_user(void *ctx, struct str address, bool *found_out, struct err *err)
{
    return rows_user(ctx, address, found_out, err);
}
static int source_first_domain(void *ctx, struct arena *m, struct str *out, struct err *err)
{
    bool only;
    return rows_first_domain(ctx, m, out, &only, err);
}

static int source_first_user(void *ctx, struct arena *m, struct str domain, struct str *out,
                             struct err *err)
{
    return rows_first_user(ctx, m, domain, out, err);
}

struct resolve_source rows_source(struct sql *db)
{
    return (struct resolve_source){.ctx = db,
                                   .hosted = source_hosted,
                                   .alias = source_alias,
                                   .user = source_user,
                                   .first_domain = source_first_domain,
                                   .first_user = source_first_user};
}
