/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailbox.h - mailboxes of an account: names, counters, subscriptions, keywords.
 * Floor 3 (store). Threads: *_tx on the commit thread within an operation; the others with a
 * reader. Names are UTF-8, levels separated by '/', at most 255 bytes a level, 1000 in all, 16
 * levels, no control characters, no empty level; "INBOX" in any case is INBOX. At most 10 000
 * mailboxes an account. */
#ifndef PH_STORE_MAILBOX_H
#define PH_STORE_MAILBOX_H
#include "appliance/store/store.h"

enum mailbox_special { /* RFC 6154 */
                       MAILBOX_NORMAL,
                       MAILBOX_SENT,
                       MAILBOX_DRAFTS,
                       MAILBOX_JUNK,
                       MAILBOX_TRASH,
                       MAILBOX_ARCHIVE,
                       MAILBOX_ALL,
                       MAILBOX_FLAGGED
};
struct mailbox_info {
    uint64_t id, account;
    struct str name;
    uint32_t uidvalidity, uidnext; /* rows with uid >= uidnext are staged and don't exist yet */
    uint64_t modseq;               /* highest given out */
    uint64_t qresync_floor;        /* expunges older than this are forgotten */
    uint64_t messages, bytes, unseen;
    uint32_t recent_from; /* uids from here on are \Recent to the next session that selects it
                             read-write */
    enum mailbox_special special;
};
int mailbox_find(struct store_reader *r, struct arena *a, uint64_t account, struct str name,
                 struct mailbox_info *out, struct err *err)
    __attribute__((warn_unused_result)); /* ERR_WHY_NOT_FOUND */
int mailbox_get(struct store_reader *r, struct arena *a, uint64_t id, struct mailbox_info *out,
                struct err *err)
    __attribute__((warn_unused_result)); /* ERR_WHY_NOT_FOUND: deleted meanwhile */
/* All of an account, ordered by name. */
int mailbox_list(struct store_reader *r, struct arena *a, uint64_t account,
                 struct mailbox_info **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* Names subscribed, whether they exist or not (RFC 3501 6.3.6). */
int mailbox_subscriptions(struct store_reader *r, struct arena *a, uint64_t account,
                          struct str **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

int mailbox_create_tx(struct store_tx *tx, uint64_t account, struct str name,
                      enum mailbox_special special, uint64_t *id_out, struct err *err)
    __attribute__((warn_unused_result)); /* superiors too; ERR_WHY_EXISTS, ERR_WHY_LIMIT */
/* Removes it with its messages (in slices: run again while *more_out; invisible after the first).
 * Not INBOX. Inferiors stay. */
int mailbox_delete_tx(struct store_tx *tx, uint64_t account, struct str name, bool *more_out,
                      struct err *err) __attribute__((warn_unused_result));
/* Inferiors move along (RFC 3501 6.3.5); INBOX: its messages move into the new mailbox, INBOX
 * stays, empty. */
int mailbox_rename_tx(struct store_tx *tx, uint64_t account, struct str from, struct str to,
                      struct err *err) __attribute__((warn_unused_result));
int mailbox_subscribe_tx(struct store_tx *tx, uint64_t account, struct str name, bool on,
                         struct err *err) __attribute__((warn_unused_result));
/* Id by name inside an operation; ERR_WHY_NOT_FOUND. */
int mailbox_find_tx(struct store_tx *tx, uint64_t account, struct str name, uint64_t *id_out,
                    struct err *err) __attribute__((warn_unused_result));
/* SELECT takes \Recent: from now on only newer messages are. *recent_from_out is what was in force.
 */
int mailbox_take_recent_tx(struct store_tx *tx, uint64_t id, uint32_t *recent_from_out,
                           struct err *err) __attribute__((warn_unused_result));

/* Keywords: flag bits MESSAGE_KEYWORD_FIRST.. of a mailbox and their names (case kept, compared
 * ignoring case). */
struct mailbox_keyword {
    unsigned bit;
    struct str name;
};
int mailbox_keywords(struct store_reader *r, struct arena *a, uint64_t id,
                     struct mailbox_keyword **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* The mask of these names, new ones made as long as bits are free; ERR_WHY_LIMIT when none is. */
int mailbox_keywords_tx(struct store_tx *tx, uint64_t id, const struct str *names, size_t n,
                        uint64_t *mask_out, struct err *err) __attribute__((warn_unused_result));

/* posthouse mailbox check: recomputes counters and references, compares files with rows; each
 * problem is one line. */
int mailbox_check(struct store_reader *r, struct arena *a, uint64_t id,
                  void (*on_problem)(void *ctx, const char *text), void *ctx, struct err *err)
    __attribute__((warn_unused_result));
#endif
