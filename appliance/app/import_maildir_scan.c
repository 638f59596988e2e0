/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_maildir_scan.c - the folders of a Maildir. */
#include "appliance/app/import_maildir.h"
#include "appliance/base/mem.h"
#include "appliance/mail/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS_MAX = 10000, DEPTH_MAX = 16, NAME_BYTES = 4096, LINE_BYTES = 4096 };

struct scan {
    struct import_run *run;
    const char *root;
    enum maildir_layout layout;
    struct arena *a;
    struct maildir_folder *list;
    size_t n;
};

static int open_below(int dirfd, const char *name)
{
    return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int import_maildir_open(const char *root, struct str path)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), below;
    char name[NAME_MAX + 1];
    struct str part;

    while (fd >= 0 && path.n) {
        str_cut(path, '/', &part, &path);
        if (part.n > NAME_MAX) {
            close(fd);
            return -1;
        }
        memcpy(name, part.p, part.n);
        name[part.n] = '\0';
        below = open_below(fd, name);
        close(fd);
        fd = below;
    }
    return fd;
}

int import_maildir_lines(int dirfd, const char *name, void (*on_line)(void *ctx, struct str line),
                         void *ctx)
{
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char line[LINE_BYTES];
    bool whole = true;
    struct stat st;
    FILE *f;

    if (fd < 0)
        return -1;
    f = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
    if (!f) {
        close(fd);
        return -1;
    }
    while (fgets(line, sizeof line, f)) {
        struct str s = str_from(line);
        bool ends = s.n && s.p[s.n - 1] == '\n';
        if (ends)
            s.n--;
        if (whole && (ends || feof(f)))
            on_line(ctx, s);
        whole = ends;
    }
    fclose(f);
    return 0;
}

/* ---- Folders. */

static bool is_maildir(int dirfd, const char *name)
{
    char path[NAME_MAX + 8];
    struct stat st;

    snprintf(path, sizeof path, "%s/cur", name);
    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void failed(struct scan *s, struct str path, const char *why)
{
    struct str z = arena_printf(s->a, "%s/" STR_FMT, s->root, STR_ARG(path));

    import_run_failed(s->run, z.p, why);
}

static void add(struct scan *s, struct str path, char separator)
{
    struct buf name;

    buf_init(&name, NAME_BYTES);
    if (s->n == FOLDERS_MAX)
        failed(s, path, "too many folders");
    else if (maildir_path_decode(path, separator, &name) != 0)
        failed(s, path, "a folder's name that can't be read");
    else
        s->list[s->n++] =
            (struct maildir_folder){arena_str(s->a, path), arena_str(s->a, buf_str(&name))};
    buf_fini(&name);
}

static bool plain_name(const char *name)
{
    return name[0] != '.' && strcmp(name, "cur") != 0 && strcmp(name, "new") != 0 &&
           strcmp(name, "tmp") != 0;
}

static void scan_fs(struct scan *s, int fd, struct str above, unsigned depth);

static void look_at(struct scan *s, int fd, const char *name, struct str above, unsigned depth)
{
    struct stat st;
    struct str path;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    path = above.n ? arena_printf(s->a, STR_FMT "/%s", STR_ARG(above), name)
                   : arena_str(s->a, str_from(name));
    if (S_ISLNK(st.st_mode)) {
        if (is_maildir(fd, name) || (fstatat(fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode)))
            failed(s, path, "a symbolic link, which is not followed");
        return;
    }
    if (!S_ISDIR(st.st_mode))
        return;
    if (name[0] == '.') {
        if (depth == 0 && s->layout != MAILDIR_FS && name[1] && strcmp(name, "..") != 0 &&
            is_maildir(fd, name))
            add(s, path, '.');
        return;
    }
    if (s->layout == MAILDIR_PLUS || !plain_name(name))
        return;
    if (is_maildir(fd, name))
        add(s, path, '/');
    if (depth < DEPTH_MAX) {
        int below = open_below(fd, name);
        if (below >= 0)
            scan_fs(s, below, path, depth + 1);
    }
}

/* Closes fd. */
static void scan_fs(struct scan *s, int fd, struct str above, unsigned depth)
{
    DIR *dir = fdopendir(fd);

    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));)
        look_at(s, fd, e->d_name, above, depth);
    closedir(dir);
}

int import_maildir_folders(struct import_run *run, const char *root, enum maildir_layout layout,
                           struct arena *a, struct maildir_folder **out, size_t *n_out,
                           struct err *err)
{
    struct scan s = {.run = run, .root = root, .layout = layout, .a = a};
    int fd = import_maildir_open(root, STR(""));

    if (fd < 0)
        return ERR(err, ERR_PERM, "cannot open %s: %s", root, strerror(errno));
    s.list = ARENA_ARRAY(a, struct maildir_folder, FOLDERS_MAX);
    if (is_maildir(fd, "."))
        s.list[s.n++] = (struct maildir_folder){STR(""), STR("INBOX")};
    scan_fs(&s, fd, STR(""), 0);
    if (s.n == 0)
        return ERR(err, ERR_PERM, "%s is no Maildir: it has no folder cur", root);
    *out = s.list;
    *n_out = s.n;
    return 0;
}
