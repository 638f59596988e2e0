/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_file.c - the file of one large body: written on lane body while the message arrives.
 * One job at a time a file; bytes gather in `pending` meanwhile. Flushed every 1 MB, so that the
 * last flush is short and commits don't wait behind a long one. A file whose write or flush failed
 * is removed and the message refused: after a failed fsync the kernel calls the lost pages clean, a
 * second fsync would succeed and lie. */
#include "appliance/store/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 64 << 10, /* worth a job */
    LOW = 256 << 10,
    HIGH = 1 << 20, /* queued: let the sender pause */
    PENDING_MAX = 64 << 20,
    FLUSH_EVERY = 1 << 20
};

struct body_file {
    struct store *store;
    struct body_sink *sink; /* NULL: dropped */
    struct buf pending;
    bool running, finish, waiting, keep;
    uint64_t leaving; /* dropped: bytes in store.leaving_bytes */
    uint64_t taken;   /* bytes put */
    struct err err;   /* why it failed: the job's, or the loop's own reason */
    /* the job's, while it runs */
    struct job job;
    uint64_t id;
    struct buf writing;
    int fd;
    bool finishing;
    uint64_t unflushed;
    EVP_MD_CTX *hash;
    uint8_t sha256[32];
    struct err job_err;
};

static uint64_t body_folder_of(uint64_t id)
{
    return id >> 43;
}

void body_folder(uint64_t id, char out[BODY_PATH_MAX])
{
    snprintf(out, BODY_PATH_MAX, "%" PRIx64, body_folder_of(id));
}

void body_path(uint64_t id, char out[BODY_PATH_MAX])
{
    snprintf(out, BODY_PATH_MAX, "%" PRIx64 "/%" PRIx64, body_folder_of(id), id);
}

/* ---- The kernel's calls. */

static int kernel_make_folder(void *ctx, int bodies_fd, const char *path)
{
    (void)ctx;
    return mkdirat(bodies_fd, path, 0700);
}

static int kernel_create(void *ctx, int bodies_fd, const char *path)
{
    (void)ctx;
    return openat(bodies_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static ssize_t kernel_write(void *ctx, int fd, const char *path, const void *p, size_t n)
{
    (void)ctx;
    (void)path;
    return write(fd, p, n);
}

static int kernel_flush(void *ctx, int fd, const char *path, bool data_only)
{
    (void)ctx;
    (void)path;
    return data_only ? fdatasync(fd) : fsync(fd);
}

const struct store_disk store_disk_kernel = {.make_folder = kernel_make_folder,
                                             .create = kernel_create,
                                             .write = kernel_write,
                                             .flush = kernel_flush};

/* ---- On lane body. */

static int fail(struct body_file *f, const char *doing)
{
    int code = errno;
    bool full = code == ENOSPC || code == EDQUOT;

    return ERR_WHY(&f->job_err, ERR_TEMP, full ? ERR_WHY_NO_SPACE : ERR_WHY_OTHER,
                   "cannot %s the message's file: %s", doing, strerror(code));
}

static int flush_fd(struct body_file *f, int fd, const char *path, bool data_only)
{
    const struct store_disk *disk = f->store->disk;

    if (f->store->conf->sync == SQL_SYNC_OFF)
        return 0;
    return disk->flush(disk->ctx, fd, path, data_only);
}

static int make_folder(struct body_file *f)
{
    char folder[BODY_PATH_MAX];

    body_folder(f->id, folder);
    atomic_store(&f->store->folder_flushed, 0);
    if (f->store->disk->make_folder(f->store->disk->ctx, f->store->bodies_fd, folder) != 0 &&
        errno != EEXIST)
        return fail(f, "make a folder for");
    return 0;
}

static int open_file(struct body_file *f)
{
    const struct store_disk *disk = f->store->disk;
    char path[BODY_PATH_MAX];

    body_path(f->id, path);
    for (int tries = 0; f->fd < 0 && tries < 3;
         tries++) { /* the sweeper may remove an empty folder */
        f->fd = disk->create(disk->ctx, f->store->bodies_fd, path);
        if (f->fd < 0 && (errno != ENOENT || make_folder(f) != 0))
            break;
    }
    if (f->job_err.kind != ERR_NONE)
        return -1;
    if (f->fd < 0)
        return fail(f, "create");
    f->hash = EVP_MD_CTX_new();
    CHECK(f->hash && EVP_DigestInit_ex(f->hash, EVP_sha256(), NULL));
    return 0;
}

static int write_some(struct body_file *f, struct str *rest)
{
    const struct store_disk *disk = f->store->disk;
    char path[BODY_PATH_MAX];
    ssize_t n;

    body_path(f->id, path);
    n = disk->write(disk->ctx, f->fd, path, rest->p, str_take(*rest, FLUSH_EVERY).n);

    if (n < 0)
        return errno == EINTR ? 0 : fail(f, "write");
    EVP_DigestUpdate(f->hash, rest->p, (size_t)n);
    *rest = str_skip(*rest, (size_t)n);
    f->unflushed += (uint64_t)n;
    if (f->unflushed < FLUSH_EVERY)
        return 0;
    f->unflushed = 0;
    return flush_fd(f, f->fd, path, true) == 0 ? 0 : fail(f, "flush");
}

/* Whoever made the folder may not have flushed its entry yet, or failed to: nobody relies on
 * another. */
static int flush_folder_entry(struct body_file *f)
{
    uint64_t folder = body_folder_of(f->id);

    if (atomic_load(&f->store->folder_flushed) == folder)
        return 0;
    if (flush_fd(f, f->store->bodies_fd, "", false) != 0)
        return -1;
    atomic_store(&f->store->folder_flushed, folder);
    return 0;
}

static int finish_file(struct body_file *f)
{
    char path[BODY_PATH_MAX], folder[BODY_PATH_MAX];
    int fd, rc;

    EVP_DigestFinal_ex(f->hash, f->sha256, NULL);
    body_path(f->id, path);
    if (flush_fd(f, f->fd, path, false) != 0)
        return fail(f, "flush");
    body_folder(f->id, folder);
    fd = openat(f->store->bodies_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd >= 0 && flush_fd(f, fd, folder, false) == 0 && flush_folder_entry(f) == 0
             ? 0
             : fail(f, "flush the folder of");
    if (fd >= 0)
        close(fd);
    return rc;
}

static void run_write(struct job *j, void *worker)
{
    struct body_file *f = CONTAINER_OF(j, struct body_file, job);
    struct str rest = buf_str(&f->writing);

    (void)worker;
    if (f->fd < 0 && open_file(f) != 0)
        return;
    while (rest.n) {
        if (write_some(f, &rest) != 0)
            return;
    }
    if (f->finishing)
        (void)finish_file(f); /* job_err tells */
}

static void file_free(struct body_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    atomic_fetch_sub(&f->store->leaving_bytes, (int64_t)f->leaving);
    EVP_MD_CTX_free(f->hash);
    buf_fini(&f->pending);
    buf_fini(&f->writing);
    store_unref(f->store);
    mem_free(f);
}

static void run_remove(struct job *j, void *worker)
{
    struct body_file *f = CONTAINER_OF(j, struct body_file, job);
    char path[BODY_PATH_MAX];

    (void)worker;
    body_path(f->id, path);
    unlinkat(f->store->bodies_fd, path, 0); /* failing that, the sweeper finds it */
    file_free(f);
}

/* ---- On the loop. */

static void on_written(struct job *j);

struct body_file *body_file_new(struct store *s, struct body_sink *sink, uint64_t id)
{
    struct body_file *f = MEM_NEW(struct body_file);

    f->store = s;
    store_ref(s);
    f->sink = sink;
    f->id = id;
    f->fd = -1;
    buf_init(&f->pending, PENDING_MAX);
    buf_init(&f->writing, PENDING_MAX);
    f->job = (struct job){.run = run_write, .done = on_written};
    return f;
}

/* These bytes have reached the disk, or never will. */
static void settle(struct body_file *f, size_t n, bool written)
{
    f->store->unwritten -= (int64_t)n;
    if (written || !f->leaving)
        return;
    f->leaving -= n;
    atomic_fetch_sub(&f->store->leaving_bytes, (int64_t)n);
}

static void file_dispose(struct body_file *f)
{
    settle(f, f->pending.n, false);
    buf_clear(&f->pending);
    if (f->fd >= 0 && !f->keep && !f->store->closed && f->store->body_lane) {
        f->job = (struct job){.run = run_remove};
        if (lane_submit(f->store->body_lane, &f->job) == 0)
            return;
    }
    file_free(f);
}

static int start_job(struct body_file *f)
{
    struct buf swap = f->writing;

    f->writing = f->pending;
    f->pending = swap;
    f->finishing = f->finish;
    f->running = true;
    if (f->store->body_lane && lane_submit(f->store->body_lane, &f->job) == 0)
        return 0;
    f->running = false;
    return ERR_WHY(&f->err, ERR_TEMP, ERR_WHY_BUSY, "too many large messages arrive at once");
}

static void on_written(struct job *j)
{
    struct body_file *f = CONTAINER_OF(j, struct body_file, job);
    struct body_sink *sink = f->sink;

    f->running = false;
    settle(f, f->writing.n, true);
    if (f->err.kind == ERR_NONE)
        f->err = f->job_err;
    if (f->writing.cap > LOW)
        buf_fini(&f->writing);
    buf_clear(&f->writing);
    if (!sink) {
        file_dispose(f);
    } else if (f->err.kind != ERR_NONE) {
        body_sink_file_failed(sink, &f->err);
    } else if (f->finishing) {
        body_sink_file_done(sink);
    } else if ((f->finish || f->pending.n >= CHUNK) && start_job(f) != 0) {
        body_sink_file_failed(sink, &f->err);
    } else if (f->waiting && f->pending.n + f->writing.n <= LOW) {
        f->waiting = false;
        body_sink_file_ready(sink);
    }
}

enum body_put body_file_put(struct body_file *f, struct str bytes)
{
    if (f->err.kind != ERR_NONE)
        return BODY_FAIL;
    if (buf_add_str(&f->pending, bytes) != 0) {
        err_set(&f->err, ERR_TEMP, ERR_WHY_LIMIT, "the disk is too slow for this message");
        return BODY_FAIL;
    }
    f->taken += bytes.n;
    f->store->unwritten += (int64_t)bytes.n;
    if (!f->running && f->pending.n >= CHUNK && start_job(f) != 0)
        return BODY_FAIL;
    if (f->pending.n + f->writing.n <= HIGH)
        return BODY_MORE;
    f->waiting = true;
    return BODY_WAIT;
}

int body_file_finish(struct body_file *f)
{
    if (f->err.kind != ERR_NONE)
        return -1;
    f->finish = true;
    return f->running ? 0 : start_job(f);
}

size_t body_file_memory(const struct body_file *f)
{
    return f->pending.cap + f->writing.cap;
}

const struct err *body_file_error(const struct body_file *f)
{
    return &f->err;
}

const uint8_t *body_file_sha256(const struct body_file *f)
{
    return f->sha256;
}

void body_file_drop(struct body_file **fp, bool keep)
{
    struct body_file *f = *fp;

    if (!f)
        return;
    *fp = NULL;
    f->sink = NULL;
    f->keep = keep;
    if (!keep) {
        f->leaving = f->taken;
        atomic_fetch_add(&f->store->leaving_bytes, (int64_t)f->leaving);
    }
    if (!f->running)
        file_dispose(f);
}
