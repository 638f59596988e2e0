/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* export.h - mail that goes back out, whatever the form: accounts, mailboxes and messages, one
 * after the other, in constant memory. Floor 6 (app). Threads: one; blocking. */
#ifndef PH_APP_EXPORT_H
#define PH_APP_EXPORT_H
#include "appliance/app/export_names.h"
#include "appliance/app/import.h"
#include "appliance/app/import_wire.h"

enum { EXPORT_KEYWORDS = 64 };
struct export_folder {
    const char *root; /* the account's folder on the disk */
    struct export_names *names;
    struct str name; /* UTF-8, "INBOX" */
    uint32_t uidvalidity, uidnext;
    bool subscribed;
    struct str keywords[EXPORT_KEYWORDS]; /* by flag bit */
};
struct export_message {
    uint32_t uid;
    uint64_t flags;
    int64_t internal_ms;
};
/* -1: it can't be written (err); the export ends. */
struct export_form {
    int (*begin)(void *ctx, const struct export_folder *f, struct err *err);
    int (*message)(void *ctx, const struct export_message *m, struct err *err);
    int (*text)(void *ctx, struct str bytes, struct err *err); /* with CR LF; in any pieces */
    /* drop: it can't be had to its end. lost: keywords without room there are added */
    int (*message_end)(void *ctx, bool drop, uint64_t *bytes, uint64_t *lost, struct err *err);
    int (*end)(void *ctx, struct err *err);
};
/* The account of --account into the call's folder, or each into one of its name there. */
int export_all(const struct import_call *call, const struct export_form *form, void *ctx);
#endif
