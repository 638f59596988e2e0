/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/exec_run.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN_MEMORY = 1 << 20, CHUNK = 64 << 10 };

/* ---- The message. */

static int copy(const struct ph_view *v, int fd)
{
    char *room = mem_alloc(CHUNK);
    uint64_t at = 0;
    int64_t n;

    while ((n = v->read(v, at, room, CHUNK)) > 0) {
        for (int64_t done = 0; done < n;) {
            ssize_t some = write(fd, room + done, (size_t)(n - done));
            if (some < 0 && errno == EINTR)
                continue;
            if (some <= 0) {
                n = -1;
                break;
            }
            done += some;
        }
        if (n < 0)
            break;
        at += (uint64_t)n;
    }
    mem_free(room);
    return n < 0 ? -1 : 0;
}

static int in_memory(const struct ph_view *v)
{
    int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    if (copy(v, fd) == 0 && lseek(fd, 0, SEEK_SET) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -1;
}

static int in_file(const struct ph_view *v, const char *folder)
{
    struct buf path;
    int fd, only = -1;

    buf_init(&path, 4096);
    buf_printf(&path, "%s/exec-XXXXXX", folder);
    char *name = str_dup_z(buf_str(&path));
    buf_fini(&path);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0) {
        only = open(name, O_RDONLY | O_CLOEXEC); /* who reads it can't write */
        (void)unlink(name);
        if (only >= 0 && copy(v, fd)) {
            close(only);
            only = -1;
        }
        close(fd);
    }
    mem_free(name);
    return only;
}

int exec_message(const struct ph_view *v, const char *folder)
{
    return folder && v->message_size > IN_MEMORY ? in_file(v, folder) : in_memory(v);
}

/* ---- The program. */

struct run {
    const struct exec_call *call;
    struct exec_result *result;
    int report, output, cancel;
    uint64_t until; /* monotonic: it must have begun, then have ended */
    bool begun, over;
};

static void fail(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct run *r, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->result->end = EXEC_FAILED;
    snprintf(r->result->why, sizeof r->result->why, "%s %s", r->call->name, text);
    r->over = true;
}

/* What there is now. False: nothing more will come. */
static bool read_output(struct run *r)
{
    struct exec_result *x = r->result;

    for (;;) {
        ssize_t n = read(r->output, x->printed + x->n_printed, sizeof x->printed - x->n_printed);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        x->n_printed += (size_t)n;
        if (x->n_printed == sizeof x->printed) {
            fail(r, "prints more than %d octets", EXEC_OUTPUT_MAX);
            return false;
        }
    }
}

static void ended(struct run *r, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    (void)read_output(r);
    if (r->over)
        return;
    r->over = true;
    if (code < 0)
        fail(r, "was killed by signal %d", WTERMSIG(status));
    else if (r->call->verdict[code] == EXEC_FAILS)
        fail(r, "ended with code %d, which exits doesn't name", code);
    else
        r->result->verdict = (enum ph_verdict)r->call->verdict[code];
}

static void take_report(struct run *r)
{
    const struct runner_report said = runner_next(r->report, 0);

    switch (said.what) {
    case RUNNER_NOTHING:
        break;
    case RUNNER_STARTED:
        r->begun = true;
        r->until = clock_mono_ms() + r->call->timeout;
        break;
    case RUNNER_FAILED:
        fail(r, "can't be run: %s", strerror(said.value));
        break;
    case RUNNER_ENDED:
        ended(r, said.value);
        break;
    case RUNNER_GONE:
        fail(r, "was killed: the process that runs programs has died");
        break;
    }
}

static void too_late(struct run *r)
{
    if (r->begun)
        fail(r, "has taken longer than %llu ms", (unsigned long long)r->call->timeout);
    else
        fail(r, "was not started in time");
}

static void wait_for(struct run *r)
{
    struct pollfd p[] = {{.fd = r->report, .events = POLLIN},
                         {.fd = r->cancel, .events = POLLIN},
                         {.fd = r->output, .events = POLLIN}};

    while (!r->over) {
        uint64_t now = clock_mono_ms();
        if (now >= r->until) {
            too_late(r);
            return;
        }
        if (poll(p, ARRAY_LEN(p), (int)(r->until - now)) < 0)
            continue;
        if (p[1].revents) {
            r->result->end = EXEC_CANCELLED;
            return;
        }
        if (p[2].revents && !read_output(r))
            p[2].fd = -1;
        if (!r->over && p[0].revents)
            take_report(r);
    }
}

void exec_run(const struct runner *runner, const struct exec_call *c, const char *const *env,
              int message, int cancel, struct exec_result *out)
{
    struct run r = {.call = c, .result = out, .cancel = cancel};
    struct runner_program p = c->program;
    struct err err = {0};
    int ends[2];

    *out = (struct exec_result){.end = EXEC_SAID};
    if (lseek(message, 0, SEEK_SET) != 0 || pipe2(ends, O_CLOEXEC) != 0) {
        fail(&r, "can't be given the message: %s", strerror(errno));
        return;
    }
    const int fds[] = {message, ends[1]};
    p.env = env;
    p.fds = fds;
    p.n_fds = ARRAY_LEN(fds);
    r.output = ends[0];
    (void)fcntl(r.output, F_SETFL, O_NONBLOCK);
    r.until = clock_mono_ms() + RUNNER_START_MS;
    r.report = runner_run(runner, &p, &err);
    close(ends[1]);
    if (r.report < 0) {
        fail(&r, "can't be run: %s", err.text);
    } else {
        wait_for(&r);
        close(r.report); /* which kills what is left of it */
    }
    close(r.output);
}
