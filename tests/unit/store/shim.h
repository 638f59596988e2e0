/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* shim.h - an SQLite VFS over the real one, whose writes or flushes fail on demand, as those of a
 * broken or full disk. It becomes the default VFS of the process, so the code under test knows
 * nothing of it. Floor: tests. */
#ifndef PH_TESTS_STORE_SHIM_H
#define PH_TESTS_STORE_SHIM_H
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real; /* lies behind this struct */
};
static struct {
    sqlite3_vfs vfs, *real;
    /* fail_*: so many of the next calls on the WAL or database fail; -1: all */
    atomic_int fail_sync, full_write;
    atomic_int syncs;
} shim;

#define SHIM_REAL(f) (((struct shim_file *)(void *)(f))->real)

static int shim_take(atomic_int *left)
{
    int n = atomic_load(left);

    if (n > 0)
        atomic_fetch_sub(left, 1);
    return n != 0;
}

static int shim_close(sqlite3_file *f)
{
    return SHIM_REAL(f)->pMethods->xClose(SHIM_REAL(f));
}
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return SHIM_REAL(f)->pMethods->xRead(SHIM_REAL(f), p, n, at);
}
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (shim_take(&shim.full_write))
        return SQLITE_FULL;
    return SHIM_REAL(f)->pMethods->xWrite(SHIM_REAL(f), p, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return SHIM_REAL(f)->pMethods->xTruncate(SHIM_REAL(f), n);
}
static int shim_sync(sqlite3_file *f, int flags)
{
    atomic_fetch_add(&shim.syncs, 1);
    if (shim_take(&shim.fail_sync))
        return SQLITE_IOERR_FSYNC;
    return SHIM_REAL(f)->pMethods->xSync(SHIM_REAL(f), flags);
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return SHIM_REAL(f)->pMethods->xFileSize(SHIM_REAL(f), n);
}
static int shim_lock(sqlite3_file *f, int l)
{
    return SHIM_REAL(f)->pMethods->xLock(SHIM_REAL(f), l);
}
static int shim_unlock(sqlite3_file *f, int l)
{
    return SHIM_REAL(f)->pMethods->xUnlock(SHIM_REAL(f), l);
}
static int shim_reserved(sqlite3_file *f, int *out)
{
    return SHIM_REAL(f)->pMethods->xCheckReservedLock(SHIM_REAL(f), out);
}
static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return SHIM_REAL(f)->pMethods->xFileControl(SHIM_REAL(f), op, arg);
}
static int shim_sector(sqlite3_file *f)
{
    return SHIM_REAL(f)->pMethods->xSectorSize(SHIM_REAL(f));
}
static int shim_device(sqlite3_file *f)
{
    return SHIM_REAL(f)->pMethods->xDeviceCharacteristics(SHIM_REAL(f));
}
static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return SHIM_REAL(f)->pMethods->xShmMap(SHIM_REAL(f), page, size, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return SHIM_REAL(f)->pMethods->xShmLock(SHIM_REAL(f), at, n, flags);
}
static void shim_shm_barrier(sqlite3_file *f)
{
    SHIM_REAL(f)->pMethods->xShmBarrier(SHIM_REAL(f));
}
static int shim_shm_unmap(sqlite3_file *f, int remove)
{
    return SHIM_REAL(f)->pMethods->xShmUnmap(SHIM_REAL(f), remove);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct shim_file *file = (struct shim_file *)(void *)f;

    (void)vfs;
    memset(file, 0, sizeof *file);
    file->real = (sqlite3_file *)(void *)(file + 1);
    int rc = shim.real->xOpen(shim.real, name, file->real, flags, out);
    file->base.pMethods = file->real->pMethods ? &shim_methods : NULL;
    return rc;
}

static void shim_install(void)
{
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "shim";
    shim.vfs.pNext = NULL;
    shim.vfs.szOsFile = (int)sizeof(struct shim_file) + shim.real->szOsFile;
    shim.vfs.xOpen = shim_open;
    sqlite3_vfs_register(&shim.vfs, 1);
}
#endif
