/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_rows.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"

enum { ROWS_MAX = 100000 };

const char *dkim_state_name(enum dkim_state s)
{
    static const char *const names[] = {"publish", "waiting", "active", "retiring", "retired"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

/* ---- Reading */

static void take(struct sql_stmt *st, struct arena *a, bool pem, struct dkim_row *r)
{
    *r = (struct dkim_row){.domain = arena_str(a, sql_text(st, 0)),
                           .selector = arena_str(a, sql_text(st, 1)),
                           .type =
                               sql_int(st, 2) == DKIM_KEY_ED25519 ? DKIM_KEY_ED25519 : DKIM_KEY_RSA,
                           .state = (enum dkim_state)sql_int(st, 3),
                           .created = sql_int(st, 4),
                           .since = sql_int(st, 5),
                           .due = sql_int(st, 6),
                           .record = arena_str(a, sql_text(st, 7))};
    if (pem && r->state == DKIM_ACTIVE)
        r->pem = arena_str(a, sql_blob(st, 8));
}

int dkim_rows_read(struct sql *db, struct arena *a, struct str domain, bool pem,
                   struct dkim_row **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    size_t cap = 16, n = 0;
    int rc;

    *out = ARENA_ARRAY(a, struct dkim_row, cap);
    if (sql_prepare(db,
                    "SELECT domain, selector, type, state, created, since, due, record, pem FROM "
                    "dkim_key WHERE ? = '' OR domain = ? ORDER BY domain, created, selector",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, domain.p ? domain : STR(""));
    sql_bind_text(st, 2, domain.p ? domain : STR(""));
    while ((rc = sql_step(st, err)) == 1 && n < ROWS_MAX) {
        if (n == cap) {
            struct dkim_row *more = ARENA_ARRAY(a, struct dkim_row, cap * 2);
            memcpy(more, *out, n * sizeof **out);
            *out = more;
            cap *= 2;
        }
        take(st, a, pem, &(*out)[n++]);
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

void dkim_rows_wipe(struct dkim_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].pem.n)
            explicit_bzero((char *)(uintptr_t)rows[i].pem.p, rows[i].pem.n);
        rows[i].pem = STR_NULL;
    }
}

/* ---- Changing */

static int add(struct sql *db, const struct dkim_row *r, int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "INSERT INTO dkim_key(domain, selector, type, state, created, since, due, "
                    "record, pem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, r->domain);
    sql_bind_text(st, 2, r->selector);
    sql_bind_int(st, 3, r->type);
    sql_bind_int(st, 4, r->state);
    sql_bind_int(st, 5, now);
    sql_bind_int(st, 6, now);
    sql_bind_int(st, 7, r->due);
    sql_bind_text(st, 8, r->record);
    sql_bind_blob(st, 9, r->pem);
    if (sql_run(st, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, STR_FMT " has a key with selector " STR_FMT,
                       STR_ARG(r->domain), STR_ARG(r->selector));
    return -1;
}

static int found(struct sql *db, const struct dkim_row *r, struct err *err)
{
    if (sql_changes(db) > 0)
        return 0;
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                   STR_FMT " has no key with selector " STR_FMT ", or it has just changed",
                   STR_ARG(r->domain), STR_ARG(r->selector));
}

static int move(struct sql *db, const struct dkim_row *r, enum dkim_state to, int64_t due,
                int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "UPDATE dkim_key SET since = CASE WHEN state = ? THEN since ELSE ? END, "
                    "state = ?, due = ? WHERE domain = ? AND selector = ? AND state = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, to);
    sql_bind_int(st, 2, now);
    sql_bind_int(st, 3, to);
    sql_bind_int(st, 4, due);
    sql_bind_text(st, 5, r->domain);
    sql_bind_text(st, 6, r->selector);
    sql_bind_int(st, 7, r->state);
    return sql_run(st, err) ? -1 : found(db, r, err);
}

/* Nothing is signed with it any more: what isn't there can't be stolen. */
static int forget(struct sql *db, const struct dkim_row *r, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "UPDATE dkim_key SET pem = ? WHERE domain = ? AND selector = ?", &st, err))
        return -1;
    sql_bind_blob(st, 1, STR(""));
    sql_bind_text(st, 2, r->domain);
    sql_bind_text(st, 3, r->selector);
    return sql_run(st, err);
}

static int retire_others(struct sql *db, const struct dkim_row *r, int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "UPDATE dkim_key SET state = ?, since = ?, due = 0 WHERE domain = ? AND "
                    "type = ? AND state = ?",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, DKIM_RETIRING);
    sql_bind_int(st, 2, now);
    sql_bind_text(st, 3, r->domain);
    sql_bind_int(st, 4, r->type);
    sql_bind_int(st, 5, DKIM_ACTIVE);
    return sql_run(st, err);
}

static int remove_row(struct sql *db, const struct dkim_row *r, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM dkim_key WHERE domain = ? AND selector = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, r->domain);
    sql_bind_text(st, 2, r->selector);
    return sql_run(st, err) ? -1 : found(db, r, err);
}

static int change(struct sql *db, const struct dkim_change *c, int64_t now, struct err *err)
{
    switch (c->what) {
    case DKIM_ADD:
        return add(db, &c->row, now, err);
    case DKIM_MOVE:
        if (move(db, &c->row, c->to, c->row.due, now, err))
            return -1;
        return c->to == DKIM_RETIRED ? forget(db, &c->row, err) : 0;
    case DKIM_SWITCH:
        return retire_others(db, &c->row, now, err) || move(db, &c->row, DKIM_ACTIVE, 0, now, err)
                   ? -1
                   : 0;
    case DKIM_DELETE:
        return remove_row(db, &c->row, err);
    }
    return ERR(err, ERR_BUG, "no such change of a key");
}

static int run(struct store_op *op, struct store_tx *tx)
{
    struct dkim_change_op *c = CONTAINER_OF(op, struct dkim_change_op, op);

    err_clear(&op->err);
    for (size_t i = 0; i < c->n; i++)
        if (change(store_tx_sql(tx), &c->list[i], c->now, &op->err))
            return -1;
    store_tx_changed(tx, DKIM_ROWS_WATCH);
    return STORE_DONE;
}

void dkim_change_init(struct dkim_change_op *c, const struct dkim_change *list, size_t n)
{
    *c = (struct dkim_change_op){.op = {.run = run, .cls = STORE_INTERACTIVE},
                                 .list = list,
                                 .n = n,
                                 .now = clock_wall_ms() / 1000};
}
