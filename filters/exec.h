/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* exec.h - the settings of the stage `exec`, which gets its programs from sections of their own.
 * Floor 4 (filters). */
#ifndef PH_FILTERS_EXEC_H
#define PH_FILTERS_EXEC_H
#include "filters/exec_program.h"

struct exec_conf { /* section "exec" */
    int64_t at_once;
    /* not settings: filled by whoever reads sections "program"; they live as long as this */
    const struct exec_program *programs;
    size_t n_programs;
};
#endif
