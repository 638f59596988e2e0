/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* runner_private.h - between runner.c (the server) and runner_main.c (the runner). Floor 1 (io).
 * A request is one packet: the head, then path ("" is its own), argv and env, each word ended by
 * NUL. With it go the report's other end and the program's descriptors. */
#ifndef PH_IO_RUNNER_PRIVATE_H
#define PH_IO_RUNNER_PRIVATE_H
#include "appliance/io/runner.h"
#include <stdint.h>

struct runner_head {
    uint32_t n_argv, n_env;
    uint32_t switch_user;
    uid_t uid;
    gid_t gid;
    struct runner_limits limits;
};
/* Never returns. */
void runner_main(int socket, pid_t parent, const struct runner_conf *conf)
    __attribute__((noreturn));
#endif
