/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/datadir.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_temporary(char *out, size_t cap, struct err *err)
{
    const char *base = getenv("TMPDIR");

    snprintf(out, cap, "%s/posthouse-XXXXXX", base && base[0] == '/' ? base : "/tmp");
    if (!mkdtemp(out))
        return ERR(err, ERR_PERM, "cannot make a temporary folder %s: %s", out, strerror(errno));
    return 0;
}

static int open_folder(const char *path, bool create, struct datadir *d, struct err *err)
{
    char real[PATH_MAX];

    if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
        return ERR(err, ERR_PERM, "cannot make the data folder %s: %s", path, strerror(errno));
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        return ERR_WHY(err, ERR_PERM, errno == ENOENT ? ERR_WHY_NOT_FOUND : ERR_WHY_DENIED,
                       "cannot open the data folder %s: %s", path, strerror(errno));
    if (!realpath(path, real))
        return ERR(err, ERR_PERM, "cannot resolve %s: %s", path, strerror(errno));
    d->path = str_dup_z(str_from(real));
    return 0;
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

bool datadir_fits(const char *path)
{
    static const char *const own[] = {"lock", "store.db", "directory.db", "bodies", NULL};
    static const char *const nothing[] = {".", "..", "lost+found", NULL};
    bool ours = false, empty = true;
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        ours = ours || is_one_of(e->d_name, own);
        empty = empty && is_one_of(e->d_name, nothing);
    }
    if (d)
        closedir(d);
    return d && (empty || ours);
}

int datadir_open(const char *path, bool create, struct datadir *d, struct err *err)
{
    char temporary[PATH_MAX];
    struct stat st;

    *d = (struct datadir){.fd = -1, .lock_fd = -1, .temporary = path == NULL};
    if (!path) {
        if (make_temporary(temporary, sizeof temporary, err))
            return -1;
        path = temporary;
    }
    if (open_folder(path, create, d, err))
        goto fail;
    if (fstat(d->fd, &st) == 0 && st.st_mode & 077 && !datadir_fits(path)) {
        err_set(err, ERR_PERM, ERR_WHY_DENIED,
                "the folder %s holds other things, and others may look into it: name one that is "
                "posthouse's alone",
                path);
        goto fail;
    }
    if (fstat(d->fd, &st) != 0 || (st.st_mode & 077 && fchmod(d->fd, 0700) != 0)) {
        err_set(err, ERR_PERM, ERR_WHY_DENIED, "cannot make the data folder %s private: %s", path,
                strerror(errno));
        goto fail;
    }
    return 0;
fail:
    datadir_close(d);
    return -1;
}

static void read_owner(int fd, char *out, size_t cap)
{
    ssize_t n = pread(fd, out, cap - 1, 0);

    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

int datadir_lock(struct datadir *d, struct err *err)
{
    char owner[24];
    int n;

    d->lock_fd = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return ERR(err, ERR_PERM, "cannot open %s/lock: %s", d->path, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        read_owner(d->lock_fd, d->owner, sizeof d->owner);
        close(d->lock_fd);
        d->lock_fd = -1;
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY,
                       "the data folder %s is in use by process %s; one at a time", d->path,
                       d->owner[0] ? d->owner : "?");
    }
    n = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, owner, (size_t)n, 0) != n)
        return ERR(err, ERR_TEMP, "cannot write %s/lock: %s", d->path, strerror(errno));
    return 0;
}

int datadir_write(struct datadir *d, const char *name, const char *text, struct err *err)
{
    char temporary[80];
    size_t n = strlen(text);
    int fd;

    snprintf(temporary, sizeof temporary, ".%s.new", name);
    fd = openat(d->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR(err, ERR_TEMP, "cannot write %s/%s: %s", d->path, name, strerror(errno));
    if (write(fd, text, n) != (ssize_t)n || fsync(fd) != 0 ||
        renameat(d->fd, temporary, d->fd, name) != 0) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot write %s/%s: %s", d->path, name,
                strerror(errno));
        close(fd);
        unlinkat(d->fd, temporary, 0);
        return -1;
    }
    close(fd);
    return 0;
}

/* Removes what is below the folder fd, which it closes. Follows no link. */
static void remove_below(int fd, unsigned depth)
{
    DIR *dir = fdopendir(fd);

    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || depth == 0)
            continue;
        int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0)
            remove_below(sub, depth - 1);
        unlinkat(fd, e->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
}

void datadir_close(struct datadir *d)
{
    if (d->temporary && d->fd >= 0 && d->path) {
        remove_below(dup(d->fd), 8);
        rmdir(d->path);
    }
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    if (d->fd >= 0)
        close(d->fd);
    mem_free(d->path);
    *d = (struct datadir){.fd = -1, .lock_fd = -1};
}
