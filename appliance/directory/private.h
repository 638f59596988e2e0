/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* private.h - what directory.c, login.c and may_send.c share.
 * Floor 3 (directory, private). Threads: loop, except worker_db().
 * The directory is counted: each operation under way holds it, so an answer that comes after
 * directory_close() is safe. */
#ifndef PH_DIRECTORY_PRIVATE_H
#define PH_DIRECTORY_PRIVATE_H
#include "appliance/base/log.h"
#include "appliance/directory/auth_cache.h"
#include "appliance/directory/directory.h"
#include "appliance/directory/rows.h"

/* Longest address or user name that is looked up at all; anything longer is unknown. */
enum { DIRECTORY_NAME_MAX = 1000 };

struct hash_queue;
struct oauth;
struct writer;
struct directory {
    unsigned refs;
    char *dir;
    struct lane *rows, *auth; /* NULL after directory_close() */
    struct auth_cache *cache;
    struct hash_queue *hashes; /* in front of `auth` */
    struct writer *writer;
    struct oauth *oauth; /* NULL: no access tokens */
    unsigned char secret[SCRAM_HASH];
    unsigned scram_iterations;
    bool scram_verifiers;
    struct loop *loop;
    uint64_t refusal_ms, refusal_steps, refusal_until_ms; /* login_answer.c */
    struct list held;                                     /* logins that are answered later */
    struct resolve_limits limits;
    char *origin, *postmaster;
    struct rows_from *source;
    const struct directory_system *system; /* NULL: none */
};
struct directory *directory_ref(struct directory *d);
void directory_unref(struct directory **d);

extern const struct log_ctx directory_log;
struct directory_worker;
void *worker_new(void *directory);
void worker_free(void *directory, void *worker);
/* The rows of this worker, where the source can with one state for all that is asked; opened
 * (again) when they aren't. NULL: err. */
struct rows *worker_begin(struct directory_worker *w, struct err *err);
/* Ends it. After a failure of the source it is closed, so that the next job opens it anew. */
void worker_end(struct directory_worker *w, bool broken);
/* The connection for changes of this worker; NULL: err. After a failure of it: drop. */
struct rows *worker_writer(struct directory_worker *w, struct err *err);
void worker_drop_writer(struct directory_worker *w);
/* Lane `auth`: is this the password of the row? false with ERR_TEMP: it could not be found out. */
bool login_check(struct directory *d, const struct rows_login *row, struct str account,
                 struct str password, struct err *err);
/* Loop: the password was right. Replaces a hash of an old scheme by today's, where the settings
 * allow it, later and by itself, and makes a verifier of it. false: it is today's, or stays. */
bool login_upgrade(struct directory *d, const struct rows_login *row, struct str account,
                   struct str password);
/* Logs a failure and makes it what callers may see: ERR_TEMP, or ERR_PERM as it is. */
void directory_failure(struct err *err, const char *what);

/* A job on lane `directory` that holds the directory: embedded in what lies in `m`. */
struct work {
    struct job job;
    struct directory *d;
    struct arena *m;
};
void work_init(struct work *w, struct directory *d, struct arena *m,
               void (*run)(struct job *j, void *worker), void (*done)(struct job *j));
/* -1: the lane is full or closed, and the work ended. */
int work_submit(struct work *w) __attribute__((warn_unused_result));
void work_end(struct work *w); /* frees m, so what w is embedded in */

/* A look-up under way: resolve, or may_send when account.p is set. */
struct lookup {
    struct work work;
    struct resolve_limits limits;
    struct str address, account;
    struct resolve_result result;
    bool failed;
    struct err err;
    directory_answer_fn on_answer;
    void *ctx;
};
int lookup_start(struct directory *d, struct str address, struct str account,
                 directory_answer_fn on_answer, void *ctx) __attribute__((warn_unused_result));
/* Worker: fills op->result. */
int may_send_lookup(struct lookup *op, struct directory_worker *w, struct rows *rows,
                    struct err *err) __attribute__((warn_unused_result));
/* What to resolve from: these rows, and what is ours about accounts. */
int worker_source(struct directory_worker *w, struct rows *rows, struct resolve_source *out,
                  struct err *err) __attribute__((warn_unused_result));
#endif
