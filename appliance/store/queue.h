/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue.h - mail that was acknowledged and isn't where it belongs yet: on its way to other hosts,
 * held until a filter stage can judge it, or in quarantine (DESIGN.md 4). A row of queue refers to
 * the body as a message does; queue_rcpt says which mailboxes get a copy when it is released,
 * queue_out and queue_to what leaves and to whom. Floor 3 (store). Threads: *_tx on the commit
 * thread within an operation; the others with a reader. */
#ifndef PH_STORE_QUEUE_H
#define PH_STORE_QUEUE_H
#include "appliance/store/message.h"

enum queue_held { QUEUE_LEAVES = 0, QUEUE_HELD = 1 /* for a stage */, QUEUE_QUARANTINE = 2 };
struct queue_entry {
    uint64_t id; /* of the transaction: in the 250 reply, Received and the log */
    enum queue_held held;
    int64_t since_ms, until_ms, next_ms; /* wall; next: when the stage is asked again */
    struct str sender;
    struct str stage; /* who held it; several: "a,b" */
    struct str reason;
    struct str view;     /* what else is known about the transaction, as its owner wrote it */
    uint64_t size, body; /* out */
    uint64_t n_rcpts;    /* out */
};
/* Operation: the sink (flushed) into the queue. Fails with ERR_WHY_LIMIT (and ERR_TEMP) when it
 * holds that much already. */
struct queue_put {
    struct store_op op;
    struct body_sink *sink;
    struct queue_entry entry;
    const struct message_recipient *rcpts;
    size_t n_rcpts;
    const struct queue_new *leaves; /* recipients elsewhere; its entry is `entry`. NULL: none */
    uint64_t count_max, bytes_max;  /* of what is held, or in quarantine, as the entry says */
};
void queue_put_init(struct queue_put *q, void (*done)(struct store_op *));

/* -1 ERR_WHY_LIMIT (and ERR_TEMP): so much is held, or in quarantine, already. */
int queue_room_tx(struct store_tx *tx, enum queue_held held, uint64_t count_max, uint64_t bytes_max,
                  struct err *err) __attribute__((warn_unused_result));

/* Oldest first, at most max, with id > after; held 0: all; due_ms: only those whose next_ms is
 * past, 0: all. In arena. */
int queue_list(struct store_reader *r, struct arena *a, unsigned held, int64_t due_ms,
               uint64_t after, size_t max, struct queue_entry **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
int queue_get(struct store_reader *r, struct arena *a, uint64_t id, struct queue_entry *out,
              struct err *err) __attribute__((warn_unused_result)); /* ERR_WHY_NOT_FOUND */
int queue_rcpts(struct store_reader *r, struct arena *a, uint64_t id,
                struct message_recipient **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* Held for a stage and due (0: all), the oldest first. */
struct queue_due_held {
    uint64_t id;
    int64_t next_ms;
    struct str stage;
};
int queue_due_held(struct store_reader *r, struct arena *a, int64_t due_ms, size_t max,
                   struct queue_due_held **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* Before it is judged, and in the operation that moves it: takes it for this node, as queue_claim
 * does. next_ms: as it was read. *taken false: another node has it or had it meanwhile. Always true
 * where the store isn't shared. */
int queue_claim_held_tx(struct store_tx *tx, uint64_t id, int64_t next_ms, bool *taken,
                        struct err *err) __attribute__((warn_unused_result));
/* Into the mailboxes; mailbox: for all (NULL: as was decided before). Its row goes. Recipients
 * whose account was removed since it was held get nothing, and nobody who has their address now:
 * for them it stays in quarantine. */
struct queue_gone {
    int64_t until_ms; /* in: how long at least */
    size_t n;         /* out: recipients */
    uint64_t id;      /* out: of what stays; another one when copies leave under the first */
};
int queue_release_tx(struct store_tx *tx, uint64_t id, const char *mailbox, struct queue_gone *gone,
                     struct err *err) __attribute__((warn_unused_result));
/* The same, but what leaves stays held, due at once, with another view and reason: *leaves_out. */
int queue_release_here_tx(struct store_tx *tx, uint64_t id, const char *mailbox, struct str view,
                          struct str reason, bool *leaves_out, struct queue_gone *gone,
                          struct err *err) __attribute__((warn_unused_result));
/* As queue_get; memory of the transaction. */
int queue_get_tx(struct store_tx *tx, uint64_t id, struct queue_entry *out, struct err *err)
    __attribute__((warn_unused_result));
int queue_remove_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
/* Quarantine instead, or asked again later. */
int queue_keep_tx(struct store_tx *tx, uint64_t id, enum queue_held held, int64_t until_ms,
                  int64_t next_ms, struct str stage, struct str reason, struct err *err)
    __attribute__((warn_unused_result));
/* Another head for a message that is nowhere but in the queue. */
int queue_set_head_tx(struct store_tx *tx, uint64_t id, struct str head, struct err *err)
    __attribute__((warn_unused_result));
/* Another body, and the head with it. The sink is flushed. eight_bit: octets over 127 in it. */
int queue_set_body_tx(struct store_tx *tx, uint64_t id, struct body_sink *sink, bool eight_bit,
                      struct err *err) __attribute__((warn_unused_result));
/* Its recipients here, and others instead of them: the accounts with an id, or (0) by name. */
int queue_rcpts_tx(struct store_tx *tx, uint64_t id, struct message_recipient **out, size_t *n_out,
                   struct err *err) __attribute__((warn_unused_result));
int queue_set_rcpts_tx(struct store_tx *tx, uint64_t id, const struct message_recipient *list,
                       size_t n, struct err *err) __attribute__((warn_unused_result));
/* One at another host gets no copy. */
int queue_drop_to_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct err *err)
    __attribute__((warn_unused_result));
int queue_set_sender_tx(struct store_tx *tx, uint64_t id, struct str sender, struct err *err)
    __attribute__((warn_unused_result));
/* More header fields in front of the copies that leave, before those that are there. */
int queue_add_prefix_tx(struct store_tx *tx, uint64_t id, struct str fields, struct err *err)
    __attribute__((warn_unused_result));
/* Those in quarantine whose time is over; *n_out: how many, at most 100. */
int queue_expire_tx(struct store_tx *tx, int64_t now_ms, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* ---- Mail that leaves. */

enum {                        /* queue_out.flags */
       QUEUE_UTF8 = 1u,       /* envelope or head need SMTPUTF8 */
       QUEUE_REQUIRETLS = 2u, /* RFC 8689 */
       QUEUE_8BIT = 4u,       /* octets over 127 in it */
       QUEUE_NULL_SENDER = 8u /* set by the store: never bounced */
};
enum queue_ret { QUEUE_RET_DEFAULT, QUEUE_RET_FULL, QUEUE_RET_HDRS }; /* RFC 3461 4.3 */
enum { /* RFC 3461 4.1; 0: not said */
       QUEUE_NOTIFY_NEVER = 1u,
       QUEUE_NOTIFY_SUCCESS = 2u,
       QUEUE_NOTIFY_FAILURE = 4u,
       QUEUE_NOTIFY_DELAY = 8u
};
enum queue_state {
    QUEUE_WAITING,
    QUEUE_ON_HOLD,  /* by an administrator */
    QUEUE_WITHHELD, /* its message is held: it waits for that one's release */
    QUEUE_TO_STATES
};
struct queue_to {    /* one recipient at another host */
    uint64_t id;     /* of the message; out */
    uint32_t n;      /* which of its recipients; out, ascending from 0 */
    struct str rcpt; /* "local@domain" */
    struct str site; /* where it goes, one word: what is delivered together (smtp/client/route.h) */
    struct str sender; /* of this copy's envelope (SRS); .p NULL: the entry's */
    struct str orcpt;  /* "rfc822;address"; empty: none */
    unsigned notify;
    bool forced; /* site was set by `queue reroute`: routes don't change it */
    bool warned; /* the sender knows of the delay */
    enum queue_state state;
    int64_t next_ms, expires_ms; /* wall */
    uint32_t tries;
    struct str last; /* what the last attempt led to, for people: "421 4.7.0 ... (host)" */
};
struct queue_out {      /* what its recipients share */
    struct str prefix;  /* header fields in front of the head of the copies that leave */
    struct str envid;   /* decoded */
    struct str account; /* who submitted it; empty: nobody (forwarded, a bounce) */
    enum queue_ret ret;
    unsigned flags;
};
struct queue_new {
    struct queue_entry entry; /* id, sender, since_ms; held: QUEUE_LEAVES, else it waits as held
                                 mail does and leaves when it is released */
    struct queue_out out;
    const struct queue_to *to;
    size_t n_to;
};
/* In the transaction that inserts the body (or later, when something refers to it). Raises the
 * body's reference. message_delivery.leaves calls it; queue_put.leaves does the same. Of each
 * recipient all but id and n is taken as given; QUEUE_WITHHELD is set when the entry is held. */
int queue_new_tx(struct store_tx *tx, uint64_t body, const struct queue_new *q, struct err *err)
    __attribute__((warn_unused_result));

/* The sites that have recipients waiting, by name, with name > after, at most max. */
struct queue_site {
    struct str name;
    int64_t next_ms; /* the earliest */
};
int queue_sites(struct store_reader *r, struct arena *a, struct str after, size_t max,
                struct queue_site **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* Recipients of a site that wait and are due at due_ms, the earliest first; those of one message
 * that have the same sender stand together when they are due at the same time. At most max. */
int queue_due(struct store_reader *r, struct arena *a, struct str site, int64_t due_ms, size_t max,
              struct queue_to **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* What is needed to send it. ERR_WHY_NOT_FOUND: it isn't there any more, or is held. */
int queue_out_get(struct store_reader *r, struct arena *a, uint64_t id, struct queue_entry *entry,
                  struct queue_out *out, struct err *err) __attribute__((warn_unused_result));
/* All its recipients at other hosts that haven't their copy yet, by number; also of held mail. */
int queue_out_to(struct store_reader *r, struct arena *a, uint64_t id, struct queue_to **out,
                 size_t *n_out, struct err *err) __attribute__((warn_unused_result));

/* The site that the routes of today say. One that was forced meanwhile, or is gone, stays as it
 * is. */
int queue_set_site_tx(struct store_tx *tx, uint64_t id, uint32_t n, struct str site,
                      struct err *err) __attribute__((warn_unused_result));

/* Operation, where several nodes share the store: takes recipients before they are tried. From then
 * on no other node is given them, by queue_sites and queue_due neither, until they are settled or
 * this node has gone. */
struct queue_claim_row {
    uint64_t id;
    uint32_t n, tries;
    int64_t next_ms; /* this and tries: as they were read */
    bool taken;      /* out: false: another node has it, or it isn't as it was read */
};
struct queue_claim {
    struct store_op op;
    struct queue_claim_row *rows;
    size_t n;
    uint64_t owner; /* out: for queue_settle */
};
void queue_claim_init(struct queue_claim *q, void (*done)(struct store_op *));

enum queue_what {
    QUEUE_SETTLED, /* delivered, or given up: the row goes */
    QUEUE_LATER    /* the row stays, with next_ms, last, warned; tries + 1 */
};
struct queue_result {
    uint64_t id;
    uint32_t n;
    enum queue_what what;
    bool warned;
    int64_t next_ms;
    struct str last;
};
/* Operation: what an attempt led to, in the same transaction as the report about it that goes to
 * the sender: into mailboxes of ours (rcpts) or back into the queue (leaves). The message itself
 * goes when its last recipient is settled. A row that has vanished meanwhile is no error; when none
 * is left, the report isn't made: somebody removed the message, or this was recorded before. */
struct queue_settle {
    struct store_op op;
    const struct queue_result *results;
    size_t n_results;
    struct body_sink *report; /* flushed; NULL: none */
    struct message_recipient *rcpts;
    size_t n_rcpts;
    const struct queue_new *leaves; /* NULL: none */
    uint64_t
        owner; /* of queue_claim: rows that others took since count as vanished. 0: not asked */
    size_t n_found; /* out: of the results' rows */
};
void queue_settle_init(struct queue_settle *q, void (*done)(struct store_op *));

/* What `last` and the like are cut to: valid UTF-8 of some hundred octets. */
struct str queue_last_text(struct arena *a, struct str s);

/* For commands, and for what they say in words. Text filters: .n == 0: any. */
struct queue_filter {
    struct str domain; /* of a recipient: "example.org", ".example.org" (with all below) */
    struct str sender; /* of the message: the whole, "@domain", "@.domain", "<>" for none */
    struct str error;  /* a part of `last`, in any case */
    int64_t older_ms;  /* since_ms before this; 0: any */
    uint64_t id;       /* 0: any */
    int state;         /* enum queue_state; -1: any */
};
bool queue_domain_fits(struct str address, struct str domain);
bool queue_sender_fits(struct str sender, struct str filter);
/* Recipients of mail that leaves, by message and number, those after (id, n), at most max;
 * *entries_out (NULL: not wanted): the message of each. Looks at everything that waits until it has
 * found as many. */
int queue_find(struct store_reader *r, struct arena *a, const struct queue_filter *f,
               uint64_t after_id, uint32_t after_n, size_t max, struct queue_to **out,
               struct queue_entry **entries_out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
enum queue_change_what {
    QUEUE_RETRY,   /* next_ms = 0; of those that wait */
    QUEUE_HOLD,    /* of those that wait */
    QUEUE_RELEASE, /* from hold; due at once */
    QUEUE_REROUTE, /* another site; due at once */
    QUEUE_DROP     /* the row goes, without a report */
};
/* The state that it is for, -1: any. What the filter finds in another one stays as it is. */
int queue_change_state(enum queue_change_what what);
/* Operation: for all that the filter finds. In slices when they are many: what earlier ones changed
 * stays when a later one fails. */
struct queue_change_op {
    struct store_op op;
    struct queue_filter filter;
    enum queue_change_what what;
    struct str site; /* QUEUE_REROUTE, then forced; empty: as the routes say, by its domain first */
    uint64_t count;  /* out: recipients */
    /* private */
    uint64_t at_id;
    uint32_t at_n;
    uint64_t slice_id, slice_count;
    uint32_t slice_n;
};
void queue_change_init(struct queue_change_op *q, void (*done)(struct store_op *));

struct queue_totals {
    uint64_t messages, recipients, on_hold, bytes;
    int64_t oldest_ms; /* since_ms; 0: none */
};
int queue_totals(struct store_reader *r, struct queue_totals *out, struct err *err)
    __attribute__((warn_unused_result));
/* What is held, or in quarantine. */
struct queue_kept {
    uint64_t messages, bytes;
};
int queue_kept(struct store_reader *r, enum queue_held held, struct queue_kept *out,
               struct err *err) __attribute__((warn_unused_result));
#endif
