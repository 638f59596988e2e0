/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor_sample.c - figures that take time (counting rows, listing descriptors): by a job on lane
 * store, some milliseconds at a time, at most every 30 s and never more than one part in a hundred
 * of a worker's time. And those of the process that the kernel knows at once. */
#include "appliance/app/monitor_private.h"
#include "appliance/base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVERY_MS = 30000, SHARE = 100, FDS_EVERY_MS = 1000 };

struct sampling {
    struct job job;
    struct store *store;
    DIR *fds;    /* /proc/self/fd; a sandbox may have closed the way to it since */
    int stat_fd; /* /proc/self/stat */
    int64_t started_ms;
    struct sample last;
    bool running, dropped; /* dropped: freed when the job is through */
    uint64_t due_ms, fds_due_ms;
    /* The job's, while it runs. */
    bool size_it, failed;
    struct store_sizing sizing;
    struct queue_totals queue;
    struct queue_kept held, quarantine;
    uint64_t open_fds, spent_us;
    struct err err;
};

/* ---- the job */
static uint64_t count_fds(DIR *dir)
{
    struct stat st;
    uint64_t n = 0;

    /* Linux 6.2 and later tell the number at once. */
    if (fstat(dirfd(dir), &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    rewinddir(dir);
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    return n;
}

/* The queue last: its figures are what somebody is woken for. */
static int size_slice(struct sampling *s, struct store_reader *r)
{
    if (!r || store_size_slice(r, &s->sizing, &s->err))
        return -1;
    if (!s->sizing.done)
        return 0;
    return queue_totals(r, &s->queue, &s->err) || queue_kept(r, QUEUE_HELD, &s->held, &s->err) ||
                   queue_kept(r, QUEUE_QUARANTINE, &s->quarantine, &s->err)
               ? -1
               : 0;
}

static void run(struct job *j, void *worker)
{
    struct sampling *s = CONTAINER_OF(j, struct sampling, job);
    uint64_t began = clock_mono_us();

    s->open_fds = count_fds(s->fds);
    s->failed = s->size_it && size_slice(s, worker);
    s->spent_us += clock_mono_us() - began;
}

static void sampling_end(struct sampling *s)
{
    if (s->fds)
        closedir(s->fds);
    if (s->stat_fd >= 0)
        close(s->stat_fd);
    mem_free(s);
}

static void publish(struct sampling *s)
{
    uint64_t rest = s->spent_us * SHARE / 1000, now = clock_mono_ms();

    s->last.sizes = s->sizing.sizes;
    s->last.queue = s->queue;
    s->last.held = s->held;
    s->last.quarantine = s->quarantine;
    s->last.sized_ms = clock_wall_ms();
    s->due_ms = now + (rest > EVERY_MS ? rest : EVERY_MS);
    s->sizing = (struct store_sizing){.done = false};
    s->spent_us = 0;
}

static void done(struct job *j)
{
    struct sampling *s = CONTAINER_OF(j, struct sampling, job);

    s->running = false;
    if (s->dropped) {
        sampling_end(s);
        return;
    }
    s->last.open_fds = s->open_fds;
    s->fds_due_ms = clock_mono_ms() + FDS_EVERY_MS;
    if (s->failed) {
        s->sizing = (struct store_sizing){.done = false};
        s->due_ms = clock_mono_ms() + EVERY_MS;
    } else if (s->size_it && s->sizing.done) {
        publish(s);
    } else if (s->size_it) {
        sampling_kick(s);
    }
}

void sampling_kick(struct sampling *s)
{
    uint64_t now = clock_mono_ms();

    if (s->running)
        return;
    s->size_it = now >= s->due_ms;
    if (!s->size_it && now < s->fds_due_ms)
        return;
    s->job.run = run;
    s->job.done = done;
    s->running = lane_submit(store_lane(s->store), &s->job) == 0; /* full: later */
}

/* ---- life */
struct sampling *sampling_new(struct store *store, struct err *err)
{
    struct sampling *s = MEM_NEW(struct sampling);

    s->store = store;
    s->started_ms = clock_wall_ms();
    s->stat_fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    s->fds = opendir("/proc/self/fd");
    if (s->stat_fd < 0 || !s->fds) {
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "cannot read /proc/self: %s", strerror(errno));
        sampling_end(s);
        return NULL;
    }
    s->last.open_fds = count_fds(s->fds);
    return s;
}

void sampling_free(struct sampling **sp)
{
    struct sampling *s = *sp;

    if (!s)
        return;
    *sp = NULL;
    if (s->running && lane_cancel(store_lane(s->store), &s->job))
        s->running = false;
    if (s->running)
        s->dropped = true;
    else
        sampling_end(s);
}

const struct sample *sampling_last(const struct sampling *s)
{
    return &s->last;
}

/* ---- the process */

/* proc(5), /proc/pid/stat: the fields after the name, which may hold anything but ends with the
 * last ')'. Field 3 is the first. */
static uint64_t stat_field(const char *after_name, unsigned field)
{
    const char *p = after_name;

    for (unsigned i = 2; i < field && p; i++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return p ? strtoull(p, NULL, 10) : 0;
}

void sampling_process(const struct sampling *s, struct process *out)
{
    char text[1024];
    struct rusage used;
    struct rlimit files;
    ssize_t n = pread(s->stat_fd, text, sizeof text - 1, 0);
    const char *name_end;

    *out = (struct process){.started_ms = s->started_ms};
    text[n > 0 ? n : 0] = '\0';
    name_end = strrchr(text, ')');
    if (name_end) {
        out->threads = stat_field(name_end, 20);
        out->vm_bytes = stat_field(name_end, 23);
        out->rss_bytes = stat_field(name_end, 24) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    if (getrusage(RUSAGE_SELF, &used) == 0)
        out->cpu_us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        out->max_fds = files.rlim_cur;
}
