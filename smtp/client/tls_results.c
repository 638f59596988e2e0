/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/tls_results.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"

enum { WRITE_AFTER_MS = 60 * 1000, ROWS_MAX = 20000, POLICY_MAX = 16384, DAY_MS = 86400000 };

static const struct log_ctx log_results = {.module = "smtp"};

struct row {
    struct row *next;
    struct tls_result result;
    int64_t day;
};
struct batch { /* counts since the last write; then an operation of the store */
    struct store_op op;
    struct arena *arena;
    struct map *map;
    struct row *first;
    struct tls_results *owner; /* NULL: it has gone */
    int64_t today;
};
struct tls_results {
    struct store *store;
    struct timer *timer;
    struct batch *next, *under_way;
};

const char *tls_result_name(enum tls_result_type type)
{
    static const char *const names[TLS_RESULT_TYPES] = {
        [TLS_RESULT_SUCCESS] = "success",
        [TLS_RESULT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
        [TLS_RESULT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
        [TLS_RESULT_CERTIFICATE_EXPIRED] = "certificate-expired",
        [TLS_RESULT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
        [TLS_RESULT_VALIDATION_FAILURE] = "validation-failure",
        [TLS_RESULT_TLSA_INVALID] = "tlsa-invalid",
        [TLS_RESULT_DNSSEC_INVALID] = "dnssec-invalid",
        [TLS_RESULT_DANE_REQUIRED] = "dane-required",
        [TLS_RESULT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
        [TLS_RESULT_STS_POLICY_INVALID] = "sts-policy-invalid",
        [TLS_RESULT_STS_WEBPKI_INVALID] = "sts-webpki-invalid"};

    return names[type];
}

const char *tls_policy_name(enum tls_result_policy p)
{
    static const char *const names[] = {[TLS_POLICY_NONE] = "no-policy-found",
                                        [TLS_POLICY_STS] = "sts",
                                        [TLS_POLICY_TLSA] = "tlsa"};

    return names[p];
}

/* ---- counting */
static struct batch *batch_new(struct tls_results *r)
{
    struct batch *b = MEM_NEW(struct batch);

    b->arena = arena_new(0);
    b->map = map_new();
    b->owner = r;
    return b;
}

static void batch_free(struct batch *b)
{
    if (!b)
        return;
    map_free(&b->map);
    arena_free(&b->arena);
    mem_free(b);
}

static struct row *row_of(struct batch *b, const struct tls_result *one, int64_t day)
{
    struct buf key;
    struct row *row;

    buf_init(&key, 4096);
    buf_printf(&key, "%lld %d %d " STR_FMT " " STR_FMT, (long long)day, one->kind, one->type,
               STR_ARG(one->domain), STR_ARG(one->mx));
    row = map_get(b->map, buf_str(&key));
    if (!row && map_count(b->map) < ROWS_MAX) {
        row = ARENA_NEW(b->arena, struct row);
        row->day = day;
        row->result.kind = one->kind;
        row->result.type = one->type;
        row->result.domain = arena_str(b->arena, one->domain);
        row->result.mx = arena_str(b->arena, one->mx);
        row->result.policy = arena_str(b->arena, str_take(one->policy, POLICY_MAX));
        row->next = b->first;
        b->first = row;
        map_set(b->map, buf_str(&key), row);
    }
    buf_fini(&key);
    return row;
}

void tls_results_note(struct tls_results *r, const struct tls_result *one)
{
    if (!r->store)
        return;
    if (!r->next) {
        r->next = batch_new(r);
        if (!r->under_way)
            timer_start(r->timer, WRITE_AFTER_MS);
    }
    struct row *row = row_of(r->next, one, clock_wall_ms() / DAY_MS);
    if (row)
        row->result.count += one->count ? one->count : 1;
}

/* ---- writing */
static void bind_key(struct sql_stmt *st, int at, const struct row *row)
{
    sql_bind_int(st, at, row->day);
    sql_bind_text(st, at + 1, row->result.domain);
    sql_bind_text(st, at + 2, row->result.mx);
    sql_bind_int(st, at + 3, row->result.kind);
    sql_bind_int(st, at + 4, row->result.type);
}

static int write_row(struct sql *db, const struct row *row, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "UPDATE tls_result SET sessions = sessions + ? WHERE day = ? AND domain = ? "
                    "AND mx = ? AND kind = ? AND type = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)row->result.count);
    bind_key(st, 2, row);
    if (sql_run(st, err))
        return -1;
    if (sql_changes(db))
        return 0;
    if (sql_prepare(db,
                    "INSERT INTO tls_result(day, domain, mx, kind, type, sessions, policy) VALUES "
                    "(?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    bind_key(st, 1, row);
    sql_bind_int(st, 6, (int64_t)row->result.count);
    sql_bind_blob(st, 7, row->result.policy);
    return sql_run(st, err);
}

static int run_write(struct store_op *op, struct store_tx *tx)
{
    struct batch *b = CONTAINER_OF(op, struct batch, op);
    struct sql *db = store_tx_sql(tx);
    struct sql_stmt *st;

    err_clear(&op->err);
    for (const struct row *row = b->first; row; row = row->next)
        if (write_row(db, row, &op->err))
            return -1;
    if (sql_prepare(db, "DELETE FROM tls_result WHERE day < ?", &st, &op->err))
        return -1;
    sql_bind_int(st, 1, b->today - TLS_RESULTS_DAYS);
    return sql_run(st, &op->err) ? -1 : STORE_DONE;
}

static void not_written(const struct err *err, size_t n)
{
    log_warn(&log_results, "tls_results_not_written", L_Z("why", err->text), L_UINT("rows", n));
}

static void on_written(struct store_op *op)
{
    struct batch *b = CONTAINER_OF(op, struct batch, op);

    if (op->failed)
        not_written(&op->err, map_count(b->map));
    if (b->owner) {
        b->owner->under_way = NULL;
        if (b->owner->next)
            timer_start(b->owner->timer, WRITE_AFTER_MS);
    }
    batch_free(b);
}

static void prepare(struct batch *b, void (*done)(struct store_op *))
{
    b->today = clock_wall_ms() / DAY_MS;
    b->op = (struct store_op){
        .run = run_write, .done = done, .cls = STORE_INTERACTIVE, .upserts = true};
}

static void on_timer(void *ctx)
{
    struct tls_results *r = ctx;
    struct batch *b = r->next;

    if (!b || r->under_way)
        return; /* on_written goes on */
    r->next = NULL;
    prepare(b, on_written);
    if (store_submit(r->store, &b->op) == 0) {
        r->under_way = b;
    } else {
        not_written(&b->op.err, map_count(b->map));
        batch_free(b);
    }
}

struct tls_results *tls_results_new(struct loop *l, struct store *store)
{
    struct tls_results *r = MEM_NEW(struct tls_results);

    r->store = store;
    r->timer = timer_new(l, on_timer, r);
    return r;
}

void tls_results_free(struct tls_results **rp)
{
    struct tls_results *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    if (r->under_way)
        r->under_way->owner = NULL; /* it goes with its answer */
    timer_free(&r->timer);
    if (r->next) {
        prepare(r->next, NULL);
        if (store_submit_wait(r->store, &r->next->op))
            not_written(&r->next->op.err, map_count(r->next->map));
        batch_free(r->next);
    }
    mem_free(r);
}

/* ---- reading */
int tls_results_read(struct store_reader *reader, struct arena *a, int64_t day, size_t max,
                     struct tls_result **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    size_t n = 0, cap = 0;
    int rc = 0;

    *out = NULL;
    if (sql_prepare(store_reader_sql(reader),
                    "SELECT domain, mx, kind, type, sessions, policy FROM tls_result WHERE day = ? "
                    "ORDER BY domain, mx, kind, type",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    while (n < max && (rc = sql_step(st, err)) == 1) {
        if (n == cap) {
            struct tls_result *more = ARENA_ARRAY(a, struct tls_result, cap ? cap * 2 : 64);
            if (n)
                memcpy(more, *out, n * sizeof *more);
            cap = cap ? cap * 2 : 64;
            *out = more;
        }
        (*out)[n++] = (struct tls_result){.domain = arena_str(a, sql_text(st, 0)),
                                          .mx = arena_str(a, sql_text(st, 1)),
                                          .kind = (enum tls_result_policy)sql_int(st, 2),
                                          .type = (enum tls_result_type)sql_int(st, 3),
                                          .count = (uint64_t)sql_int(st, 4),
                                          .policy = arena_str(a, sql_blob(st, 5))};
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}
