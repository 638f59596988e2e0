/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* command_ask.h - puts a request (control.h) to whoever may answer it: the daemon that holds the
 * data folder, or, when none does, this process, which takes the lock meanwhile.
 * Floor 6 (app). Threads: main thread of a program without a loop; blocks. */
#ifndef PH_APP_COMMAND_ASK_H
#define PH_APP_COMMAND_ASK_H
#include "appliance/base/err.h"
#include <jansson.h>

struct config;
struct command_target {
    const char *data, *config; /* as given, or NULL */
    struct config *configured; /* NULL: none was read */
    bool reads;                /* without a daemon: makes nothing, and brings nothing up to date */
};
void command_target_init(struct command_target *t); /* POSTHOUSE_DATA */
/* Is argv[i] one of --data and --config? How many words it takes; 0: it isn't. */
int command_target_word(struct command_target *t, int argc, char **argv, int i);
void command_target_fini(struct command_target *t);
/* The reply is the caller's; one of several pages comes as one. The request is changed. */
int command_ask(struct command_target *t, json_t *request, json_t **reply_out, struct err *err)
    __attribute__((warn_unused_result));
/* The same of a folder and a configuration that are known, for what only reads; configured NULL:
 * defaults. */
int command_read_folder(const char *data, const struct config *configured, json_t *request,
                        json_t **reply_out, struct err *err) __attribute__((warn_unused_result));
#endif
