/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_maildir_folder.c - the messages of one folder of a Maildir. Its server may run: a file
 * that isn't where it was listed was renamed (read, flagged) or is gone; the listing is made anew.
 */
#include "appliance/app/import_maildir.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/mail/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 << 10, RESCANS_MAX = 1000, COURIER_KEYWORDS = 64, PATH_BYTES = 512 };

struct entry {
    struct str file; /* "cur/1700.host:2,S" */
    struct str base;
    uint32_t uid;
};
struct folder {
    struct import_run *run;
    int fd;
    const char *root;
    struct str path;
    struct arena *mem;
    struct entry *list;
    size_t n, cap;
    bool complete; /* all could be listed */
    struct map *by_base;
    struct maildir_uidlist uids;
    struct map *uid_of; /* base -> uid */
    struct str keywords[MAILDIR_KEYWORDS];
    struct str courier[COURIER_KEYWORDS];
    size_t n_courier;
    bool courier_names_over;
    struct map *courier_of; /* base -> mask, in the arena */
    unsigned rescans;
};

/* ---- Listing. */

static void add_entry(struct folder *f, const char *sub, const char *file)
{
    struct maildir_name name;
    struct entry *e;

    if (!maildir_name_parse(str_from(file), &name))
        return;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 256;
        f->list = mem_realloc(f->list, f->cap * sizeof *f->list);
    }
    e = &f->list[f->n++];
    e->file = arena_printf(f->mem, "%s/%s", sub, file);
    e->base = str_take(str_skip(e->file, strlen(sub) + 1), name.base.n);
    e->uid = (uint32_t)(uintptr_t)map_get(f->uid_of, e->base);
}

static void list_sub(struct folder *f, const char *sub)
{
    int fd = openat(f->fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir) {
        f->complete = f->complete && fd < 0 && errno == ENOENT;
        if (fd >= 0)
            close(fd);
        return;
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)); errno = 0)
        add_entry(f, sub, e->d_name);
    f->complete = f->complete && errno == 0;
    closedir(dir);
}

/* cur after new: what moves meanwhile is found twice rather than missed. */
static void list_all(struct folder *f)
{
    f->n = 0;
    f->complete = true;
    map_free(&f->by_base);
    f->by_base = map_new();
    list_sub(f, "new");
    list_sub(f, "cur");
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        struct entry *older = map_get(f->by_base, f->list[i].base);
        if (older) { /* in cur now */
            older->file = f->list[i].file;
            continue;
        }
        f->list[n] = f->list[i];
        map_set(f->by_base, f->list[n].base, &f->list[n]);
        n++;
    }
    f->n = n;
}

/* The time a name begins with, then all of it. */
static int compare_base(struct str a, struct str b)
{
    size_t da = 0, db = 0;

    while (da < a.n && a.p[da] >= '0' && a.p[da] <= '9')
        da++;
    while (db < b.n && b.p[db] >= '0' && b.p[db] <= '9')
        db++;
    return da != db ? (da < db ? -1 : 1) : str_cmp(a, b);
}

/* By UID; what has none yet comes last, as it will get higher ones. */
static int compare(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;

    if (a->uid != b->uid)
        return a->uid - 1 < b->uid - 1 ? -1 : 1;
    return compare_base(a->base, b->base);
}

/* ---- What servers keep beside. */

static void on_uid_line(void *ctx, struct str line)
{
    struct folder *f = ctx;
    struct str base;
    uint32_t uid;

    if (f->uids.version == 0) {
        if (maildir_uidlist_header(line, &f->uids) != 0)
            f->uids.version = -1;
        return;
    }
    if (f->uids.version < 0 || !maildir_uidlist_line(&f->uids, line, &uid, &base))
        return;
    map_set(f->uid_of, base, (void *)(uintptr_t)uid);
    if (uid >= f->uids.uidnext && uid < UINT32_MAX)
        f->uids.uidnext = uid + 1;
}

static void read_uids(struct folder *f)
{
    if (import_maildir_lines(f->fd, "dovecot-uidlist", on_uid_line, f) != 0)
        (void)import_maildir_lines(f->fd, "courierimapuiddb", on_uid_line, f);
    if (f->uids.version < 0)
        f->uids = (struct maildir_uidlist){.version = 0};
}

static void on_keyword_line(void *ctx, struct str line)
{
    struct folder *f = ctx;
    struct str name;
    unsigned i;

    if (maildir_keyword_line(line, &i, &name))
        f->keywords[i] = arena_str(f->mem, name);
}

/* Names, one a line, an empty line, then "file:0 3". */
static void on_courier_line(void *ctx, struct str line)
{
    struct folder *f = ctx;
    struct str file, rest, word;
    uint64_t bit, *mask;

    if (!f->courier_names_over) {
        f->courier_names_over = line.n == 0;
        if (line.n && f->n_courier < COURIER_KEYWORDS)
            f->courier[f->n_courier++] = arena_str(f->mem, line);
        return;
    }
    if (!str_cut(line, ':', &file, &rest))
        return;
    mask = ARENA_NEW(f->mem, uint64_t);
    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        if (str_to_u64(word, COURIER_KEYWORDS - 1, &bit) == 0)
            *mask |= UINT64_C(1) << bit;
    }
    map_set(f->courier_of, file, mask);
}

/* ---- One message. */

struct flags {
    uint64_t flags;
    struct str words[MAILDIR_KEYWORDS + COURIER_KEYWORDS + 1];
    size_t n;
};

static void flags_of(const struct folder *f, const struct entry *e, struct flags *out)
{
    static const struct {
        enum maildir_flag theirs;
        uint64_t ours;
    } map[] = {{MAILDIR_REPLIED, MESSAGE_ANSWERED},
               {MAILDIR_SEEN, MESSAGE_SEEN},
               {MAILDIR_TRASHED, MESSAGE_DELETED},
               {MAILDIR_DRAFT, MESSAGE_DRAFT},
               {MAILDIR_FLAGGED, MESSAGE_FLAGGED}};
    const uint64_t *courier = map_get(f->courier_of, e->base);
    struct maildir_name name;

    out->flags = out->n = 0;
    if (!maildir_name_parse(str_skip(e->file, 4), &name))
        return;
    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (name.flags & map[i].theirs)
            out->flags |= map[i].ours;
    if (name.flags & MAILDIR_PASSED)
        out->words[out->n++] = STR("$Forwarded");
    for (unsigned i = 0; i < MAILDIR_KEYWORDS; i++)
        if (name.keywords & UINT32_C(1) << i && f->keywords[i].n)
            out->words[out->n++] = f->keywords[i];
    for (size_t i = 0; courier && i < f->n_courier; i++)
        if (*courier & UINT64_C(1) << i)
            out->words[out->n++] = f->courier[i];
}

static int open_entry(struct folder *f, struct entry *e)
{
    int fd = openat(f->fd, e->file.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    DIR *dir;

    if (fd >= 0 || errno != ENOENT || f->rescans >= RESCANS_MAX)
        return fd;
    /* Renamed: looked for under what stays of its name. */
    for (int i = 0; i < 2; i++) {
        const char *sub = i ? "new" : "cur";
        int at = openat(f->fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        dir = at >= 0 ? fdopendir(at) : NULL;
        if (!dir)
            continue;
        for (struct dirent *d; (d = readdir(dir));) {
            struct maildir_name name;
            struct entry *other;
            if (!maildir_name_parse(str_from(d->d_name), &name) ||
                !(other = map_get(f->by_base, name.base)) || fstatat(at, d->d_name, &st, 0) != 0)
                continue;
            if (strcmp(str_skip(other->file, 4).p, d->d_name) != 0 ||
                strncmp(other->file.p, sub, 3) != 0)
                other->file = arena_printf(f->mem, "%s/%s", sub, d->d_name);
        }
        closedir(dir);
    }
    f->rescans++;
    return openat(f->fd, e->file.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* 0, or -1: the run is over. */
static int send_text(struct folder *f, int fd)
{
    const char *failed = NULL;
    bool first = true;
    char piece[PIECE];
    ssize_t n;

    while ((n = read(fd, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            failed = strerror(errno);
        else if (first && n > 2 && memcmp(piece, "\x1f\x8b", 2) == 0)
            failed = "it is compressed (Dovecot's zlib plugin): export it by doveadm first";
        if (failed)
            break;
        first = false;
        if (import_run_text(f->run, str_of(piece, (size_t)n)) != 0)
            return -1;
    }
    return import_run_text_end(f->run, failed);
}

static int bring(struct folder *f, struct entry *e, const struct import_message *known)
{
    struct import_message m = *known;
    struct flags flags;
    struct stat st;
    int fd = open_entry(f, e), rc = 0;

    if (fd < 0 && errno == ENOENT) {
        import_run_vanished(f->run);
        return 0;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        import_run_failed(f->run, m.name,
                          errno == ELOOP ? "a symbolic link, which is not followed"
                                         : strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        import_run_failed(f->run, m.name, "it is no file");
    } else {
        flags_of(f, e, &flags); /* it may have been renamed */
        m.flags = flags.flags;
        m.keywords = flags.words;
        m.n_keywords = flags.n;
        m.internal_ms = (int64_t)st.st_mtim.tv_sec * 1000;
        rc = import_run_offer(f->run, &m) == 0 ? send_text(f, fd) : -1;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static int take_entry(struct folder *f, struct entry *e)
{
    struct flags flags;
    struct str name = arena_printf(f->mem, "%s/" STR_FMT "%s%s", f->root, STR_ARG(f->path),
                                   f->path.n ? "/" : "", e->file.p);
    struct import_message m = {.key = e->base,
                               .name = name.p,
                               .uid = e->uid,
                               .keywords = flags.words,
                               .recent = str_starts(e->file, STR("new/"))};
    int rc;

    flags_of(f, e, &flags);
    m.flags = flags.flags;
    m.n_keywords = flags.n;
    rc = import_run_known(f->run, &m);
    return rc == 0 ? bring(f, e, &m) : rc < 0 ? -1 : 0;
}

/* A second listing before anything is removed: what is renamed while it is listed may be missed. */
static void look_again(struct folder *f)
{
    bool complete = f->complete;

    list_all(f);
    f->complete = f->complete && complete;
    for (size_t i = 0; i < f->n; i++)
        import_run_still_there(f->run, f->list[i].base);
}

static int take_all(struct folder *f, struct import_target *t)
{
    int rc;

    list_all(f);
    read_uids(f);
    for (size_t i = 0; i < f->n; i++)
        f->list[i].uid = (uint32_t)(uintptr_t)map_get(f->uid_of, f->list[i].base);
    if (f->n)
        qsort(f->list, f->n, sizeof *f->list, compare);
    for (size_t i = 0; i < f->n; i++)
        map_set(f->by_base, f->list[i].base, &f->list[i]);
    (void)import_maildir_lines(f->fd, "dovecot-keywords", on_keyword_line, f);
    (void)import_maildir_lines(f->fd, "courierimapkeywords/:list", on_courier_line, f);
    t->uidvalidity = f->uids.uidvalidity;
    t->uidnext = f->uids.uidnext;
    t->messages = f->n;
    rc = import_run_begin(f->run, t);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    for (size_t i = 0; i < f->n; i++)
        if (take_entry(f, &f->list[i]) != 0)
            return -1;
    if (import_run_removes(f->run))
        look_again(f);
    return import_run_end(f->run, f->complete);
}

int import_maildir_messages(struct import_run *run, const char *root, struct str path,
                            struct import_target *t)
{
    struct folder f = {.run = run, .root = root, .path = path};
    struct str name;
    int rc = 0;

    f.fd = import_maildir_open(root, path);
    f.mem = arena_new(0);
    f.uid_of = map_new();
    f.courier_of = map_new();
    if (f.fd < 0) {
        name = arena_printf(f.mem, "%s/" STR_FMT, root, STR_ARG(path));
        import_run_failed(run, name.p, strerror(errno));
    } else {
        rc = take_all(&f, t);
        close(f.fd);
    }
    mem_free(f.list);
    map_free(&f.by_base);
    map_free(&f.uid_of);
    map_free(&f.courier_of);
    arena_free(&f.mem);
    return rc;
}
