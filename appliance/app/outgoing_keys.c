/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Secrets of SRS. Whoever wants new ones puts a line in front and leaves the old one below it until
 * bounces to addresses that it signed come no more (srs.h: max_age_days). */
#include "appliance/app/outgoing.h"
#include "appliance/base/rand.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SECRET = 52, FILE_MAX = 4096, SECRET_MIN = 16 };
#define NAME "srs.key"

static int take_lines(struct str text, struct arena *a, struct srs_conf *out, struct err *err)
{
    struct str line, rest = text;

    out->n_secrets = 0;
    while (rest.n && out->n_secrets < ARRAY_LEN(out->secrets)) {
        if (!str_cut(rest, '\n', &line, &rest)) {
            line = rest;
            rest = STR_NULL;
        }
        line = str_trim(line);
        if (line.n && line.n < SECRET_MIN)
            return ERR(err, ERR_PERM, NAME " holds a secret of less than %d characters",
                       SECRET_MIN);
        if (line.n)
            out->secrets[out->n_secrets++] = arena_str(a, line);
    }
    return out->n_secrets ? 0 : ERR(err, ERR_PERM, NAME " is empty");
}

int outgoing_srs_keys(struct datadir *d, struct arena *a, struct srs_conf *out, struct err *err)
{
    char text[FILE_MAX];
    int fd = openat(d->fd, NAME, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 && errno == ENOENT) {
        rand_text(text, SECRET);
        text[SECRET] = '\n';
        text[SECRET + 1] = '\0';
        if (datadir_write(d, NAME, text, err))
            return -1;
        fd = openat(d->fd, NAME, O_RDONLY | O_CLOEXEC);
    }
    n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot read %s/" NAME ": %s", d->path,
                strerror(errno));
    if (fd >= 0)
        close(fd);
    return n < 0 ? -1 : take_lines(str_of(text, (size_t)n), a, out, err);
}
