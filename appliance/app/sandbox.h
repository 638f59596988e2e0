/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sandbox.h - gives up what a mail server never needs. Floor 6 (app). Threads: before any other
 * exists: it binds the calling thread and those it makes.
 * Landlock: files outside the data folder can't be changed, and only the system's and the named
 * ones be read; no new listening ports. seccomp refuses with EPERM: running programs, tracing,
 * io_uring, mounts, modules, kexec, bpf, perf, namespaces, clocks, keyrings, and sockets of odd
 * families. */
#ifndef PH_APP_SANDBOX_H
#define PH_APP_SANDBOX_H
#include "appliance/base/err.h"
#include <stdbool.h>

struct sandbox {
    const char *data;            /* folder to read and write */
    const char *bodies;          /* another one; NULL or "": none */
    const char *const *readable; /* folders and files to read besides; NULL-terminated; those that
                                    don't exist are passed over */
    bool bare; /* no network, no signals to others; of the system's files only libraries and those
                  that they read */
};

/* As far as the kernel goes: what it doesn't have is one warning in the log. */
void sandbox_enter(const struct sandbox *s);
#endif
