/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* walk.h - all messages of one mailbox of another server, in the order of their UIDs, over as many
 * connections as it takes.
 * Floor 5 (imap). Threads: one; blocking (client.h).
 * The mailbox is opened by EXAMINE, messages are read by BODY.PEEK: nothing is changed there. First
 * what is known of up to IMAP_WALK_WINDOW messages, then the texts of those that are wanted, in
 * pieces. imap_walk() ends with ERR_TEMP when the connection does: called again with another one,
 * it goes on where it was. A message on which the connection broke IMAP_WALK_TRIES times is left
 * out. Nothing is told twice, but a text that was not brought to its end. */
#ifndef PH_IMAP_CLIENT_WALK_H
#define PH_IMAP_CLIENT_WALK_H
#include "imap/client/client.h"

enum { IMAP_WALK_WINDOW = 500, IMAP_WALK_BATCH = 50, IMAP_WALK_TRIES = 3 };
struct imap_walk_message {
    uint32_t uid;
    uint64_t flags; /* MESSAGE_* */
    bool recent;
    const struct str *keywords;
    size_t n_keywords;
    bool has_date;
    int64_t date; /* seconds since 1970 */
    uint64_t size;
    /* private */
    uint32_t seq; /* 0: not known */
    enum { WALK_SETTLED, WALK_WANTED } state;
    unsigned tries;
};
struct imap_walk_mailbox {
    uint32_t uidvalidity, uidnext, exists;
    uint64_t modseq; /* 0: none */
};
/* -1 ends all. */
struct imap_walk_events {
    int (*on_mailbox)(void *ctx, const struct imap_walk_mailbox *m); /* once, before all others */
    int (*on_message)(void *ctx, const struct imap_walk_message *m); /* 1: its text is wanted */
    int (*on_text)(void *ctx, const struct imap_walk_message *m);    /* begins; */
    int (*on_piece)(void *ctx, struct str piece);
    int (*on_end)(void *ctx, bool whole); /* ends; or: comes again, or fails */
    int (*on_failed)(void *ctx, const struct imap_walk_message *m, const char *why);
    int (*on_gone)(void *ctx, const struct imap_walk_message *m); /* expunged meanwhile */
};
struct imap_walk {
    struct str mailbox; /* as the server named it; all three are the caller's */
    const struct imap_walk_events *events;
    void *ctx;
    uint64_t max_size; /* larger messages fail; 0: no limit */
    /* on_mailbox may set it: only messages that changed after this modseq (RFC 7162) are told. */
    uint64_t since;
    /* out */
    uint64_t settled; /* messages, so far: progress */
    bool complete;    /* all that were there were told */
    /* private */
    struct imap_walk_mailbox now;
    uint32_t uidvalidity, done_uid, window_uid, position;
    struct arena *mem;
    struct imap_walk_message *window;
    size_t n;
    struct imap_walk_message *current;
    bool begun, discard, one_by_one, alone, stopped;
    uint32_t low, high, missing; /* of the window that is being listed */
};
/* Zeroed but for the caller's fields. */
int imap_walk(struct imap_walk *w, struct imap_client *c, struct err *err)
    __attribute__((warn_unused_result));
void imap_walk_fini(struct imap_walk *w);
#endif
