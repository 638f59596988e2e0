/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_database.h - a folder of signatures, looked at from outside: has it changed, and how large
 * will an engine of it be? Floor 4 (filters). Threads: any. Blocking. */
#ifndef PH_FILTERS_CLAMAV_DATABASE_H
#define PH_FILTERS_CLAMAV_DATABASE_H
#include <stddef.h>
#include <stdint.h>

struct clamav_database {
    size_t files;         /* that hold signatures */
    uint64_t bytes;       /* of them */
    uint64_t fingerprint; /* of names, sizes and times; differs when any has changed */
    uint64_t estimate;    /* bytes of memory, by rule of thumb */
};
/* -1: it can't be read (errno); an empty one is files = 0. */
int clamav_database_look(const char *folder, struct clamav_database *out);
#endif
