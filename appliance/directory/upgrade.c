/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Checking a password where its row says, and replacing hashes of old schemes after it was right.
 */
#include "appliance/directory/password.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_from.h"
#include "appliance/directory/rows_sql.h"
#include "appliance/directory/writer.h"
#include "appliance/mail/address.h"

bool login_check(struct directory *d, const struct rows_login *row, struct str account,
                 struct str password, struct err *err)
{
    struct str local, domain;
    if (!row->system)
        return password_check(password, row->stored, err);
    err_clear(err);
    if (!d->system) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "nothing here checks the passwords of the system");
        return false;
    }
    address_split(account, &local, &domain);
    return d->system->check(d->system->ctx, local, password, err) == 1;
}

/* The hash is made on lane `accounts`, the row changed on lane `directory`. */
struct upgrade {
    struct job hash_job, row_job;
    struct directory *d;
    struct arena *m;
    struct str account, stored;
    char password[PASSWORD_MAX], hash[PASSWORD_HASH_MAX];
    size_t n_password;
    bool changed;
    struct err err;
};

static void finish(struct upgrade *u)
{
    if (u->err.kind != ERR_NONE)
        log_warn(&directory_log, "hash_not_upgraded", L_STR("account", u->account),
                 L_Z("error", u->err.text));
    else if (u->changed) {
        log_info(&directory_log, "hash_upgraded", L_STR("account", u->account));
        if (u->d->scram_verifiers)
            writer_verifier(u->d->writer, u->account, str_from(u->hash),
                            str_of(u->password, u->n_password));
    }
    explicit_bzero(u->password, sizeof u->password);
    directory_unref(&u->d);
    arena_free(&u->m);
    mem_free(u);
}

static void row_run(struct job *j, void *worker)
{
    struct upgrade *u = CONTAINER_OF(j, struct upgrade, row_job);
    struct rows *writer = worker_writer(worker, &u->err);
    if (!writer)
        return;
    if (rows_sql_set_hash(writer, u->account, u->stored, str_from(u->hash), &u->changed, &u->err) <
        0)
        worker_drop_writer(worker);
}

static void row_done(struct job *j)
{
    finish(CONTAINER_OF(j, struct upgrade, row_job));
}

static void hash_run(struct job *j, void *worker)
{
    struct upgrade *u = CONTAINER_OF(j, struct upgrade, hash_job);
    (void)worker;
    if (password_hash(str_of(u->password, u->n_password), u->hash, &u->err) == 0)
        err_clear(&u->err);
}

static void hash_done(struct job *j)
{
    struct upgrade *u = CONTAINER_OF(j, struct upgrade, hash_job);
    if (u->err.kind != ERR_NONE || !u->d->rows || lane_submit(u->d->rows, &u->row_job) < 0)
        finish(u);
}

bool login_upgrade(struct directory *d, const struct rows_login *row, struct str account,
                   struct str password)
{
    if (!d->source->upgrades || row->system || password.n >= PASSWORD_MAX ||
        password_is_current(row->stored))
        return false;
    struct upgrade *u = MEM_NEW(struct upgrade);
    u->hash_job = (struct job){.run = hash_run, .done = hash_done};
    u->row_job = (struct job){.run = row_run, .done = row_done};
    u->m = arena_new(0);
    u->account = arena_str(u->m, account);
    u->stored = arena_str(u->m, row->stored);
    u->n_password = password.n;
    memcpy(u->password, password.p, password.n);
    u->d = directory_ref(d);
    /* A lane that is full has more urgent things to do: it is for the next login then. */
    if (!writer_lane(d->writer) || lane_submit(writer_lane(d->writer), &u->hash_job) < 0)
        finish(u);
    return true;
}
