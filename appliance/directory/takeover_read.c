/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Rows of a dump, and of a server. */
#include "appliance/base/mem.h"
#include "appliance/directory/dump.h"
#include "appliance/directory/takeover_private.h"

static int take(struct takeover *t, const struct takeover_table *table, struct str *values,
                struct str mark, struct err *err)
{
    enum takeover_kind kind = table->kind;
    if (!values[0].n || (table->shape && !table->shape(takeover_arena(t), values, mark, &kind)))
        return 0;
    takeover_found(t, kind);
    return takeover_row(t, kind, values, err);
}

/* ---- a dump */

static bool find_column(const struct str *columns, size_t n, const char *name, size_t *at)
{
    for (size_t i = 0; name && i < n; i++)
        if (str_ieq(columns[i], str_from(name))) {
            *at = i;
            return true;
        }
    return false;
}

/* Other programs have tables of such names too: it must have the key, and what follows it or the
 * mark. */
static const struct takeover_table *find_table(struct str name, const struct str *columns, size_t n)
{
    size_t at;
    for (size_t i = 0; i < takeover_n_tables; i++) {
        const struct takeover_table *t = &takeover_tables[i];
        const char *second = t->columns[t->kind == TAKEOVER_USER ? 9 : 1];
        if (str_ieq(name, str_from(t->name)) && find_column(columns, n, t->columns[0], &at) &&
            (find_column(columns, n, second, &at) || t->kind == TAKEOVER_DOMAIN) &&
            (!t->needs_mark || find_column(columns, n, t->mark, &at)))
            return t;
    }
    return NULL;
}

static bool dump_wants(void *ctx, struct str name, const struct str *columns, size_t n)
{
    const struct takeover_table *t = find_table(name, columns, n);
    if (t)
        takeover_found(ctx, t->kind);
    return t != NULL;
}

static int dump_row(void *ctx, struct str name, const struct str *columns, const struct str *in,
                    size_t n, struct err *err)
{
    const struct takeover_table *t = find_table(name, columns, n);
    struct str values[TAKEOVER_COLUMNS] = {{0}}, mark = STR_NULL;
    size_t at;
    if (!t)
        return 0;
    for (size_t i = 0; i < TAKEOVER_COLUMNS; i++)
        if (find_column(columns, n, t->columns[i], &at))
            values[i] = in[at];
    if (find_column(columns, n, t->mark, &at))
        mark = in[at];
    return take(ctx, t, values, mark, err);
}

static void dump_progress(void *ctx, size_t done, size_t all)
{
    takeover_progress(ctx, done, all);
}

int takeover_dump(struct takeover *t, struct str text, struct err *err)
{
    const struct dump_reader r = {
        .ctx = t, .wants = dump_wants, .row = dump_row, .progress = dump_progress};
    return dump_read(text, &r, err);
}

/* ---- a server */

/* 1: it has that column (or that table, for a NULL column); 0: not. */
static int has_column(struct sql *db, struct arena *m, const char *table, const char *column,
                      struct err *err)
{
    struct sql_stmt *st;
    if (!column)
        return 0;
    const char *text = arena_printf(m, "SELECT %s FROM %s WHERE 1 = 0", column, table).p;
    if (sql_prepare(db, text, &st, err) == 0)
        return 1;
    return err->kind == ERR_TEMP && err->why != ERR_WHY_DENIED ? -1 : 0;
}

/* A column that isn't there is read as NULL. *text_out NULL: it isn't the table that is meant. */
static int build_select(struct sql *db, struct arena *m, const struct takeover_table *t,
                        const char **text_out, struct err *err)
{
    struct str text = STR("SELECT ");
    bool has[TAKEOVER_COLUMNS + 1];
    *text_out = NULL;
    for (size_t i = 0; i <= TAKEOVER_COLUMNS; i++) {
        const char *column = i < TAKEOVER_COLUMNS ? t->columns[i] : t->mark;
        int r = has_column(db, m, t->name, column, err);
        if (r < 0)
            return -1;
        has[i] = r == 1;
        if (i == 0 && !has[0])
            return 0;
        text = arena_printf(m, STR_FMT "%s%s", STR_ARG(text), i ? ", " : "", r ? column : "NULL");
    }
    if ((t->needs_mark && !has[TAKEOVER_COLUMNS]) ||
        (t->kind == TAKEOVER_USER ? !has[9] : t->kind != TAKEOVER_DOMAIN && !has[1]))
        return 0;
    *text_out = arena_printf(m, STR_FMT " FROM %s", STR_ARG(text), t->name).p;
    return 0;
}

static int read_table(struct takeover *t, struct sql *db, struct arena *m,
                      const struct takeover_table *table, struct err *err)
{
    struct str values[TAKEOVER_COLUMNS];
    struct sql_stmt *st;
    const char *text;
    int r;
    if (build_select(db, m, table, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    takeover_found(t, table->kind);
    if (sql_prepare(db, text, &st, err) < 0)
        return -1;
    while ((r = sql_step(st, err)) == 1) {
        for (int i = 0; i < TAKEOVER_COLUMNS; i++)
            values[i] = sql_text(st, i);
        r = take(t, table, values, sql_text(st, TAKEOVER_COLUMNS), err);
        if (r < 0)
            break;
    }
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

int takeover_server(struct takeover *t, const struct sql_server *server, struct err *err)
{
    const struct sql_conf conf = {.server = server, .read_only = true, .busy_ms = 5000};
    struct arena *m = arena_new(0);
    struct sql *db = NULL;
    int rc = sql_open(&conf, &db, err);
    for (size_t i = 0; rc == 0 && i < takeover_n_tables; i++) {
        rc = read_table(t, db, m, &takeover_tables[i], err);
        if (rc < 0)
            err_context(err, "table %s", takeover_tables[i].name);
    }
    sql_close(&db);
    arena_free(&m); /* the texts of its statements */
    return rc;
}
