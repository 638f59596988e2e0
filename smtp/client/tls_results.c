/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/tls_results.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/behind.h"

enum { WRITE_AFTER_MS = 60 * 1000, ROWS_MAX = 20000, POLICY_MAX = 16384, DAY_MS = 86400000 };

static const struct log_ctx log_results = {.module = "smtp"};

struct row {
    struct behind_row link;
    struct tls_result result;
    int64_t day;
};
struct tls_results {
    struct behind *behind; /* NULL: no store */
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
static void fill(struct row *row, struct arena *a, const struct tls_result *one)
{
    row->result.kind = one->kind;
    row->result.type = one->type;
    row->result.domain = arena_str(a, one->domain);
    row->result.mx = arena_str(a, one->mx);
    row->result.policy = arena_str(a, str_take(one->policy, POLICY_MAX));
}

static struct row *row_of(struct behind *b, const struct tls_result *one, int64_t day)
{
    struct arena *a;
    struct buf key;
    struct row *row;
    bool made;

    buf_init(&key, 4096);
    buf_printf(&key, "%lld %d %d " STR_FMT " " STR_FMT, (long long)day, one->kind, one->type,
               STR_ARG(one->domain), STR_ARG(one->mx));
    row = behind_add_key(b, buf_str(&key), sizeof *row, &a, &made);
    if (row && made) {
        fill(row, a, one);
        row->day = day;
    }
    buf_fini(&key);
    return row;
}

void tls_results_note(struct tls_results *r, const struct tls_result *one)
{
    struct row *row = r->behind ? row_of(r->behind, one, clock_wall_ms() / DAY_MS) : NULL;

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

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    struct sql_stmt *st;

    for (struct behind_row *it = first; it; it = it->next)
        if (write_row(db, CONTAINER_OF(it, struct row, link), err))
            return -1;
    if (sql_prepare(db, "DELETE FROM tls_result WHERE day < ?", &st, err))
        return -1;
    sql_bind_int(st, 1, clock_wall_ms() / DAY_MS - TLS_RESULTS_DAYS);
    return sql_run(st, err);
}

struct tls_results *tls_results_new(struct loop *l, struct store *store)
{
    static const struct behind_kind kind = {.log = &log_results,
                                            .event = "tls_results_not_written",
                                            .after_ms = WRITE_AFTER_MS,
                                            .rows_max = ROWS_MAX,
                                            .write = write_all};
    struct tls_results *r = MEM_NEW(struct tls_results);

    r->behind = store ? behind_new(l, store, &kind) : NULL;
    return r;
}

void tls_results_free(struct tls_results **rp)
{
    struct tls_results *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    behind_free(&r->behind);
    mem_free(r);
}

/* ---- reading */
#define COLUMNS "SELECT domain, mx, kind, type, sessions, policy FROM tls_result "

static struct tls_result row_read(struct sql_stmt *st, struct arena *a)
{
    return (struct tls_result){.domain = arena_str(a, sql_text(st, 0)),
                               .mx = arena_str(a, sql_text(st, 1)),
                               .kind = (enum tls_result_policy)sql_int(st, 2),
                               .type = (enum tls_result_type)sql_int(st, 3),
                               .count = (uint64_t)sql_int(st, 4),
                               .policy = arena_str(a, sql_blob(st, 5))};
}

static int read_rows(struct sql_stmt *st, struct arena *a, size_t max, struct tls_result **out,
                     size_t *n_out, struct err *err)
{
    size_t n = 0, cap = 0;
    int rc = 0;

    *out = NULL;
    while (n < max && (rc = sql_step(st, err)) == 1) {
        if (n == cap) {
            struct tls_result *more = ARENA_ARRAY(a, struct tls_result, cap ? cap * 2 : 64);
            if (n)
                memcpy(more, *out, n * sizeof *more);
            cap = cap ? cap * 2 : 64;
            *out = more;
        }
        (*out)[n++] = row_read(st, a);
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

int tls_results_read(struct store_reader *reader, struct arena *a, int64_t day, size_t max,
                     struct tls_result **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(store_reader_sql(reader),
                    COLUMNS "WHERE day = ? ORDER BY domain, mx, kind, type", &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    return read_rows(st, a, max, out, n_out, err);
}

int tls_results_of(struct store_reader *reader, struct arena *a, int64_t day, struct str domain,
                   size_t max, struct tls_result **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(store_reader_sql(reader),
                    COLUMNS "WHERE day = ? AND domain = ? ORDER BY mx, kind, type", &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    sql_bind_text(st, 2, domain);
    return read_rows(st, a, max, out, n_out, err);
}

const struct daily_table tls_results_daily = {"tls_result", "sessions"};
