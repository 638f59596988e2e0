/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* runner_private.h - between runner.c (the server), runner_supervisor.c (its child) and
 * runner_main.c (the runner, a child of that one). Floor 1 (io).
 * A request is one packet: the head, then path ("" is its own), argv and env, each word ended by
 * NUL. With it go the report's other end and the program's descriptors. */
#ifndef PH_IO_RUNNER_PRIVATE_H
#define PH_IO_RUNNER_PRIVATE_H
#include "appliance/io/runner.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

enum { RUNNER_SOCKET = 3, RUNNER_PARENT_DIED = SIGUSR1 };

struct runner_head {
    uint32_t n_argv, n_env;
    uint32_t switch_user;
    uid_t uid;
    gid_t gid;
    struct runner_limits limits;
};
struct runner_shared { /* memory of the supervisor and the runner */
    /* Of the programs that run, 0 where there is none: the supervisor kills them when the runner
     * couldn't. */
    _Atomic(pid_t) groups[RUNNER_PROGRAMS];
    atomic_uint asked, answered; /* how often it was asked for a sign of life, by SIGCHLD */
};
struct runner_work {
    const struct runner_conf *conf;
    pid_t supervisor;
    sigset_t before; /* what programs begin with */
    struct runner_shared *shared;
};
bool runner_server_gone(void); /* in the supervisor and the runner */
/* Never returns; the socket becomes RUNNER_SOCKET. */
void runner_supervise(int socket, pid_t server, const struct runner_conf *conf)
    __attribute__((noreturn));
/* In a child of the supervisor. Never returns. */
void runner_work(const struct runner_work *w) __attribute__((noreturn));
#endif
