/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* login.c - a login: (the token's server,) the row on lane `directory`, the cache on the loop, the
 * hash on lane `auth`. */
#include "appliance/directory/login.h"

#include "appliance/base/clock.h"
#include "appliance/directory/oauth.h"
#include "appliance/directory/writer.h"
#include <openssl/crypto.h>

enum { NOTE_USE_S = 600 }; /* the last use of an app password is known to ten minutes */

/* ---- the password was right: what is noted of it */

static void remember(struct login *op)
{
    struct directory *d = op->d;
    bool app = op->app.p != NULL;
    int64_t now = clock_wall_ms() / 1000;
    /* What the system says of a password may change without its row. */
    if (app || !op->row.system)
        auth_cache_add(d->cache, op->account, login_password(op),
                       app ? op->app_data : op->row.stored, app, op->row.quota_bytes,
                       clock_mono_ms());
    if (app && (op->app_used > now || now - op->app_used >= NOTE_USE_S))
        writer_used(d->writer, op->account, op->app);
    /* A verifier is of what is stored: of the new hash, when the old one is replaced. */
    if (!app && !login_upgrade(d, &op->row, op->account, login_password(op)) && op->wants_verifier)
        writer_verifier(d->writer, op->account, op->row.stored, login_password(op));
}

/* ---- the hash */

static void hash_run(struct hash_job *j)
{
    struct login *op = CONTAINER_OF(j, struct login, hash_job);
    if (op->row.found)
        op->ok = login_check(op->d, &op->row, op->account, login_password(op), &op->err);
    else
        password_check_nobody(login_password(op));
}

static void hash_done(struct hash_job *j)
{
    struct login *op = CONTAINER_OF(j, struct login, hash_job);
    if (j->skipped) {
        login_answer_failed(op, ERR_WHY_CANCELLED, "we are stopping");
        return;
    }
    if (op->err.kind == ERR_TEMP) { /* it could not be found out */
        directory_failure(&op->err, "password");
        op->failed = true;
    } else if (op->err.kind !=
               ERR_NONE) { /* not the client's business: for them it is a wrong password */
        log_warn(&directory_log, "hash_unreadable", L_STR("account", op->account),
                 L_Z("error", op->err.text));
        err_clear(&op->err);
    }
    if (op->ok)
        remember(op);
    else if (op->undecided && !op->failed) {
        login_answer_failed(op, ERR_WHY_OTHER, "app passwords can't be read");
        return;
    }
    login_answer(op);
}

static void check_password(struct login *op)
{
    struct directory *d = op->d;
    uint64_t now = clock_mono_ms();
    err_clear(&op->err);
    if (op->app.p) {
        op->ok = true;
        remember(op);
        log_info(&directory_log, "app_password", L_STR("account", op->account),
                 L_STR("name", op->app));
        login_answer(op);
        return;
    }
    if (op->row.found && !op->row.system &&
        auth_cache_knows(d->cache, op->account, login_password(op), op->row.stored, now)) {
        op->ok = true;
        if (op->wants_verifier)
            writer_verifier(d->writer, op->account, op->row.stored, login_password(op));
        login_answer(op);
        return;
    }
    op->hash_job = (struct hash_job){.run = hash_run, .done = hash_done, .account = op->account};
    bool recent = op->row.found && auth_cache_recent(d->cache, op->account, now);
    if (hash_queue_submit(d->hashes, &op->hash_job, op->device, recent) < 0)
        login_answer_failed(op, ERR_WHY_BUSY, "too many logins are being checked");
}

/* ---- the database can't be asked */

static bool scram_from_memory(struct login *op, uint64_t now)
{
    struct scram_verifier v;
    if (!auth_cache_verifier(op->d->cache, op->account, &v, &op->row.quota_bytes, now))
        return false;
    op->verifier = v;
    op->ok = op->proving && op->proved &&
             CRYPTO_memcmp(v.server_key, op->tried.server_key, SCRAM_HASH) == 0;
    explicit_bzero(&v, sizeof v);
    return op->ok || !op->proving;
}

/* Only a yes is ever answered from memory, or SCRAM's challenge. */
static bool from_memory(struct login *op)
{
    uint64_t now = clock_mono_ms();
    if (!login_account(op->m, op->d->origin, op->user, &op->account) || !op->account.n)
        return false;
    if (op->kind == LOGIN_SCRAM)
        return scram_from_memory(op, now);
    op->ok =
        op->kind == LOGIN_PASSWORD &&
        auth_cache_stale(op->d->cache, op->account, login_password(op), &op->row.quota_bytes, now);
    return op->ok;
}

static void row_failed(struct login *op)
{
    if (from_memory(op)) {
        if (op->ok)
            log_warn(&directory_log, "login_from_memory", L_STR("account", op->account),
                     L_Z("error", op->err.text));
        op->failed = false;
        login_answer(op);
        return;
    }
    directory_failure(&op->err, "login");
    login_answer(op);
}

/* ---- the row */

static void check_proof(struct login *op)
{
    if (op->wants_verifier)
        writer_missing(op->d->writer);
    if (op->proving) {
        op->ok = op->proved && op->row.found &&
                 CRYPTO_memcmp(op->verifier.server_key, op->tried.server_key, SCRAM_HASH) == 0;
        if (op->ok)
            auth_cache_add_verifier(op->d->cache, op->account, &op->verifier, op->row.quota_bytes,
                                    clock_mono_ms());
    }
    login_answer(op);
}

static void row_run(struct job *j, void *worker)
{
    login_read(CONTAINER_OF(j, struct login, row_job), worker);
}

static void row_done(struct job *j)
{
    struct login *op = CONTAINER_OF(j, struct login, row_job);
    if (op->failed) {
        row_failed(op);
        return;
    }
    if (op->undecided)
        log_warn(&directory_log, "own_tables_failed", L_Z("error", op->err.text));
    if (op->kind == LOGIN_PASSWORD) {
        check_password(op);
    } else if (op->kind == LOGIN_SCRAM) {
        check_proof(op);
    } else {
        op->ok = op->row.found && !op->other;
        login_answer(op);
    }
}

/* ---- the token's server */

static void on_token(void *ctx, const struct oauth_answer *a)
{
    struct login *op = ctx;
    if (a->failed) {
        login_answer_failed(op, ERR_WHY_OTHER, a->err.text);
    } else if (!a->active) {
        login_answer(op);
    } else {
        op->named = arena_str(op->m, str_take(a->user, DIRECTORY_NAME_MAX + 1));
        if (!op->d->rows || lane_submit(op->d->rows, &op->row_job) < 0)
            login_answer_failed(op, ERR_WHY_BUSY, "too many logins are being checked");
    }
}

/* ---- */

static enum login_kind kind_of(const struct sasl *s)
{
    switch (sasl_kind(s)) {
    case SASL_SCRAM:
    case SASL_SCRAM_PLUS:
        return LOGIN_SCRAM;
    case SASL_BEARER:
    case SASL_XOAUTH2:
        return LOGIN_TOKEN;
    default:
        return LOGIN_PASSWORD;
    }
}

static void take_secret(struct login *op, const struct sasl *s)
{
    if (op->kind == LOGIN_TOKEN) {
        op->token = arena_str(op->m, s->password);
    } else if (op->kind == LOGIN_PASSWORD) {
        op->n_password = s->password.n < sizeof op->password ? s->password.n : sizeof op->password;
        if (op->n_password)
            memcpy(op->password, s->password.p, op->n_password);
    } else {
        op->proving = s->proving;
        op->proved = s->proved;
        op->tried = s->scram.verifier;
    }
}

int directory_sasl(struct directory *d, const struct sasl *s, bool device,
                   directory_login_fn on_login, void *ctx)
{
    struct login *op = MEM_NEW(struct login);
    op->row_job = (struct job){.run = row_run, .done = row_done};
    op->m = arena_new(0);
    op->kind = kind_of(s);
    op->device = device;
    op->user = arena_str(op->m, str_take(s->user, DIRECTORY_NAME_MAX + 1));
    take_secret(op, s);
    op->on_login = on_login;
    op->ctx = ctx;
    op->d = directory_ref(d);
    op->began_ms = clock_mono_ms();
    if (op->kind == LOGIN_TOKEN && d->oauth) {
        oauth_ask(d->oauth, op->token, on_token, op);
        return 0;
    }
    if (op->kind != LOGIN_TOKEN && d->rows && lane_submit(d->rows, &op->row_job) == 0)
        return 0;
    login_free(op);
    return -1;
}

int directory_login(struct directory *d, struct str user, struct str password,
                    directory_login_fn on_login, void *ctx)
{
    struct arena *m = arena_new(0);
    struct sasl s;
    sasl_init_password(&s, m, user, password);
    int r = directory_sasl(d, &s, false, on_login, ctx);
    sasl_wipe(&s);
    arena_free(&m);
    return r;
}
