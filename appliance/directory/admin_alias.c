/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/rand.h"
#include "appliance/directory/admin_private.h"
#include "appliance/directory/rows.h"
#include "appliance/mail/address.h"

/* What the settings allow by default: an alias beyond that would be refused when mail comes. */
const struct resolve_limits admin_limits = {.depth = 20, .targets = 1000, .tag = '+'};

static int no_alias(struct str address, struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "there is no alias " STR_FMT,
                   STR_ARG(str_take(address, 200)));
}

int admin_join(struct directory_admin *a, struct str alias, const struct str *destinations,
               size_t n, struct str *list, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        if (admin_alias_name(a, destinations[i], &list[i], err) < 0)
            return -1;
        if (list[i].p[0] == '@' && (alias.p[0] != '@' || str_eq(list[i], alias)))
            return ERR(err, ERR_PERM, "only the alias of a whole domain leads to another domain");
        for (size_t k = 0; k < i; k++)
            again = again || str_eq(list[k], list[i]);
        if (again)
            continue;
        /* A remote host may care for the case of its local parts, so the text goes in as it was
         * written. */
        if (out->n)
            buf_add_char(out, ',');
        buf_add_str(out, destinations[i]);
    }
    if (!buf_ok(out))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "too many destinations");
    return 0;
}

static int write_alias(struct directory_admin *a, struct str alias, struct str destinations,
                       bool replace, struct err *err)
{
    struct sql_stmt *st;
    int64_t changed = 0;
    if (replace && admin_change(a, "DELETE FROM aliases WHERE mail = ?", alias, &changed, err) < 0)
        return -1;
    if (admin_prepare(a, "INSERT INTO aliases (mail, destination) VALUES (?, ?)", alias, &st, err) <
        0)
        return -1;
    sql_bind_text(st, 2, destinations);
    if (sql_run(st, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        err_set(err, ERR_PERM, ERR_WHY_EXISTS, "the alias " STR_FMT " exists",
                STR_ARG(str_take(alias, 200)));
    return -1;
}

/* With the row in place: does mail for the alias arrive, as it will be resolved? */
static int check_alias(struct directory_admin *a, struct str alias, struct err *err)
{
    struct resolve_source src = rows_source(a->rows);
    struct resolve_result r;
    char probe[33];
    struct str address = alias;
    if (alias.p[0] == '@') { /* some address that only the catch-all has */
        rand_text(probe, 32);
        address = arena_printf(a->scratch, "%s" STR_FMT, probe, STR_ARG(alias));
    }
    if (resolve_address(&src, &admin_limits, a->scratch, address, &r, err) < 0)
        return -1;
    if (r.loop)
        return ERR(err, ERR_PERM, "the aliases of " STR_FMT " would run in a loop",
                   STR_ARG(str_take(alias, 200)));
    return 0;
}

int admin_check_destination(struct directory_admin *a, struct str alias, struct str destination,
                            struct err *err)
{
    struct resolve_source src = rows_source(a->rows);
    struct resolve_result r = {.kind = DIRECTORY_UNKNOWN};
    bool found = false;
    if (destination.p[0] == '@') /* another domain, ours or not: its addresses may come later */
        return 0;
    if (str_eq(destination, alias)) {
        if (rows_user(a->rows, alias, &found, err) < 0)
            return -1;
    } else if (resolve_address(&src, &admin_limits, a->scratch, destination, &r, err) < 0) {
        return -1;
    } else {
        found = r.kind != DIRECTORY_UNKNOWN;
    }
    if (found)
        return 0;
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                   "the destination " STR_FMT " does not exist here",
                   STR_ARG(str_take(destination, 200)));
}

static int add_alias(struct directory_admin *a, struct str alias, struct str joined,
                     const struct str *list, size_t n, bool replace, struct err *err)
{
    if (admin_need_domain(a, alias, err) < 0 || write_alias(a, alias, joined, replace, err) < 0 ||
        check_alias(a, alias, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (admin_check_destination(a, alias, list[i], err) < 0)
            return -1;
    return 0;
}

static int add_in_transaction(struct directory_admin *a, struct str alias, struct str joined,
                              const struct str *list, size_t n, bool replace, struct err *err)
{
    if (sql_begin(a->db, true, err) < 0)
        return -1;
    if (add_alias(a, alias, joined, list, n, replace, err) == 0)
        return sql_commit(a->db, err);
    sql_rollback(a->db);
    return -1;
}

int directory_alias_add(struct directory_admin *a, struct str address,
                        const struct str *destinations, size_t n, bool replace, struct err *err)
{
    struct str alias;
    struct buf joined;
    arena_clear(a->scratch);
    if (n == 0)
        return ERR(err, ERR_PERM, "an alias has at least one destination");
    if (n > admin_limits.targets)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "too many destinations");
    if (admin_may_change(a, err) < 0 || admin_alias_name(a, address, &alias, err) < 0)
        return -1;
    struct str *list = ARENA_ARRAY(a->scratch, struct str, n);
    buf_init(&joined, 1 << 20);
    int r = admin_join(a, alias, destinations, n, list, &joined, err);
    if (r == 0)
        r = add_in_transaction(a, alias, buf_str(&joined), list, n, replace, err);
    buf_fini(&joined);
    return r;
}

int directory_alias_remove(struct directory_admin *a, struct str address, struct err *err)
{
    struct str alias;
    int64_t changed;
    arena_clear(a->scratch);
    if (admin_may_change(a, err) < 0 || admin_alias_name(a, address, &alias, err) < 0 ||
        admin_change(a, "DELETE FROM aliases WHERE mail = ?", alias, &changed, err) < 0)
        return -1;
    return changed == 1 ? 0 : no_alias(alias, err);
}

static void read_alias(struct sql_stmt *st, struct arena *m, void *item)
{
    struct directory_alias *out = item;
    out->address = arena_str(m, sql_text(st, 0));
    out->destinations = arena_str(m, sql_text(st, 1));
    out->enabled = sql_int(st, 2) == 1;
}

#define ALIAS_COLUMNS "SELECT mail, destination, enabled FROM aliases "

int directory_alias_get(struct directory_admin *a, struct arena *m, struct str address,
                        struct directory_alias *out, struct err *err)
{
    struct sql_stmt *st;
    struct str alias;
    arena_clear(a->scratch);
    if (admin_alias_name(a, address, &alias, err) < 0 ||
        admin_prepare(a, ALIAS_COLUMNS "WHERE mail = ?", alias, &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    if (r == 1)
        read_alias(st, m, out);
    sql_reset(st);
    if (r == 0)
        return no_alias(alias, err);
    return r < 0 ? -1 : 0;
}

int directory_alias_list(struct directory_admin *a, struct arena *m, struct str domain,
                         struct directory_alias **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    struct str pattern;
    arena_clear(a->scratch);
    if (admin_in_domain(a, domain, &pattern, err) < 0)
        return -1;
    if (admin_prepare(a,
                      domain.p ? ALIAS_COLUMNS "WHERE mail LIKE ? ORDER BY mail"
                               : ALIAS_COLUMNS "ORDER BY mail",
                      pattern, &st, err) < 0)
        return -1;
    return admin_collect(st, m, sizeof **out, read_alias, out, n_out, err);
}
