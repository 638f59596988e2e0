/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* log_out.c - writes lines without waiting for whoever reads them. As long as the descriptor takes
 * them, they are written at once, by whoever logs: what is logged right before a crash is there.
 * When it doesn't, they go to a ring that a thread empties; when that is full, they are counted.
 * The descriptor may be shared with other processes, so it stays as it is: a pipe or terminal gets
 * an open file description of ours that doesn't block, a socket is asked not to. Where that can't
 * be had (a pipe that belongs to another user) the thread writes all of it. */
#include "appliance/base/log_out.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/metrics.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 20, GOES_AGAIN = RING / 2, AT_EXIT_MS = 1000, LAST_WORDS_MS = 200 };

enum way { BY_THREAD, AS_IT_IS /* it never waits long */, BY_OWN, BY_SEND };

METRIC(lost_lines, 1, .type = METRIC_COUNTER, .name = "posthouse_log_lines_lost_total",
       .help = "Lines of the log that were dropped, as nobody read them.");

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, drained;
    pthread_t thread;
    atomic_bool on;
    int fd, own; /* own: -1: none */
    enum way way;
    bool prepared, writing, stop;
    size_t at, n; /* in the ring */
    uint64_t lost;
    char ring[RING];
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .own = -1};

/* ---- Under the lock */

static void ring_add(const char *p, size_t n)
{
    size_t to = (out.at + out.n) % RING, first = n < RING - to ? n : RING - to;
    memcpy(out.ring + to, p, first);
    memcpy(out.ring, p + first, n - first);
    out.n += n;
}

/* Whole lines, as many as one write keeps whole. */
static size_t ring_peek(char to[LOG_LINE_MAX])
{
    size_t n = out.n < LOG_LINE_MAX ? out.n : LOG_LINE_MAX;
    size_t first = n < RING - out.at ? n : RING - out.at, whole = n;
    memcpy(to, out.ring + out.at, first);
    memcpy(to + first, out.ring, n - first);
    while (whole && to[whole - 1] != '\n')
        whole--;
    return whole ? whole : n;
}

static void tell_lost(void)
{
    char line[LOG_LINE_MAX];
    size_t n = log_lost_line(out.lost, line);
    out.lost = 0;
    ring_add(line, n);
}

static void keep(const char *p, size_t n)
{
    if (out.lost && out.n <= GOES_AGAIN)
        tell_lost();
    if (out.lost || n > RING - out.n) {
        out.lost++;
        metric_add_any(&lost_lines, 0, 1);
    } else {
        ring_add(p, n);
    }
    pthread_cond_signal(&out.work);
}

/* How much of it went; what can't be written at all is gone. */
static size_t write_now(const char *p, size_t n)
{
    ssize_t done;
    if (out.way == BY_THREAD)
        return 0;
    do
        done = out.way == BY_SEND  ? send(out.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL)
               : out.way == BY_OWN ? write(out.own, p, n)
                                   : write(out.fd, p, n);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : n;
    return (size_t)done;
}

/* ---- The thread */

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return;
        } else if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
}

static void *run(void *arg)
{
    char lines[LOG_LINE_MAX];
    (void)arg;
    pthread_mutex_lock(&out.lock);
    for (;;) {
        while (!out.n && !out.lost && !out.stop)
            pthread_cond_wait(&out.work, &out.lock);
        if (!out.n && out.lost)
            tell_lost();
        if (!out.n)
            break;
        size_t n = ring_peek(lines);
        out.writing = true;
        pthread_mutex_unlock(&out.lock);
        write_all(out.fd, lines, n);
        pthread_mutex_lock(&out.lock);
        out.writing = false;
        out.at = (out.at + n) % RING;
        out.n -= n;
        if (!out.n)
            pthread_cond_broadcast(&out.drained);
    }
    atomic_store(&out.on, false);
    if (out.own >= 0)
        close(out.own);
    out.own = -1;
    pthread_mutex_unlock(&out.lock);
    return NULL;
}

/* ---- Anybody */

void log_out(int fd, const char *line, size_t n)
{
    int before = errno; /* callers log between a failure and strerror(errno) */
    if (!atomic_load_explicit(&out.on, memory_order_acquire) || fd != out.fd) {
        while (write(fd, line, n) < 0 && errno == EINTR)
            ;
        errno = before;
        return;
    }
    pthread_mutex_lock(&out.lock);
    size_t done = out.n || out.writing || out.lost ? 0 : write_now(line, n);
    if (done < n)
        keep(line + done, n - done);
    pthread_mutex_unlock(&out.lock);
    errno = before;
}

static struct timespec in_ms(clockid_t id, uint64_t ms)
{
    struct timespec t;
    clock_gettime(id, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

bool log_flush(uint64_t ms)
{
    if (!atomic_load(&out.on))
        return true;
    struct timespec until = in_ms(CLOCK_MONOTONIC, ms), wall = in_ms(CLOCK_REALTIME, ms);
    if (pthread_mutex_timedlock(&out.lock, &wall) != 0)
        return false;
    int rc = 0;
    while ((out.n || out.writing || out.lost) && rc == 0)
        rc = pthread_cond_timedwait(&out.drained, &out.lock, &until);
    bool drained = !out.n && !out.writing && !out.lost;
    pthread_mutex_unlock(&out.lock);
    return drained;
}

void log_last_words(const char *text)
{
    size_t n = strlen(text);
    bool drained = log_flush(LAST_WORDS_MS), on = atomic_load(&out.on);
    if (on && out.way != BY_THREAD)
        write_now(text, n);
    else if (!on || drained) /* else nobody reads: waiting for him would keep the process */
        write_all(on ? out.fd : STDERR_FILENO, text, n);
}

static enum way way_of(int fd)
{
    struct stat st;
    char path[32];
    if (fstat(fd, &st) != 0)
        return BY_THREAD;
    if (S_ISSOCK(st.st_mode))
        return BY_SEND;
    if (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))) /* null */
        return AS_IT_IS;
    if (!S_ISFIFO(st.st_mode) && !isatty(fd))
        return BY_THREAD;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    out.own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return out.own >= 0 ? BY_OWN : BY_THREAD;
}

void log_prepare(void)
{
    if (atomic_load(&out.on) || out.prepared || log_fd() < 0)
        return;
    out.fd = log_fd();
    out.way = way_of(out.fd);
    out.prepared = true;
}

/* It writes for itself, and waits if need be: the thread isn't there. */
static void in_child(void)
{
    atomic_store(&out.on, false);
}

static void at_exit(void)
{
    log_stop_thread(AT_EXIT_MS);
}

static void once(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(pthread_cond_init(&out.drained, &attr) == 0);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_atfork(NULL, NULL, in_child) == 0 && atexit(at_exit) == 0);
}

void log_start_thread(void)
{
    static pthread_once_t prepared = PTHREAD_ONCE_INIT;
    sigset_t all, before;
    log_prepare();
    if (!out.prepared || atomic_load(&out.on))
        return;
    pthread_once(&prepared, once);
    out.stop = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&out.thread, NULL, run, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(out.thread, "log");
    atomic_store_explicit(&out.on, true, memory_order_release);
}

bool log_stop_thread(uint64_t ms)
{
    if (!atomic_load(&out.on))
        return true;
    bool drained = log_flush(ms);
    pthread_t thread = out.thread;
    pthread_mutex_lock(&out.lock);
    out.stop = true;
    out.prepared = false;
    pthread_cond_signal(&out.work);
    pthread_mutex_unlock(&out.lock);
    if (drained)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread); /* it ends with the process, or when somebody reads again */
    return drained;
}
