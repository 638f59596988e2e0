/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/keys.h"
#include "appliance/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20, SOON_S = 14 * 86400 };

static const struct log_ctx log_keys = {.module = "app"};

static bool needed(const struct config *c)
{
    for (size_t i = 0; i < c->n_ports; i++)
        if (c->ports[i].enabled && c->ports[i].tls != PORT_NO_TLS)
            return true;
    return false;
}

static int open_file(const char *path, enum helper_file which, const struct helper *helper,
                     struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 && helper && helper->fd >= 0)
        return helper_open(helper, which, err);
    if (fd < 0)
        return ERR(err, ERR_PERM, "cannot read the %s %s: %s",
                   which == HELPER_KEY ? "key" : "certificate", path, strerror(errno));
    return fd;
}

static int read_all(int fd, const char *path, struct buf *out, struct err *err)
{
    char *space;
    ssize_t n = 1;

    while (n > 0 && buf_reserve(out, 4096, &space) == 0) {
        n = read(fd, space, 4096);
        if (n > 0)
            buf_commit(out, (size_t)n);
    }
    if (n != 0)
        return ERR(err, ERR_PERM, "cannot read %s: %s", path,
                   n < 0 ? strerror(errno) : "larger than 1 MB");
    return 0;
}

static int read_pem(const char *path, enum helper_file which, const struct helper *helper,
                    struct buf *out, struct err *err)
{
    int fd = open_file(path, which, helper, err), rc = 0;
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rc = ERR(err, ERR_PERM, "%s is not a file", path);
    else if (which == HELPER_KEY && st.st_mode & S_IRWXO)
        rc = ERR(err, ERR_PERM, "everybody can read the key %s; run: chmod o= %s", path, path);
    if (rc == 0)
        rc = read_all(fd, path, out, err);
    close(fd);
    return rc;
}

/* A wrong name is a mistake of whoever set it up; a certificate that is about to end, or has ended,
 * is none: other hosts go on sending mail, and refusing to start would stop it. */
static int look_at(const struct tls_ctx *t, const struct config *c, struct err *err)
{
    long left = tls_ctx_seconds_left(t);

    if (left < SOON_S)
        log_warn(&log_keys, "certificate_expires", L_Z("file", c->tls.certificate),
                 L_INT("days", left / 86400));
    if (c->tls.any_name || !c->smtp.hostname[0] || tls_ctx_covers(t, c->smtp.hostname))
        return 0;
    return ERR(err, ERR_PERM,
               "the certificate %s is not for %s: get one for this name, correct main.hostname, or "
               "set tls { any_name = yes }",
               c->tls.certificate, c->smtp.hostname);
}

int keys_load(const struct config *c, const struct helper *helper, struct tls_ctx **out,
              struct err *err)
{
    struct tls_pem pem = {.cert_name = c->tls.certificate, .key_name = c->tls.key};
    struct buf cert, key;
    int rc;

    *out = NULL;
    if (!needed(c))
        return 0;
    if (!pem.cert_name[0] || !pem.key_name[0])
        return ERR(err, ERR_PERM,
                   "there is no certificate: set tls { certificate = FILE; key = FILE }, or tls = "
                   "none on every listener");
    buf_init(&cert, PEM_MAX);
    buf_init(&key, PEM_MAX);
    rc = read_pem(pem.cert_name, HELPER_CERTIFICATE, helper, &cert, err);
    if (rc == 0)
        rc = read_pem(pem.key_name, HELPER_KEY, helper, &key, err);
    pem.cert = buf_str(&cert);
    pem.key = buf_str(&key);
    if (rc == 0)
        rc = tls_ctx_from_pem(&pem, out, err);
    if (key.p)
        explicit_bzero(key.p, key.cap);
    buf_fini(&cert);
    buf_fini(&key);
    if (rc == 0 && look_at(*out, c, err)) {
        tls_ctx_unref(out);
        rc = -1;
    }
    return rc;
}
