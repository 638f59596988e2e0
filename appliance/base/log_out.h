/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* log_out.h - the way of a finished line to its descriptor. Private to base; see log.h for what is
 * promised. */
#ifndef PH_BASE_LOG_OUT_H
#define PH_BASE_LOG_OUT_H
#include <stddef.h>
#include <stdint.h>

enum { LOG_LINE_MAX = 4096 /* PIPE_BUF: one write stays whole in a pipe */ };

void log_out(int fd, const char *line, size_t n); /* errno stays as it is */
int log_fd(void);
/* log.c: the line that says how many are missing at its place. */
size_t log_lost_line(uint64_t lost, char out[LOG_LINE_MAX]);
#endif
