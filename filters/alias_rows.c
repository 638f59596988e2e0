/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/alias_rows.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "filters/live.h"

/* Targets stand with a line end after each. */
enum { TARGETS_ROOM = ALIAS_TARGETS * (ALIAS_NAME + 1) };

/* ---- Reading */

static void take(struct sql_stmt *st, struct arena *a, struct alias *al)
{
    struct str rest, target;

    *al = (struct alias){.name = arena_str(a, sql_text(st, 0)), .created = sql_int(st, 2)};
    rest = arena_str(a, sql_blob(st, 1));
    al->targets = ARENA_ARRAY(a, struct str, ALIAS_TARGETS);
    while (rest.n && al->n < ALIAS_TARGETS) {
        str_cut(rest, '\n', &target, &rest);
        if (target.n)
            al->targets[al->n++] = target;
    }
}

int alias_rows_read(struct sql *db, struct arena *a, struct alias **out, size_t *n_out,
                    struct err *err)
{
    struct sql_stmt *st;
    size_t cap = 16, n = 0;
    int rc;

    *out = ARENA_ARRAY(a, struct alias, cap);
    if (sql_prepare(db, "SELECT name, targets, created FROM policy_alias ORDER BY name", &st, err))
        return -1;
    while ((rc = sql_step(st, err)) == 1 && n < ALIASES_MAX) {
        if (n == cap) {
            struct alias *more = ARENA_ARRAY(a, struct alias, cap * 2);
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

static int drop(struct sql *db, struct str name, bool *found_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM policy_alias WHERE name = ?", &st, err))
        return -1;
    sql_bind_text(st, 1, name);
    if (sql_run(st, err))
        return -1;
    *found_out = sql_changes(db) > 0;
    return 0;
}

static int insert(struct sql *db, const struct alias *al, struct err *err)
{
    struct sql_stmt *st;
    struct buf targets;
    int rc;

    if (sql_prepare(db, "INSERT INTO policy_alias(name, targets, created) VALUES (?, ?, ?)", &st,
                    err))
        return -1;
    buf_init(&targets, TARGETS_ROOM);
    for (size_t i = 0; i < al->n; i++)
        buf_printf(&targets, STR_FMT "\n", STR_ARG(al->targets[i]));
    sql_bind_text(st, 1, al->name);
    sql_bind_blob(st, 2, buf_str(&targets));
    sql_bind_int(st, 3, al->created);
    rc = sql_run(st, err);
    buf_fini(&targets);
    return rc;
}

static int run(struct store_op *op, struct store_tx *tx)
{
    struct alias_change_op *c = CONTAINER_OF(op, struct alias_change_op, op);
    struct sql *db = store_tx_sql(tx);

    err_clear(&op->err);
    if (drop(db, c->alias->name, &c->replaced, &op->err))
        return -1;
    if (c->remove && !c->replaced)
        return ERR_WHY(&op->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "there is no such alias (posthouse policy alias list)");
    if (!c->remove && (live_check_room(db, "SELECT COUNT(*) FROM policy_alias", ALIASES_MAX,
                                       "aliases", &op->err) ||
                       insert(db, c->alias, &op->err)))
        return -1;
    store_tx_changed(tx, ALIAS_ROWS_WATCH);
    return STORE_DONE;
}

void alias_change_init(struct alias_change_op *c, const struct alias *alias, bool remove)
{
    *c = (struct alias_change_op){
        .op = {.run = run, .cls = STORE_INTERACTIVE}, .alias = alias, .remove = remove};
}

/* ---- As they are now */

static int read_set(struct store_reader *r, void **out, struct err *err)
{
    struct arena *a = arena_new(0);
    struct alias *list;
    size_t n;
    int rc = alias_rows_read(store_reader_sql(r), a, &list, &n, err);

    if (rc == 0)
        *out = alias_set_new(list, n);
    arena_free(&a);
    return rc;
}

static void *empty_set(void)
{
    return alias_set_new(NULL, 0);
}

static void free_set(void *set)
{
    struct alias_set *s = set;

    alias_set_free(&s);
}

static const struct live_kind kind = {.name = "aliases",
                                      .watch = ALIAS_ROWS_WATCH,
                                      .read = read_set,
                                      .empty = empty_set,
                                      .free = free_set};

int alias_live_open(struct loop *loop, struct store *s, struct live **out, struct err *err)
{
    return live_open(loop, s, &kind, out, err);
}

const struct alias_set *alias_live_set(const struct live *l)
{
    return live_set(l);
}
