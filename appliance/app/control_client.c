/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/control.h"
#include "appliance/base/buf.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_MAX = 256 << 20 };

int control_connect(int dirfd, struct err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return ERR(err, ERR_TEMP, "cannot make a socket: %s", strerror(errno));
    /* A path through the descriptor: a data folder's own path may be longer than sun_path. */
    snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/%s", dirfd, CONTROL_SOCKET);
    if (connect(fd, (struct sockaddr *)&un, sizeof un) != 0) {
        err_set(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "no daemon answers on the control socket: %s",
                strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int send_all(int fd, const char *p, size_t n, struct err *err)
{
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return ERR(err, ERR_TEMP, "cannot write to the daemon: %s", strerror(errno));
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int receive_all(int fd, struct buf *in, struct err *err)
{
    for (;;) {
        char *space;
        if (buf_reserve(in, 64 * 1024, &space))
            return ERR(err, ERR_TEMP, "the daemon's answer is too long");
        ssize_t n = recv(fd, space, 64 * 1024, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR(err, ERR_TEMP, "cannot read from the daemon: %s", strerror(errno));
        if (n == 0)
            return 0;
        buf_commit(in, (size_t)n);
    }
}

int control_ask(int dirfd, json_t *request, json_t **reply_out, struct err *err)
{
    char *text = json_dumps(request, JSON_COMPACT);
    int fd = control_connect(dirfd, err), rc = -1;
    struct buf in;

    buf_init(&in, REPLY_MAX);
    if (fd >= 0) {
        rc = send_all(fd, text, strlen(text), err);
        if (rc == 0)
            rc = send_all(fd, "\n", 1, err);
        if (rc == 0)
            rc = receive_all(fd, &in, err);
        close(fd);
    }
    if (rc == 0) {
        *reply_out = json_loadb(in.p ? in.p : "", in.n, 0, NULL);
        if (!*reply_out)
            rc = ERR(err, ERR_TEMP, "the daemon ended before it answered");
    }
    free(text);
    buf_fini(&in);
    return rc;
}
