/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin.h - administration commands: the table, and running one against the data folder.
 * Floor 6 (app). Threads: admin_run blocks: lane misc in the daemon, the main thread in a program
 * without a loop. A result is a JSON value; text for people is made from it by the client, so both
 * can't differ. */
#ifndef PH_APP_ADMIN_H
#define PH_APP_ADMIN_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"
#include "appliance/store/store.h"
#include <jansson.h>

enum {
    ADMIN_OK = 0,
    ADMIN_REFUSED = 1,
    ADMIN_USAGE = 2,
    ADMIN_TEMPFAIL = 75
}; /* exit codes; 75: EX_TEMPFAIL */

struct directory_conf;
struct guard;
struct admin_call {
    const char *dir;                        /* the data folder */
    const struct directory_conf *directory; /* NULL: in that folder */
    const char *global_aliases;             /* of the settings; NULL: none */
    struct store *store;
    struct guard *guard;     /* for admin_on_loop() */
    const char *const *args; /* after group and verb */
    size_t n_args;
    const char *const *options; /* "name=value" or "name", checked against the command's list */
    size_t n_options;
    const char *password; /* read by the client where the command wants one; else NULL */
    const char *file;     /* likewise: what is in the file that the last argument names */
    json_t *result; /* out: owned; NULL = nothing to show. With "warnings", a list of sentences,
                       people are shown these on stderr, and nothing else of it */
    char *revoked;  /* out: owned; the folded address, or "@domain", whose logins hold no more; or
                       NULL */
    char *more; /* out: owned; there is more than `result`: ask again with --after=THIS; or NULL */
    struct admin_queue {
        bool changed; /* out: something waits that didn't, or goes elsewhere: delivery must look */
        bool flush;   /* out: at once, also at hosts that rest */
        char *of;     /* out: owned; the site, with flush the domain, that it is about; NULL: any */
    } queue;
    bool reports;   /* out: reports about days that are over shall leave now; only in a daemon */
    bool serving;   /* a server runs it, not a program without one */
    struct err err; /* when the command returns -1 */
};
enum admin_input {
    ADMIN_NO_INPUT,
    ADMIN_PASSWORD,
    ADMIN_FILE
}; /* false and true are the first two */
struct admin_command {
    const char *group, *verb, *usage; /* "user", "add", "ADDRESS" */
    size_t min_args, max_args;
    const char *const *options; /* "name=" takes a value; NULL-terminated; or NULL */
    enum admin_input wants;
    int (*run)(struct admin_call *c);
    const char *doc;
};
/* One table a group, each ended by group NULL. */
extern const struct admin_command admin_domain_commands[], admin_user_commands[],
    admin_alias_commands[], admin_password_commands[], admin_mailbox_commands[],
    admin_account_commands[], admin_explain_commands[], admin_queue_commands[],
    admin_ban_commands[], admin_dkim_commands[], admin_quarantine_commands[],
    admin_policy_commands[], admin_forward_commands[], admin_vacation_commands[],
    admin_app_password_commands[], admin_doctor_commands[], admin_report_commands[];

bool admin_is_group(const char *word);
/* It only reads: where there is nothing it makes nothing. */
bool admin_reads(const char *const *argv, size_t n);
bool admin_on_loop(const char *group); /* its commands don't block, and run on the loop */
/* argv: group verb args and --options. Finds and checks it: NULL with err (ERR_PROTO) when it isn't
 * one. */
const struct admin_command *admin_find(const char *const *argv, size_t n, struct err *err);
/* Runs argv; exit code, with call->result or call->err. */
int admin_run(const char *const *argv, size_t n, struct admin_call *call);
const char *admin_option(const struct admin_call *c,
                         const char *name);           /* value, "" for a plain one, or NULL */
void admin_usage(const char *group, struct buf *out); /* group NULL: all */
void admin_render(json_t *result, struct buf *out); /* for people: a table, or "key: value" lines */
/* A value on its own, made printable (say.h). It lies in scratch. */
struct str admin_cell(const json_t *v, struct buf *scratch);
/* A header block: below its name, a line each, likewise. */
void admin_lines(struct str text, struct buf *out);
json_t *admin_str(struct str s);
json_t *admin_moment(int64_t at); /* "2026-11-20T12:00:00Z"; null for 0 */
#endif
