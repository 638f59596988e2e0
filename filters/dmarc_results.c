/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_results.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/behind.h"

enum { WRITE_AFTER_MS = 60 * 1000, WAITING_MAX = 20000, TEXT_MAX = 4096, DAY_MS = 86400000 };

static const struct log_ctx log_results = {.module = "filters"};

struct row {
    struct behind_row link;
    struct dmarc_row result;
    int64_t day, digest;
};
struct dmarc_results {
    struct behind *behind; /* NULL: no store */
};

const char *dmarc_override_name(enum dmarc_override o)
{
    static const char *const names[DMARC_OVERRIDES] = {[DMARC_OVERRIDE_NONE] = "",
                                                       [DMARC_OVERRIDE_TEST] = "policy_test_mode",
                                                       [DMARC_OVERRIDE_FORWARDER] =
                                                           "trusted_forwarder",
                                                       [DMARC_OVERRIDE_LOCAL] = "local_policy"};

    return names[o];
}

/* ---- Counting. */

/* Part of the row's key. */
static int64_t digest(struct str s)
{
    return (int64_t)(str_hash_fixed(s) & INT64_MAX);
}

static void fill(struct row *row, struct arena *a, const struct dmarc_row *one)
{
    row->result = *one;
    row->result.count = 0;
    row->result.domain = arena_str(a, one->domain);
    row->result.record = arena_str(a, str_take(one->record, TEXT_MAX));
    row->result.author = arena_str(a, one->author);
    row->result.ip = arena_str(a, one->ip);
    row->result.auth = arena_str(a, str_take(one->auth, TEXT_MAX));
}

static struct row *row_of(struct behind *b, const struct dmarc_row *one, int64_t day)
{
    struct arena *a;
    struct buf key;
    size_t from;
    struct row *row;
    bool made;

    buf_init(&key, 4 * TEXT_MAX);
    buf_printf(&key, "%lld ", (long long)day);
    buf_add_str(&key, one->domain);
    buf_add_char(&key, ' ');
    buf_add_str(&key, one->author);
    buf_add_char(&key, ' ');
    buf_add_str(&key, one->ip);
    from = key.n;
    buf_printf(&key, " %d %d %d %d ", one->disposition, one->spf, one->dkim, one->override);
    buf_add_str(&key, str_take(one->record, TEXT_MAX));
    buf_add_char(&key, '\n');
    buf_add_str(&key, str_take(one->auth, TEXT_MAX));
    row = behind_add_key(b, buf_str(&key), sizeof *row, &a, &made);
    if (row && made) {
        fill(row, a, one);
        row->day = day;
        row->digest = digest(str_skip(buf_str(&key), from));
    }
    buf_fini(&key);
    return row;
}

void dmarc_results_note(struct dmarc_results *r, const struct dmarc_row *one)
{
    struct row *row = r->behind ? row_of(r->behind, one, clock_wall_ms() / DAY_MS) : NULL;

    if (row)
        row->result.count += one->count ? one->count : 1;
}

/* ---- Writing. */

static void bind_key(struct sql_stmt *st, int at, const struct row *row)
{
    sql_bind_int(st, at, row->day);
    sql_bind_text(st, at + 1, row->result.domain);
    sql_bind_text(st, at + 2, row->result.author);
    sql_bind_text(st, at + 3, row->result.ip);
    sql_bind_int(st, at + 4, row->digest);
}

/* 1: it was there. */
static int add_to_row(struct sql *db, const struct row *row, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "UPDATE dmarc_result SET messages = messages + ? WHERE day = ? AND domain = ? "
                    "AND author = ? AND ip = ? AND digest = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)row->result.count);
    bind_key(st, 2, row);
    if (sql_run(st, err))
        return -1;
    return sql_changes(db) > 0;
}

static int insert_row(struct sql *db, const struct row *row, struct err *err)
{
    const struct dmarc_row *r = &row->result;
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "INSERT INTO dmarc_result(day, domain, author, ip, digest, disposition, spf, "
                    "dkim, override, messages, auth, record) VALUES "
                    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    bind_key(st, 1, row);
    sql_bind_int(st, 6, r->disposition);
    sql_bind_int(st, 7, r->spf);
    sql_bind_int(st, 8, r->dkim);
    sql_bind_int(st, 9, r->override);
    sql_bind_int(st, 10, (int64_t)r->count);
    sql_bind_blob(st, 11, r->auth);
    sql_bind_blob(st, 12, r->record);
    return sql_run(st, err);
}

static int count_rows(struct sql *db, int64_t day, int64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT COUNT(*) FROM dmarc_result WHERE day = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    rc = sql_step(st, err);
    *out = rc == 1 ? sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* The day is full: what has a row goes on being counted, the rest isn't. */
static int write_rows(struct sql *db, struct behind_row *first, struct err *err)
{
    int64_t n = 0, day = -1;

    for (struct behind_row *it = first; it; it = it->next) {
        const struct row *row = CONTAINER_OF(it, struct row, link);
        int rc = add_to_row(db, row, err);
        if (rc < 0 || (row->day != day && count_rows(db, row->day, &n, err)))
            return -1;
        day = row->day;
        if (rc == 0 && n < DMARC_RESULTS_ROWS) {
            if (insert_row(db, row, err))
                return -1;
            n++;
        }
    }
    return 0;
}

static int write_all(struct sql *db, struct behind_row *first, struct err *err)
{
    struct sql_stmt *st;

    if (write_rows(db, first, err) ||
        sql_prepare(db, "DELETE FROM dmarc_result WHERE day < ?", &st, err))
        return -1;
    sql_bind_int(st, 1, clock_wall_ms() / DAY_MS - DMARC_RESULTS_DAYS);
    return sql_run(st, err);
}

struct dmarc_results *dmarc_results_new(struct loop *l, struct store *store)
{
    static const struct behind_kind kind = {.log = &log_results,
                                            .event = "dmarc_results_not_written",
                                            .after_ms = WRITE_AFTER_MS,
                                            .rows_max = WAITING_MAX,
                                            .write = write_all};
    struct dmarc_results *r = MEM_NEW(struct dmarc_results);

    r->behind = store ? behind_new(l, store, &kind) : NULL;
    return r;
}

void dmarc_results_free(struct dmarc_results **rp)
{
    struct dmarc_results *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    behind_free(&r->behind);
    mem_free(r);
}

/* ---- Reading. */

static void read_row(struct sql_stmt *st, struct arena *a, struct dmarc_row *out)
{
    *out = (struct dmarc_row){.domain = arena_str(a, sql_text(st, 0)),
                              .author = arena_str(a, sql_text(st, 1)),
                              .ip = arena_str(a, sql_text(st, 2)),
                              .disposition = (enum dmarc_policy)sql_int(st, 3),
                              .spf = sql_int(st, 4) != 0,
                              .dkim = sql_int(st, 5) != 0,
                              .override = (enum dmarc_override)sql_int(st, 6),
                              .count = (uint64_t)sql_int(st, 7),
                              .auth = arena_str(a, sql_blob(st, 8)),
                              .record = arena_str(a, sql_blob(st, 9))};
}

#define COLUMNS                                                                                    \
    "SELECT domain, author, ip, disposition, spf, dkim, override, messages, auth, record "         \
    "FROM dmarc_result "

/* room: octets of a's memory. */
static int read_rows(struct sql_stmt *st, struct arena *a, size_t max, size_t room,
                     struct dmarc_row **out, size_t *n_out, struct err *err)
{
    size_t n = 0, cap = 0, before = arena_used(a);
    int rc = 0;

    *out = NULL;
    while (n < max && arena_used(a) - before < room && (rc = sql_step(st, err)) == 1) {
        if (n == cap) {
            struct dmarc_row *more = ARENA_ARRAY(a, struct dmarc_row, cap ? cap * 2 : 64);
            if (n)
                memcpy(more, *out, n * sizeof *more);
            cap = cap ? cap * 2 : 64;
            *out = more;
        }
        read_row(st, a, &(*out)[n++]);
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

int dmarc_results_read(struct store_reader *reader, struct arena *a, int64_t day, size_t max,
                       struct dmarc_row **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(store_reader_sql(reader),
                    COLUMNS "WHERE day = ? ORDER BY domain, author, ip, digest", &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    return read_rows(st, a, max, SIZE_MAX, out, n_out, err);
}

int dmarc_results_of(struct store_reader *reader, struct arena *a, int64_t day, struct str domain,
                     size_t max, size_t room, struct dmarc_row **out, size_t *n_out,
                     struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(store_reader_sql(reader),
                    COLUMNS "WHERE day = ? AND domain = ? "
                            "ORDER BY messages DESC, author, ip, digest",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    sql_bind_text(st, 2, domain);
    return read_rows(st, a, max, room, out, n_out, err);
}

const struct daily_table dmarc_results_daily = {"dmarc_result", "messages"};
