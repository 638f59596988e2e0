/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/directory.h"

#include "appliance/directory/credential.h"
#include "appliance/directory/hash_queue.h"
#include "appliance/directory/login.h"
#include "appliance/directory/oauth.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_from.h"
#include "appliance/directory/schema.h"
#include "appliance/directory/writer.h"

enum {
    LOOKUP_THREADS = 2,
    LOOKUP_DEPTH = 1000,
    AUTH_DEPTH = HASH_QUEUE_FAVOURED + HASH_QUEUE_STRANGERS + 64,
    CACHE_ENTRIES = 10000,
    COUNT_AT_OPEN = 1000
};

const struct log_ctx directory_log = {.module = "directory"};

void directory_failure(struct err *err, const char *what)
{
    if (err->kind == ERR_PERM)
        return;
    if (err->why != ERR_WHY_DAMAGED) /* that was told when it was found, once */
        log_error(&directory_log, "lookup_failed", L_Z("what", what), L_Z("error", err->text));
    err->kind = ERR_TEMP;
}

struct directory *directory_ref(struct directory *d)
{
    d->refs++;
    return d;
}

void directory_unref(struct directory **d)
{
    struct directory *dead = *d;
    *d = NULL;
    if (!dead || --dead->refs > 0)
        return;
    auth_cache_free(&dead->cache);
    rows_from_free(&dead->source);
    hash_queue_free(&dead->hashes);
    writer_free(&dead->writer);
    explicit_bzero(dead->secret, sizeof dead->secret);
    mem_free(dead->dir);
    mem_free(dead->origin);
    mem_free(dead->postmaster);
    mem_free(dead);
}

static int start_lanes(struct directory *d, const struct directory_conf *conf, struct err *err)
{
    const struct lane_conf rows = {.name = "directory",
                                   .threads = LOOKUP_THREADS,
                                   .depth = LOOKUP_DEPTH,
                                   .thread_open = worker_new,
                                   .thread_close = worker_free,
                                   .ctx = d};
    const struct lane_conf auth = {
        .name = "auth", .threads = (unsigned)conf->auth_threads, .depth = AUTH_DEPTH};
    d->rows = lane_new(d->loop, &rows, err);
    if (!d->rows)
        return -1;
    d->auth = lane_new(d->loop, &auth, err);
    if (!d->auth)
        return -1;
    d->hashes = hash_queue_new(d->auth, (unsigned)conf->auth_threads);
    return writer_new(d, &d->writer, err);
}

int directory_check(const struct directory_conf *conf, struct err *err)
{
    struct rows_from *source;
    if (rows_from_new("", conf, &source, err) < 0)
        return -1;
    rows_from_free(&source);
    return 0;
}

/* And the secret in them. */
static int make_tables(const struct rows_from *s, unsigned char secret[SCRAM_HASH], struct err *err)
{
    struct sql *db;
    if (s->kind == DIRECTORY_FROM_OWN) {
        if (directory_schema_open(s->dir, s->own, SCHEMA_CHANGE, &db, err) < 0)
            return -1;
        sql_close(&db);
    }
    if (own_open(s->dir, s->own, SCHEMA_CHANGE, &db, err) < 0)
        return -1;
    int r = credential_secret(db, secret, err);
    sql_close(&db);
    return r;
}

int directory_open(const char *dir, const struct directory_conf *conf, struct loop *l,
                   struct directory **out, struct err *err)
{
    struct rows_from *source;
    unsigned char secret[SCRAM_HASH];
    size_t tag = conf->tag_delimiter ? strlen(conf->tag_delimiter) : 0;
    *out = NULL;
    if (tag > 1)
        return ERR(err, ERR_PERM, "directory.tag_delimiter is one character or empty");
    if (rows_from_new(dir, conf, &source, err) < 0)
        return -1;
    if (make_tables(source, secret, err) < 0) {
        rows_from_free(&source);
        return err_context(err, "directory");
    }
    struct directory *d = MEM_NEW(struct directory);
    d->source = source;
    d->system = conf->system;
    memcpy(d->secret, secret, sizeof secret);
    explicit_bzero(secret, sizeof secret);
    d->scram_iterations = (unsigned)conf->scram_iterations;
    d->scram_verifiers = conf->scram_verifiers;
    d->refs = 1;
    d->dir = str_dup_z(str_from(dir));
    d->loop = l;
    d->refusal_ms = conf->refusal_time;
    list_init(&d->held);
    d->limits = (struct resolve_limits){.depth = (size_t)conf->alias_depth,
                                        .targets = (size_t)conf->alias_targets,
                                        .tag = tag ? conf->tag_delimiter[0] : '\0'};
    if (conf->origin && conf->origin[0])
        d->limits.origin = d->origin = str_dup_z(str_from(conf->origin));
    if (conf->postmaster && conf->postmaster[0])
        d->limits.postmaster = d->postmaster = str_dup_z(str_from(conf->postmaster));
    d->cache = auth_cache_new(conf->auth_cache, conf->auth_cache_stale, CACHE_ENTRIES);
    if (start_lanes(d, conf, err) < 0) {
        directory_close(&d);
        return -1;
    }
    writer_count_now(d->writer, COUNT_AT_OPEN);
    *out = d;
    return 0;
}

void directory_close(struct directory **d)
{
    if (!*d)
        return;
    oauth_free(&(*d)->oauth);
    if ((*d)->rows)
        lane_free(&(*d)->rows);
    if ((*d)->hashes)
        hash_queue_stop((*d)->hashes);
    if ((*d)->auth)
        lane_free(&(*d)->auth);
    writer_stop((*d)->writer);
    login_release_all(*d);
    directory_unref(d);
}

static struct str binding(const struct conn *c, enum conn_binding kind, struct arena *m)
{
    unsigned char bytes[CONN_BINDING_MAX];
    return arena_str(m, str_of(bytes, conn_channel_binding(c, kind, bytes)));
}

void directory_offer(const struct directory *d, const struct directory_port *port,
                     const struct conn *c, struct arena *m, struct sasl_offer *out)
{
    bool has_all = d->scram_verifiers && writer_complete(d->writer);
    *out = (struct sasl_offer){.oauth = d->oauth != NULL};
    out->scram =
        port->scram == DIRECTORY_SCRAM_ON || (port->scram == DIRECTORY_SCRAM_AUTO && has_all);
    out->plus = out->scram && !port->no_binding && conn_has_tls(c);
    if (!m || !out->plus)
        return;
    out->channel = (struct scram_channel){.exporter = binding(c, CONN_BIND_EXPORTER, m),
                                          .end_point = binding(c, CONN_BIND_END_POINT, m)};
}

void directory_set_oauth(struct directory *d, const struct oauth_conf *conf,
                         struct http_client *http)
{
    oauth_free(&d->oauth);
    d->oauth = oauth_new(conf, d->loop, http);
}

void directory_forget(struct directory *d, struct str account)
{
    auth_cache_forget(d->cache, account);
}

void work_init(struct work *w, struct directory *d, struct arena *m,
               void (*run)(struct job *j, void *worker), void (*done)(struct job *j))
{
    *w = (struct work){.job = {.run = run, .done = done}, .d = directory_ref(d), .m = m};
}

void work_end(struct work *w)
{
    struct arena *m = w->m;
    directory_unref(&w->d);
    arena_free(&m);
}

int work_submit(struct work *w)
{
    if (w->d->rows && lane_submit(w->d->rows, &w->job) == 0)
        return 0;
    work_end(w);
    return -1;
}

static void lookup_run(struct job *j, void *worker)
{
    struct lookup *op = CONTAINER_OF(j, struct lookup, work.job);
    struct rows *rows = worker_begin(worker, &op->err);
    int r = -1;
    if (rows && op->account.p)
        r = may_send_lookup(op, worker, rows, &op->err);
    else if (rows) {
        struct resolve_source src;
        r = worker_source(worker, rows, &src, &op->err);
        if (r == 0)
            r = resolve_address(&src, &op->limits, op->work.m, op->address, &op->result, &op->err);
    }
    op->failed = r < 0;
    worker_end(worker, r < 0 && op->err.kind != ERR_PERM && op->err.why != ERR_WHY_DAMAGED);
}

static void lookup_done(struct job *j)
{
    struct lookup *op = CONTAINER_OF(j, struct lookup, work.job);
    struct directory_answer a = {.failed = op->failed, .err = op->err};
    if (op->failed) {
        directory_failure(&a.err, "address");
    } else {
        a.kind = op->result.kind;
        a.moved = op->result.moved;
        a.backup = op->result.backup;
        a.accounts = op->result.accounts;
        a.n_accounts = op->result.n_accounts;
        a.remotes = op->result.remotes;
        a.n_remotes = op->result.n_remotes;
        a.away = op->result.away;
        a.closed = op->result.closed && a.kind == DIRECTORY_UNKNOWN;
        if (op->result.dangling.n && a.kind == DIRECTORY_LOCAL && !op->account.p)
            log_warn(&directory_log, "alias_dangling", L_STR("address", op->address),
                     L_STR("destination", op->result.dangling));
    }
    op->on_answer(op->ctx, &a);
    work_end(&op->work);
}

int lookup_start(struct directory *d, struct str address, struct str account,
                 directory_answer_fn on_answer, void *ctx)
{
    struct arena *m = arena_new(0);
    struct lookup *op = ARENA_NEW(m, struct lookup);
    work_init(&op->work, d, m, lookup_run, lookup_done);
    op->limits = d->limits;
    if (address.n > DIRECTORY_NAME_MAX) /* its end, one byte too long still: the domain decides */
        address = str_skip(address, address.n - DIRECTORY_NAME_MAX - 1);
    op->address = arena_str(m, address);
    if (account.p)
        op->account = arena_str(m, str_take(account, DIRECTORY_NAME_MAX + 1));
    op->on_answer = on_answer;
    op->ctx = ctx;
    return work_submit(&op->work);
}

int directory_resolve(struct directory *d, struct str address, directory_answer_fn on_answer,
                      void *ctx)
{
    return lookup_start(d, address, STR_NULL, on_answer, ctx);
}
