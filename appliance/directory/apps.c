/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/credential.h"
#include "appliance/directory/directory_apps.h"
#include "appliance/directory/own.h"
#include "appliance/directory/rows_from.h"
#include "appliance/directory/verifiers.h"

_Static_assert((int)DIRECTORY_APP_TEXT == (int)APP_PASSWORD_TEXT, "room for an app password");

struct directory_apps {
    struct rows_from *source;
    struct rows *rows;
    struct sql *own;
    struct arena *scratch; /* of one call */
};

static int open_all(struct directory_apps *a, struct err *err)
{
    struct sql *db;
    bool read_only;
    if (a->source->kind == DIRECTORY_FROM_OWN) { /* makes the tables */
        if (rows_from_open_tables(a->source, &db, &read_only, err) < 0)
            return -1;
        sql_close(&db);
    }
    if (rows_from_open(a->source, &a->rows, err) < 0)
        return -1;
    return own_open(a->source->dir, a->source->own, rows_from_how(a->source), &a->own, err);
}

int directory_apps_open(const char *dir, const struct directory_conf *conf,
                        struct directory_apps **out, struct err *err)
{
    static const struct directory_conf own = {.source = DIRECTORY_FROM_OWN};
    struct directory_apps *a = MEM_NEW(struct directory_apps);
    a->scratch = arena_new(0);
    *out = NULL;
    if (rows_from_new(dir, conf ? conf : &own, &a->source, err) < 0 || open_all(a, err) < 0) {
        directory_apps_close(&a);
        return err_context(err, "directory");
    }
    *out = a;
    return 0;
}

void directory_apps_close(struct directory_apps **ap)
{
    struct directory_apps *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    rows_close(&a->rows);
    sql_close(&a->own);
    rows_from_free(&a->source);
    arena_free(&a->scratch);
    mem_free(a);
}

static int fold(struct directory_apps *a, struct str address, struct str *out, struct err *err)
{
    arena_clear(a->scratch);
    if (resolve_fold(a->scratch, address, out) && out->p[0] != '@')
        return 0;
    return ERR(err, ERR_PERM, "\"" STR_FMT "\" is not a mail address",
               STR_ARG(str_take(address, 100)));
}

static int need_user(struct directory_apps *a, struct str account, struct err *err)
{
    bool found;
    if (rows_begin(a->rows, err) < 0)
        return -1;
    int r = rows_user(a->rows, account, &found, err);
    rows_end(a->rows);
    if (r < 0 || found)
        return r;
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "there is no enabled user " STR_FMT,
                   STR_ARG(str_take(account, 200)));
}

int directory_app_add(struct directory_apps *a, struct str address, struct str name,
                      char text[DIRECTORY_APP_TEXT], struct err *err)
{
    struct str account;
    if (fold(a, address, &account, err) < 0 || need_user(a, account, err) < 0)
        return -1;
    return credential_app_add(a->own, account, name, text, err);
}

int directory_app_list(struct directory_apps *a, struct arena *m, struct str address,
                       struct directory_app **out, size_t *n_out, struct err *err)
{
    struct credential_app *list;
    struct str account;
    if (fold(a, address, &account, err) < 0 || need_user(a, account, err) < 0 ||
        credential_app_list(a->own, m, account, &list, n_out, err) < 0)
        return -1;
    *out = ARENA_ARRAY(m, struct directory_app, *n_out + 1);
    for (size_t i = 0; i < *n_out; i++)
        (*out)[i] = (struct directory_app){list[i].label, list[i].created, list[i].used};
    return 0;
}

int directory_app_remove(struct directory_apps *a, struct str address, struct str name,
                         uint64_t *removed_out, struct err *err)
{
    struct str account;
    if (fold(a, address, &account, err) < 0 ||
        credential_app_remove(a->own, account, name, removed_out, err) < 0)
        return -1;
    if (*removed_out || !name.p)
        return 0;
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                   STR_FMT " has no app password named \"" STR_FMT "\"", STR_ARG(account),
                   STR_ARG(str_take(name, CREDENTIAL_LABEL_MAX)));
}

static bool is_weak(const char *scheme)
{
    static const char *const strong[] = {
        "yescrypt",      "gost-yescrypt", "scrypt",   "bcrypt", "sha512-crypt",
        "sha256-crypt",  "argon2i",       "argon2id", "pbkdf2", "scram-sha-1",
        "scram-sha-256", "none",          "unknown",  "system"};
    for (size_t i = 0; i < ARRAY_LEN(strong); i++)
        if (strcmp(scheme, strong[i]) == 0)
            return false;
    return true;
}

static void on_scheme(void *ctx, const char *scheme)
{
    struct directory_census *c = ctx;
    size_t i = 0;
    while (i < c->n_schemes && strcmp(c->schemes[i].name, scheme) != 0)
        i++;
    if (i == DIRECTORY_SCHEMES)
        return;
    if (i == c->n_schemes)
        c->schemes[c->n_schemes++] =
            (struct directory_scheme){.name = scheme, .weak = is_weak(scheme)};
    c->schemes[i].n++;
}

int directory_census(struct directory_apps *a, struct directory_census *out, struct err *err)
{
    const struct verifiers_ask ask = {.on_scheme = on_scheme, .ctx = out};
    struct verifiers v;
    *out = (struct directory_census){0};
    if (rows_begin(a->rows, err) < 0)
        return -1;
    int r = verifiers_count(a->rows, a->own, &ask, &v, err);
    rows_end(a->rows);
    out->users = v.users;
    out->accounts = v.accounts;
    out->missing = v.missing;
    return r;
}
