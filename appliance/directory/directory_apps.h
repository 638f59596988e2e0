/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* directory_apps.h - app passwords: making, listing, revoking, for commands.
 * Floor 3 (directory). Threads: blocking, any thread but the loop; opens its own connections.
 * Changes are durable on return, and count at the next login. Errors: ERR_PERM with
 * ERR_WHY_EXISTS, ERR_WHY_NOT_FOUND, or a sentence. */
#ifndef PH_DIRECTORY_DIRECTORY_APPS_H
#define PH_DIRECTORY_DIRECTORY_APPS_H
#include "appliance/directory/directory.h"

struct directory_apps;
/* conf NULL: our own tables in dir. */
int directory_apps_open(const char *dir, const struct directory_conf *conf,
                        struct directory_apps **out, struct err *err)
    __attribute__((warn_unused_result));
void directory_apps_close(struct directory_apps **a);

enum { DIRECTORY_APP_TEXT = 24 }; /* with its NUL */
struct directory_app {
    struct str name;
    int64_t created, used; /* wall clock, s; used 0: never; known to ten minutes */
};
/* text: shown once, it can't be had again. */
int directory_app_add(struct directory_apps *a, struct str address, struct str name,
                      char text[DIRECTORY_APP_TEXT], struct err *err)
    __attribute__((warn_unused_result));
int directory_app_list(struct directory_apps *a, struct arena *m, struct str address,
                       struct directory_app **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* name .p NULL: all; *removed_out may be 0 then. Also of an account that is gone. */
int directory_app_remove(struct directory_apps *a, struct str address, struct str name,
                         uint64_t *removed_out, struct err *err)
    __attribute__((warn_unused_result));
/* All enabled users looked at: how many can log in, how many of these have no SCRAM verifier, and
 * how their passwords are stored. */
enum { DIRECTORY_SCHEMES = 40 };
struct directory_census {
    uint64_t users, accounts, missing;
    struct directory_scheme {
        const char *name; /* "yescrypt", "none", "unknown"; "system": it isn't known here */
        bool weak;        /* quickly guessed by whoever steals it, or no hash at all */
        uint64_t n;
    } schemes[DIRECTORY_SCHEMES];
    size_t n_schemes;
};
int directory_census(struct directory_apps *a, struct directory_census *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
