/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_status.h - how the virus scanner is, for who watches the server. Floor 4 (filters).
 * Threads: loop. */
#ifndef PH_FILTERS_CLAMAV_STATUS_H
#define PH_FILTERS_CLAMAV_STATUS_H
#include "filters/chain.h"
#include <sys/types.h>

struct clamav_status {
    bool ready;         /* mail can be scanned */
    unsigned under_way; /* scans */
    pid_t pid;          /* of its process; 0: it is in this one, or there is none */
    uint64_t memory;    /* of that process, in octets; no file's */
    uint64_t deaths;    /* processes that ended by themselves, since the start */
};
/* False: the stage is off. */
bool clamav_status(const struct filters *f, struct clamav_status *out);
#endif
