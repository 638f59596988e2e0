/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_child.c - every request has a socket of its own for the one answer: whoever waits there
 * learns at once when the scanner is no more, and answers can't be mistaken for each other's. */
#include "filters/clamav_child.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/io/runner.h"
#include "filters/clamav_scanner.h"
#include "filters/clamav_wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOOK_MS = 200,    /* while it loads */
    LOAD_MS = 900000, /* the largest ones from a slow disk take a minute or two */
    END_MS = 2000,
    STATUS_MS = 1000, /* from the end of its sockets to its own */
    GRACE_MS = 3000,  /* more than scan_time: libclamav looks at the clock now and then */
    IN_MEMORY = 4 << 20,
    PIECE = 64 << 10
};

struct clamav_child {
    int requests;
    char *temporary;
    uint64_t scan_ms;
    pid_t pid;
    pthread_mutex_t lock;
    int report;    /* -1: it has ended */
    char why[120]; /* it has */
};

/* ---- Its end */

static void describe(struct clamav_child *c, const struct runner_report *r)
{
    if (r->what == RUNNER_ENDED && WIFSIGNALED(r->value))
        snprintf(c->why, sizeof c->why, "was killed by signal %d (%s)", WTERMSIG(r->value),
                 strsignal(WTERMSIG(r->value)));
    else if (r->what == RUNNER_ENDED)
        snprintf(c->why, sizeof c->why, "has ended with code %d", WEXITSTATUS(r->value));
    else if (r->what == RUNNER_FAILED)
        snprintf(c->why, sizeof c->why, "could not be started: %s", strerror(r->value));
    else if (r->what == RUNNER_GONE)
        snprintf(c->why, sizeof c->why, "was killed: the process that runs programs has died");
}

/* why NULL: its sockets tell that it has ended or is about to. Else it is made to. */
static void end(struct clamav_child *c, const char *why)
{
    pthread_mutex_lock(&c->lock);
    if (c->report >= 0) {
        snprintf(c->why, sizeof c->why, "%s", why ? why : "doesn't listen any more");
        if (!why) {
            struct runner_report r = runner_next(c->report, STATUS_MS);
            describe(c, &r);
        }
        close(c->report);
        c->report = -1;
    }
    pthread_mutex_unlock(&c->lock);
}

static void say(struct clamav_child *c, char *why, size_t room)
{
    pthread_mutex_lock(&c->lock);
    snprintf(why, room, "the scanner %s", c->why);
    pthread_mutex_unlock(&c->lock);
}

bool clamav_child_lives(struct clamav_child *c, char *why, size_t room)
{
    if (pthread_mutex_trylock(&c->lock) != 0)
        return true; /* a scan is just learning otherwise, and will tell */
    if (c->report >= 0) {
        struct runner_report r = runner_next(c->report, 0);
        if (r.what != RUNNER_NOTHING) {
            describe(c, &r);
            close(c->report);
            c->report = -1;
        }
    }
    bool lives = c->report >= 0;
    pthread_mutex_unlock(&c->lock);
    if (!lives)
        say(c, why, room);
    return lives;
}

pid_t clamav_child_pid(const struct clamav_child *c)
{
    return c->pid;
}

static void dispose(struct clamav_child *c)
{
    if (c->requests >= 0)
        close(c->requests);
    if (c->report >= 0)
        close(c->report);
    pthread_mutex_destroy(&c->lock);
    mem_free(c->temporary);
    mem_free(c);
}

void clamav_child_free(struct clamav_child **cp)
{
    struct clamav_child *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    close(c->requests);
    c->requests = -1;
    if (c->report >= 0)
        (void)runner_next(c->report, END_MS);
    dispose(c);
}

/* ---- Asking */

/* The answer's socket; -1: it isn't taken (errno). fd -1: none goes with it. */
static int ask(const struct clamav_child *c, const struct clamav_packet *p, int fd)
{
    char text[CLAMAV_PACKET];
    struct iovec iov = {.iov_base = text, .iov_len = clamav_packet_put(p, text)};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } room = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes};
    int ends[2], fds[2] = {fd, -1};
    const size_t size = (fd >= 0 ? 2 : 1) * sizeof(int);

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    fds[fd >= 0] = ends[1];
    m.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(head), fds, size);
    ssize_t rc = sendmsg(c->requests, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    int why = errno;
    close(ends[1]);
    if (rc >= 0)
        return ends[0];
    close(ends[0]);
    errno = why;
    return -1;
}

enum heard { HEARD, HEARD_NOTHING, HEARD_END };

static enum heard hear(int fd, int ms, enum clamav_packet_kind kind, struct clamav_packet *out)
{
    const uint64_t until = clock_mono_ms() + (uint64_t)ms;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char text[CLAMAV_PACKET + 1];
    int rc;

    while ((rc = poll(&p, 1, ms)) < 0 && errno == EINTR) {
        uint64_t now = clock_mono_ms();
        ms = now < until ? (int)(until - now) : 0;
    }
    if (rc == 0)
        return HEARD_NOTHING;
    ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    return n > 0 && clamav_packet_take(str_of(text, (size_t)n), out) && out->kind == kind
               ? HEARD
               : HEARD_END;
}

/* ---- Loading */

static struct clamav_child *start(const struct runner *r, const struct clamav_load *l,
                                  struct err *err)
{
    const char *const argv[] = {"posthouse", CLAMAV_SCANNER_WORD, l->folder, l->temporary, NULL};
    struct clamav_child *c;
    int ends[2], report;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "no socket for the scanner: %s", strerror(errno));
        return NULL;
    }
    const int fds[] = {ends[1], STDERR_FILENO, STDERR_FILENO};
    report = runner_run(
        r, &(struct runner_program){.argv = argv, .fds = fds, .n_fds = ARRAY_LEN(fds)}, err);
    close(ends[1]);
    if (report < 0) {
        close(ends[0]);
        return NULL;
    }
    c = MEM_NEW(struct clamav_child);
    c->requests = ends[0];
    c->report = report;
    c->scan_ms = l->limits.scan_time;
    c->temporary = str_dup_z(str_from(l->temporary));
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    return c;
}

static bool started(struct clamav_child *c)
{
    struct runner_report r = runner_next(c->report, RUNNER_START_MS);

    c->pid = r.pid;
    if (r.what == RUNNER_STARTED)
        return true;
    snprintf(c->why, sizeof c->why, "was not started in time");
    describe(c, &r);
    return false;
}

/* -1: it has died. 0: it was given up. */
static int await(struct clamav_child *c, struct clamav_load *l, int fd, struct clamav_packet *p)
{
    const uint64_t until = clock_mono_ms() + LOAD_MS;
    enum heard h;

    while ((h = hear(fd, LOOK_MS, CLAMAV_LOADED, p)) == HEARD_NOTHING && clock_mono_ms() < until)
        if (!l->go_on(l->ctx))
            return 0;
    if (h == HEARD)
        return 1;
    end(c, h == HEARD_NOTHING ? "did not load the signatures in time and was killed" : NULL);
    return -1;
}

static int load(struct clamav_child *c, struct clamav_load *l, unsigned threads, bool *died)
{
    const struct clamav_packet ask_for = {
        .kind = CLAMAV_LOAD, .limits = l->limits, .threads = threads};
    struct clamav_packet p = {0};
    int fd = started(c) ? ask(c, &ask_for, -1) : -1;
    int rc = fd >= 0 ? await(c, l, fd, &p) : -1;

    if (fd >= 0)
        close(fd);
    *died = rc < 0;
    if (fd < 0 && !c->why[0])
        end(c, NULL);
    if (rc < 0)
        say(c, l->why, sizeof l->why);
    if (rc <= 0)
        return -1;
    l->signatures = p.signatures;
    l->growth = p.growth;
    if (!p.loaded)
        snprintf(l->why, sizeof l->why, "%s", p.text);
    return p.loaded ? 0 : -1;
}

int clamav_child_load(const struct runner *r, struct clamav_load *l, unsigned threads,
                      struct clamav_child **out, bool *died)
{
    struct err err = {0};

    l->engine = NULL;
    l->why[0] = '\0';
    *died = false;
    *out = start(r, l, &err);
    if (!*out) {
        *died = true;
        snprintf(l->why, sizeof l->why, "%.190s", err.text);
        return -1;
    }
    if (load(*out, l, threads, died) == 0)
        return 0;
    dispose(*out); /* kills it */
    *out = NULL;
    return -1;
}

/* ---- Scanning */

static bool copy(const struct ph_view *v, int fd)
{
    char *piece = mem_alloc(PIECE);
    uint64_t at = 0;
    bool ok = true;

    while (ok && at < v->message_size) {
        int64_t n = v->read(v, at, piece, PIECE);
        ok = n > 0;
        for (int64_t done = 0; ok && done < n;) {
            ssize_t rc = write(fd, piece + done, (size_t)(n - done));
            ok = rc > 0 || (rc < 0 && errno == EINTR);
            done += rc > 0 ? rc : 0;
        }
        at += ok ? (uint64_t)n : 0;
    }
    mem_free(piece);
    return ok;
}

/* A copy, which the scanner may do with what it likes. Large ones aren't kept in memory. -1: it
 * can't be made. */
static int message(const struct clamav_child *c, const struct ph_view *v)
{
    const bool small = v->message_size <= IN_MEMORY;
    int fd = small ? memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING)
                   : open(c->temporary, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    if (!copy(v, fd) ||
        (small &&
         fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void gone(struct clamav_child *c, const char *why, char *name, size_t room)
{
    end(c, why);
    say(c, name, room);
}

static enum clamav_result take(struct clamav_child *c, int fd, char *name, size_t room)
{
    struct clamav_packet p;

    switch (hear(fd, (int)(c->scan_ms + GRACE_MS), CLAMAV_SCANNED, &p)) {
    case HEARD:
        snprintf(name, room, "%s", p.text);
        return p.result;
    case HEARD_NOTHING:
        gone(c, "gave no answer in time and was killed", name, room);
        return CLAMAV_GONE;
    default:
        gone(c, NULL, name, room);
        return CLAMAV_GONE;
    }
}

enum clamav_result clamav_child_scan(struct clamav_child *c, const struct ph_view *v, char *name,
                                     size_t room)
{
    int fd = message(c, v), answer;
    enum clamav_result result;

    if (fd < 0) {
        snprintf(name, room, "the message can't be handed to the scanner: %s", strerror(errno));
        return CLAMAV_FAILED;
    }
    answer = ask(c, &(struct clamav_packet){.kind = CLAMAV_SCAN, .size = v->message_size}, fd);
    int why = errno;
    close(fd);
    if (answer < 0 && (why == EPIPE || why == ECONNRESET || why == ENOTCONN)) {
        gone(c, NULL, name, room);
        return CLAMAV_UNASKED;
    }
    if (answer < 0) {
        snprintf(name, room, "the scanner can't be asked: %s", strerror(why));
        return CLAMAV_FAILED;
    }
    result = take(c, answer, name, room);
    close(answer);
    return result;
}
