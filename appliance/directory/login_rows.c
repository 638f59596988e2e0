/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* login_rows.c - what a login needs to know: the user's row, and what our own tables say. The same
 * questions are asked for a user who doesn't exist. */
#include "appliance/directory/credential.h"
#include "appliance/directory/login.h"
#include "appliance/directory/own.h"

bool login_account(struct arena *m, const char *origin, struct str user, struct str *out)
{
    struct str name = user;
    size_t at;
    *out = STR("");
    if (!str_chr(name, '@', &at)) {
        if (!origin || !origin[0])
            return false;
        name = arena_printf(m, STR_FMT "@%s", STR_ARG(name), origin);
    }
    if (!resolve_fold(m, name, out) || out->p[0] == '@')
        *out = STR("");
    return true;
}

/* A user without domain is in the domain that is set as origin, or in the only one there is. */
static int find_account(struct login *op, struct rows *rows, struct str user, struct str *out,
                        struct err *err)
{
    struct str domain;
    bool only;
    if (login_account(op->m, op->d->origin, user, out))
        return 0;
    if (rows_first_domain(rows, op->m, &domain, &only, err) < 0)
        return -1;
    if (only)
        login_account(op->m, domain.p, user, out);
    return 0;
}

static int read_row(struct login *op, struct rows *rows, struct err *err)
{
    struct str asked;
    bool token = op->kind == LOGIN_TOKEN;
    if (find_account(op, rows, token ? op->named : op->user, &op->account, err) < 0)
        return -1;
    if (token && op->user.n) {
        if (find_account(op, rows, op->user, &asked, err) < 0)
            return -1;
        op->other = !str_eq(asked, op->account);
    }
    return op->account.n ? rows_login(rows, op->m, op->account, &op->row, err) : 0;
}

/* Who has no account still gets one and the same salt. */
static struct str name_of(struct login *op)
{
    struct buf b;
    if (op->account.n)
        return op->account;
    buf_init(&b, DIRECTORY_NAME_MAX + 1);
    for (size_t i = 0; i < op->user.n; i++)
        buf_add_char(&b, ascii_lower(op->user.p[i]));
    struct str out = arena_str(op->m, buf_str(&b));
    buf_fini(&b);
    return out;
}

static int read_verifier(struct login *op, struct sql *own, bool *found_out, struct err *err)
{
    bool usable = op->row.found && !op->row.system;
    return credential_verifier(own, str_take(name_of(op), DIRECTORY_NAME_MAX),
                               usable ? op->row.stored : STR(""), &op->verifier, found_out, err);
}

static int read_scram(struct login *op, struct sql *own, struct err *err)
{
    bool found;
    if (read_verifier(op, own, &found, err) < 0)
        return -1;
    op->wants_verifier = !found && op->row.found && op->row.stored.n;
    if (!found)
        scram_fake(op->d->secret, name_of(op), op->d->scram_iterations, &op->verifier);
    return 0;
}

static int read_password(struct login *op, struct sql *own, struct err *err)
{
    struct credential_app app;
    bool found;
    if (credential_app_find(own, op->m, name_of(op), login_password(op), &app, &op->app_data, err) <
            0 ||
        read_verifier(op, own, &found, err) < 0)
        return -1;
    if (op->row.found) {
        op->app = app.label;
        op->app_used = app.used;
    }
    op->wants_verifier = op->d->scram_verifiers && op->row.found && !op->row.system &&
                         op->row.stored.n &&
                         (!found || (op->verifier.iterations != op->d->scram_iterations &&
                                     !str_istarts(op->row.stored, STR("{SCRAM-SHA-256}"))));
    return 0;
}

static int read_own(struct login *op, struct directory_worker *w, struct err *err)
{
    struct sql *own = worker_own(w, err);
    if (!own)
        return -1;
    return op->kind == LOGIN_SCRAM ? read_scram(op, own, err) : read_password(op, own, err);
}

void login_read(struct login *op, struct directory_worker *w)
{
    char letters[APP_PASSWORD_LETTERS];
    struct rows *rows = worker_begin(w, &op->err);
    bool broken = false;
    op->failed = !rows || read_row(op, rows, &op->err) < 0;
    if (!op->failed && op->kind != LOGIN_TOKEN)
        broken = read_own(op, w, &op->err) < 0;
    worker_end(w, op->failed || broken);
    if (!broken)
        return;
    if (op->kind == LOGIN_SCRAM)
        op->failed = true;
    else /* the main password can be checked all the same */
        op->undecided = app_password_read(login_password(op), letters);
}
