/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/helper.h"
#include "appliance/app/config.h"
#include "appliance/app/privileges.h"
#include "appliance/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* One octet asks (enum helper_file); the answer is one struct err, with a descriptor when its kind
 * is ERR_NONE. */
enum { ANSWER_S = 10 };

union room { /* for one descriptor */
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- in the helper */
static int open_named(const char *config_path, unsigned char which, struct err *err)
{
    struct config *c;
    struct buf errors;
    int fd = -1;

    buf_init(&errors, 65536);
    if (config_load(config_path, &c, &errors, err) == 0) {
        const char *path = which == HELPER_KEY ? c->tls.key : c->tls.certificate;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
            err_set(err, ERR_PERM, ERR_WHY_OTHER, "cannot read %s: %s", path, strerror(errno));
        config_unref(&c);
    }
    buf_fini(&errors);
    return fd;
}

static void answer(int socket, int fd, const struct err *err)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)err, .iov_len = sizeof *err};
    union room room = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = sizeof room.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&m);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    (void)!sendmsg(socket, &m, MSG_NOSIGNAL);
}

static void serve(int socket, const char *config_path)
{
    unsigned char which;

    while (recv(socket, &which, 1, 0) == 1) {
        struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
        int fd = open_named(config_path, which, &err);
        answer(socket, fd, &err);
        if (fd >= 0)
            close(fd);
    }
}

static void close_all_but(int keep)
{
    if (keep > 3)
        close_range(3, (unsigned)keep - 1, 0);
    close_range((unsigned)keep + 1, ~0u, 0);
}

static void helper_main(int socket, pid_t parent, const char *config_path)
{
    struct err err;

    close_all_but(socket);
    prctl(PR_SET_NAME, "posthouse-help", 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(0);
    signal(SIGINT, SIG_IGN); /* of the terminal: it ends when the daemon does */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (privileges_keep_reading(&err) == 0)
        serve(socket, config_path);
    else
        log_error(&(struct log_ctx){.module = "helper"}, "helper_failed", L_Z("why", err.text));
    _exit(0);
}

/* ---- in the daemon */
int helper_start(struct helper *h, const char *config_path, struct err *err)
{
    pid_t parent = getpid(), pid;
    int fds[2];

    h->fd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return ERR(err, ERR_TEMP, "cannot make a socket pair: %s", strerror(errno));
    pid = fork();
    if (pid == 0)
        helper_main(fds[1], parent, config_path);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return ERR(err, ERR_TEMP, "cannot start the helper: %s", strerror(errno));
    }
    /* On a helper that hangs nothing shall wait for ever. */
    setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = ANSWER_S},
               sizeof(struct timeval));
    h->fd = fds[0];
    return 0;
}

static int take_answer(int socket, struct err *err)
{
    struct err told = {ERR_TEMP, ERR_WHY_OTHER, ""};
    struct iovec iov = {.iov_base = &told, .iov_len = sizeof told};
    union room room;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    int fd;

    if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) != sizeof told)
        return ERR(err, ERR_TEMP, "the helper process doesn't answer; restart posthouse");
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    if (told.kind == ERR_NONE && head && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof fd)) {
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
        return fd;
    }
    *err = told;
    return -1;
}

int helper_open(const struct helper *h, enum helper_file which, struct err *err)
{
    unsigned char octet = (unsigned char)which;

    if (send(h->fd, &octet, 1, MSG_NOSIGNAL) != 1)
        return ERR(err, ERR_TEMP, "the helper process is gone; restart posthouse");
    return take_answer(h->fd, err);
}

void helper_stop(struct helper *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}
