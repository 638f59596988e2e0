/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* strays.c - files in bodies/ that no row knows: left by a crash between the file and its commit,
 * or between the removal of the row and the file. Removed when older than a day and than this
 * process, by the clock and by their ids, which don't jump when the clock does: so never while a
 * sink writes them. */
#include "appliance/store/store_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_US = 20000 };
#define STRAY_AGE_MS INT64_C(86400000)

struct stray_scan {
    struct store *store;
    DIR *top, *folder;
    char name[BODY_PATH_MAX]; /* of the folder */
    uint64_t removed;
};

struct stray_scan *stray_scan_new(struct store *s)
{
    struct stray_scan *scan = MEM_NEW(struct stray_scan);

    scan->store = s;
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
    uint64_t id;

    if (!parse_name(name, &id) || id >= scan->store->first_id || !is_old(scan, name) ||
        has_row(r, id))
        return;
    if (unlinkat(dirfd(scan->folder), name, 0) == 0)
        scan->removed++;
}

static void end_folder(struct stray_scan *scan)
{
    uint64_t now = store_new_id(scan->store) >> 43, number;

    closedir(scan->folder);
    scan->folder = NULL;
    /* Only empty ones can be removed; body_file.c makes one again that it misses. */
    if (parse_name(scan->name, &number) && number < now)
        unlinkat(scan->store->bodies_fd, scan->name, AT_REMOVEDIR);
}

/* False: no folder is left. */
static bool next_folder(struct stray_scan *scan)
{
    struct dirent *e;
    uint64_t number;

    while ((e = readdir(scan->top))) {
        if (!parse_name(e->d_name, &number))
            continue;
        snprintf(scan->name, sizeof scan->name, "%" PRIx64, number);
        scan->folder = open_dir(scan->store->bodies_fd, scan->name);
        if (scan->folder)
            return true;
    }
    return false;
}

static bool end_scan(struct stray_scan *scan)
{
    if (scan->removed)
        log_info(&store_log, "strays-removed", L_UINT("files", scan->removed));
    return false;
}

bool stray_scan_slice(struct stray_scan *scan, struct store_reader *r)
{
    uint64_t until = clock_mono_us() + SLICE_US;

    if (!scan->top)
        scan->top = open_dir(scan->store->bodies_fd, ".");
    if (!scan->top)
        return end_scan(scan);
    while (clock_mono_us() < until) {
        if (!scan->folder && !next_folder(scan))
            return end_scan(scan);
        struct dirent *e = readdir(scan->folder);
        if (e)
            look_at(scan, r, e->d_name);
        else
            end_folder(scan);
    }
    return true;
}
