/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_session.h - what commands about the directory begin and end with.
 * Floor 6 (app, private). Threads: that of the command. */
#ifndef PH_APP_ADMIN_SESSION_H
#define PH_APP_ADMIN_SESSION_H
#include "appliance/app/admin.h"
#include "appliance/directory/directory_admin.h"

/* Most commands: open the directory, do one thing, close it. */
struct admin_session {
    struct directory_admin *dir;
    struct arena *mem;
};
/* -1: c->err, and there is nothing to end. */
int admin_begin(struct admin_call *c, struct admin_session *s) __attribute__((warn_unused_result));
int admin_end(struct admin_session *s, int rc);             /* returns rc */
struct str admin_arg(const struct admin_call *c, size_t i); /* .p NULL: there is none */
/* "10M". -1: c->err. */
int admin_size(struct admin_call *c, const char *text, uint64_t *out)
    __attribute__((warn_unused_result));
#endif
