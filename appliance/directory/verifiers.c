/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/verifiers.h"

#include "appliance/directory/credential.h"
#include "appliance/directory/password_schemes.h"

struct walk {
    struct arena *m;
    struct str *list;
    size_t n, cap, most;
};

static int on_user(void *ctx, struct str address, struct err *err)
{
    struct walk *walk = ctx;
    if (walk->most && walk->n >= walk->most)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "there are too many users");
    if (walk->n == walk->cap) {
        size_t cap = walk->cap ? 2 * walk->cap : 64;
        struct str *bigger = ARENA_ARRAY(walk->m, struct str, cap);
        if (walk->n)
            memcpy(bigger, walk->list, walk->n * sizeof *bigger);
        walk->list = bigger;
        walk->cap = cap;
    }
    walk->list[walk->n++] = arena_str(walk->m, address);
    return 0;
}

/* One who can't log in with a password needs no verifier. */
static bool can_log_in(const struct rows_login *row, const struct verifiers_ask *ask)
{
    struct password_form form;
    if (!row->found)
        return false;
    if (row->system) {
        if (ask->on_scheme)
            ask->on_scheme(ask->ctx, "system");
        return true;
    }
    password_form_read(row->stored, &form);
    bool can = form.kind != PASSWORD_NONE && form.kind != PASSWORD_UNKNOWN;
    if (ask->on_scheme)
        ask->on_scheme(ask->ctx, form.name);
    explicit_bzero(&form, sizeof form);
    return can;
}

static int look(struct rows *rows, struct sql *own, struct str account,
                const struct verifiers_ask *ask, struct verifiers *out, struct err *err)
{
    struct arena *m = arena_new(0);
    struct scram_verifier v;
    struct rows_login row;
    bool found = true;
    int r = rows_login(rows, m, account, &row, err);
    if (r == 0 && can_log_in(&row, ask)) {
        out->accounts++;
        r = credential_verifier(own, account, row.stored, &v, &found, err);
    }
    out->missing += !found;
    arena_free(&m);
    return r;
}

int verifiers_count(struct rows *rows, struct sql *own, const struct verifiers_ask *ask,
                    struct verifiers *out, struct err *err)
{
    struct walk walk = {.m = arena_new(0), .most = ask->most};
    *out = (struct verifiers){0, 0, 0};
    int r = rows_users(rows, on_user, &walk, err);
    out->users = walk.n;
    for (size_t i = 0; r == 0 && i < walk.n && !(ask->first && out->missing); i++)
        r = look(rows, own, walk.list[i], ask, out, err);
    arena_free(&walk.m);
    return r;
}
