/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* disk_world.h - a disk of the size a test wants, for a store's large texts: what its files hold is
 * taken from it. One at a time. Floor: tests. */
#ifndef PH_TESTS_DISK_WORLD_H
#define PH_TESTS_DISK_WORLD_H
#include "appliance/store/store.h"
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

static struct {
    char bodies[128];
    _Atomic int64_t size;
    int64_t used;
} disk_world;

static inline int disk_world_count(const char *path, const struct stat *st, int type,
                                   struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        disk_world.used += st->st_size;
    return 0;
}

/* Loop only. */
static inline int64_t disk_world_free(void)
{
    disk_world.used = 0;
    nftw(disk_world.bodies, disk_world_count, 16, FTW_PHYS);
    return disk_world.size - disk_world.used;
}

static inline int disk_world_space(void *ctx, uint64_t *free_out)
{
    int64_t n = disk_world_free();
    (void)ctx;
    *free_out = n > 0 ? (uint64_t)n : 0;
    return 0;
}

/* For store_conf.disk of the store in `dir`. */
static inline const struct store_disk *disk_world_of(const char *dir, int64_t size)
{
    static struct store_disk disk;
    snprintf(disk_world.bodies, sizeof disk_world.bodies, "%s/bodies", dir);
    disk_world.size = size;
    disk = store_disk_kernel;
    disk.space = disk_world_space;
    return &disk;
}
#endif
