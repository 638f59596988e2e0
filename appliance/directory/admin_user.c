/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "appliance/directory/admin_private.h"
#include "appliance/directory/options.h"
#include "appliance/directory/password.h"
#include "appliance/directory/password_schemes.h"
#include "appliance/directory/schema.h"
#include "appliance/mail/address.h"

enum { NAME_MAX_BYTES = 255 };

static int no_user(struct str address, struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "there is no user " STR_FMT,
                   STR_ARG(str_take(address, 200)));
}

static int check_name(struct str name, struct err *err)
{
    bool ok = name.n <= NAME_MAX_BYTES && text_utf8_valid(name);
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (unsigned char)name.p[i] >= 32 && name.p[i] != 127;
    return ok ? 0 : ERR(err, ERR_PERM, "a name is at most 255 bytes of UTF-8 in one line");
}

static int hash_password(struct str password, char out[PASSWORD_HASH_MAX], struct err *err)
{
    if (!text_utf8_valid(password))
        return ERR(err, ERR_PERM, "a password is UTF-8");
    return password_hash(password, out, err);
}

/* Where Courier and Postfix would keep the mail: "domain/local/". Programs that share the table
 * want it. */
static struct str maildir_of(struct directory_admin *a, struct str address)
{
    struct str local, domain;
    address_split(address, &local, &domain);
    return arena_printf(a->scratch, STR_FMT "/" STR_FMT "/", STR_ARG(domain), STR_ARG(local));
}

static int insert_user(struct directory_admin *a, struct str id, struct str name, const char *hash,
                       uint64_t quota_bytes, struct err *err)
{
    struct sql_stmt *st;
    if (admin_prepare(a,
                      "INSERT INTO users (id, name, crypt, quota, maildir) VALUES (?, ?, ?, ?, ?)",
                      id, &st, err) < 0)
        return -1;
    sql_bind_text(st, 2, name.p ? name : STR(""));
    sql_bind_text(st, 3, str_from(hash));
    sql_bind_text(st, 4, arena_printf(a->scratch, "%llu", (unsigned long long)quota_bytes));
    sql_bind_text(st, 5, maildir_of(a, id));
    if (sql_run(st, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        err_set(err, ERR_PERM, ERR_WHY_EXISTS, "the user " STR_FMT " exists",
                STR_ARG(str_take(id, 200)));
    return -1;
}

int directory_user_add(struct directory_admin *a, struct str address, struct str name,
                       struct str password, uint64_t quota_bytes, struct err *err)
{
    char hash[PASSWORD_HASH_MAX] = "";
    struct str id;
    arena_clear(a->scratch);
    if (admin_may_change(a, err) < 0 || admin_address(a, address, &id, err) < 0 ||
        check_name(name, err) < 0)
        return -1;
    if (password.p && hash_password(password, hash, err) < 0)
        return -1;
    if (sql_begin(a->db, true, err) < 0)
        return -1;
    if (admin_need_domain(a, id, err) == 0 &&
        insert_user(a, id, name, hash, quota_bytes, err) == 0) {
        /* A new user of an old name inherits nothing. */
        if (sql_commit(a->db, err) < 0 || admin_user_gone(a, id, err) < 0)
            return -1;
        return password.p ? admin_password_changed(a, id, password, str_from(hash), err) : 0;
    }
    sql_rollback(a->db);
    return -1;
}

/* Runs a statement on one user: parameter 1 the value (none for .p NULL), then the address. */
static int change_user(struct directory_admin *a, const char *text, struct str value,
                       struct str address, struct err *err)
{
    struct sql_stmt *st;
    struct str id;
    if (admin_may_change(a, err) < 0 || admin_address(a, address, &id, err) < 0)
        return -1;
    if (admin_prepare(a, text, value.p ? value : id, &st, err) < 0)
        return -1;
    if (value.p)
        sql_bind_text(st, 2, id);
    if (sql_run(st, err) < 0)
        return -1;
    return sql_changes(a->db) == 1 ? 0 : no_user(id, err);
}

int directory_user_remove(struct directory_admin *a, struct str address, struct err *err)
{
    struct str id;
    struct sql *own;
    arena_clear(a->scratch);
    if (change_user(a, "DELETE FROM users WHERE id = ?", STR_NULL, address, err) < 0)
        return -1;
    /* Who gets the address next inherits nothing. */
    own = admin_address(a, address, &id, err) < 0 ? NULL : admin_own(a, err);
    if (!own || options_remove(own, id, err) < 0)
        return -1;
    return admin_user_gone(a, id, err);
}

int directory_user_set_hash(struct directory_admin *a, struct str address, struct str hash,
                            struct err *err)
{
    struct password_form form;
    password_form_read(hash, &form);
    bool readable = form.kind != PASSWORD_UNKNOWN && hash.n < PASSWORD_HASH_MAX;
    explicit_bzero(&form, sizeof form);
    if (!readable)
        return ERR(err, ERR_PERM, "this is not a password hash that can be read");
    arena_clear(a->scratch);
    return change_user(a, "UPDATE users SET crypt = ?, clear = '' WHERE id = ?",
                       hash.p ? hash : STR(""), address, err);
}

int directory_user_set_password(struct directory_admin *a, struct str address, struct str password,
                                struct err *err)
{
    char hash[PASSWORD_HASH_MAX];
    if (hash_password(password, hash, err) < 0)
        return -1;
    struct str id;
    if (directory_user_set_hash(a, address, str_from(hash), err) < 0 ||
        admin_address(a, address, &id, err) < 0)
        return -1;
    return admin_password_changed(a, id, password, str_from(hash), err);
}

int directory_user_has(struct directory_admin *a, struct str address, struct str password,
                       struct str hash, bool *out, struct err *err)
{
    struct sql_stmt *st;
    struct str id, stored;
    struct err ignored;
    int rc;
    arena_clear(a->scratch);
    if (admin_address(a, address, &id, err) < 0 ||
        admin_prepare(a, "SELECT crypt FROM users WHERE id = ?", id, &st, err) < 0)
        return -1;
    rc = sql_step(st, err);
    stored = rc == 1 ? arena_str(a->scratch, sql_text(st, 0)) : STR("");
    sql_reset(st);
    if (rc != 1)
        return rc < 0 ? -1 : no_user(id, err);
    *out = hash.p ? str_eq(stored, hash)
                  : password_is_current(stored) && password_check(password, stored, &ignored);
    return 0;
}

int directory_user_set_enabled(struct directory_admin *a, struct str address, bool enabled,
                               struct err *err)
{
    arena_clear(a->scratch);
    return change_user(a,
                       enabled ? "UPDATE users SET enabled = 1 WHERE id = ?"
                               : "UPDATE users SET enabled = 0 WHERE id = ?",
                       STR_NULL, address, err);
}

int directory_user_set_name(struct directory_admin *a, struct str address, struct str name,
                            struct err *err)
{
    arena_clear(a->scratch);
    if (check_name(name, err) < 0)
        return -1;
    return change_user(a, "UPDATE users SET name = ? WHERE id = ?", name.p ? name : STR(""),
                       address, err);
}

int directory_user_set_quota(struct directory_admin *a, struct str address, uint64_t bytes,
                             struct err *err)
{
    arena_clear(a->scratch);
    return change_user(a, "UPDATE users SET quota = ? WHERE id = ?",
                       arena_printf(a->scratch, "%llu", (unsigned long long)bytes), address, err);
}

static struct str scheme_of(struct arena *m, struct str hash, struct str clear)
{
    struct password_form form;
    if (hash.n == 0)
        return clear.n ? STR("plain") : STR("none");
    password_form_read(hash, &form);
    struct str name = arena_str(m, str_from(form.name));
    explicit_bzero(&form, sizeof form);
    return name;
}

static void read_user(struct sql_stmt *st, struct arena *m, void *item)
{
    struct directory_user *u = item;
    u->address = arena_str(m, sql_text(st, 0));
    u->name = arena_str(m, sql_text(st, 1));
    u->enabled = sql_int(st, 2) == 1;
    u->quota_bytes = schema_quota(sql_text(st, 3));
    u->scheme = scheme_of(m, sql_text(st, 4), sql_text(st, 5));
    u->home = arena_str(m, sql_text(st, 6));
    u->maildir = arena_str(m, sql_text(st, 7));
}

#define USER_COLUMNS "SELECT id, name, enabled, quota, crypt, clear, home, maildir FROM users "

int directory_user_get(struct directory_admin *a, struct arena *m, struct str address,
                       struct directory_user *out, struct err *err)
{
    struct sql_stmt *st;
    struct str id;
    arena_clear(a->scratch);
    if (admin_address(a, address, &id, err) < 0 ||
        admin_prepare(a, USER_COLUMNS "WHERE id = ?", id, &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    if (r == 1)
        read_user(st, m, out);
    sql_reset(st);
    if (r == 0)
        return no_user(id, err);
    return r < 0 ? -1 : 0;
}

int directory_user_list(struct directory_admin *a, struct arena *m, struct str domain,
                        struct directory_user **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    struct str pattern;
    arena_clear(a->scratch);
    if (admin_in_domain(a, domain, &pattern, err) < 0)
        return -1;
    if (admin_prepare(
            a, domain.p ? USER_COLUMNS "WHERE id LIKE ? ORDER BY id" : USER_COLUMNS "ORDER BY id",
            pattern, &st, err) < 0)
        return -1;
    return admin_collect(st, m, sizeof **out, read_user, out, n_out, err);
}
