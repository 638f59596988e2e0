/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_private.h - held mail: held.c chooses, held_one.c brings one message through the chain,
 * held_apply.c does what the stages want done to it. Nobody else includes it. Floor 4 (filters).
 * Threads: loop, except what is marked. */
#ifndef PH_FILTERS_HELD_PRIVATE_H
#define PH_FILTERS_HELD_PRIVATE_H
#include "appliance/store/queue.h"
#include "filters/held_view.h"
#include "filters/private.h"

enum { HELD_STAGE_MAX = 64, HELD_HEAD_MAX = BODY_HEAD_MAX + (512 << 10) };

struct held_plan {        /* what becomes of it; the commit thread's while it moves */
    enum queue_held held; /* 0: it leaves the queue */
    bool release;
    const char *mailbox;
    int64_t until_ms, next_ms;
    struct str stage, reason;
    const char *outcome;           /* NULL: it waits on */
    uint64_t count_max, bytes_max; /* of the quarantine, when it goes there */
    int64_t full_next_ms;          /* when it is full: it is judged again then */
    bool full;                     /* out: it was */
};
struct held_rcpt { /* as it was accepted at RCPT */
    struct str address;
    struct str *here, *there; /* accounts, addresses elsewhere */
    size_t n_here, n_there;
    bool deleted;
};
/* What stages changed, beside the head. */
struct held_change {
    struct str sender; /* .p NULL: as it was */
    struct body_sink *body;
    bool eight_bit;
    struct held_rcpt *list; /* who gets it now; n 0: not changed */
    size_t n;
    bool envelope;          /* recipients or sender changed */
    const char *impossible; /* NULL: all of it can be done. Why not */
};
struct held_asking;
struct held_one {
    struct list link;
    struct held *held;       /* NULL: closed; whoever is under way frees it */
    struct filters *filters; /* the same */
    bool away;               /* its job or operation is under way */
    uint64_t id;
    int64_t next_ms; /* as it was listed */
    char by[HELD_STAGE_MAX];
    struct job job;
    struct store_op op;
    struct arena *arena;
    struct queue_entry entry;
    struct chain_message message;
    struct err err;
    struct queue_to *to; /* its recipients at other hosts */
    size_t n_to;
    struct ph_view view;
    const char *route;
    size_t actions;    /* those before PH_OUTBOUND */
    struct str prefix; /* what stages put in front of copies that leave; empty: nothing */
    bool loaded, mine;
    bool released; /* by a command: only its copies that leave are looked at */
    bool quarantine_junk;
    struct chain *chain;
    struct buf head; /* edited; empty: not */
    struct held_plan plan;
    struct held_change change;
    void (*then)(struct held_one *o);
    struct held_asking *asking;
    const struct chain_action *action; /* the one under way */
    struct str putting;                /* of the new body, what isn't in the sink yet */
    struct queue_gone gone;            /* recipients for whom it stays in quarantine */
};

/* held_one.c. held_one_over() comes when it is done with, held_one_free() may be called before. */
struct held_one *held_one_start(struct held *h, const struct queue_due_held *row);
void held_one_free(struct held_one **o);
/* held.c: `again`: its stage could not judge it. Frees it. */
void held_one_over(struct held_one *o, bool again);
/* held.c: there was no room in quarantine: said once an hour, which settings it is about. */
void held_say_full(struct held *h, const struct err *why);
struct filters *held_filters(const struct held *h);

/* held_apply.c: head, recipients and sender as the stages want them; `then` comes later or at
 * once. change.impossible: not all of it can be done. */
void held_apply(struct held_one *o, void (*then)(struct held_one *o));
/* The new body, if there is one, on stable storage. */
void held_apply_body(struct held_one *o, void (*then)(struct held_one *o));
bool held_nobody_left(const struct held_one *o);
bool held_goes_on(const struct held_one *o, struct str address); /* a recipient elsewhere */
int held_apply_tx(struct held_one *o, struct store_tx *tx, struct err *err) /* commit thread */
    __attribute__((warn_unused_result));
void held_apply_free(struct held_one *o);
#endif
