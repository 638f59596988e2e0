/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_mysql_stmt.c - prepared statements of the MySQL driver (binary protocol).
 * A result is fetched whole at its first step: the protocol has no second statement on a connection
 * whose rows are still on their way, and the house steps through one while it runs others. A
 * statement keeps its text and is prepared again on a new connection. Numbers are read as 64-bit
 * integers, all else (DECIMAL, as COUNT and SUM may give, too) as bytes. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql_mysql.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    COLUMN_START = 256,  /* bytes of a column's buffer; grows to the largest value */
    COLUMN_KEPT = 65536, /* more is given back at the reset */
    DIGITS = 24
};

struct column {
    bool is_int, is_unsigned;
    int64_t number;
    char digits[DIGITS]; /* the number asked for as text */
    char *p;
    size_t cap;
    unsigned long n;
    mysql_flag null, cut;
};
struct mysql_st {
    struct mysql_conn *conn;
    char *text;
    bool reads; /* may be sent again */
    MYSQL_STMT *handle;
    unsigned epoch; /* of the connection it is prepared on */
    enum { ST_FRESH, ST_ROWS, ST_ENDED } state;
    unsigned n_slots, n_columns;
    unsigned *slots; /* which parameter is in each: `?2` may stand in several */
    MYSQL_BIND *params, *binds;
    int64_t *numbers; /* bound by value */
    unsigned long *lengths;
    struct column *columns;
};

/* ---- Preparing. */

static void free_columns(struct mysql_st *st)
{
    for (unsigned i = 0; i < st->n_columns; i++)
        mem_free(st->columns[i].p);
    mem_free(st->columns);
    mem_free(st->binds);
    st->columns = NULL;
    st->binds = NULL;
    st->n_columns = 0;
}

static int fail(struct mysql_st *st, const char *doing, struct err *err)
{
    return mysql_fail(st->conn, mysql_stmt_errno(st->handle), mysql_stmt_error(st->handle), doing,
                      err);
}

static void forget_handle(struct mysql_st *st)
{
    if (st->handle)
        mysql_stmt_close(st->handle);
    st->handle = NULL;
}

/* MySQL knows `?` only: numbered parameters become slots. As in SQLite, a plain one's number is the
 * highest before it and one. */
static char *take_slots(struct mysql_st *st, const char *text)
{
    struct str rest = str_from(text);
    char *out = mem_alloc(rest.n + 1);
    size_t n = 0;
    unsigned highest = 0;
    bool quoted = false;

    while (rest.n) {
        char c = *rest.p;
        rest = str_skip(rest, 1);
        out[n++] = c;
        quoted = quoted != (c == '\'');
        if (c != '?' || quoted)
            continue;
        unsigned number = 0;
        for (; rest.n && *rest.p >= '0' && *rest.p <= '9'; rest = str_skip(rest, 1))
            number = number * 10 + (unsigned)(*rest.p - '0');
        if (number == 0)
            number = highest + 1;
        if (number > highest)
            highest = number;
        st->slots = mem_realloc(st->slots, (st->n_slots + 1) * sizeof *st->slots);
        st->slots[st->n_slots++] = number;
    }
    return out;
}

static void make_params(struct mysql_st *st)
{
    if (st->n_slots == 0)
        return;
    st->params = mem_alloc(st->n_slots * sizeof *st->params);
    st->numbers = mem_alloc(st->n_slots * sizeof *st->numbers);
    st->lengths = mem_alloc(st->n_slots * sizeof *st->lengths);
    for (unsigned i = 0; i < st->n_slots; i++)
        st->params[i].buffer_type = MYSQL_TYPE_NULL;
}

static int prepare_on(struct mysql_st *st, struct err *err)
{
    struct mysql_conn *c = st->conn;

    forget_handle(st);
    st->handle = mysql_stmt_init(c->handle);
    CHECK(st->handle);
    if (mysql_stmt_prepare(st->handle, st->text, strlen(st->text)) != 0)
        return fail(st, "prepare", err);
    st->epoch = c->epoch;
    CHECK(mysql_stmt_param_count(st->handle) == st->n_slots);
    return 0;
}

/* A loss outside a transaction is met here as often as at the execution. */
static int prepare(struct mysql_st *st, struct err *err)
{
    struct mysql_conn *c = st->conn;

    if (mysql_conn_need(c, err) != 0)
        return -1;
    if (st->handle && st->epoch == c->epoch)
        return 0;
    if (prepare_on(st, err) == 0)
        return 0;
    if (c->handle || mysql_conn_need(c, err) != 0)
        return -1;
    return prepare_on(st, err);
}

static bool only_reads(const char *text)
{
    return str_istarts(str_from(text), STR("SELECT ")) || str_istarts(str_from(text), STR("SHOW "));
}

int mysql_st_prepare(void *conn, const char *text, void **st_out, struct err *err)
{
    struct mysql_st *st = MEM_NEW(struct mysql_st);

    st->conn = conn;
    st->text = take_slots(st, text);
    make_params(st);
    st->reads = only_reads(text);
    if (prepare(st, err) != 0) {
        mysql_st_finalize(st);
        return -1;
    }
    *st_out = st;
    return 0;
}

void mysql_st_finalize(void *p)
{
    struct mysql_st *st = p;

    mysql_thread_enter();
    forget_handle(st);
    free_columns(st);
    mem_free(st->slots);
    mem_free(st->params);
    mem_free(st->numbers);
    mem_free(st->lengths);
    mem_free(st->text);
    mem_free(st);
}

/* ---- Parameters. */

static void bind(struct mysql_st *st, int number, enum enum_field_types type, int64_t v,
                 struct str bytes)
{
    static char nothing[1];
    bool found = false;

    for (unsigned i = 0; i < st->n_slots; i++) {
        MYSQL_BIND *b = &st->params[i];
        if (st->slots[i] != (unsigned)number)
            continue;
        found = true;
        memset(b, 0, sizeof *b);
        b->buffer_type = type;
        if (type == MYSQL_TYPE_NULL)
            continue;
        if (type == MYSQL_TYPE_LONGLONG) {
            st->numbers[i] = v;
            b->buffer = &st->numbers[i];
            continue;
        }
        b->buffer = bytes.p ? (void *)(uintptr_t)bytes.p : nothing;
        b->buffer_length = bytes.n;
        b->length = &st->lengths[i];
        st->lengths[i] = bytes.n;
    }
    CHECK(found);
}

void mysql_st_bind_int(void *p, int i, int64_t v)
{
    bind(p, i, MYSQL_TYPE_LONGLONG, v, STR_NULL);
}

void mysql_st_bind_text(void *p, int i, struct str v)
{
    bind(p, i, MYSQL_TYPE_STRING, 0, v);
}

void mysql_st_bind_blob(void *p, int i, struct str v)
{
    bind(p, i, MYSQL_TYPE_BLOB, 0, v);
}

void mysql_st_bind_null(void *p, int i)
{
    bind(p, i, MYSQL_TYPE_NULL, 0, STR_NULL);
}

/* The server would close the connection. */
static int check_size(struct mysql_st *st, struct err *err)
{
    uint64_t sum = strlen(st->text);

    for (unsigned i = 0; i < st->n_slots; i++) {
        if (st->params[i].length)
            sum += *st->params[i].length;
    }
    if (sum + 1024 < st->conn->max_packet)
        return 0;
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_LIMIT,
                   "database: %llu bytes are more than its max_allowed_packet takes",
                   (unsigned long long)sum);
}

/* ---- Executing. */

static bool is_integer(enum enum_field_types type)
{
    return type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_SHORT || type == MYSQL_TYPE_INT24 ||
           type == MYSQL_TYPE_LONG || type == MYSQL_TYPE_LONGLONG || type == MYSQL_TYPE_YEAR;
}

static void bind_column(MYSQL_BIND *b, struct column *col, const MYSQL_FIELD *field)
{
    memset(b, 0, sizeof *b);
    col->is_int = is_integer(field->type);
    col->is_unsigned = (field->flags & UNSIGNED_FLAG) != 0;
    b->is_null = &col->null;
    b->error = &col->cut;
    b->length = &col->n;
    if (col->is_int) {
        b->buffer_type = MYSQL_TYPE_LONGLONG;
        b->buffer = &col->number;
        b->is_unsigned = col->is_unsigned;
        return;
    }
    if (!col->p) {
        col->p = mem_alloc(COLUMN_START);
        col->cap = COLUMN_START;
    }
    b->buffer_type = MYSQL_TYPE_STRING;
    b->buffer = col->p;
    b->buffer_length = col->cap;
}

static int bind_columns(struct mysql_st *st, struct err *err)
{
    MYSQL_RES *meta = mysql_stmt_result_metadata(st->handle);
    unsigned n;

    if (!meta)
        return fail(st, "columns", err);
    n = mysql_num_fields(meta);
    if (n != st->n_columns) {
        free_columns(st);
        st->columns = mem_alloc(n * sizeof *st->columns);
        st->binds = mem_alloc(n * sizeof *st->binds);
        st->n_columns = n;
    }
    for (unsigned i = 0; i < n; i++)
        bind_column(&st->binds[i], &st->columns[i], mysql_fetch_field_direct(meta, i));
    mysql_free_result(meta);
    if (mysql_stmt_bind_result(st->handle, st->binds))
        return fail(st, "columns", err);
    return 0;
}

static int execute_once(struct mysql_st *st, struct err *err)
{
    struct mysql_conn *c = st->conn;

    if (prepare(st, err) != 0 || check_size(st, err) != 0)
        return -1;
    if (st->n_slots && mysql_stmt_bind_param(st->handle, st->params))
        return fail(st, "parameters", err);
    if (mysql_stmt_execute(st->handle) != 0)
        return fail(st, "statement", err);
    c->used_ms = clock_mono_ms();
    if (mysql_stmt_field_count(st->handle) == 0) {
        c->changes = (int64_t)mysql_stmt_affected_rows(st->handle);
        c->insert_id = (int64_t)mysql_stmt_insert_id(st->handle);
        st->state = ST_ENDED;
        return 0;
    }
    if (bind_columns(st, err) != 0)
        return -1;
    if (mysql_stmt_store_result(st->handle) != 0)
        return fail(st, "rows", err);
    st->state = ST_ROWS;
    return 0;
}

static int execute(struct mysql_st *st, struct err *err)
{
    struct mysql_conn *c = st->conn;
    bool alone = c->tx == MYSQL_TX_NONE;

    /* What writes is not sent twice: so the connection is looked at first. */
    if (alone && !st->reads && mysql_conn_probe(c, err) != 0)
        return -1;
    if (execute_once(st, err) == 0)
        return 0;
    if (c->handle || !alone || !st->reads)
        return -1;
    return execute_once(st, err);
}

/* ---- Rows. */

static int fetch_long(struct mysql_st *st, struct err *err)
{
    for (unsigned i = 0; i < st->n_columns; i++) {
        struct column *col = &st->columns[i];
        MYSQL_BIND *b = &st->binds[i];
        if (col->is_int || col->null || col->n <= col->cap)
            continue;
        mem_free(col->p);
        col->p = mem_alloc(col->n);
        col->cap = col->n;
        b->buffer = col->p;
        b->buffer_length = col->cap;
        if (mysql_stmt_fetch_column(st->handle, b, i, 0) != 0)
            return fail(st, "column", err);
    }
    /* The next rows go where the columns are now. */
    return mysql_stmt_bind_result(st->handle, st->binds) ? fail(st, "columns", err) : 0;
}

static void end_rows(struct mysql_st *st)
{
    if (st->state == ST_ROWS && st->epoch == st->conn->epoch)
        mysql_stmt_free_result(st->handle);
    st->state = ST_ENDED;
}

int mysql_st_step(void *conn, void *p, struct err *err)
{
    struct mysql_st *st = p;
    int rc;

    (void)conn;
    if (st->state != ST_ROWS) {
        if (execute(st, err) != 0)
            return -1;
        if (st->state != ST_ROWS)
            return 0;
    }
    if (st->epoch != st->conn->epoch)
        return ERR(err, ERR_TEMP, "database: the connection was lost");
    rc = mysql_stmt_fetch(st->handle);
    if (rc == MYSQL_DATA_TRUNCATED)
        return fetch_long(st, err) == 0 ? 1 : -1;
    if (rc == 0)
        return 1;
    if (rc != MYSQL_NO_DATA)
        return fail(st, "rows", err);
    end_rows(st);
    return 0;
}

void mysql_st_reset(void *p)
{
    struct mysql_st *st = p;

    end_rows(st);
    st->state = ST_FRESH;
    for (unsigned i = 0; i < st->n_slots; i++)
        st->params[i] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_NULL};
    for (unsigned i = 0; i < st->n_columns; i++) {
        struct column *col = &st->columns[i];
        if (col->cap > COLUMN_KEPT) {
            mem_free(col->p);
            col->p = NULL;
            col->cap = 0;
        }
    }
}

/* ---- Columns. */

/* What isn't there is NULL, as in SQLite. */
static struct column *column(struct mysql_st *st, int i)
{
    static struct column none = {.null = 1};

    return st->state == ST_ROWS && i >= 0 && (unsigned)i < st->n_columns ? &st->columns[i] : &none;
}

bool mysql_st_is_null(void *p, int i)
{
    return column(p, i)->null;
}

int64_t mysql_st_int(void *p, int i)
{
    struct column *col = column(p, i);
    char digits[DIGITS] = "";

    if (col->null)
        return 0;
    if (col->is_int)
        return col->number;
    memcpy(digits, col->p, col->n < DIGITS - 1 ? col->n : DIGITS - 1);
    return strtoll(digits, NULL, 10);
}

struct str mysql_st_text(void *p, int i)
{
    struct column *col = column(p, i);
    int n;

    if (col->null)
        return STR_NULL;
    if (!col->is_int)
        return str_of(col->p, col->n);
    n = snprintf(col->digits, sizeof col->digits, col->is_unsigned ? "%llu" : "%lld",
                 (long long)col->number);
    return str_of(col->digits, (size_t)n);
}
