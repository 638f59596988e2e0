/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* strays.c - files in bodies/ that no row knows: left by a crash between the file and its commit,
 * or between the removal of the row and the file. Removed when older than a day and than this
 * process, by the clock and by their ids, which don't jump when the clock does: so never while a
 * sink writes them. All are looked at before the first one goes: when most of a folder would, it is
 * likelier that the database is an old or a wrong one, and a person must say so. */
#include "appliance/store/store_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SLICE_US = 20000,
    FEW = 48,           /* so many may go whatever there is */
    AT_ONCE_MAX = 65536 /* the others are found the next day */
};
#define STRAY_AGE_MS INT64_C(86400000)
#define WANTED_FILE "remove-strays" /* a person's word that they may all go */

struct stray {
    uint64_t folder, id;
};
struct stray_scan {
    struct store *store;
    DIR *top, *folder;
    uint64_t number; /* of the folder */
    char name[BODY_PATH_MAX];
    uint64_t files, strays; /* seen */
    struct buf found;       /* struct stray */
    bool removing;
    size_t at;
    uint64_t removed;
};

struct stray_scan *stray_scan_new(struct store *s)
{
    struct stray_scan *scan = MEM_NEW(struct stray_scan);

    scan->store = s;
    buf_init(&scan->found, AT_ONCE_MAX * sizeof(struct stray));
    return scan;
}

void stray_scan_free(struct stray_scan **sp)
{
    struct stray_scan *scan = *sp;

    if (!scan)
        return;
    *sp = NULL;
    if (scan->folder)
        closedir(scan->folder);
    if (scan->top)
        closedir(scan->top);
    buf_fini(&scan->found);
    mem_free(scan);
}

static DIR *open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* Names that we gave: lower-case hex without leading zeros, as body_path prints them. */
static bool parse_name(const char *name, uint64_t *out)
{
    char again[24], *end;

    errno = 0;
    *out = strtoull(name, &end, 16);
    if (errno != 0 || *end)
        return false;
    snprintf(again, sizeof again, "%" PRIx64, *out);
    return strcmp(again, name) == 0;
}

static bool is_old(struct stray_scan *scan, const char *name)
{
    int64_t before = clock_wall_ms() - STRAY_AGE_MS;
    struct stat st;

    if (fstatat(dirfd(scan->folder), name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (scan->store->opened_at < before)
        before = scan->store->opened_at;
    return (int64_t)st.st_mtim.tv_sec * 1000 < before;
}

/* What can't be decided stays. */
static bool has_row(struct store_reader *r, uint64_t id)
{
    struct sql_stmt *st;
    struct err err;
    int rc;

    if (sql_prepare(r->db, "SELECT 1 FROM body WHERE id = ?", &st, &err) != 0)
        return true;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, &err);
    sql_reset(st);
    return rc != 0;
}

static void look_at(struct stray_scan *scan, struct store_reader *r, const char *name)
{
    struct stray found = {.folder = scan->number};

    if (!parse_name(name, &found.id))
        return;
    scan->files++;
    if (found.id >= scan->store->first_id || !is_old(scan, name) || has_row(r, found.id))
        return;
    scan->strays++;
    if (scan->found.n < AT_ONCE_MAX * sizeof found)
        buf_add(&scan->found, &found, sizeof found);
}

/* Only empty ones can be removed; body_file.c makes one again that it misses. */
static void remove_folder(struct stray_scan *scan, uint64_t number, const char *name)
{
    if (number < store_new_id(scan->store) >> 43)
        unlinkat(scan->store->bodies_fd, name, AT_REMOVEDIR);
}

static void end_folder(struct stray_scan *scan)
{
    closedir(scan->folder);
    scan->folder = NULL;
    remove_folder(scan, scan->number, scan->name);
}

/* False: no folder is left. */
static bool next_folder(struct stray_scan *scan)
{
    struct dirent *e;

    while ((e = readdir(scan->top))) {
        if (!parse_name(e->d_name, &scan->number))
            continue;
        snprintf(scan->name, sizeof scan->name, "%" PRIx64, scan->number);
        scan->folder = open_dir(scan->store->bodies_fd, scan->name);
        if (scan->folder)
            return true;
    }
    return false;
}

/* ---- What was found. */

static bool may_go(struct stray_scan *scan)
{
    if (scan->strays <= FEW || scan->strays <= scan->files / 2 ||
        faccessat(scan->store->bodies_fd, WANTED_FILE, F_OK, 0) == 0)
        return true;
    log_error(&store_log, "strays-kept", L_UINT("files", scan->strays), L_UINT("all", scan->files),
              L_Z("means",
                  "the database knows less than half of the files in the folder of bodies: "
                  "is it the right one, and not an old backup? If they may all go, make a "
                  "file " WANTED_FILE " in that folder"));
    return false;
}

static void remove_one(struct stray_scan *scan, const struct stray *s)
{
    char path[2 * BODY_PATH_MAX], folder[BODY_PATH_MAX];

    snprintf(folder, sizeof folder, "%" PRIx64, s->folder);
    snprintf(path, sizeof path, "%s/%" PRIx64, folder, s->id);
    if (unlinkat(scan->store->bodies_fd, path, 0) != 0)
        return;
    scan->removed++;
    remove_folder(scan, s->folder, folder);
}

static bool end_scan(struct stray_scan *scan)
{
    if (scan->removed)
        log_info(&store_log, "strays-removed", L_UINT("files", scan->removed));
    if (scan->strays * sizeof(struct stray) == scan->found.n && scan->removing)
        unlinkat(scan->store->bodies_fd, WANTED_FILE, 0); /* it was good for these */
    return false;
}

/* True: more. */
static bool remove_some(struct stray_scan *scan, uint64_t until)
{
    while (scan->at < scan->found.n && clock_mono_us() < until) {
        struct stray s;
        memcpy(&s, scan->found.p + scan->at, sizeof s);
        scan->at += sizeof s;
        remove_one(scan, &s);
    }
    return scan->at < scan->found.n || end_scan(scan);
}

bool stray_scan_slice(struct stray_scan *scan, struct store_reader *r)
{
    uint64_t until = clock_mono_us() + SLICE_US;

    if (scan->removing)
        return remove_some(scan, until);
    if (!scan->top)
        scan->top = open_dir(scan->store->bodies_fd, ".");
    while (scan->top && clock_mono_us() < until) {
        if (!scan->folder && !next_folder(scan)) {
            scan->removing = may_go(scan);
            return scan->removing;
        }
        struct dirent *e = readdir(scan->folder);
        if (e)
            look_at(scan, r, e->d_name);
        else
            end_folder(scan);
    }
    return scan->top != NULL;
}

bool bodies_hold_files(struct store *s)
{
    struct stray_scan *scan = stray_scan_new(s);
    bool found = false;
    struct dirent *e;
    uint64_t id;

    scan->top = open_dir(s->bodies_fd, ".");
    while (!found && scan->top && next_folder(scan)) {
        while (!found && (e = readdir(scan->folder)))
            found = parse_name(e->d_name, &id);
        closedir(scan->folder);
        scan->folder = NULL;
    }
    stray_scan_free(&scan);
    return found;
}
