/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/daily.h"
#include "appliance/sql/sql.h"
#include <stdio.h>

enum { QUERY_ROOM = 400 };

int daily_due(struct store_reader *r, struct arena *a, const struct daily_table *t, int64_t before,
              const struct daily *after, size_t max, struct daily **out, size_t *n_out,
              struct err *err)
{
    char query[QUERY_ROOM];
    struct sql_stmt *st;
    int rc;

    *out = ARENA_ARRAY(a, struct daily, max);
    *n_out = 0;
    snprintf(query, sizeof query,
             "SELECT day, domain, COUNT(*), SUM(%s) FROM %s WHERE day < ? AND (day > ? OR "
             "(day = ? AND domain > ?)) GROUP BY day, domain ORDER BY day, domain LIMIT ?",
             t->count, t->name);
    if (sql_prepare(store_reader_sql(r), query, &st, err))
        return -1;
    sql_bind_int(st, 1, before);
    sql_bind_int(st, 2, after->day);
    sql_bind_int(st, 3, after->day);
    sql_bind_text(st, 4, after->domain);
    sql_bind_int(st, 5, (int64_t)max);
    while ((rc = sql_step(st, err)) == 1 && *n_out < max)
        (*out)[(*n_out)++] = (struct daily){.day = sql_int(st, 0),
                                            .domain = arena_str(a, sql_text(st, 1)),
                                            .rows = (uint64_t)sql_int(st, 2),
                                            .count = (uint64_t)sql_int(st, 3)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int read_sums(struct sql *db, const struct daily_table *t, int64_t day, struct str domain,
                     struct daily *out, struct err *err)
{
    char query[QUERY_ROOM];
    struct sql_stmt *st;

    snprintf(query, sizeof query,
             "SELECT COUNT(*), COALESCE(SUM(%s), 0) FROM %s WHERE day = ? AND domain = ?", t->count,
             t->name);
    if (sql_prepare(db, query, &st, err))
        return -1;
    sql_bind_int(st, 1, day);
    sql_bind_text(st, 2, domain);
    int rc = sql_step(st, err);
    if (rc == 1)
        *out = (struct daily){.day = day,
                              .domain = domain,
                              .rows = (uint64_t)sql_int(st, 0),
                              .count = (uint64_t)sql_int(st, 1)};
    sql_reset(st);
    return rc == 1 ? 0 : -1;
}

int daily_of(struct store_reader *r, const struct daily_table *t, int64_t day, struct str domain,
             struct daily *out, struct err *err)
{
    return read_sums(store_reader_sql(r), t, day, domain, out, err);
}

/* How many rows went is asked as well: of two nodes at once both see them, and one removes them. */
int daily_forget_tx(struct store_tx *tx, const struct daily_table *t, const struct daily *d,
                    struct err *err)
{
    struct sql *db = store_tx_sql(tx);
    char query[QUERY_ROOM];
    struct daily now = {0};
    struct sql_stmt *st;

    if (read_sums(db, t, d->day, d->domain, &now, err))
        return -1;
    snprintf(query, sizeof query, "DELETE FROM %s WHERE day = ? AND domain = ?", t->name);
    if (sql_prepare(db, query, &st, err))
        return -1;
    sql_bind_int(st, 1, d->day);
    sql_bind_text(st, 2, d->domain);
    if (sql_run(st, err))
        return -1;
    if (now.rows == d->rows && now.count == d->count && (uint64_t)sql_changes(db) == d->rows)
        return 0;
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND,
                   "what is counted for it isn't what it was, or was reported meanwhile");
}
