/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* news_log.c - table row_change: keys of rows that were written, numbered by a counter. Who counts
 * up holds the counter's row until his commit, so numbers become visible in their order, without
 * gaps; and as that is the last but one statement of a transaction, nobody waits for long. */
#include "appliance/store/news_private.h"
#include "appliance/store/node.h"
#include <stdio.h>

enum { KEEP = 50000 /* numbers; who is further behind reads the tables */ };

/* ---- Writing, on the commit thread. */

void news_tell(struct store_tx *tx, const char *table, struct str key)
{
    uint32_t n[2] = {(uint32_t)strlen(table), (uint32_t)key.n};

    if (!node_others(tx->store) || n[0] > NEWS_TABLE_MAX || key.n > NEWS_KEY_MAX)
        return;
    buf_add(&tx->news, n, sizeof n);
    buf_add(&tx->news, table, n[0]);
    buf_add_str(&tx->news, key);
    tx->n_news++;
}

static int insert(struct store_tx *tx, int64_t number, struct str table, struct str key,
                  struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "INSERT INTO row_change(seq, owner, name, k) VALUES (?, ?, ?, ?)", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, number);
    sql_bind_int(st, 2, (int64_t)node_self(tx->store));
    sql_bind_text(st, 3, table);
    sql_bind_blob(st, 4, key);
    return sql_run(st, err);
}

static int insert_all(struct store_tx *tx, int64_t first, struct err *err)
{
    struct str rest = buf_str(&tx->news);

    for (int64_t number = first; rest.n; number++) {
        uint32_t n[2];
        memcpy(n, rest.p, sizeof n);
        rest = str_skip(rest, sizeof n);
        if (insert(tx, number, str_take(rest, n[0]), str_take(str_skip(rest, n[0]), n[1]), err))
            return -1;
        rest = str_skip(rest, (size_t)n[0] + n[1]);
    }
    return 0;
}

static int forget_old(struct store_tx *tx, int64_t last, struct err *err)
{
    struct sql_stmt *st;

    if (last <= KEEP)
        return 0;
    if (sql_prepare(tx->db, "DELETE FROM row_change WHERE seq <= ?", &st, err))
        return -1;
    sql_bind_int(st, 1, last - KEEP);
    return sql_run(st, err);
}

int news_note_tx(struct store_tx *tx, struct err *err)
{
    int64_t last;

    if (!tx->n_news)
        return 0;
    if (!buf_ok(&tx->news))
        return ERR(err, ERR_TEMP, "too many rows in one transaction");
    if (watch_count_up_tx(tx, STORE_WATCH_ROWS, tx->n_news, err) ||
        news_log_last(tx->db, &last, err) || insert_all(tx, last - (int64_t)tx->n_news + 1, err))
        return -1;
    return forget_old(tx, last, err);
}

/* ---- Reading. */

int news_log_last(struct sql *db, int64_t *out, struct err *err)
{
    struct sql_stmt *st;
    char name[16];
    int rc;

    snprintf(name, sizeof name, "watch-%u", (unsigned)STORE_WATCH_ROWS);
    if (sql_prepare(db, "SELECT value FROM store_meta WHERE name = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(name));
    rc = sql_step(st, err);
    *out = rc == 1 ? sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

void *news_row(struct news_rows *out, struct str key, size_t size)
{
    struct news_found *f = ARENA_NEW(out->arena, struct news_found);

    f->next = NULL;
    f->source = out->source;
    f->key = arena_str(out->arena, key);
    f->row = NULL;
    if (size) {
        f->row = arena_alloc(out->arena, size);
        memset(f->row, 0, size);
    }
    *out->last = f;
    out->last = &f->next;
    out->n++;
    return f->row;
}

struct arena *news_arena(struct news_rows *out)
{
    return out->arena;
}

static struct news_source *source_of(struct news_look *look, struct str table)
{
    for (size_t i = 0; i < look->n_sources; i++)
        if (str_eq(table, str_from(look->sources[i].table)))
            return &look->sources[i];
    return NULL;
}

/* Keys that others have written, each once. */
struct told {
    struct told *next;
    struct news_source *source;
    struct str key;
};
struct telling {
    struct arena *arena;
    struct map *known;
    struct told *first, **last;
};

static void note(struct telling *t, struct news_source *source, struct str table, struct str key)
{
    struct str both = arena_printf(t->arena, STR_FMT "/", STR_ARG(table));
    char *whole = arena_alloc(t->arena, both.n + key.n);
    struct told *told;

    memcpy(whole, both.p, both.n);
    memcpy(whole + both.n, key.p, key.n);
    if (map_get(t->known, str_of(whole, both.n + key.n)))
        return;
    told = ARENA_NEW(t->arena, struct told);
    *told = (struct told){.source = source, .key = str_of(whole + both.n, key.n)};
    map_set(t->known, str_of(whole, both.n + key.n), told);
    *t->last = told;
    t->last = &told->next;
}

/* The page begins with the number that was read last, if it is still there: then one that is
 * missing after it is about to appear, else it may have been removed. */
static enum news_end read_keys(struct news_look *look, struct sql *db, struct telling *t)
{
    struct sql_stmt *st;
    bool anchored = false;
    size_t n = 0;
    int rc;

    if (sql_prepare(db,
                    "SELECT seq, owner, name, k FROM row_change WHERE seq >= ? ORDER BY seq "
                    "LIMIT ?",
                    &st, &look->err))
        return NEWS_FAILED;
    sql_bind_int(st, 1, look->at);
    sql_bind_int(st, 2, NEWS_PAGE + 1);
    while ((rc = sql_step(st, &look->err)) == 1) {
        int64_t number = sql_int(st, 0);
        anchored = anchored || number == look->at;
        if (number == look->at)
            continue;
        if (number != look->at + 1)
            break;
        struct news_source *source = source_of(look, sql_text(st, 2));
        if (source && (uint64_t)sql_int(st, 1) != look->self)
            note(t, source, sql_text(st, 2), sql_blob(st, 3));
        look->at = number;
        anchored = true;
        n++;
    }
    sql_reset(st);
    if (rc == 1)
        return anchored ? NEWS_HIDDEN : NEWS_LOST;
    return rc < 0 ? NEWS_FAILED : n >= NEWS_PAGE ? NEWS_MORE : NEWS_ALL;
}

static int ask(struct news_look *look, struct sql *db, struct news_source *source, struct str key,
               size_t max)
{
    const struct news_ask a = {.table = source->table, .key = key, .max = max};
    size_t before = look->rows.n;

    look->rows.source = (size_t)(source - look->sources);
    if (source->read(db, &a, &look->rows, &look->err))
        return -1;
    if (max == 0 && look->rows.n == before)
        news_row(&look->rows, key, 0);
    source->complete = max && look->rows.n - before < max;
    return 0;
}

static enum news_end read_told(struct news_look *look, struct sql *db)
{
    struct telling t = {.arena = look->rows.arena, .known = map_new()};
    enum news_end end;

    t.last = &t.first;
    end = read_keys(look, db, &t);
    map_free(&t.known);
    if (end == NEWS_LOST)
        return news_log_last(db, &look->at, &look->err) ? NEWS_FAILED : NEWS_LOST;
    for (const struct told *told = t.first; told && end != NEWS_FAILED; told = told->next)
        if (ask(look, db, told->source, told->key, 0))
            end = NEWS_FAILED;
    return end;
}

void news_log_read(struct news_look *look, struct sql *db)
{
    err_clear(&look->err);
    look->rows.last = &look->rows.first;
    look->end = read_told(look, db);
    for (size_t i = 0; i < look->n_sources && look->end < NEWS_LOST; i++)
        if (look->sources[i].whole &&
            ask(look, db, &look->sources[i], look->sources[i].after, NEWS_PAGE))
            look->end = NEWS_FAILED;
}
