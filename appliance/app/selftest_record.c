/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_record.c - writes down, in order, what a store writes, makes and flushes: the database
 * through a tap in SQLite, the files of large texts through struct store_disk. A flush is written
 * down with the moment it began: only what was written before that is certain to be in it. */
#include "appliance/app/selftest.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql_tap.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = 0, NAME_CAP = 128 };
#define RECORD_MAX ((size_t)1 << 30)

struct record {
    char *folder;
    size_t n_folder;
    struct sql_tap tap;
    struct sql_tap_vfs *vfs;
    struct store_disk disk;
    pthread_mutex_t lock; /* of all below */
    bool recording;
    struct buf events, files, bytes;
};

/* ---- Under the lock. */

static struct record_file *file_at(const struct record *r, unsigned i)
{
    return (struct record_file *)(void *)r->files.p + i;
}

static size_t n_files(const struct record *r)
{
    return r->files.n / sizeof(struct record_file);
}

static size_t n_events(const struct record *r)
{
    return r->events.n / sizeof(struct record_event);
}

static void add_event(struct record *r, struct record_event e)
{
    CHECK(buf_add(&r->events, &e, sizeof e) == 0);
}

static bool find_file(const struct record *r, const char *path, unsigned *out)
{
    for (unsigned i = 0; i < n_files(r); i++) {
        if (strcmp(file_at(r, i)->path, path) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static unsigned folder_of(const struct record *r, const char *path)
{
    char folder[NAME_CAP];
    const char *slash = strrchr(path, '/');
    unsigned i = ROOT;

    if (slash) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        CHECK(find_file(r, folder, &i));
    }
    return i;
}

static unsigned add_file(struct record *r, const char *path, bool is_folder)
{
    struct record_file f = {.path = str_dup_z(str_from(path)), .is_folder = is_folder};

    f.folder = n_files(r) ? folder_of(r, path) : ROOT;
    buf_init(&f.content, RECORD_MAX);
    CHECK(buf_add(&r->files, &f, sizeof f) == 0);
    return (unsigned)n_files(r) - 1;
}

static unsigned made(struct record *r, const char *path, bool is_folder)
{
    unsigned i = add_file(r, path, is_folder);

    add_event(r, (struct record_event){.kind = RECORD_CREATE, .file = i});
    return i;
}

/* A file that SQLite made meanwhile is met when it is written for the first time. */
static unsigned get_file(struct record *r, const char *path)
{
    unsigned i;

    return find_file(r, path, &i) ? i : made(r, path, false);
}

static void wrote(struct record *r, unsigned file, uint64_t at, const void *p, size_t n)
{
    struct record_file *f = file_at(r, file);

    add_event(r, (struct record_event){
                     .kind = RECORD_WRITE, .file = file, .at = at, .n = n, .bytes = r->bytes.n});
    CHECK(buf_add(&r->bytes, p, n) == 0);
    if (at + n > f->size)
        f->size = at + n;
}

/* ---- The database. */

static const char *below(const struct record *r, const char *path)
{
    return strncmp(path, r->folder, r->n_folder) == 0 && path[r->n_folder] == '/'
               ? path + r->n_folder + 1
               : path;
}

static bool begin(struct record *r) /* with the lock when true */
{
    pthread_mutex_lock(&r->lock);
    if (r->recording)
        return true;
    pthread_mutex_unlock(&r->lock);
    return false;
}

static void on_write(void *ctx, const char *path, uint64_t at, const void *p, size_t n)
{
    struct record *r = ctx;

    if (!begin(r))
        return;
    wrote(r, get_file(r, below(r, path)), at, p, n);
    pthread_mutex_unlock(&r->lock);
}

static void on_truncate(void *ctx, const char *path, uint64_t size)
{
    struct record *r = ctx;

    if (!begin(r))
        return;
    unsigned i = get_file(r, below(r, path));
    add_event(r, (struct record_event){.kind = RECORD_TRUNCATE, .file = i, .at = size});
    file_at(r, i)->size = size;
    pthread_mutex_unlock(&r->lock);
}

static uint64_t flush_begins(void *ctx)
{
    struct record *r = ctx;
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = n_events(r);
    pthread_mutex_unlock(&r->lock);
    return n;
}

static void flushed(struct record *r, const char *path, uint64_t began)
{
    unsigned i = get_file(r, path);

    add_event(r, (struct record_event){.kind = RECORD_FLUSH, .file = i, .at = began});
    /* SQLite flushes the folder of a new file of its own together with that. */
    if (file_at(r, i)->folder == ROOT && !file_at(r, i)->there && !file_at(r, i)->is_folder)
        add_event(r, (struct record_event){.kind = RECORD_FLUSH, .file = ROOT, .at = began});
}

static void on_flush(void *ctx, const char *path, uint64_t began)
{
    struct record *r = ctx;

    if (!begin(r))
        return;
    flushed(r, below(r, path), began);
    pthread_mutex_unlock(&r->lock);
}

/* ---- The files of large texts. */

static void body_name(const char *path, char out[NAME_CAP])
{
    snprintf(out, NAME_CAP, "bodies%s%s", path[0] ? "/" : "", path);
}

static void note_made(struct record *r, const char *path, bool is_folder)
{
    char name[NAME_CAP];

    body_name(path, name);
    if (!begin(r))
        return;
    made(r, name, is_folder);
    pthread_mutex_unlock(&r->lock);
}

static int disk_make_folder(void *ctx, int bodies_fd, const char *path)
{
    int rc = store_disk_kernel.make_folder(NULL, bodies_fd, path);

    if (rc == 0)
        note_made(ctx, path, true);
    return rc;
}

static int disk_create(void *ctx, int bodies_fd, const char *path)
{
    int fd = store_disk_kernel.create(NULL, bodies_fd, path);

    if (fd >= 0)
        note_made(ctx, path, false);
    return fd;
}

static ssize_t disk_write(void *ctx, int fd, const char *path, const void *p, size_t n)
{
    struct record *r = ctx;
    char name[NAME_CAP];
    ssize_t done = store_disk_kernel.write(NULL, fd, path, p, n);

    body_name(path, name);
    if (done <= 0 || !begin(r))
        return done;
    unsigned i = get_file(r, name);
    wrote(r, i, file_at(r, i)->size, p, (size_t)done); /* from front to back */
    pthread_mutex_unlock(&r->lock);
    return done;
}

static int disk_flush(void *ctx, int fd, const char *path, bool data_only)
{
    struct record *r = ctx;
    char name[NAME_CAP];
    uint64_t began = flush_begins(r);
    int rc = store_disk_kernel.flush(NULL, fd, path, data_only);

    body_name(path, name);
    if (rc != 0 || !begin(r))
        return rc;
    flushed(r, name, began);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* ---- From outside. */

const struct store_disk *record_disk(struct record *r)
{
    return &r->disk;
}

int record_new(const char *folder, struct record **out, struct err *err)
{
    struct record *r = MEM_NEW(struct record);

    r->tap = (struct sql_tap){.name = "posthouse-selftest",
                              .ctx = r,
                              .on_write = on_write,
                              .on_truncate = on_truncate,
                              .flush_begins = flush_begins,
                              .on_flush = on_flush};
    r->disk = (struct store_disk){.vfs = r->tap.name,
                                  .ctx = r,
                                  .make_folder = disk_make_folder,
                                  .create = disk_create,
                                  .write = disk_write,
                                  .flush = disk_flush};
    r->folder = str_dup_z(str_from(folder));
    r->n_folder = strlen(folder);
    buf_init(&r->events, RECORD_MAX);
    buf_init(&r->files, RECORD_MAX);
    buf_init(&r->bytes, RECORD_MAX);
    CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    *out = r;
    if (sql_tap_install(&r->tap, &r->vfs, err) == 0)
        return 0;
    record_free(out);
    return -1;
}

void record_free(struct record **rp)
{
    struct record *r = *rp;

    if (!r)
        return;
    *rp = NULL;
    sql_tap_remove(&r->vfs);
    for (unsigned i = 0; i < n_files(r); i++) {
        mem_free(file_at(r, i)->path);
        buf_fini(&file_at(r, i)->content);
    }
    buf_fini(&r->events);
    buf_fini(&r->files);
    buf_fini(&r->bytes);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->folder);
    mem_free(r);
}

static int read_content(struct record *r, const char *name, struct err *err)
{
    struct record_file *f = file_at(r, add_file(r, name, false));
    char *path = selftest_path(r->folder, name), *space;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    ssize_t n = 1;

    while (fd >= 0 && n > 0) {
        CHECK(buf_reserve(&f->content, 65536, &space) == 0);
        n = read(fd, space, 65536);
        if (n > 0)
            buf_commit(&f->content, (size_t)n);
    }
    if (fd < 0 || n < 0)
        rc = ERR(err, ERR_TEMP, "cannot read %.150s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    f->size = f->content.n;
    mem_free(path);
    return rc;
}

int record_begin(struct record *r, struct err *err)
{
    int rc;

    pthread_mutex_lock(&r->lock);
    add_file(r, "", true);
    add_file(r, "bodies", true); /* of a new store: empty */
    rc = read_content(r, "store.db", err);
    if (rc == 0)
        rc = read_content(r, "store.db-wal", err);
    for (unsigned i = 0; i < n_files(r); i++)
        file_at(r, i)->there = true;
    r->recording = rc == 0;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

void record_accepted(struct record *r, uint64_t number)
{
    if (!begin(r))
        return;
    add_event(r, (struct record_event){.kind = RECORD_ACCEPTED, .at = number});
    pthread_mutex_unlock(&r->lock);
}

void record_end(struct record *r)
{
    pthread_mutex_lock(&r->lock);
    r->recording = false;
    pthread_mutex_unlock(&r->lock);
}

const struct record_event *record_events(const struct record *r, size_t *n_out)
{
    *n_out = n_events(r);
    return (const struct record_event *)(const void *)r->events.p;
}

const struct record_file *record_files(const struct record *r, size_t *n_out)
{
    *n_out = n_files(r);
    return file_at(r, 0);
}

const char *record_bytes(const struct record *r, const struct record_event *e)
{
    return r->bytes.p + e->bytes;
}
