/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* privileges.h - becoming the service's user. Floor 6 (app). Threads: before any other exists. */
#ifndef PH_APP_PRIVILEGES_H
#define PH_APP_PRIVILEGES_H
#include "appliance/base/err.h"
#include <stdbool.h>
#include <sys/types.h>

struct service_user {
    char name[64];
    uid_t uid;
    gid_t gid;
    bool change; /* we are root and become it; else we are it already */
};

/* Finds whom to become. Refuses root without a user, a user that is root, and another user than the
 * one we are. */
int service_user_find(const char *name, struct service_user *out, struct err *err)
    __attribute__((warn_unused_result));
/* Becomes it with its groups, for ever, and gives up every capability, those that could come back
 * by running a program too. Checks that it worked. */
int privileges_drop(const struct service_user *u, struct err *err)
    __attribute__((warn_unused_result));
/* Becomes it with its groups, but can go on to become others, and end what they run: for the runner
 * of programs. What it runs has no capability at all. */
int privileges_keep_switching(const struct service_user *u, struct err *err)
    __attribute__((warn_unused_result));
/* Keeps only the capability to read any file: for the helper, which stays root. */
int privileges_keep_reading(struct err *err) __attribute__((warn_unused_result));
#endif
