/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* machine.h - how much memory this process could still take without the kernel killing somebody:
 * the machine's, and what the control groups around it leave. Floor 1 (io). Threads: any. Reads a
 * few small files of /proc and /sys. */
#ifndef PH_IO_MACHINE_H
#define PH_IO_MACHINE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct machine_memory {       /* bytes */
    uint64_t available, swap; /* MemAvailable and SwapFree of the machine */
    uint64_t group;           /* what the tightest control group leaves; UINT64_MAX: no limit */
    uint64_t left;            /* the least of them: what can be taken */
    uint64_t total;           /* all the memory there is, used or not, without swap: the machine's,
                                 or what the tightest control group allows */
};
/* root: "" (tests: a folder with proc/ and sys/ in it). False: /proc/meminfo can't be read; then
 * all is UINT64_MAX. */
bool machine_memory_read(const char *root, struct machine_memory *out);
/* What this process has in memory and in swap that is no file's. 0: unknown. */
uint64_t machine_memory_own(void);
/* The same of another process of this user. */
uint64_t machine_memory_of(pid_t pid);
#endif
