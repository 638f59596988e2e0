/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* login.h - a login under way: what login.c (steps on the loop), login_rows.c (what is read on
 * lane `directory`) and login_answer.c (when it is answered) share. Floor 3 (directory, private).
 */
#ifndef PH_DIRECTORY_LOGIN_H
#define PH_DIRECTORY_LOGIN_H
#include "appliance/directory/hash_queue.h"
#include "appliance/directory/password.h"
#include "appliance/directory/private.h"

enum login_kind { LOGIN_PASSWORD, LOGIN_SCRAM, LOGIN_TOKEN };
struct login {
    struct job row_job;
    struct hash_job hash_job;
    struct directory *d;
    struct arena *m;
    enum login_kind kind;
    bool device;
    struct str user;  /* as it was typed */
    struct str named; /* LOGIN_TOKEN: as the token's server says; .n 0: not yet */
    struct str token;
    char password[PASSWORD_MAX + 1]; /* one more than is valid, so that longer ones stay invalid */
    size_t n_password;
    bool proving, proved;        /* SCRAM, second time */
    struct scram_verifier tried; /* what the proof is about */

    /* of login_rows.c */
    struct str account; /* folded; empty: it can't be anybody's */
    struct rows_login row;
    bool other;     /* the token is somebody else's */
    bool undecided; /* the password looks like an app password, and these couldn't be read */
    bool wants_verifier; /* LOGIN_SCRAM: there should be one */
    struct str app, app_data; /* it is this app password; .p NULL: none */
    int64_t app_used;
    struct scram_verifier verifier; /* real or not */

    /* of login_answer.c */
    uint64_t began_ms, due_ms; /* clock_mono_ms() */
    struct list held;          /* in directory.held */
    struct timer *timer;
    struct loop_post post;

    bool failed, ok;
    struct err err;
    directory_login_fn on_login;
    void *ctx;
};
static inline struct str login_password(const struct login *op)
{
    return str_of(op->password, op->n_password);
}
/* Answers, now or later, and frees it. What it needs of op->ok and op->failed is set. */
void login_answer(struct login *op);
void login_answer_failed(struct login *op, enum err_why why, const char *text);
void login_free(struct login *op);
/* When a refusal that is known at now_ms is told: a whole number of steps after it began, one at
 * least. */
uint64_t login_due(uint64_t began_ms, uint64_t now_ms, uint64_t step_ms);
/* The directory ends: what is held is answered on the loop, soon. */
void login_release_all(struct directory *d);
/* Worker: fills in the above. */
void login_read(struct login *op, struct directory_worker *w);
/* The address that is logging in, as far as it can be known without asking; false: it can't. */
bool login_account(struct arena *m, const char *origin, struct str user, struct str *out);
#endif
