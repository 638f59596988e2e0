/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* runner.h - programs run for a server that may not run any itself: a small process, the runner,
 * starts them and tells how they ended. It is made by a supervisor, forked before the sandbox is
 * closed, which kills what it ran and makes another when it has died: at once nearly, later and
 * later if it doesn't live. One that hangs is killed, after some 12 s. Requests wait meanwhile.
 * Floor 1 (io). Threads: runner_start before any other exists, runner_stop after all; the rest:
 * any, several at once. Blocks only where a timeout says so, and for the moment a request takes.
 * Each program has a report of its own, a descriptor that can be polled: what has become of it is
 * read there with runner_next(); closing it kills the program and whatever it has started (its
 * process group, with SIGKILL). All are killed when the server ends, however it does. */
#ifndef PH_IO_RUNNER_H
#define PH_IO_RUNNER_H
#include "appliance/base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { RUNNER_FDS = 8, RUNNER_WORDS = 1024, RUNNER_REQUEST = 96 << 10, RUNNER_PROGRAMS = 256 };
/* A program that hasn't begun or failed by then won't: longer than the runner is away. */
enum { RUNNER_START_MS = 15000 };

struct runner_limits { /* 0: none */
    uint64_t memory;   /* octets of address space */
    uint64_t cpu_s;    /* time of a processor */
};
struct runner_program {
    const char *path;        /* absolute; NULL: the file this process was started from */
    const char *const *argv; /* both NULL-terminated; all of it within RUNNER_REQUEST octets */
    const char *const *env;  /* the whole environment; NULL: an empty one */
    const int *fds;          /* its descriptors 0, 1, 2 and so on; where these three are missing it
                                has /dev/null. The caller's copies stay the caller's */
    unsigned n_fds;          /* at most RUNNER_FDS */
    bool switch_user;        /* it becomes uid and gid, with no other group; only a runner that is
                                root can do it */
    uid_t uid;
    gid_t gid;
    struct runner_limits limits;
};
struct runner_conf { /* functions may be NULL */
    /* In the supervisor: gives up what programs must not have. */
    int (*prepare)(void *ctx, struct err *err);
    /* In the runner, each with its own copy of what there was at the start. What isn't allowed is
     * answered by RUNNER_FAILED with EPERM: a server that was taken over can't run what it likes.
     * NULL: everything is. */
    bool (*allowed)(void *ctx, const struct runner_program *p);
    void *ctx;
};
struct runner {
    int fd;    /* -1: there is none */
    pid_t pid; /* of the supervisor */
};
int runner_start(struct runner *r, const struct runner_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
void runner_stop(struct runner *r);

/* A report to read; -1: it was not asked for (err): the supervisor is gone for good, or too many
 * requests wait. */
int runner_run(const struct runner *r, const struct runner_program *p, struct err *err)
    __attribute__((warn_unused_result));

enum runner_event {
    RUNNER_NOTHING, /* within the time */
    RUNNER_STARTED,
    RUNNER_FAILED, /* it was not; value: errno */
    RUNNER_ENDED,  /* value: as of waitpid(); nothing more comes after this, or RUNNER_FAILED */
    RUNNER_GONE    /* the runner has died, and so does the program; another one can be run */
};
struct runner_report {
    enum runner_event what;
    pid_t pid; /* from STARTED on; its process group has the same number */
    int value;
};
/* timeout_ms -1: for as long as it takes. */
struct runner_report runner_next(int report, int timeout_ms);
#endif
