/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/writer.h"

#include "appliance/base/clock.h"
#include "appliance/directory/credential.h"
#include "appliance/directory/own.h"
#include "appliance/directory/password.h"
#include "appliance/directory/rows_from.h"
#include "appliance/directory/verifiers.h"

enum { DEPTH = 500, REOPEN_MS = 1000, COUNT_EVERY_MS = 10 * 60 * 1000, COUNT_SOON_MS = 1000 };

/* What the lane's thread has open. */
struct thread {
    struct directory *d;
    struct directory_worker *reader;
    struct sql *db;
    uint64_t retry_ms;
};
struct count {
    struct job job;
    struct writer *w;
    bool complete, failed;
};
struct writer {
    struct directory *d; /* not counted: the directory owns us */
    struct lane *lane;
    struct timer *timer;
    struct count count;
    bool counting, complete, soon;
};
enum note_kind { NOTE_VERIFIER, NOTE_USED };
struct note {
    struct job job;
    struct directory *d; /* counted */
    struct arena *m;
    enum note_kind kind;
    struct str account, stored, label;
    char password[PASSWORD_MAX];
    size_t n_password;
    struct err err;
    bool failed;
};

/* ---- the lane's thread */

static struct sql *writable(struct thread *t, struct err *err)
{
    if (t->db)
        return t->db;
    if (clock_mono_ms() < t->retry_ms)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "our tables of accounts cannot be opened");
    else if (own_open(t->d->dir, t->d->source->own, SCHEMA_CHANGE, &t->db, err) < 0) {
        t->db = NULL;
        t->retry_ms = clock_mono_ms() + REOPEN_MS;
    }
    return t->db;
}

static void *thread_open(void *ctx)
{
    struct thread *t = MEM_NEW(struct thread);
    struct err err;
    t->d = ctx;
    t->reader = worker_new(ctx);
    if (!writable(t, &err)) /* tried again when there is something to write */
        directory_failure(&err, "open our tables");
    return t;
}

static void thread_close(void *ctx, void *worker)
{
    struct thread *t = worker;
    worker_free(ctx, t->reader);
    sql_close(&t->db);
    mem_free(t);
}

/* ---- notes */

static int put_verifier(struct note *n, struct sql *db, struct err *err)
{
    unsigned char salt[SCRAM_SALT];
    struct scram_verifier v;
    scram_salt(n->d->secret, n->account, salt);
    if (!scram_make(str_of(n->password, n->n_password), str_of(salt, sizeof salt),
                    n->d->scram_iterations, &v))
        return ERR(err, ERR_TEMP, "the key could not be computed");
    int r = credential_put_verifier(db, n->account, n->stored, &v, err);
    explicit_bzero(&v, sizeof v);
    return r;
}

static void note_run(struct job *j, void *worker)
{
    struct note *n = CONTAINER_OF(j, struct note, job);
    struct thread *t = worker;
    struct sql *db = writable(t, &n->err);
    int r = -1;
    if (db && n->kind == NOTE_VERIFIER)
        r = put_verifier(n, db, &n->err);
    else if (db)
        r = credential_app_used(db, n->account, n->label, clock_wall_ms() / 1000, &n->err);
    n->failed = r < 0;
    if (db && r < 0)
        sql_close(&t->db);
}

static void count_later(struct writer *w, uint64_t ms)
{
    if (w->lane && !w->counting)
        timer_start(w->timer, ms);
}

static void note_free(struct note *n)
{
    explicit_bzero(n->password, sizeof n->password);
    directory_unref(&n->d);
    arena_free(&n->m);
    mem_free(n);
}

static void note_done(struct job *j)
{
    struct note *n = CONTAINER_OF(j, struct note, job);
    struct writer *w = n->d->writer;
    if (n->failed)
        log_warn(&directory_log, "login_not_noted", L_STR("account", n->account),
                 L_Z("error", n->err.text));
    else if (n->kind == NOTE_VERIFIER && w && !w->complete && !w->soon) {
        w->soon = true;
        count_later(w, COUNT_SOON_MS);
    }
    note_free(n);
}

static struct note *note_new(struct writer *w, enum note_kind kind, struct str account)
{
    struct note *n = MEM_NEW(struct note);
    n->job = (struct job){.run = note_run, .done = note_done};
    n->d = directory_ref(w->d);
    n->m = arena_new(0);
    n->kind = kind;
    n->account = arena_str(n->m, account);
    return n;
}

static void submit(struct writer *w, struct note *n)
{
    if (!w->lane || lane_submit(w->lane, &n->job) < 0)
        note_free(n);
}

void writer_verifier(struct writer *w, struct str account, struct str stored, struct str password)
{
    if (password.n >= PASSWORD_MAX)
        return;
    struct note *n = note_new(w, NOTE_VERIFIER, account);
    n->stored = arena_str(n->m, stored);
    memcpy(n->password, password.p, password.n);
    n->n_password = password.n;
    submit(w, n);
}

void writer_used(struct writer *w, struct str account, struct str label)
{
    struct note *n = note_new(w, NOTE_USED, account);
    n->label = arena_str(n->m, label);
    submit(w, n);
}

/* ---- counting */

/* Ends at the first one missing. */
static int count(struct directory_worker *reader, size_t most, bool *complete_out, struct err *err)
{
    const struct verifiers_ask ask = {.first = true, .most = most};
    struct verifiers v = {0, 0, 0};
    struct rows *rows = worker_begin(reader, err);
    struct sql *own = rows ? worker_own(reader, err) : NULL;
    int r = own ? verifiers_count(rows, own, &ask, &v, err) : -1;
    worker_end(reader, r < 0 && err->kind != ERR_PERM);
    *complete_out = r == 0 && v.missing == 0 && v.accounts > 0;
    return r;
}

static void count_run(struct job *j, void *worker)
{
    struct count *c = CONTAINER_OF(j, struct count, job);
    struct thread *t = worker;
    struct err err;
    c->failed = count(t->reader, 0, &c->complete, &err) < 0;
}

static void count_done(struct job *j)
{
    struct count *c = CONTAINER_OF(j, struct count, job);
    struct writer *w = c->w;
    struct directory *d = w->d;
    w->counting = false;
    if (!c->failed && c->complete != w->complete) {
        w->complete = c->complete;
        log_info(&directory_log, "scram_verifiers", L_Z("complete", w->complete ? "yes" : "no"));
    }
    count_later(w, w->soon ? COUNT_SOON_MS : COUNT_EVERY_MS);
    directory_unref(&d);
}

static void on_timer(void *ctx)
{
    struct writer *w = ctx;
    w->soon = false;
    if (w->counting || !w->lane)
        return;
    w->count = (struct count){.job = {.run = count_run, .done = count_done}, .w = w};
    directory_ref(w->d);
    w->counting = true;
    if (lane_submit(w->lane, &w->count.job) == 0)
        return;
    struct directory *d = w->d;
    w->counting = false;
    count_later(w, COUNT_EVERY_MS);
    directory_unref(&d);
}

struct lane *writer_lane(struct writer *w)
{
    return w->lane;
}

bool writer_complete(const struct writer *w)
{
    return w->complete;
}

void writer_missing(struct writer *w)
{
    if (!w->complete || w->soon)
        return;
    w->soon = true;
    count_later(w, COUNT_SOON_MS);
}

bool writer_count_now(struct writer *w, size_t most)
{
    struct directory_worker *reader = worker_new(w->d);
    struct err err;
    if (count(reader, most, &w->complete, &err) < 0)
        w->complete = false;
    worker_free(w->d, reader);
    return w->complete;
}

/* ---- life */

int writer_new(struct directory *d, struct writer **out, struct err *err)
{
    const struct lane_conf conf = {.name = "accounts",
                                   .threads = 1,
                                   .depth = DEPTH,
                                   .thread_open = thread_open,
                                   .thread_close = thread_close,
                                   .ctx = d};
    struct writer *w = MEM_NEW(struct writer);
    w->d = d;
    w->lane = lane_new(d->loop, &conf, err);
    if (!w->lane) {
        mem_free(w);
        return -1;
    }
    w->timer = timer_new(d->loop, on_timer, w);
    timer_start(w->timer, COUNT_SOON_MS);
    *out = w;
    return 0;
}

void writer_stop(struct writer *w)
{
    if (!w || !w->lane)
        return;
    timer_free(&w->timer);
    lane_free(&w->lane);
}

void writer_free(struct writer **w)
{
    if (*w)
        writer_stop(*w);
    mem_free(*w);
    *w = NULL;
}
