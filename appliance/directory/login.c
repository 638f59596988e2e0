/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/directory.h"

#include "appliance/base/clock.h"
#include "appliance/directory/password.h"
#include "appliance/directory/private.h"

/* A login: the row on lane `directory`, the cache on the loop, the hash on lane `auth`. */
struct login {
    struct job row_job, hash_job;
    struct directory *d;
    struct arena *m;
    struct str user, account;
    char password[PASSWORD_MAX + 1]; /* one more than is valid, so that longer ones stay invalid */
    size_t n_password;
    struct rows_login row;
    bool failed, ok;
    struct err err;
    directory_login_fn on_login;
    void *ctx;
};

static struct str password_of(const struct login *op)
{
    return str_of(op->password, op->n_password);
}

static void login_free(struct login *op)
{
    explicit_bzero(op->password, sizeof op->password);
    directory_unref(&op->d);
    arena_free(&op->m);
    mem_free(op);
}

static void answer(struct login *op)
{
    struct directory_login l = {.failed = op->failed, .err = op->err, .ok = op->ok && !op->failed};
    if (l.ok) {
        l.account = op->account;
        l.quota_bytes = op->row.quota_bytes;
    }
    op->on_login(op->ctx, &l);
    login_free(op);
}

/* The address that is logging in; a user without domain is in the domain that is set as
 * origin, or in the only one there is. */
static int find_account(struct login *op, struct rows *rows, bool *found_out, struct err *err)
{
    struct str domain, name = op->user;
    size_t at;
    bool only;
    *found_out = false;
    if (!str_chr(name, '@', &at)) {
        domain = str_from(op->d->origin);
        if (!domain.n) {
            if (rows_first_domain(rows, op->m, &domain, &only, err) < 0)
                return -1;
            if (!only)
                return 0;
        }
        name = arena_printf(op->m, STR_FMT "@" STR_FMT, STR_ARG(name), STR_ARG(domain));
    }
    *found_out = resolve_fold(op->m, name, &op->account) && op->account.p[0] != '@';
    return 0;
}

static int read_row(struct login *op, struct rows *rows, struct err *err)
{
    bool found;
    if (find_account(op, rows, &found, err) < 0)
        return -1;
    return found ? rows_login(rows, op->m, op->account, &op->row, err) : 0;
}

static void row_run(struct job *j, void *worker)
{
    struct login *op = CONTAINER_OF(j, struct login, row_job);
    struct rows *rows = worker_begin(worker, &op->err);
    op->failed = !rows || read_row(op, rows, &op->err) < 0;
    worker_end(worker, op->failed);
}

static void hash_run(struct job *j, void *worker)
{
    struct login *op = CONTAINER_OF(j, struct login, hash_job);
    (void)worker;
    if (op->row.found)
        op->ok = login_check(op->d, &op->row, op->account, password_of(op), &op->err);
    else
        password_check_nobody(password_of(op));
}

static void hash_done(struct job *j)
{
    struct login *op = CONTAINER_OF(j, struct login, hash_job);
    if (op->err.kind == ERR_TEMP) { /* it could not be found out */
        directory_failure(&op->err, "password");
        op->failed = true;
    } else if (op->err.kind !=
               ERR_NONE) { /* not the client's business: for them it is a wrong password */
        log_warn(&directory_log, "hash_unreadable", L_STR("account", op->account),
                 L_Z("error", op->err.text));
        err_clear(&op->err);
    }
    /* What the system says of a password may change without its row. */
    if (op->ok && !op->row.system)
        auth_cache_add(op->d->cache, op->account, password_of(op), op->row.stored, clock_mono_ms());
    if (op->ok)
        login_upgrade(op->d, &op->row, op->account, password_of(op));
    answer(op);
}

static void row_done(struct job *j)
{
    struct login *op = CONTAINER_OF(j, struct login, row_job);
    struct directory *d = op->d;
    if (op->failed) {
        directory_failure(&op->err, "login");
        op->err.kind = ERR_TEMP;
        answer(op);
        return;
    }
    if (op->row.found && !op->row.system &&
        auth_cache_knows(d->cache, op->account, password_of(op), op->row.stored, clock_mono_ms())) {
        op->ok = true;
        answer(op);
        return;
    }
    if (d->auth && lane_submit(d->auth, &op->hash_job) == 0)
        return;
    op->failed = true;
    err_set(&op->err, ERR_TEMP, ERR_WHY_BUSY, "too many logins are being checked");
    answer(op);
}

int directory_login(struct directory *d, struct str user, struct str password,
                    directory_login_fn on_login, void *ctx)
{
    struct login *op = MEM_NEW(struct login);
    op->row_job = (struct job){.run = row_run, .done = row_done};
    op->hash_job = (struct job){.run = hash_run, .done = hash_done};
    op->m = arena_new(0);
    op->user = arena_str(op->m, str_take(user, DIRECTORY_NAME_MAX + 1));
    op->n_password = password.n < sizeof op->password ? password.n : sizeof op->password;
    if (op->n_password)
        memcpy(op->password, password.p, op->n_password);
    op->on_login = on_login;
    op->ctx = ctx;
    op->d = directory_ref(d);
    if (d->rows && lane_submit(d->rows, &op->row_job) == 0)
        return 0;
    login_free(op);
    return -1;
}
