/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_tap.c - an SQLite VFS over the default one. Only xWrite, xTruncate and xSync do more than
 * their original; locks and shared memory are the original's, so that connections with and without
 * a tap may use one database. */
#include "appliance/sql/sql_tap.h"
#include "appliance/base/mem.h"
#include <sqlite3.h>
#include <string.h>

struct sql_tap_vfs {
    sqlite3_vfs vfs, *original;
    const struct sql_tap *tap;
};
struct tap_file {
    sqlite3_file base;
    const struct sql_tap *tap;
    const char *path;       /* NULL: a temporary file, nobody's business */
    sqlite3_file *original; /* lies behind this struct */
};

static struct tap_file *tapped(sqlite3_file *f)
{
    return (struct tap_file *)(void *)f;
}

static sqlite3_file *original(sqlite3_file *f)
{
    return tapped(f)->original;
}

/* ---- What is watched. */

static int tap_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    const struct tap_file *t = tapped(f);
    int rc = original(f)->pMethods->xWrite(original(f), p, n, at);

    if (rc == SQLITE_OK && t->path)
        t->tap->on_write(t->tap->ctx, t->path, (uint64_t)at, p, (size_t)n);
    return rc;
}

static int tap_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    const struct tap_file *t = tapped(f);
    int rc = original(f)->pMethods->xTruncate(original(f), size);

    if (rc == SQLITE_OK && t->path)
        t->tap->on_truncate(t->tap->ctx, t->path, (uint64_t)size);
    return rc;
}

static int tap_sync(sqlite3_file *f, int flags)
{
    const struct tap_file *t = tapped(f);
    uint64_t began = t->path ? t->tap->flush_begins(t->tap->ctx) : 0;
    int rc = original(f)->pMethods->xSync(original(f), flags);

    if (rc == SQLITE_OK && t->path)
        t->tap->on_flush(t->tap->ctx, t->path, began);
    return rc;
}

/* ---- What is handed on. */

static int tap_close(sqlite3_file *f)
{
    return original(f)->pMethods->xClose(original(f));
}

static int tap_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return original(f)->pMethods->xRead(original(f), p, n, at);
}

static int tap_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return original(f)->pMethods->xFileSize(original(f), n);
}

static int tap_lock(sqlite3_file *f, int level)
{
    return original(f)->pMethods->xLock(original(f), level);
}

static int tap_unlock(sqlite3_file *f, int level)
{
    return original(f)->pMethods->xUnlock(original(f), level);
}

static int tap_reserved(sqlite3_file *f, int *out)
{
    return original(f)->pMethods->xCheckReservedLock(original(f), out);
}

static int tap_control(sqlite3_file *f, int op, void *arg)
{
    return original(f)->pMethods->xFileControl(original(f), op, arg);
}

static int tap_sector(sqlite3_file *f)
{
    return original(f)->pMethods->xSectorSize(original(f));
}

static int tap_device(sqlite3_file *f)
{
    return original(f)->pMethods->xDeviceCharacteristics(original(f));
}

static int tap_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return original(f)->pMethods->xShmMap(original(f), page, size, extend, out);
}

static int tap_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return original(f)->pMethods->xShmLock(original(f), at, n, flags);
}

static void tap_shm_barrier(sqlite3_file *f)
{
    original(f)->pMethods->xShmBarrier(original(f));
}

static int tap_shm_unmap(sqlite3_file *f, int remove)
{
    return original(f)->pMethods->xShmUnmap(original(f), remove);
}

/* Version 2: without xFetch, so nothing is written through a mapping unseen. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = tap_close,
    .xRead = tap_read,
    .xWrite = tap_write,
    .xTruncate = tap_truncate,
    .xSync = tap_sync,
    .xFileSize = tap_size,
    .xLock = tap_lock,
    .xUnlock = tap_unlock,
    .xCheckReservedLock = tap_reserved,
    .xFileControl = tap_control,
    .xSectorSize = tap_sector,
    .xDeviceCharacteristics = tap_device,
    .xShmMap = tap_shm_map,
    .xShmLock = tap_shm_lock,
    .xShmBarrier = tap_shm_barrier,
    .xShmUnmap = tap_shm_unmap,
};

/* SQLite promises that `name` lives as long as the file is open. */
static int tap_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct sql_tap_vfs *v = CONTAINER_OF(vfs, struct sql_tap_vfs, vfs);
    struct tap_file *t = tapped(f);
    int rc;

    memset(t, 0, sizeof *t);
    t->tap = v->tap;
    t->path = name;
    t->original = (sqlite3_file *)(void *)(t + 1);
    rc = v->original->xOpen(v->original, name, t->original, flags, out);
    t->base.pMethods = t->original->pMethods ? &methods : NULL;
    return rc;
}

int sql_tap_install(const struct sql_tap *tap, struct sql_tap_vfs **out, struct err *err)
{
    sqlite3_vfs *original_vfs = sqlite3_vfs_find(NULL);
    struct sql_tap_vfs *v;

    if (!original_vfs)
        return ERR(err, ERR_BUG, "SQLite has no file layer");
    v = MEM_NEW(struct sql_tap_vfs);
    v->original = original_vfs;
    v->tap = tap;
    v->vfs = *original_vfs; /* its other functions look at nothing but their own pAppData */
    v->vfs.zName = tap->name;
    v->vfs.pNext = NULL;
    v->vfs.szOsFile = (int)sizeof(struct tap_file) + original_vfs->szOsFile;
    v->vfs.xOpen = tap_open;
    if (sqlite3_vfs_register(&v->vfs, 0) != SQLITE_OK) {
        mem_free(v);
        return ERR(err, ERR_TEMP, "SQLite takes no file layer");
    }
    *out = v;
    return 0;
}

void sql_tap_remove(struct sql_tap_vfs **vp)
{
    struct sql_tap_vfs *v = *vp;

    if (!v)
        return;
    *vp = NULL;
    sqlite3_vfs_unregister(&v->vfs);
    mem_free(v);
}
