/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* message.h - messages in mailboxes: reading ranges of them, delivering, appending, flags, copying,
 * expunging. Floor 3 (store). Threads: *_tx on the commit thread within an operation; the others
 * with a reader. Every change takes uids and modseqs from its mailbox row, keeps the counters and
 * quota, and tells the watchers after the commit. Only messages with uid < uidnext exist for
 * readers. */
#ifndef PH_STORE_MESSAGE_H
#define PH_STORE_MESSAGE_H
#include "appliance/store/account.h"
#include "appliance/store/body.h"
#include "appliance/store/mailbox.h"

enum {
    MESSAGE_SEEN = 1u << 0,
    MESSAGE_ANSWERED = 1u << 1,
    MESSAGE_FLAGGED = 1u << 2,
    MESSAGE_DELETED = 1u << 3,
    MESSAGE_DRAFT = 1u << 4,
    MESSAGE_SYSTEM_FLAGS = 0x1f,
    MESSAGE_KEYWORD_FIRST = 8, /* bits 8..62 are the mailbox's keywords */
    MESSAGE_KEYWORD_LAST = 62
};
struct message_info {
    uint32_t uid;
    uint64_t modseq, flags, size, body;
    int64_t internal_ms; /* INTERNALDATE */
    struct str prefix;   /* only from message_get and message_range with want_prefix */
};
int message_get(struct store_reader *r, struct arena *a, uint64_t mailbox, uint32_t uid,
                struct message_info *out, struct err *err)
    __attribute__((warn_unused_result)); /* ERR_WHY_NOT_FOUND: expunged */
/* Messages with first <= uid <= last, and modseq > since, by uid, at most max; *n_out < max: that
 * was all. In arena. */
struct message_query {
    uint32_t first, last;
    uint64_t since;
    size_t max;
    bool want_prefix;
};
int message_range(struct store_reader *r, struct arena *a, uint64_t mailbox,
                  const struct message_query *q, struct message_info **out, size_t *n_out,
                  struct err *err) __attribute__((warn_unused_result));
/* All uids of a mailbox, ascending, heap array of the caller (mem_free). */
int message_uids(struct store_reader *r, uint64_t mailbox, uint32_t uidnext, uint32_t **out,
                 size_t *n_out, struct err *err) __attribute__((warn_unused_result));
/* Uids expunged with modseq > since, ascending, heap array. */
int message_expunged(struct store_reader *r, uint64_t mailbox, uint64_t since, uint32_t **out,
                     size_t *n_out, struct err *err) __attribute__((warn_unused_result));
int message_first_unseen(struct store_reader *r, uint64_t mailbox, uint32_t *uid_out,
                         struct err *err) __attribute__((warn_unused_result)); /* 0: none */

/* One message into one mailbox; the body must be in this transaction or older. */
struct message_new {
    uint64_t mailbox, body, flags;
    int64_t internal_ms;
    struct str prefix;
    const struct str *keywords; /* names to set besides flags */
    size_t n_keywords;
};
int message_insert_tx(struct store_tx *tx, const struct message_new *m, uint32_t *uid_out,
                      struct err *err) __attribute__((warn_unused_result));

/* ---- Ready-made operations: fill, store_submit(&x.op), read the results in done(). Views must
 * live until then. */

/* One message to several accounts in one transaction: all or none. The sink must be flushed. */
struct message_recipient {
    struct str account;  /* folded address; opened if need be */
    uint64_t account_id; /* 0: the one that has that name now */
    struct str mailbox;  /* "INBOX"; a mailbox that doesn't exist falls back to INBOX */
    struct str prefix;
    uint64_t flags;
    uint32_t uid; /* out */
};
struct queue_new;
struct message_delivery {
    struct store_op op;
    struct body_sink *sink;
    struct message_recipient *rcpts;
    size_t n_rcpts;
    const struct queue_new *leaves; /* copies for other hosts (queue.h), in the same transaction;
                                       NULL: none. n_rcpts may be 0 then */
    int64_t internal_ms;
    /* None of them has room (and nothing leaves): it fails with ERR_WHY_QUOTA, as ERR_PERM when no
     * one ever could hold it. Whoever has room gets it, and then so do the others. */
    bool within_quota;
    uint64_t body; /* out: the body's id, for the log and the reply */
};
void message_delivery_init(struct message_delivery *d, void (*done)(struct store_op *));

struct message_append { /* IMAP APPEND: into one mailbox, by id */
    struct store_op op;
    struct body_sink *sink;
    uint64_t mailbox, flags;
    const struct str *keywords;
    size_t n_keywords;
    int64_t internal_ms;
    uint32_t uidvalidity, uid; /* out */
};
void message_append_init(struct message_append *m, void (*done)(struct store_op *));

/* A set of uids: inclusive ranges, ascending, not overlapping. */
struct uid_range {
    uint32_t first, last;
};
enum message_flag_how { MESSAGE_FLAGS_SET, MESSAGE_FLAGS_ADD, MESSAGE_FLAGS_REMOVE };
struct message_store_flags { /* each changed message gets the operation's modseq; unchanged ones
                                keep theirs */
    struct store_op op;
    uint64_t mailbox;
    const struct uid_range *set;
    size_t n_set;
    enum message_flag_how how;
    uint64_t flags;
    const struct str *keywords;
    size_t n_keywords;
    uint64_t unchanged_since; /* CONDSTORE; UINT64_MAX = no condition */
    uint64_t modseq; /* out: given to what changed (the last slice, when many messages change); 0 =
                        nothing changed */
    struct buf modified; /* out: uids refused by unchanged_since, as uint32_t array (init by _init,
                            fini by the caller) */
    /* private */
    struct message_flags_at {
        uint32_t next;
        uint64_t modseq;
        size_t n_modified;
    } at, slice_began;
};
void message_store_flags_init(struct message_store_flags *m, void (*done)(struct store_op *));

struct message_copy { /* COPY and MOVE: all or nothing; above a slice it becomes STORE_BULK work of
                         several batches */
    struct store_op op;
    uint64_t from, to;
    const struct uid_range *set;
    size_t n_set;
    bool move;
    uint32_t uidvalidity; /* out: of `to` */
    struct buf uids; /* out: pairs {from uid, to uid} as uint32_t, ascending (fini by the caller) */
    /* private */
    struct message_copy_at {
        int step;
        uint32_t next, last, stage_first, stage_next;
        uint64_t stage_modseq, bytes, unseen;
        size_t n_uids;
    } at, slice_began;
};
void message_copy_init(struct message_copy *m, void (*done)(struct store_op *));

struct message_expunge { /* \Deleted ones among the set (n_set = 0: all in the mailbox); in slices
                            when many */
    struct store_op op;
    uint64_t mailbox;
    const struct uid_range *set;
    size_t n_set;
    uint64_t modseq; /* out */
    uint64_t count;  /* out */
    /* private */
    struct message_expunge_at {
        uint32_t next;
        uint64_t modseq, count;
    } at, slice_began;
};
void message_expunge_init(struct message_expunge *m, void (*done)(struct store_op *));
#endif
