/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_wire.h - the command's end of a stream of mail (import_server.h): to the daemon that holds
 * the data folder, or to a child process that opens it.
 * Floor 6 (app). Threads: one; blocking. The command stays who has typed it, so it reads and writes
 * files with that one's rights; the child becomes the folder's owner.
 * Errors: ERR_TEMP when the other end is gone. */
#ifndef PH_APP_IMPORT_WIRE_H
#define PH_APP_IMPORT_WIRE_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"
#include <jansson.h>

struct import_wire;
/* reads: without a daemon nothing is made. */
int import_wire_open(const char *data, const char *config, bool reads, struct import_wire **out,
                     struct err *err) __attribute__((warn_unused_result));
bool import_wire_daemon(const struct import_wire *w); /* others may open one meanwhile */
/* Waits for the child: what it was told before is done. */
void import_wire_close(struct import_wire **w);

/* Queues a request, which it takes. */
int import_wire_send(struct import_wire *w, json_t *request, struct err *err)
    __attribute__((warn_unused_result));
int import_wire_text(struct import_wire *w, struct str bytes, struct err *err)
    __attribute__((warn_unused_result));
int import_wire_text_end(struct import_wire *w, bool drop, struct err *err)
    __attribute__((warn_unused_result));
/* Sends what is queued. */
int import_wire_flush(struct import_wire *w, struct err *err) __attribute__((warn_unused_result));
/* The next answer: 1; 0: there is none yet (only without `wait`). The caller's, who decrefs it. */
int import_wire_answer(struct import_wire *w, bool wait, json_t **out, struct err *err)
    __attribute__((warn_unused_result));
/* The next piece of a text that follows an answer: 1 and a view until the next call; 0: its end;
 * 2: it is to be dropped. */
int import_wire_piece(struct import_wire *w, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
/* A request and its answer. {error}: -1, ERR_TEMP or ERR_PERM. */
int import_wire_ask(struct import_wire *w, json_t *request, json_t **out, struct err *err)
    __attribute__((warn_unused_result));
/* A command, as people type it: its "result" (owned; may be NULL). */
int import_wire_command(struct import_wire *w, const char *const *argv, size_t n, json_t **out,
                        struct err *err) __attribute__((warn_unused_result));
int import_wire_error(json_t *answer, struct err *err); /* -1 if it is an {error}, else 0 */

/* import_here.c: a child that opens the folder; its end of the stream. *busy: another process has
 * it. */
struct config;
int import_here_start(const char *folder, const struct config *configured, bool reads, int *fd_out,
                      int64_t *pid_out, struct err *err) __attribute__((warn_unused_result));
#endif
