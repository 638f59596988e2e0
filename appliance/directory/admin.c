/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "appliance/directory/admin_private.h"
#include "appliance/directory/own.h"
#include "appliance/directory/resolve.h"
#include "appliance/directory/rows_from.h"
#include "appliance/directory/rows_sql.h"
#include "appliance/mail/address.h"

int directory_admin_open(const char *dir, struct directory_admin **out, struct err *err)
{
    static const struct directory_conf own = {.source = DIRECTORY_FROM_OWN,
                                              .scram_verifiers = true,
                                              .scram_iterations = DIRECTORY_SCRAM_ITERATIONS};
    return directory_admin_open_as(dir, &own, out, err);
}

int directory_admin_open_as(const char *dir, const struct directory_conf *conf,
                            struct directory_admin **out, struct err *err)
{
    struct rows_from *source;
    struct sql *db;
    bool read_only;
    *out = NULL;
    if (rows_from_new(dir, conf, &source, err) < 0)
        return -1;
    if (rows_from_open_tables(source, &db, &read_only, err) < 0) {
        rows_from_free(&source);
        return err_context(err, "directory");
    }
    struct rows *rows;
    if (rows_sql_own(db, false, &rows, err) < 0) {
        sql_close(&db);
        rows_from_free(&source);
        return err_context(err, "directory");
    }
    *out = MEM_NEW(struct directory_admin);
    (*out)->db = db;
    (*out)->rows = rows;
    (*out)->read_only = read_only;
    (*out)->scratch = arena_new(0);
    (*out)->source = source;
    (*out)->scram_iterations = conf->scram_verifiers ? (unsigned)conf->scram_iterations : 0;
    return 0;
}

struct sql *admin_own(struct directory_admin *a, struct err *err)
{
    if (!a->own &&
        own_open(a->source->dir, a->source->own, rows_from_how(a->source), &a->own, err) < 0)
        a->own = NULL;
    return a->own;
}

void directory_admin_close(struct directory_admin **a)
{
    if (!*a)
        return;
    rows_close(&(*a)->rows);
    sql_close(&(*a)->db);
    sql_close(&(*a)->own);
    rows_from_free(&(*a)->source);
    arena_free(&(*a)->scratch);
    mem_free(*a);
    *a = NULL;
}

int admin_may_change(const struct directory_admin *a, struct err *err)
{
    if (!a->read_only)
        return 0;
    return ERR_WHY(err, ERR_PERM, ERR_WHY_READ_ONLY,
                   "the directory is another system's: directory.changes names who may change it");
}

int admin_domain_name(struct directory_admin *a, struct str in, struct str *out, struct err *err)
{
    struct buf b;
    buf_init(&b, 255);
    int r = in.n <= 1000 ? text_domain(in, &b) : -1;
    if (r == 0)
        *out = arena_str(a->scratch, buf_str(&b));
    buf_fini(&b);
    if (r < 0)
        return ERR(err, ERR_PERM, "\"" STR_FMT "\" is not a domain name",
                   STR_ARG(str_take(in, 100)));
    return 0;
}

/* Stored names are dot-atoms (RFC 5321 4.1.2, RFC 6531 3.3): lists are cut at commas, and nobody
 * can mistype a blank. */
static bool is_dot_atom(struct str s)
{
    static const char allowed[] = "!#$%&'*+-/=?^_`{|}~";
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool dot = c == '.' && i > 0 && i + 1 < s.n && s.p[i - 1] != '.';
        if (!dot && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            !((unsigned char)c & 0x80) && (c == 0 || !strchr(allowed, c)))
            return false;
    }
    return s.n > 0 && s.n <= 64;
}

int admin_alias_name(struct directory_admin *a, struct str in, struct str *out, struct err *err)
{
    struct str local, domain, checked;
    if (!resolve_fold(a->scratch, in, out))
        return ERR(err, ERR_PERM, "\"" STR_FMT "\" is not a mail address",
                   STR_ARG(str_take(in, 100)));
    address_split(*out, &local, &domain);
    if (admin_domain_name(a, domain, &checked, err) < 0)
        return -1;
    if (local.n && !is_dot_atom(local))
        return ERR(err, ERR_PERM,
                   "\"" STR_FMT "\" has a character that addresses here may not have",
                   STR_ARG(str_take(in, 100)));
    return 0;
}

int admin_address(struct directory_admin *a, struct str in, struct str *out, struct err *err)
{
    if (admin_alias_name(a, in, out, err) < 0)
        return -1;
    if (out->p[0] == '@')
        return ERR(err, ERR_PERM, "\"" STR_FMT "\" is not a mail address", STR_ARG(*out));
    return 0;
}

int admin_need_domain(struct directory_admin *a, struct str address, struct err *err)
{
    struct str local, domain;
    struct sql_stmt *st;
    address_split(address, &local, &domain);
    if (admin_prepare(a, "SELECT 1 FROM domains WHERE domain = ?", domain, &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    sql_reset(st);
    if (r == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "there is no domain " STR_FMT,
                       STR_ARG(domain));
    return r < 0 ? -1 : 0;
}

int admin_prepare(struct directory_admin *a, const char *text, struct str key,
                  struct sql_stmt **out, struct err *err)
{
    if (sql_prepare(a->db, text, out, err) < 0)
        return -1;
    if (key.p)
        sql_bind_text(*out, 1, key);
    return 0;
}

int admin_change(struct directory_admin *a, const char *text, struct str key, int64_t *changed_out,
                 struct err *err)
{
    struct sql_stmt *st;
    if (admin_prepare(a, text, key, &st, err) < 0 || sql_run(st, err) < 0)
        return -1;
    *changed_out = sql_changes(a->db);
    return 0;
}

struct str admin_pattern(struct directory_admin *a, struct str domain)
{
    return arena_printf(a->scratch, "%%@" STR_FMT, STR_ARG(domain));
}

int admin_in_domain(struct directory_admin *a, struct str domain, struct str *pattern_out,
                    struct err *err)
{
    struct str name;
    *pattern_out = STR_NULL;
    if (!domain.p)
        return 0;
    if (admin_domain_name(a, domain, &name, err) < 0)
        return -1;
    *pattern_out = admin_pattern(a, name);
    return 0;
}

int admin_collect(struct sql_stmt *st, struct arena *m, size_t size, admin_row_fn row,
                  void *list_out, size_t *n_out, struct err *err)
{
    size_t n = 0, cap = 0;
    char *list = NULL;
    int r;
    while ((r = sql_step(st, err)) == 1) {
        if (n == cap) {
            char *bigger = arena_alloc(m, size * (cap ? cap * 2 : 16));
            if (n)
                memcpy(bigger, list, size * n);
            list = bigger;
            cap = cap ? cap * 2 : 16;
        }
        row(st, m, list + size * n++);
    }
    sql_reset(st);
    memcpy(list_out, &list, sizeof list);
    *n_out = n;
    return r < 0 ? -1 : 0;
}
