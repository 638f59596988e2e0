/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/admin_private.h"

/* No name of a host or domain ends in digits alone (RFC 1123 2.1, RFC 3696 2), and a mail address
 * with one would be taken for an address of IP by others. Names of one label are in use. */
static int check_new(struct str name, struct err *err)
{
    struct str last = name;
    size_t at, digits = 0;
    if (str_rchr(name, '.', &at))
        last = str_skip(name, at + 1);
    while (digits < last.n && last.p[digits] >= '0' && last.p[digits] <= '9')
        digits++;
    if (digits < last.n)
        return 0;
    return ERR(err, ERR_PERM,
               STR_FMT
               " is an address or a number, and no domain: domains don't end in digits alone",
               STR_ARG(str_take(name, 100)));
}

int directory_domain_add(struct directory_admin *a, struct str domain, struct err *err)
{
    struct str name;
    int64_t changed;
    arena_clear(a->scratch);
    if (admin_may_change(a, err) < 0 || admin_domain_name(a, domain, &name, err) < 0 ||
        check_new(name, err) < 0)
        return -1;
    if (admin_change(a, "INSERT INTO domains (domain) VALUES (?)", name, &changed, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        err_set(err, ERR_PERM, ERR_WHY_EXISTS, "the domain " STR_FMT " exists", STR_ARG(name));
    return -1;
}

static int count_members(struct directory_admin *a, struct str pattern, int64_t *users,
                         int64_t *aliases, struct err *err)
{
    struct sql_stmt *st;
    if (admin_prepare(a,
                      "SELECT (SELECT COUNT(*) FROM users WHERE id LIKE ?),"
                      " (SELECT COUNT(*) FROM aliases WHERE mail LIKE ?)",
                      pattern, &st, err) < 0)
        return -1;
    sql_bind_text(st, 2, pattern);
    int r = sql_step(st, err);
    if (r == 1) {
        *users = sql_int(st, 0);
        *aliases = sql_int(st, 1);
    }
    sql_reset(st);
    return r == 1 ? 0 : -1;
}

static int remove_members(struct directory_admin *a, struct str name, bool force, struct err *err)
{
    struct str pattern = admin_pattern(a, name);
    int64_t users = 0, aliases = 0, changed;
    if (count_members(a, pattern, &users, &aliases, err) < 0)
        return -1;
    if (users + aliases == 0)
        return 0;
    if (!force)
        return ERR(err, ERR_PERM, "the domain " STR_FMT " still has %lld users and %lld aliases",
                   STR_ARG(str_take(name, 100)), (long long)users, (long long)aliases);
    if (admin_change(a, "DELETE FROM users WHERE id LIKE ?", pattern, &changed, err) < 0)
        return -1;
    return admin_change(a, "DELETE FROM aliases WHERE mail LIKE ?", pattern, &changed, err);
}

static int remove_domain(struct directory_admin *a, struct str name, bool force, struct err *err)
{
    int64_t changed;
    if (admin_change(a, "DELETE FROM domains WHERE domain = ?", name, &changed, err) < 0)
        return -1;
    if (changed == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "there is no domain " STR_FMT,
                       STR_ARG(name));
    return remove_members(a, name, force, err);
}

int directory_domain_remove(struct directory_admin *a, struct str domain, bool force,
                            struct err *err)
{
    struct str name;
    arena_clear(a->scratch);
    if (admin_may_change(a, err) < 0 || admin_domain_name(a, domain, &name, err) < 0 ||
        sql_begin(a->db, true, err) < 0)
        return -1;
    if (remove_domain(a, name, force, err) == 0)
        return sql_commit(a->db, err) < 0 ? -1 : admin_users_gone(a, admin_pattern(a, name), err);
    sql_rollback(a->db);
    return -1;
}

static void read_domain(struct sql_stmt *st, struct arena *m, void *item)
{
    struct directory_domain *d = item;
    d->domain = arena_str(m, sql_text(st, 0));
    d->enabled = sql_int(st, 1) == 1;
    d->users = (uint64_t)sql_int(st, 2);
    d->aliases = (uint64_t)sql_int(st, 3);
}

int directory_domain_list(struct directory_admin *a, struct arena *m, struct directory_domain **out,
                          size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    /* In the order they were added: the first is where <postmaster> goes. Counted in one pass: a
     * hundred thousand users may be in a hundred domains. */
    if (admin_prepare(
            a,
            "SELECT d.domain, d.enabled, COALESCE(u.n, 0), COALESCE(a.n, 0) FROM domains d"
            " LEFT JOIN (SELECT LOWER(SUBSTR(id, INSTR(id, '@') + 1)) AS domain,"
            " COUNT(*) AS n FROM users GROUP BY 1) u ON u.domain = d.domain"
            " LEFT JOIN (SELECT LOWER(SUBSTR(mail, INSTR(mail, '@') + 1)) AS domain,"
            " COUNT(*) AS n FROM aliases GROUP BY 1) a ON a.domain = d.domain"
            " ORDER BY d.pkid",
            STR_NULL, &st, err) < 0)
        return -1;
    return admin_collect(st, m, sizeof **out, read_domain, out, n_out, err);
}
