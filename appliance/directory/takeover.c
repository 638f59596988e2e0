/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/import_mark.h"
#include "appliance/directory/takeover_private.h"
#include <stdlib.h>

enum { BATCH = 500 };

struct takeover {
    struct takeover_conf conf;
    struct directory_admin *admin;
    struct takeover_report report;
    struct arena *m;         /* of one row */
    struct map *seen, *last; /* "kind name" of this run; and of those before: struct str, marks */
    struct arena *last_m;
    uint64_t rows;
    unsigned batch; /* written since the last commit */
};

struct arena *takeover_arena(struct takeover *t)
{
    return t->m;
}

void takeover_found(struct takeover *t, enum takeover_kind k)
{
    t->report.found[k] = true;
}

void takeover_progress(struct takeover *t, size_t done, size_t all)
{
    if (t->conf.progress)
        t->conf.progress(t->conf.ctx, t->rows, done, all);
}

static void tell(struct takeover *t, enum takeover_kind k, enum takeover_outcome o, struct str name,
                 const char *why)
{
    t->report.counts[k][o]++;
    if (t->conf.on_row && o != TAKEOVER_UNCHANGED)
        t->conf.on_row(t->conf.ctx, k, o, name, why);
}

/* ---- a row */

static int fold_key(struct takeover *t, enum takeover_kind k, struct str in, struct str *out,
                    struct err *err)
{
    if (k == TAKEOVER_DOMAIN || k == TAKEOVER_BACKUP)
        return admin_domain_name(t->admin, in, out, err);
    if (k == TAKEOVER_USER)
        return admin_address(t->admin, in, out, err);
    return admin_alias_name(t->admin, in, out, err);
}

/* As long as our columns, and what a database takes. NULL: good. */
static const char *check_values(enum takeover_kind k, struct str *values)
{
    const struct takeover_own *own = &takeover_own[k];
    for (size_t i = 1; i < own->n; i++) {
        bool hash = k == TAKEOVER_USER && (i == 8 || i == 9);
        bool list = k == TAKEOVER_ALIAS && i == 1;
        bool number = (k == TAKEOVER_USER && (i == 2 || i == 3));
        uint64_t n;
        if (number && str_to_u64(values[i], INT32_MAX, &n) < 0)
            values[i] = str_from(own->defaults[i]);
        while (number && values[i].n > 1 && values[i].p[0] == '0') /* as it will be read again */
            values[i] = str_skip(values[i], 1);
        if (values[i].n > (list ? 1u << 20 : hash ? 511u : 255u))
            return "a value is too long";
        if (!text_utf8_valid(values[i]) || memchr(values[i].p, 0, values[i].n))
            return "a value is no text in UTF-8";
    }
    if ((k == TAKEOVER_ALIAS || k == TAKEOVER_MOVED) && !str_trim(values[1]).n)
        return "there is no destination";
    return NULL;
}

/* "kind name", as in t->last and t->seen. */
static struct str key_of(struct takeover *t, enum takeover_kind k, struct str name)
{
    return arena_printf(t->m, "%s " STR_FMT, takeover_kind_name(k), STR_ARG(name));
}

/* What was read there the last time: at once, since a question a row takes its time on a server. */
static int load_last(struct takeover *t, struct err *err)
{
    struct sql_stmt *st;
    int r;
    if (sql_prepare(t->admin->db, "SELECT kind, name, digest FROM directory_import", &st, err) < 0)
        return -1;
    while ((r = sql_step(st, err)) == 1) {
        struct str key = arena_printf(t->m, STR_FMT " " STR_FMT, STR_ARG(sql_text(st, 0)),
                                      STR_ARG(sql_text(st, 1)));
        struct str *digest = ARENA_NEW(t->last_m, struct str);
        *digest = arena_str(t->last_m, sql_text(st, 2));
        map_set(t->last, key, digest);
        arena_clear(t->m);
    }
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int read_here(struct takeover *t, struct takeover_sight *s, struct err *err)
{
    const struct takeover_own *own = &takeover_own[s->kind];
    struct sql_stmt *st;
    if (admin_prepare(t->admin, own->select, s->theirs[0], &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    s->exists = r == 1;
    s->ours[0] = s->theirs[0];
    for (size_t i = 1; r == 1 && i < own->n; i++)
        s->ours[i] = arena_str(t->m, sql_text(st, (int)i));
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int begin(struct takeover *t, struct err *err)
{
    return sql_in_transaction(t->admin->db) ? 0 : sql_begin(t->admin->db, true, err);
}

static int commit(struct takeover *t, struct err *err)
{
    t->batch = 0;
    return sql_in_transaction(t->admin->db) ? sql_commit(t->admin->db, err) : 0;
}

static int remember(struct takeover *t, enum takeover_kind k, struct str name, struct str digest,
                    bool known, struct err *err)
{
    struct sql_stmt *st;
    const char *text = known ? "UPDATE directory_import SET digest = ? WHERE kind = ? AND name = ?"
                             : "INSERT INTO directory_import (digest, kind, name) VALUES (?, ?, ?)";
    if (admin_prepare(t->admin, text, digest, &st, err) < 0)
        return -1;
    sql_bind_text(st, 2, str_from(takeover_kind_name(k)));
    sql_bind_text(st, 3, name);
    return sql_run(st, err);
}

static int write_row(struct takeover *t, const struct takeover_own *own, const struct str *values,
                     bool exists, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(t->admin->db, exists ? own->update : own->insert, &st, err) < 0)
        return -1;
    for (size_t i = 0; i < own->n; i++)
        sql_bind_text(st, (int)(exists ? (i ? i : own->n) : i + 1), values[i]);
    return sql_run(st, err);
}

static struct str last_of(struct takeover *t, struct str key)
{
    const struct str *last = map_get(t->last, key);
    return last ? *last : STR_NULL;
}

static void tell_fate(struct takeover *t, const struct takeover_sight *s)
{
    struct str name = s->theirs[0];
    if (s->writes)
        tell(t, s->kind, s->updated ? TAKEOVER_UPDATED : TAKEOVER_ADDED, name, NULL);
    if (s->kept)
        tell(t, s->kind, TAKEOVER_KEPT, name, s->kept);
    if (!s->writes && !s->kept)
        tell(t, s->kind, TAKEOVER_UNCHANGED, name, NULL);
}

static int settle(struct takeover *t, enum takeover_kind k, struct str *values, struct err *err)
{
    struct takeover_sight s = {.m = t->m, .kind = k, .replace = t->conf.replace, .theirs = values};
    s.last = last_of(t, key_of(t, k, values[0]));
    s.upgrade = last_of(t, arena_printf(t->m, IMPORT_UPGRADED " " STR_FMT, STR_ARG(values[0])));
    if (read_here(t, &s, err) < 0)
        return -1;
    struct str marks = takeover_marks(&s);
    takeover_judge(&s);
    tell_fate(t, &s);
    bool known = s.last.p && str_eq(s.last, marks);
    /* What was made here by somebody else is noted too: from now on changes there are seen. */
    if (t->conf.dry_run || (!s.writes && known))
        return 0;
    if (begin(t, err) < 0 ||
        (s.writes && write_row(t, &takeover_own[k], values, s.exists, err) < 0) ||
        (!known && remember(t, k, values[0], marks, s.last.p != NULL, err) < 0))
        return -1;
    return ++t->batch < BATCH ? 0 : commit(t, err);
}

int takeover_row(struct takeover *t, enum takeover_kind k, struct str *values, struct err *err)
{
    const struct takeover_own *own = &takeover_own[k];
    struct err refused;
    struct str name;
    int rc = 0;
    if (++t->rows % 1000 == 0)
        takeover_progress(t, 0, 0);
    arena_clear(t->admin->scratch);
    name = arena_str(t->m, str_trim(values[0]));
    for (size_t i = 0; i < own->n; i++)
        if (!values[i].p)
            values[i] = str_from(own->defaults[i] ? own->defaults[i] : "");
    const char *wrong = check_values(k, values);
    if (fold_key(t, k, name, &values[0], &refused) < 0) {
        tell(t, k, TAKEOVER_REFUSED, str_take(name, 200), refused.text);
    } else if (wrong) {
        tell(t, k, TAKEOVER_REFUSED, values[0], wrong);
    } else {
        if (map_set(t->seen, key_of(t, k, values[0]), t))
            tell(t, k, TAKEOVER_REFUSED, values[0], "it is there twice; the first row counts");
        else
            rc = settle(t, k, values, err);
    }
    arena_clear(t->m);
    return rc;
}

/* ---- a run */

int takeover_open(const char *dir, const struct directory_conf *directory,
                  const struct takeover_conf *conf, struct takeover **out, struct err *err)
{
    struct directory_admin *admin;
    *out = NULL;
    if (directory_admin_open_as(dir, directory, &admin, err) < 0)
        return -1;
    if (directory->source != DIRECTORY_FROM_OWN) {
        directory_admin_close(&admin);
        return ERR(err, ERR_PERM,
                   "accounts are brought into our own tables: directory.source is "
                   "another one");
    }
    struct takeover *t = *out = MEM_NEW(struct takeover);
    t->conf = *conf;
    t->admin = admin;
    t->m = arena_new(0);
    t->seen = map_new();
    t->last = map_new();
    t->last_m = arena_new(0);
    if (load_last(t, err) == 0)
        return 0;
    takeover_close(out);
    return -1;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* By name: what a map tells has no order. */
static void find_gone(struct takeover *t)
{
    size_t n = map_count(t->last), gone = 0, pos = 0;
    struct str *list = mem_alloc((n + 1) * sizeof *list), name, kind;
    void *value;
    for (struct str key; map_next(t->last, &pos, &key, &value);)
        if (!map_get(t->seen, key))
            list[gone++] = key;
    qsort(list, gone, sizeof *list, by_name);
    for (size_t i = 0; i < gone; i++) {
        str_cut(list[i], ' ', &kind, &name);
        for (unsigned k = 0; k < TAKEOVER_KINDS; k++)
            if (t->report.found[k] &&
                str_eq(kind, str_from(takeover_kind_name((enum takeover_kind)k))))
                tell(t, (enum takeover_kind)k, TAKEOVER_GONE, name, NULL);
    }
    mem_free(list);
}

int takeover_end(struct takeover *t, struct takeover_report *out, struct err *err)
{
    int rc = commit(t, err);
    if (rc == 0)
        find_gone(t);
    *out = t->report;
    return rc;
}

void takeover_close(struct takeover **t)
{
    if (!*t)
        return;
    if (sql_in_transaction((*t)->admin->db))
        sql_rollback((*t)->admin->db);
    directory_admin_close(&(*t)->admin);
    map_free(&(*t)->seen);
    map_free(&(*t)->last);
    arena_free(&(*t)->last_m);
    arena_free(&(*t)->m);
    mem_free(*t);
    *t = NULL;
}
