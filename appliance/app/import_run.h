/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_run.h - one run of an import, whatever the source: what is new is brought, what changed is
 * changed, all is counted, and shown at the end.
 * Floor 6 (app). Threads: one; blocking.
 * Use: import_run_open; for each mailbox import_run_begin, its messages in the order of their UIDs
 * (import_run_offer; when that says so, import_run_text and import_run_text_end), import_run_end;
 * at last import_run_close. A message that can't be had is import_run_failed, and the run goes on.
 * Functions that return -1 have ended the run (the store is gone or full): close it. */
#ifndef PH_APP_IMPORT_RUN_H
#define PH_APP_IMPORT_RUN_H
#include "appliance/app/import.h"
#include "appliance/app/import_wire.h"
#include "appliance/store/import.h"

struct import_run;
/* -1 with err: no store; nothing to close. */
int import_run_open(const struct import_call *call, struct import_run **out, struct err *err)
    __attribute__((warn_unused_result));
/* Waits for what is under way, shows the result; the exit code. */
int import_run_close(struct import_run **run);
/* It can't be had as a whole (bad option, no such folder): close it. */
int import_run_give_up(struct import_run *run, const struct err *err);
struct import_wire *import_run_wire(struct import_run *run); /* between mailboxes */

bool import_run_new_accounts(const struct import_run *run); /* --new-account */
/* import_users.c. Refuses (-1, ERR_PERM, the run goes on) an address without a user, unless
 * --new-account. Folds it into `out`. */
int import_run_account(struct import_run *run, struct str address, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
/* The users of the directory, as rows {address, home, maildir}; the caller's. */
int import_run_users(struct import_run *run, json_t **out, struct err *err)
    __attribute__((warn_unused_result));

struct import_target {
    /* Copied. The source names what is read as a whole: with --delete, what was imported from it
     * into this mailbox and isn't offered now is expunged. Any bytes. */
    struct str account, mailbox, source;
    enum mailbox_special special;
    bool subscribe;
    uint32_t uidvalidity, uidnext; /* of the source; 0: none */
    uint64_t messages;             /* there, for the progress; 0: not known */
};
/* 1: the mailbox can't be had, which was counted as a failure: leave it out. */
int import_run_begin(struct import_run *run, const struct import_target *t)
    __attribute__((warn_unused_result));

struct import_message {
    struct str key;   /* any bytes; stays the same when flags change */
    const char *name; /* for people, when it fails */
    uint32_t uid;     /* 0: none */
    uint64_t flags;
    const struct str *keywords;
    size_t n_keywords;
    int64_t internal_ms;
    bool recent;
};
/* 1: it is known, and has not changed or is changed now. 0: its text is wanted. Offered at most
 * once a mailbox. */
int import_run_known(struct import_run *run, const struct import_message *m)
    __attribute__((warn_unused_result));
int import_run_offer(struct import_run *run, const struct import_message *m)
    __attribute__((warn_unused_result)); /* begins its text */
/* As it stands there: bare LF becomes CR LF, NUL becomes 0x80 (RFC 3501 forbids it; counted), all
 * else stays. */
int import_run_text(struct import_run *run, struct str bytes) __attribute__((warn_unused_result));
/* failed: why it could not be read to its end; NULL: it was. */
int import_run_text_end(struct import_run *run, const char *failed)
    __attribute__((warn_unused_result));
/* It could not, and comes again: nothing is counted. */
int import_run_text_cancel(struct import_run *run) __attribute__((warn_unused_result));
/* With --delete, what was imported and not offered now is expunged, if `complete`: the source was
 * read to its end. */
int import_run_end(struct import_run *run, bool complete) __attribute__((warn_unused_result));
/* A number that the source has for the state of the mailbox: remembered at its end, if nothing of
 * it failed. import_run_last_mark: that of a run before, with the same UIDVALIDITY; 0: none. What
 * didn't change since then need not be offered, but with --delete; it is counted so. */
void import_run_mark(struct import_run *run, int64_t mark);
int64_t import_run_last_mark(const struct import_run *run);
void import_run_unchanged(struct import_run *run, uint64_t messages);
void import_run_failed(struct import_run *run, const char *what, const char *why);
void import_run_without(struct import_run *run);       /* an account that has no mail there */
bool import_run_removes(const struct import_run *run); /* --delete */
/* It is there all the same, though it wasn't offered: not to be removed. */
void import_run_still_there(struct import_run *run, struct str key);
void import_run_vanished(
    struct import_run *run); /* gone before it was read: none of our business */
int import_run_subscribe(struct import_run *run, struct str account, struct str name)
    __attribute__((warn_unused_result));

/* import_names.c: which of `names` (UTF-8, '/') is our Sent, Drafts, Junk, Trash, Archive: into
 * places[i] the mailbox's name here, into specials[i] its use. */
void import_names_map(const struct str *names, size_t n, struct str *places,
                      enum mailbox_special *specials);
#endif
