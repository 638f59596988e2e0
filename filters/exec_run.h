/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* exec_run.h - one program of the stage `exec` run for one message, and waited for.
 * Floor 4 (filters). Threads: a worker's; blocks until the program has ended, its time is over, or
 * the descriptor `cancel` is readable. */
#ifndef PH_FILTERS_EXEC_RUN_H
#define PH_FILTERS_EXEC_RUN_H
#include "filters/exec_program.h"

struct exec_call { /* what is needed of a program: a copy, the configuration may be gone by then */
    const char *name;
    struct runner_program program; /* without environment and descriptors */
    const signed char *verdict;
    uint64_t timeout;
    bool fields;
};
enum exec_end { EXEC_SAID, EXEC_FAILED, EXEC_CANCELLED };
struct exec_result {
    enum exec_end end;
    enum ph_verdict verdict; /* EXEC_SAID */
    char why[200];           /* EXEC_FAILED */
    char printed[EXEC_OUTPUT_MAX + 1];
    size_t n_printed;
};
void exec_run(const struct runner *r, const struct exec_call *c, const char *const *env,
              int message, int cancel, struct exec_result *out);

/* The message as a file that nobody can change, at its beginning: in memory, a large one in
 * `folder` (NULL: in memory, too), without a name. -1: errno. Blocks. */
int exec_message(const struct ph_view *v, const char *folder);
#endif
