/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Reading the files: as a whole, into what is never changed afterwards. */
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_files_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 10000, FILE_MAX = 64 << 20, LEFT_OUT_TOLD = 20 };
static const char *const kinds[] = {"passwd", "aliases"};

void snapshot_free(struct snapshot **s)
{
    if (!*s)
        return;
    map_free(&(*s)->domains);
    map_free(&(*s)->users);
    map_free(&(*s)->aliases);
    map_free(&(*s)->gaps);
    arena_free(&(*s)->m);
    mem_free(*s);
    *s = NULL;
}

/* ---- the folders: each file that is named like a domain */

struct found { /* a file */
    const char *path;
    struct str domain;
    bool passwd;
    struct stat st;
};
typedef int (*found_fn)(void *ctx, const struct found *f, struct err *err);

static bool domain_of_name(struct arena *m, const char *name, struct str *out)
{
    struct buf b;
    if (name[0] == '.' || str_ends(str_from(name), STR("~")))
        return false;
    buf_init(&b, 255);
    bool ok = text_domain(str_from(name), &b) == 0;
    if (ok)
        *out = arena_str(m, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static int visit_folder(struct arena *m, const char *folder, size_t kind, size_t *n, found_fn fn,
                        void *ctx, struct err *err)
{
    const char *path = arena_printf(m, "%s/%s", folder, kinds[kind]).p;
    struct found f = {.passwd = kind == 0};
    struct dirent *e;
    int rc = 0;
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT && kind == 1) /* nobody needs aliases */
        return 0;
    if (!dir)
        return ERR(err, ERR_TEMP, "cannot read %s: %s", path, strerror(errno));
    while (rc == 0 && (e = readdir(dir))) {
        if (!domain_of_name(m, e->d_name, &f.domain))
            continue;
        f.path = arena_printf(m, "%s/%s", path, e->d_name).p;
        if (++*n > FILES_MAX)
            rc = ERR(err, ERR_TEMP, "there are more than %d files in %s", FILES_MAX, folder);
        else if (stat(f.path, &f.st) == 0 && S_ISREG(f.st.st_mode))
            rc = fn(ctx, &f, err);
    }
    closedir(dir);
    return rc;
}

static int visit(const char *folder, found_fn fn, void *ctx, struct err *err)
{
    struct arena *m = arena_new(0);
    size_t n = 0;
    int rc = 0;
    for (size_t kind = 0; rc == 0 && kind < ARRAY_LEN(kinds); kind++)
        rc = visit_folder(m, folder, kind, &n, fn, ctx, err);
    arena_free(&m);
    return rc;
}

/* A sum, since folders tell their files in any order. */
static int add_to_sum(void *ctx, const struct found *f, struct err *err)
{
    const int64_t facts[] = {(int64_t)f->st.st_size, (int64_t)f->st.st_mtim.tv_sec,
                             (int64_t)f->st.st_mtim.tv_nsec, (int64_t)f->st.st_ino};
    uint64_t *sum = ctx;
    (void)err;
    *sum += str_hash(str_from(f->path)) ^ str_hash(str_of(facts, sizeof facts));
    return 0;
}

/* ---- the lines */

struct reading {
    struct snapshot *s;
    bool strict;
    size_t left_out;
};

static int broken(const struct found *f, size_t line, const char *what, struct err *err)
{
    return ERR(err, ERR_TEMP, "%s line %zu: %s", f->path, line, what);
}

static struct str *keep(struct arena *m, struct str s)
{
    struct str *out = ARENA_NEW(m, struct str);
    *out = arena_str(m, s);
    return out;
}

static struct str address_in(struct arena *m, struct str name, struct str domain)
{
    size_t at;
    return str_chr(name, '@', &at)
               ? name
               : arena_printf(m, STR_FMT "@" STR_FMT, STR_ARG(name), STR_ARG(domain));
}

/* Joined by commas, each with its domain. */
static struct str destinations_of(struct snapshot *s, struct str list, struct str domain)
{
    struct buf b;
    struct str one, out;
    buf_init(&b, 2 * list.n + (list.n + 1) * (domain.n + 2));
    while (list.n) {
        str_cut(list, ',', &one, &list);
        one = str_trim(one);
        if (!one.n)
            continue;
        if (b.n)
            buf_add_char(&b, ',');
        buf_add_str(&b, address_in(s->m, one, domain));
    }
    out = b.n ? arena_str(s->m, buf_str(&b)) : STR("");
    buf_fini(&b);
    return out;
}

static int read_line(struct snapshot *s, const struct found *f, size_t number, struct str line,
                     struct err *err)
{
    struct str name, rest, address;
    if (memchr(line.p, 0, line.n))
        return broken(f, number, "there is a NUL", err);
    if (!str_cut(line, ':', &name, &rest))
        return broken(f, number, "there is no colon", err);
    name = str_trim(name);
    if (!f->passwd && str_eq(name, STR("*")))
        name = STR("");
    if (!resolve_fold(s->m, address_in(s->m, name, f->domain), &address) ||
        (f->passwd && address.p[0] == '@'))
        return broken(f, number, "this is not the name of a user", err);
    struct map *into = f->passwd ? s->users : s->aliases;
    if (map_get(into, address))
        return 0;
    if (f->passwd)
        str_cut(rest, ':', &rest, &name);
    else
        rest = destinations_of(s, rest, f->domain);
    if (!f->passwd && !rest.n)
        return broken(f, number, "there is no destination", err);
    map_set(into, address, keep(s->m, str_trim(rest)));
    return 0;
}

/* -1: this reading is strict, and ends. */
static int leave_out(struct reading *r, const struct found *f, const struct err *why)
{
    if (r->strict)
        return -1;
    if (!map_get(r->s->gaps, f->domain))
        map_set(r->s->gaps, f->domain, r->s);
    if (++r->left_out <= LEFT_OUT_TOLD)
        log_warn(&directory_log, "line_left_out", L_Z("error", why->text));
    return 0;
}

static int read_text(struct reading *r, const struct found *f, struct str text, struct err *err)
{
    struct str line;
    for (size_t number = 1; text.n; number++) {
        str_cut(text, '\n', &line, &text);
        line = str_trim(line);
        if (!line.n || line.p[0] == '#')
            continue;
        if (read_line(r->s, f, number, line, err) < 0 && leave_out(r, f, err) < 0)
            return -1;
    }
    return 0;
}

static int slurp(const struct found *f, struct buf *out, struct err *err)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : 1;
    char *space;
    while (n > 0 && out->n <= FILE_MAX && buf_reserve(out, 65536, &space) == 0) {
        n = read(fd, space, 65536);
        if (n > 0)
            buf_commit(out, (size_t)n);
    }
    if (n < 0)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot read %s: %s", f->path, strerror(errno));
    else if (n > 0)
        err_set(err, ERR_TEMP, ERR_WHY_LIMIT, "%s is larger than 64 MiB", f->path);
    if (fd >= 0)
        close(fd);
    return n ? -1 : 0;
}

static int read_file(void *ctx, const struct found *f, struct err *err)
{
    struct reading *r = ctx;
    struct snapshot *s = r->s;
    struct buf b;
    buf_init(&b, FILE_MAX + 65536);
    int rc = slurp(f, &b, err);
    if (rc == 0)
        rc = read_text(r, f, buf_str(&b), err);
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    if (rc == 0 && !map_get(s->domains, f->domain)) {
        map_set(s->domains, f->domain, s);
        if (!s->first.n || str_cmp(f->domain, s->first) < 0)
            s->first = arena_str(s->m, f->domain);
    }
    return rc;
}

int snapshot_sum(const char *folder, uint64_t *out, struct err *err)
{
    *out = 1;
    return visit(folder, add_to_sum, out, err);
}

struct snapshot *snapshot_read(const char *folder, bool strict, struct err *err)
{
    struct snapshot *s = MEM_NEW(struct snapshot);
    struct reading r = {.s = s, .strict = strict};
    s->refs = 1;
    s->m = arena_new(0);
    s->domains = map_new();
    s->users = map_new();
    s->aliases = map_new();
    s->gaps = map_new();
    if (visit(folder, read_file, &r, err) < 0)
        snapshot_free(&s);
    else if (r.left_out > LEFT_OUT_TOLD)
        log_warn(&directory_log, "lines_left_out", L_UINT("all", r.left_out));
    return s;
}
