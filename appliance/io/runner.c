/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/runner.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/io/runner_private.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEND_WAIT_S = 5, ROOM = 4 * RUNNER_REQUEST };

int runner_start(struct runner *r, const struct runner_conf *conf, struct err *err)
{
    const int room = ROOM;
    pid_t parent = getpid();
    int ends[2];

    *r = (struct runner){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return ERR(err, ERR_TEMP, "cannot make a socket pair: %s", strerror(errno));
    (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    /* On a runner that hangs nothing shall wait for ever. */
    setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = SEND_WAIT_S},
               sizeof(struct timeval));
    r->pid = fork();
    if (r->pid == 0)
        runner_supervise(ends[1], parent, conf);
    close(ends[1]);
    if (r->pid < 0) {
        close(ends[0]);
        return ERR(err, ERR_TEMP, "cannot start the process that runs programs: %s",
                   strerror(errno));
    }
    r->fd = ends[0];
    return 0;
}

void runner_stop(struct runner *r)
{
    if (r->fd < 0)
        return;
    close(r->fd);
    r->fd = -1;
    while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- Asking */

static uint32_t put_words(struct buf *out, const char *const *words)
{
    uint32_t n = 0;

    for (; words && words[n]; n++)
        buf_add(out, words[n], strlen(words[n]) + 1);
    return n;
}

static int put_request(struct buf *out, const struct runner_program *p, struct err *err)
{
    const char *path = p->path ? p->path : "";
    struct runner_head head = {
        .switch_user = p->switch_user, .uid = p->uid, .gid = p->gid, .limits = p->limits};

    buf_add(out, &head, sizeof head);
    buf_add(out, path, strlen(path) + 1);
    head.n_argv = put_words(out, p->argv);
    head.n_env = put_words(out, p->env);
    if (!buf_ok(out) || head.n_argv > RUNNER_WORDS || head.n_env > RUNNER_WORDS)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT,
                       "the program's arguments and environment are too long");
    memcpy(out->p, &head, sizeof head);
    return 0;
}

static int send_request(int socket, struct str text, const struct runner_program *p, int report)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text.p, .iov_len = text.n};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE((1 + RUNNER_FDS) * sizeof(int))];
    } room = {.bytes = {0}};
    const size_t size = (1 + p->n_fds) * sizeof(int);
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = CMSG_SPACE(size)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    ssize_t rc;

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(head), &report, sizeof report);
    if (p->n_fds)
        memcpy(CMSG_DATA(head) + sizeof report, p->fds, p->n_fds * sizeof(int));
    do
        rc = sendmsg(socket, &m, MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -1 : 0;
}

int runner_run(const struct runner *r, const struct runner_program *p, struct err *err)
{
    struct buf text;
    int ends[2], rc;

    CHECK(p->n_fds <= RUNNER_FDS);
    if (r->fd < 0)
        return ERR(err, ERR_PERM, "this server runs no programs");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return ERR(err, ERR_TEMP, "cannot make a socket pair: %s", strerror(errno));
    buf_init(&text, RUNNER_REQUEST);
    rc = put_request(&text, p, err);
    if (rc == 0 && send_request(r->fd, buf_str(&text), p, ends[1])) {
        int why = errno;
        (void)waitpid(r->pid, NULL, WNOHANG); /* what is left of it, if it is gone */
        errno = why;
        rc = ERR(err, ERR_TEMP, "the process that runs programs %s",
                 errno == EAGAIN ? "doesn't answer" : "is gone; restart posthouse");
    }
    buf_fini(&text);
    close(ends[1]);
    if (rc == 0)
        return ends[0];
    close(ends[0]);
    return -1;
}

struct runner_report runner_next(int report, int timeout_ms)
{
    const uint64_t until = clock_mono_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
    struct pollfd p = {.fd = report, .events = POLLIN};
    struct runner_report out = {.what = RUNNER_NOTHING};
    int wait_ms = timeout_ms, rc;

    while ((rc = poll(&p, 1, wait_ms)) < 0 && errno == EINTR)
        if (timeout_ms > 0) {
            uint64_t now = clock_mono_ms();
            wait_ms = now < until ? (int)(until - now) : 0;
        }
    if (rc == 0)
        return out;
    if (rc < 0 || recv(report, &out, sizeof out, MSG_DONTWAIT) != (ssize_t)sizeof out)
        out = (struct runner_report){.what = RUNNER_GONE};
    return out;
}
