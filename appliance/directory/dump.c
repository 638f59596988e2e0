/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/dump_private.h"

#include "appliance/base/map.h"
#include "appliance/base/mem.h"

struct columns {
    size_t n;
    struct str names[DUMP_COLUMNS_MAX];
};
struct dump {
    struct dump_cursor c;
    const struct dump_reader *r;
    struct arena *tables_m;
    struct map *tables; /* name -> struct columns in tables_m */
    size_t n_tables, reported;
    struct columns *now; /* of the INSERT that is read */
    struct str values[DUMP_COLUMNS_MAX];
};

static int bad(struct dump *d, struct err *err, const char *what)
{
    return dump_error(&d->c, err, what);
}

static int next(struct dump *d, struct dump_token *t, struct err *err)
{
    dump_next(&d->c, t, err);
    return t->kind == DUMP_BAD ? -1 : 0;
}

static bool is_name(const struct dump_token *t)
{
    return t->kind == DUMP_NAME || t->kind == DUMP_WORD || t->kind == DUMP_STRING;
}

/* [database.]table; *t is what follows. */
static int read_table(struct dump *d, struct dump_token *t, struct str *out, struct err *err)
{
    do {
        if (!is_name(t))
            return bad(d, err, "the name of a table is expected");
        *out = t->text;
        if (next(d, t, err) < 0)
            return -1;
        if (!dump_is_mark(t, '.'))
            return 0;
    } while (next(d, t, err) == 0);
    return -1;
}

static int add_column(struct dump *d, struct arena *m, struct columns *out, struct str name,
                      struct err *err)
{
    if (out->n == DUMP_COLUMNS_MAX)
        return bad(d, err, "a table has too many columns");
    out->names[out->n++] = arena_str(m, name);
    return 0;
}

/* ---- CREATE TABLE */

static bool begins_key(const struct dump_token *t)
{
    static const char *const words[] = {"PRIMARY",    "KEY",     "UNIQUE", "INDEX",  "FULLTEXT",
                                        "CONSTRAINT", "FOREIGN", "CHECK",  "SPATIAL"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (dump_is_word(t, words[i]))
            return true;
    return false;
}

/* Behind the "," or ")" that ends what is defined; *t is that. */
static int skip_definition(struct dump *d, struct dump_token *t, struct err *err)
{
    for (unsigned depth = 0;;) {
        if (next(d, t, err) < 0)
            return -1;
        if (t->kind == DUMP_END)
            return bad(d, err, "CREATE TABLE doesn't end");
        if (depth == 0 && (dump_is_mark(t, ',') || dump_is_mark(t, ')')))
            return 0;
        depth += dump_is_mark(t, '(');
        depth -= dump_is_mark(t, ')');
    }
}

static int read_definitions(struct dump *d, struct columns *out, struct err *err)
{
    struct dump_token t;
    do {
        if (next(d, &t, err) < 0)
            return -1;
        if (!is_name(&t))
            return bad(d, err, "the name of a column is expected");
        if (!begins_key(&t) && add_column(d, d->tables_m, out, t.text, err) < 0)
            return -1;
        if (skip_definition(d, &t, err) < 0)
            return -1;
        arena_clear(d->c.m);
    } while (!dump_is_mark(&t, ')'));
    return 0;
}

static int read_create(struct dump *d, struct err *err)
{
    struct columns *columns;
    struct dump_token t;
    struct str name;
    if (next(d, &t, err) < 0)
        return -1;
    if (!dump_is_word(&t, "TABLE"))
        return dump_skip_statement(&d->c, err);
    if (next(d, &t, err) < 0)
        return -1;
    if (dump_is_word(&t, "IF")) /* NOT EXISTS */
        for (unsigned i = 0; i < 3; i++)
            if (next(d, &t, err) < 0)
                return -1;
    if (read_table(d, &t, &name, err) < 0)
        return -1;
    if (!dump_is_mark(&t, '(')) /* LIKE, SELECT */
        return dump_is_mark(&t, ';') ? 0 : dump_skip_statement(&d->c, err);
    name = arena_str(d->tables_m, name);
    columns = map_get(d->tables, name);
    if (!columns && d->n_tables++ == DUMP_TABLES_MAX)
        return bad(d, err, "there are too many tables");
    if (!columns)
        map_set(d->tables, name, columns = ARENA_NEW(d->tables_m, struct columns));
    columns->n = 0;
    return read_definitions(d, columns, err) < 0 ? -1 : dump_skip_statement(&d->c, err);
}

/* ---- INSERT */

/* A literal; *t is what follows it. */
static int read_value(struct dump *d, struct dump_token *t, struct str *out, struct err *err)
{
    bool minus = dump_is_mark(t, '-');
    if ((minus || dump_is_mark(t, '+')) && next(d, t, err) < 0)
        return -1;
    if (t->kind == DUMP_WORD && t->text.p[0] == '_' && next(d, t, err) < 0)
        return -1; /* an introducer */
    if (dump_is_word(t, "NULL") || dump_is_word(t, "DEFAULT"))
        *out = STR_NULL;
    else if (dump_is_word(t, "TRUE") || dump_is_word(t, "FALSE"))
        *out = dump_is_word(t, "TRUE") ? STR("1") : STR("0");
    else if (t->kind == DUMP_STRING || t->kind == DUMP_BYTES)
        *out = t->text;
    else if (t->kind == DUMP_WORD && t->text.p[0] >= '0' && t->text.p[0] <= '9')
        *out = minus ? arena_printf(d->c.m, "-" STR_FMT, STR_ARG(t->text)) : t->text;
    else
        return bad(d, err, "a value is expected");
    if (next(d, t, err) < 0)
        return -1;
    /* What follows the point of a number says nothing to anybody here. */
    if (dump_is_mark(t, '.') && (next(d, t, err) < 0 || next(d, t, err) < 0))
        return -1;
    return 0;
}

/* *t: "(". Afterwards what follows ")". */
static int read_row(struct dump *d, struct dump_token *t, struct str table, bool wanted,
                    struct err *err)
{
    size_t n = 0;
    do {
        struct str unused;
        if (next(d, t, err) < 0 ||
            read_value(d, t, n < DUMP_COLUMNS_MAX ? &d->values[n] : &unused, err) < 0)
            return -1;
        n++;
    } while (dump_is_mark(t, ','));
    if (!dump_is_mark(t, ')'))
        return bad(d, err, "\")\" is expected behind the values of a row");
    if (wanted && n != d->now->n)
        return bad(d, err, "a row has more or fewer values than there are columns");
    if (wanted && d->r->row(d->r->ctx, table, d->now->names, d->values, n, err) < 0)
        return -1;
    arena_clear(d->c.m);
    return next(d, t, err);
}

static int read_rows(struct dump *d, struct str table, bool wanted, struct err *err)
{
    struct dump_token t;
    do {
        if (next(d, &t, err) < 0)
            return -1;
        if (!dump_is_mark(&t, '('))
            return bad(d, err, "\"(\" is expected before the values of a row");
        if (read_row(d, &t, table, wanted, err) < 0)
            return -1;
    } while (dump_is_mark(&t, ','));
    return dump_is_mark(&t, ';') || t.kind == DUMP_END ? 0 : dump_skip_statement(&d->c, err);
}

static int read_names(struct dump *d, struct arena *m, struct dump_token *t, struct err *err)
{
    d->now->n = 0;
    do {
        if (next(d, t, err) < 0)
            return -1;
        if (!is_name(t))
            return bad(d, err, "the name of a column is expected");
        if (add_column(d, m, d->now, t->text, err) < 0 || next(d, t, err) < 0)
            return -1;
    } while (dump_is_mark(t, ','));
    return dump_is_mark(t, ')') ? next(d, t, err) : bad(d, err, "\")\" is expected");
}

static int insert_into(struct dump *d, struct arena *m, struct dump_token *t, struct err *err)
{
    struct str table;
    if (read_table(d, t, &table, err) < 0)
        return -1;
    table = arena_str(m, table);
    const struct columns *known = map_get(d->tables, table);
    d->now->n = 0;
    if (known)
        *d->now = *known;
    if (dump_is_mark(t, '(') && read_names(d, m, t, err) < 0)
        return -1;
    if (!dump_is_word(t, "VALUES") && !dump_is_word(t, "VALUE"))
        return dump_is_mark(t, ';') ? 0 : dump_skip_statement(&d->c, err);
    bool wanted = d->now->n && d->r->wants(d->r->ctx, table, d->now->names, d->now->n);
    return wanted ? read_rows(d, table, true, err) : dump_skip_statement(&d->c, err);
}

static int read_insert(struct dump *d, struct err *err)
{
    struct dump_token t;
    do {
        if (next(d, &t, err) < 0)
            return -1;
    } while (dump_is_word(&t, "INTO") || dump_is_word(&t, "IGNORE") ||
             dump_is_word(&t, "DELAYED") || dump_is_word(&t, "LOW_PRIORITY"));
    struct arena *m = arena_new(0);
    int r = insert_into(d, m, &t, err);
    arena_free(&m);
    return r;
}

static int read_statement(struct dump *d, bool *end_out, struct err *err)
{
    struct dump_token t;
    if (next(d, &t, err) < 0)
        return -1;
    *end_out = t.kind == DUMP_END;
    if (*end_out || dump_is_mark(&t, ';'))
        return 0;
    if (dump_is_word(&t, "CREATE"))
        return read_create(d, err);
    if (dump_is_word(&t, "INSERT") || dump_is_word(&t, "REPLACE"))
        return read_insert(d, err);
    if (dump_is_word(&t, "DELIMITER"))
        dump_skip_delimited(&d->c);
    else
        return dump_skip_statement(&d->c, err);
    return 0;
}

int dump_read(struct str text, const struct dump_reader *r, struct err *err)
{
    struct dump *d = MEM_NEW(struct dump);
    bool end = false;
    int rc = 0;
    d->c = (struct dump_cursor){.all = text, .m = arena_new(4096)};
    d->r = r;
    d->tables_m = arena_new(0);
    d->tables = map_new();
    d->now = MEM_NEW(struct columns);
    while (rc == 0 && !end) {
        rc = read_statement(d, &end, err);
        arena_clear(d->c.m);
        if (r->progress && (end || d->c.at - d->reported > 1 << 20)) {
            d->reported = d->c.at;
            r->progress(r->ctx, d->c.at, text.n);
        }
    }
    mem_free(d->now);
    map_free(&d->tables);
    arena_free(&d->tables_m);
    arena_free(&d->c.m);
    mem_free(d);
    return rc;
}
