/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_scanner.c - each thread takes a request, answers it, takes the next one. It ends with the
 * server's end of the socket, whatever it is at. */
#include "filters/clamav_scanner.h"
#include "appliance/base/mem.h"
#include "filters/clamav_wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS = STDIN_FILENO, FDS = 2, OOM_SCORE = 800, NICE = 5, FILES = 512 };
enum { EXIT_OVER = 0, EXIT_USAGE = 2, EXIT_REQUEST = 3, EXIT_LOAD = 4 };

struct request {
    struct clamav_packet packet;
    int fds[FDS]; /* LOAD: the answer's; SCAN: the message's, the answer's */
    unsigned n_fds;
};
struct message {
    struct ph_view view;
    int fd;
};

/* False: the server is gone, or doesn't know what it says. */
static bool receive(struct request *q)
{
    char text[CLAMAV_PACKET];
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(FDS * sizeof(int))];
    } room = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    ssize_t n;

    *q = (struct request){0};
    while ((n = recvmsg(REQUESTS, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return false;
    q->n_fds = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(q->fds, CMSG_DATA(head), q->n_fds * sizeof(int));
    return clamav_packet_take(str_of(text, (size_t)n), &q->packet) &&
           q->n_fds == (q->packet.kind == CLAMAV_SCAN ? 2u : 1u);
}

static void answer(int fd, const struct clamav_packet *p)
{
    char text[CLAMAV_PACKET];

    (void)!send(fd, text, clamav_packet_put(p, text), MSG_NOSIGNAL);
    close(fd);
}

/* ---- Scans */

static int64_t read_message(const struct ph_view *v, uint64_t offset, void *to, size_t n)
{
    const struct message *m = (const void *)((const char *)v - offsetof(struct message, view));
    size_t got = 0;

    if (offset >= v->message_size)
        return 0;
    if (n > v->message_size - offset)
        n = (size_t)(v->message_size - offset);
    while (got < n) {
        ssize_t rc = pread(m->fd, (char *)to + got, n - got, (off_t)(offset + got));
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0)
            return -1;
        got += (size_t)rc;
    }
    return (int64_t)got;
}

static void scan(const struct clamav_engine *e, const struct request *q)
{
    const struct message m = {
        .view = {.size = sizeof m.view, .message_size = q->packet.size, .read = read_message},
        .fd = q->fds[0]};
    struct clamav_packet p = {.kind = CLAMAV_SCANNED};

    p.result = clamav_engine_scan(e, &m.view, p.text, sizeof p.text);
    close(q->fds[0]);
    answer(q->fds[1], &p);
}

static void *serve(void *arg)
{
    const struct clamav_engine *e = arg;
    struct request q;

    while (receive(&q) && q.packet.kind == CLAMAV_SCAN)
        scan(e, &q);
    _exit(EXIT_OVER); /* nobody waits for what others are at */
}

/* ---- Loading */

/* Who doesn't wait for the signatures any more has closed the answer's other end. */
static bool still_wanted(void *ctx)
{
    struct pollfd p = {.fd = *(const int *)ctx};

    return poll(&p, 1, 0) == 0;
}

/* What is unpacked stays within the limits by libclamav's own count; this is the wall behind. */
static void limit_files(const struct clamav_limits *l)
{
    const uint64_t most =
        2 * (l->scan_size > l->file_size ? l->scan_size : l->file_size) + (64 << 20);

    setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, most});
}

static struct clamav_engine *load(const struct request *q, char **argv)
{
    struct clamav_load l = {.folder = argv[1],
                            .temporary = argv[2],
                            .limits = q->packet.limits,
                            .go_on = still_wanted,
                            .ctx = (void *)(uintptr_t)&q->fds[0]};
    struct clamav_packet p = {.kind = CLAMAV_LOADED};

    limit_files(&l.limits);
    p.loaded = clamav_engine_load(&l) == 0;
    p.signatures = l.signatures;
    p.growth = l.growth;
    snprintf(p.text, sizeof p.text, "%s", l.why);
    answer(q->fds[0], &p);
    return l.engine;
}

/* It dies first when memory runs out, and leaves the processor to those who answer clients. */
static void step_back(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    char text[16];
    int n = snprintf(text, sizeof text, "%d", OOM_SCORE);

    if (fd >= 0) {
        (void)!write(fd, text, (size_t)n);
        close(fd);
    }
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){FILES, FILES});
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN); /* of the terminal: it ends when the server does */
}

int clamav_scanner(int argc, char **argv, void (*enter)(const char *folder, const char *temporary))
{
    struct clamav_engine *e;
    struct request q;
    pthread_t thread;
    char why[200];

    if (argc != 3) {
        fprintf(stderr, "posthouse: %s is for posthouse itself\n", CLAMAV_SCANNER_WORD);
        return EXIT_USAGE;
    }
    step_back();
    if (clamav_engine_init(why, sizeof why)) {
        fprintf(stderr, "posthouse: %s\n", why);
        return EXIT_LOAD;
    }
    if (enter)
        enter(argv[1], argv[2]);
    if (!receive(&q) || q.packet.kind != CLAMAV_LOAD)
        _exit(EXIT_REQUEST);
    e = load(&q, argv);
    if (!e)
        _exit(EXIT_LOAD); /* in its sandbox there is nothing to tidy up */
    for (unsigned i = 1; i < q.packet.threads; i++)
        if (pthread_create(&thread, NULL, serve, e) == 0)
            pthread_detach(thread);
    serve(e);
    return EXIT_OVER;
}
