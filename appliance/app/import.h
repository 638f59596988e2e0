/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import.h - `posthouse import ...` and `posthouse export ...`: the groups' subcommands.
 * Floor 6 (app). Threads: main.
 * A subcommand is one struct import_command in its own file, named in the table of import.c. Its
 * run() has the process for itself: it reads files (or another server) as who has typed the
 * command, and hands over what it finds. What needs no more than one request to the store's process
 * may be a struct admin_command of group "import" instead (admin.h): then it runs as those do. */
#ifndef PH_APP_IMPORT_H
#define PH_APP_IMPORT_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

struct import_call {
    const char *data, *config; /* --data, --config as given, or NULL */
    bool json, progress;       /* --json, --progress */
    const char *const *args;   /* after the subcommand's name */
    size_t n_args;
    const char *const *options; /* "name=value" or "name", checked against the command's list */
    size_t n_options;
};
struct import_command {
    const char *group, *name, *usage; /* "import", "maildir", "PATH" */
    size_t min_args, max_args;
    const char *const *options;              /* "name=" takes a value; NULL-terminated; or NULL */
    int (*run)(const struct import_call *c); /* the exit code, ADMIN_* */
    const char *doc;
};

bool import_is_group(const char *word);
const char *import_option(const struct import_call *c,
                          const char *name);           /* value, "" for a plain one, or NULL */
void import_usage(const char *group, struct buf *out); /* group NULL: all */
/* argv: group, subcommand, its words. */
int mode_import(int argc, char **argv);
#endif
