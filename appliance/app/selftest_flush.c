/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_flush.c - how long the disk takes to flush 4 KB. No disk that keeps what it confirms
 * does it in less than some 50 us: where it takes less, a cache answers, which the power's end may
 * empty. */
#include "appliance/app/selftest.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { SAMPLES = 1000, BLOCK = 4096, SUSPICIOUS_US = 50, SECONDS_MAX = 3 };

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int measure(int fd, uint64_t *took, uint64_t *n, struct err *err)
{
    char *block = mem_alloc(BLOCK);
    uint64_t began = clock_mono_us(), now = began;
    int rc = 0;

    for (*n = 0; *n < SAMPLES && now - began < SECONDS_MAX * UINT64_C(1000000); ++*n) {
        uint64_t before = clock_mono_us();
        memset(block, (int)(*n % 255) + 1, BLOCK);
        if (write(fd, block, BLOCK) != BLOCK || fdatasync(fd) != 0) {
            rc = ERR(err, ERR_TEMP, "cannot write and flush a file: %s", strerror(errno));
            break;
        }
        now = clock_mono_us();
        took[*n] = now - before;
    }
    mem_free(block);
    return rc;
}

int selftest_flush(struct selftest *t, struct selftest_flush *out, struct err *err)
{
    char *path = selftest_path(t->folder, "flushed");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;
    uint64_t *took = mem_alloc(SAMPLES * sizeof *took);

    *out = (struct selftest_flush){0};
    if (fd < 0)
        rc = ERR(err, ERR_TEMP, "cannot make %.150s: %s", path, strerror(errno));
    else
        rc = measure(fd, took, &out->samples, err);
    if (rc == 0) {
        qsort(took, out->samples, sizeof *took, compare);
        out->median_us = took[out->samples / 2];
        out->p99_us = took[out->samples * 99 / 100];
        out->suspicious = out->median_us < SUSPICIOUS_US;
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    mem_free(took);
    mem_free(path);
    return rc;
}
