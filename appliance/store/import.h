/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import.h - mail that comes over from elsewhere: messages with their flags, dates and, while that
 * can't mislead a client, their UIDs; and what is known of the source, so that a second run brings
 * only what changed.
 * Floor 3 (store). Threads: operations as in message.h (fill, store_submit(&x.op), read the results
 * in done(), views live until then); import_known with a reader. All run as STORE_BULK, in slices.
 * A source is a name of up to IMPORT_SOURCE_MAX bytes ("maildir", "imap:host:user"), each of its
 * messages a key of up to IMPORT_KEY_MAX bytes that stays the same when flags change. Message and
 * key are committed together: a run that was interrupted goes on where it was. What is expunged
 * here stays known, so it isn't brought again. Quotas don't bind imports.
 * UIDs: a mailbox in which nothing has ever been takes over the source's UIDVALIDITY (once for its
 * name; never twice the same). While it has it, messages keep their UID, as long as UIDs grow. When
 * a UID of the source is another message's here, the mailbox gets a new UIDVALIDITY of its own:
 * a client that knows it from the source must never take one message for another. */
#ifndef PH_STORE_IMPORT_H
#define PH_STORE_IMPORT_H
#include "appliance/store/message.h"

enum { IMPORT_SOURCE_MAX = 190, IMPORT_KEY_MAX = 255 };

/* Opens account and mailbox, makes them if need be. */
struct import_mailbox {
    struct store_op op;
    struct str account, mailbox;  /* folded address; UTF-8 name */
    enum mailbox_special special; /* of a mailbox that is made, unless another has it */
    bool subscribe;               /* likewise */
    uint32_t uidvalidity;         /* the source's; 0: none */
    uint64_t account_id, id;      /* out */
    uint32_t uidvalidity_now;     /* out; the same as uidvalidity: messages keep their UIDs */
    bool made;                    /* out: the mailbox is new */
};
void import_mailbox_init(struct import_mailbox *m, void (*done)(struct store_op *));

enum import_what {
    IMPORT_ADD,   /* a new message, of `sink`, which must be flushed */
    IMPORT_FLAGS, /* flags changed at the source: they are set so here */
    IMPORT_REMOVE /* it is gone at the source: expunged here, and forgotten */
};
enum import_result {
    IMPORT_DONE,
    IMPORT_KNOWN, /* ADD: the key is known already; nothing was done */
    IMPORT_GONE   /* FLAGS, REMOVE: the message was expunged here before */
};
struct import_item {
    enum import_what what;
    struct str key;
    uint32_t uid;     /* ADD: the source's, 0: none; else the one it has here */
    uint32_t uid_now; /* out: the one it has now */
    int64_t state; /* of the flags at the source, in a form of the caller's own; import_known gives
                      it back */
    uint64_t flags;
    const struct str *keywords;
    size_t n_keywords;
    int64_t internal_ms;
    bool recent; /* nobody has seen it: \Recent to the next session */
    struct body_sink *sink;
    enum import_result result; /* out */
    unsigned lost;             /* out: keywords the mailbox has no room for */
};
struct import_batch {
    struct store_op op;
    uint64_t mailbox;
    struct str source;
    uint32_t uidvalidity; /* the source's, 0: none */
    uint32_t clash; /* 0: none; a UID that at the source is a message known here by another: when
                       it is a message's here too, a new UIDVALIDITY, as above */
    struct import_item *const *items;
    size_t n_items;
    uint32_t uidvalidity_now; /* out */
    /* private */
    size_t at, slice_began;
};
void import_batch_init(struct import_batch *b, void (*done)(struct store_op *));

/* All is there: new mail gets UIDs the source has not given out either. */
struct import_end {
    struct store_op op;
    uint64_t mailbox;
    uint32_t uidvalidity, uidnext; /* the source's */
    struct str source, mark; /* mark: a key of no message, given back by import_known with UID 0; */
    int64_t mark_state;      /* empty: none */
};
void import_end_init(struct import_end *e, void (*done)(struct store_op *));

/* What is known of a source, by key from after `after` on, at most max; *n_out < max: that was all.
 */
struct import_known {
    struct str key;
    uint32_t uid;
    int64_t state;
};
int import_known(struct store_reader *r, struct arena *a, uint64_t mailbox, struct str source,
                 struct str after, size_t max, struct import_known **out, size_t *n_out,
                 struct err *err) __attribute__((warn_unused_result));

/* For schema.c and sweeper.c. */
int import_schema(struct sql *db, bool as_is, struct err *err) __attribute__((warn_unused_result));
int import_forget_tx(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
