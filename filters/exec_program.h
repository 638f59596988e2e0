/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* exec_program.h - the programs of the stage `exec`: sections "program", one for each title.
 * Floor 4 (filters). Threads: any once filled (immutable). */
#ifndef PH_FILTERS_EXEC_PROGRAM_H
#define PH_FILTERS_EXEC_PROGRAM_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"
#include "appliance/io/runner.h"
#include "filters/stage.h"

enum { EXEC_PROGRAMS_MAX = 50, EXEC_WORDS_MAX = 64, EXEC_CODES = 256 };
enum exec_mail { EXEC_ALL, EXEC_OUTSIDE, EXEC_USERS };
enum { EXEC_FAILS = -1 }; /* no verdict: an exit code that says nothing */

struct exec_program { /* section "program" */
    const char *command, *user, *exits;
    int mail; /* enum exec_mail: whose it looks at */
    uint64_t timeout, cpu, memory, size;
    bool fields;
    /* not settings */
    char *name;
    char *line;                           /* of command, words ended by NUL */
    const char *argv[EXEC_WORDS_MAX + 1]; /* into it; the first is the file */
    signed char verdict[EXEC_CODES];      /* of each exit code: enum ph_verdict, or EXEC_FAILS */
    uid_t uid;                            /* of user */
    gid_t gid;
};
extern const struct ph_setting exec_program_settings[];
/* Once all is set; fills what isn't a setting. -1: err names the setting. May be called again. */
int exec_program_check(struct exec_program *p, struct err *err) __attribute__((warn_unused_result));
void exec_program_fini(struct exec_program *p); /* its settings and all else */

/* What is asked of the runner for it, without environment and descriptors; points into p. user: the
 * server's own, for programs without one. */
void exec_program_request(const struct exec_program *p, uid_t user, struct runner_program *out);
/* Is this request one for p, with nothing in its environment that the stage doesn't set? For the
 * runner, whose server may have been taken over. */
bool exec_program_is(const struct exec_program *p, const struct runner_program *asked, uid_t user);

/* ---- Its environment. */
enum { EXEC_VALUE_MAX = 1000 };
extern const char *const exec_names[]; /* of all variables; NULL-terminated */
/* "NAME=value", without control characters, cut to EXEC_VALUE_MAX octets. */
void exec_put_variable(struct buf *out, const char *name, struct str value);

/* ---- What it prints: lines "X-Name: value" are fields for the message, the first other one is a
 * text for people. */
enum { EXEC_TEXT_MAX = 200, EXEC_FIELDS_MAX = 20, EXEC_OUTPUT_MAX = 16 << 10 };
struct exec_output {
    char text[EXEC_TEXT_MAX + 1]; /* visible ASCII and blanks; "": none */
    struct {
        struct str name, value; /* into the output */
    } fields[EXEC_FIELDS_MAX];
    size_t n_fields;
};
void exec_output_parse(struct str printed, struct exec_output *out);
/* The reply of a DEFER or REJECT: text as it is if it begins with a code ("550 5.7.1 ..."), else
 * after one. "": the server's own words. */
void exec_reply(enum ph_verdict verdict, const char *text, char *out, size_t room);
#endif
