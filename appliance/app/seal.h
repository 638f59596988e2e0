/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* seal.h - the seal of the test appliance: after it, this process can't reach any other host.
 * Floor 6 (app). Threads: before any other thread exists, after the listeners are open.
 * seccomp refuses with EACCES: socket() of every family but AF_UNIX, connect() (an accepted socket
 * could be dissolved and connected again), sends with TCP fast open, io_uring, ptrace, taking
 * another process's descriptors. What is accepted on the listeners works on. Children inherit it;
 * it can't be undone.
 * With local_sockets connect() works, if the address has the size of a Unix socket's (addresses of
 * the Internet are shorter): a database on this machine can be reached. */
#ifndef PH_APP_SEAL_H
#define PH_APP_SEAL_H
#include "appliance/base/err.h"

/* Seals and proves it: opens and connections to documentation addresses (192.0.2.1, 2001:db8::1),
 * TCP and UDP, must fail with EACCES. -1: the kernel doesn't seal (err says why); the caller goes
 * on with refusal in code and says so. */
int seal_process(bool local_sockets, struct err *err) __attribute__((warn_unused_result));
#endif
