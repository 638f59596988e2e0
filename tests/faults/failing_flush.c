/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* failing_flush.c - preloaded into the server: as long as the file $FAIL_FLUSH exists, fsync and
 * fdatasync of every file whose path, with a $ behind it, holds the file's content fail with EIO.
 * Nothing was flushed then. Each one that failed adds an octet to the file $FAIL_FLUSH.count. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void count(const char *control)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s.count", control);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, "x", 1) != 1)
            abort();
        close(fd);
    }
}

static int fails(int fd)
{
    const char *control = getenv("FAIL_FLUSH");
    char what[256] = "", link[64], path[4096] = "";
    int file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0)
        return 0;
    if (read(file, what, sizeof what - 1) < 0)
        what[0] = 0;
    close(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 2) < 0)
        return 0;
    strcat(path, "$");
    if (!strstr(path, what))
        return 0;
    count(control);
    errno = EIO;
    return 1;
}

int fsync(int fd)
{
    return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
