/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/policy_rows.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "filters/live.h"

/* ---- Reading */

static void take(struct sql_stmt *st, struct arena *a, struct policy_rule *r)
{
    *r = (struct policy_rule){.kind = (enum policy_kind)sql_int(st, 0),
                              .scope = arena_str(a, sql_text(st, 1)),
                              .value = arena_str(a, sql_text(st, 2)),
                              .action = sql_int(st, 3) == POLICY_ALLOW ? POLICY_ALLOW : POLICY_DENY,
                              .reason = arena_str(a, sql_text(st, 4)),
                              .created = sql_int(st, 5),
                              .expires = sql_int(st, 6)};
}

int policy_rows_read(struct sql *db, struct arena *a, int64_t now, struct policy_rule **out,
                     size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    size_t cap = 16, n = 0;
    int rc;

    *out = ARENA_ARRAY(a, struct policy_rule, cap);
    if (sql_prepare(db,
                    "SELECT kind, scope, value, action, reason, created, expires FROM policy_rule "
                    "WHERE expires = 0 OR expires > ? ORDER BY scope, kind, value",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    while ((rc = sql_step(st, err)) == 1 && n < POLICY_RULES_MAX) {
        if (n == cap) {
            struct policy_rule *more = ARENA_ARRAY(a, struct policy_rule, cap * 2);
            memcpy(more, *out, n * sizeof **out);
            *out = more;
            cap *= 2;
        }
        take(st, a, &(*out)[n++]);
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

/* ---- Changing */

static int drop(struct sql *db, const struct policy_rule *r, bool *found_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM policy_rule WHERE kind = ? AND scope = ? AND value = ?", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, r->kind);
    sql_bind_text(st, 2, r->scope);
    sql_bind_text(st, 3, r->value);
    if (sql_run(st, err))
        return -1;
    *found_out = sql_changes(db) > 0;
    return 0;
}

static int insert(struct sql *db, const struct policy_rule *r, int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    "INSERT INTO policy_rule(kind, scope, value, action, reason, created, expires) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, r->kind);
    sql_bind_text(st, 2, r->scope);
    sql_bind_text(st, 3, r->value);
    sql_bind_int(st, 4, r->action);
    sql_bind_text(st, 5, r->reason.p ? r->reason : STR(""));
    sql_bind_int(st, 6, now);
    sql_bind_int(st, 7, r->expires);
    return sql_run(st, err);
}

static int prune(struct sql *db, int64_t now, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM policy_rule WHERE expires <> 0 AND expires <= ?", &st, err))
        return -1;
    sql_bind_int(st, 1, now);
    return sql_run(st, err);
}

static int run(struct store_op *op, struct store_tx *tx)
{
    struct policy_change_op *c = CONTAINER_OF(op, struct policy_change_op, op);
    struct sql *db = store_tx_sql(tx);

    err_clear(&op->err);
    if (prune(db, c->now, &op->err) || drop(db, c->rule, &c->replaced, &op->err))
        return -1;
    if (c->remove && !c->replaced)
        return ERR_WHY(&op->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "there is no such rule (posthouse policy list)");
    if (!c->remove && (live_check_room(db, "SELECT COUNT(*) FROM policy_rule", POLICY_RULES_MAX,
                                       "rules", &op->err) ||
                       insert(db, c->rule, c->now, &op->err)))
        return -1;
    store_tx_changed(tx, POLICY_ROWS_WATCH);
    return STORE_DONE;
}

void policy_change_init(struct policy_change_op *c, const struct policy_rule *rule, bool remove)
{
    *c = (struct policy_change_op){.op = {.run = run, .cls = STORE_INTERACTIVE},
                                   .rule = rule,
                                   .remove = remove,
                                   .now = clock_wall_ms() / 1000};
}
