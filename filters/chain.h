/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* chain.h - runs the stages of one point after another point of a session, and keeps what they
 * decided. Floor 4 (filters). Threads: loop only (the lanes of stages are inside). Who asks (SMTP
 * server, later IMAP logins and the queue) makes one struct chain a session, tells it where a
 * transaction begins, and runs a point with what is known then (a ph_view). A point without stages
 * costs one comparison: ask filters_at() first. Ownership: views and messages given to chain_run
 * are used during the call; what stages may look at later is copied where it can outlive the
 * session (lane style). Answers and records live until the transaction, or the session, ends. */
#ifndef PH_FILTERS_CHAIN_H
#define PH_FILTERS_CHAIN_H
#include "appliance/base/arena.h"
#include "appliance/io/loop.h"
#include "filters/registry.h"

struct directory;
struct resolver;
struct runner;
struct store;
struct filters; /* all stages, opened: one a process */
/* Who asks other hosts about addresses (stage.h, probe): later answers once, unless it is
 * cancelled. NULL: it can't be asked. */
struct filters_prober {
    void *(*ask)(void *ctx, const char *address, const char *sender, uint64_t ms,
                 void (*on_answer)(void *arg, const struct ph_probe_answer *), void *arg);
    void (*cancel)(void *asked);
    void *ctx;
};
struct filters_env {
    struct loop *loop;
    struct store *store; /* of kv and verdicts; NULL (tests): nothing outlives the process */
    struct directory *directory; /* of recipients that stages add to held mail; may be NULL */
    struct resolver *resolver;   /* NULL: every question of a stage fails */
    struct filters_registry *registry;
    struct filters_config *config; /* takes a reference */
    bool sealed;                   /* stages that connect to other hosts refuse to be opened */
    const struct runner *runner;   /* of programs; NULL: none can be run */
};
/* Opens each stage that is not `off`, starts lanes. -1: a cycle in `after`, or a stage that
 * refuses; says which. Blocking (open() of stages, reading kv). */
int filters_open(const struct filters_env *env, struct filters **out, struct err *err)
    __attribute__((warn_unused_result));
/* A new snapshot for the sessions to come. Stages that were off are opened, those that are off now
 * stay open for old sessions. -1: a stage refused it; nothing has changed. */
int filters_reload(struct filters *f, struct filters_config *config, struct err *err)
    __attribute__((warn_unused_result));
/* Every chain must be gone. Waits a moment for work that runs; writes kv and verdicts. */
void filters_close(struct filters **f);
/* NULL, as at first: every probe is answered by UNKNOWN. To be taken away before it is gone; no
 * turn runs then. */
void filters_set_prober(struct filters *f, const struct filters_prober *prober);
/* Mail was released by a command (held.h): what leaves of it waits for PH_OUTBOUND. */
void filters_look_at_held(struct filters *f); /* f may be NULL */
/* Does anybody look at this point? */
bool filters_at(const struct filters *f, enum ph_point point); /* f may be NULL: false */
struct filters_stats {                                         /* of one stage */
    const char *name;
    uint64_t turns, verdicts[PH_VERDICTS], errors, late, us_total, us_max;
    unsigned threads_lost;
    bool off; /* by its faults */
};
size_t filters_stats(const struct filters *f, struct filters_stats *out, size_t max);
const struct filters_conf *filters_settings(const struct filters *f); /* as in force now */

struct chain;
struct chain *chain_new(struct filters *f, uint64_t session);
void chain_free(struct chain **c); /* client gone too: what runs is cancelled and no answer comes */
/* A transaction begins: forgets the facts, actions and decision of the one before. 0: none is under
 * way. */
void chain_transaction(struct chain *c, uint64_t message);

/* The message as received, from PH_MESSAGE on. data in memory, or (fd >= 0) in a file of which the
 * chain makes its own descriptor. */
struct chain_message {
    struct str head, data;
    int fd;
    uint64_t data_size;
};
enum chain_run { CHAIN_DONE, CHAIN_WAIT };
/* Runs a point; one at a time. `view` need only have what is known: its size, ids and read are
 * filled in here, NULL means "". CHAIN_DONE: see chain_answer() now. CHAIN_WAIT: on_answer(ctx)
 * comes later, on the loop, not from within this call. `from`: NULL, or the name of a stage that
 * this run begins with (held mail): those it waits for are taken as run. */
enum chain_run chain_run(struct chain *c, enum ph_point point, const struct ph_view *view,
                         const struct chain_message *message, const char *from,
                         void (*on_answer)(void *ctx), void *ctx);
void chain_cancel(struct chain *c); /* what runs; no answer comes */

struct chain_answer {
    enum ph_verdict verdict; /* of the transaction so far; at PH_RCPT DISCARD, DEFER, REJECT are for
                                this recipient only */
    const char *stage;       /* who decided it; "" for PASS */
    bool hold; /* DEFER because of a stage whose on_error is `hold`: stage is the one to begin with
                  again */
    /* DEFER, REJECT: the reply, well-formed */
    unsigned code;
    char status[12], text[240], reason[256];
};
const struct chain_answer *chain_answer(const struct chain *c); /* of the last run */
double chain_score(const struct chain *c);

enum chain_action_kind {
    CHAIN_HEADER_ADD,
    CHAIN_HEADER_INSERT,
    CHAIN_HEADER_CHANGE,
    CHAIN_HEADER_DELETE,
    CHAIN_BODY,
    CHAIN_RCPT_ADD,
    CHAIN_RCPT_DELETE,
    CHAIN_SENDER,
    CHAIN_TAG
};
struct chain_action { /* in the order of stages, points in theirs */
    const struct chain_action *next;
    enum chain_action_kind kind;
    unsigned n; /* index or nth */
    struct str name,
        value; /* name: of the field; value: field value (with its folds), body, address, word */
};
const struct chain_action *chain_actions(const struct chain *c);
/* The new body, of several the last one. NULL: it stays. */
const struct chain_action *chain_new_body(const struct chain *c);

/* The verdicts given in the session and the transaction, in order: all but those of RCPT, HELO and
 * AUTH that come after the first 2000. */
struct chain_fact {
    const struct chain_fact *next;
    struct str name, value;
};
struct chain_record {
    const struct chain_record *next;
    enum ph_point point;
    enum ph_verdict verdict;
    const char *stage;
    bool shadow, failed; /* failed: answered by its on_error */
    bool always, held;   /* PH_ALWAYS; the message is held for it: its verdict is still to come */
    bool late;           /* of MAIL, counts at RCPT */
    bool overridden;     /* it doesn't count: a rule lets the sender in (PH_ABOUT_SENDER) */
    struct str rcpt;     /* at PH_RCPT */
    uint64_t us;
    double score;
    struct str reply, reason;
    const struct chain_fact *facts;  /* that it set */
    const struct chain_action *acts; /* so many of them are its own */
    unsigned actions;
};
const struct chain_record *chain_records(const struct chain *c,
                                         bool session); /* of the session, or the transaction */

/* The newest of that name, in the transaction and the session; .p NULL: none. */
struct str chain_fact(const struct chain *c, struct str name);
bool chain_repeats(enum ph_point p); /* as often as the client likes */

/* actions_text.c: one in words. */
void chain_action_text(const struct chain_action *a, struct buf *out);
/* The stages that removed recipients of the transaction, "a, b". Returns out. */
const char *chain_removers(const struct chain *c, char *out, size_t size);

/* The head with all header actions applied: `out` gets the new one. False: there was nothing to do.
 * tag and score too. */
bool chain_edit_head(const struct chain *c, struct str head, struct buf *out);

/* Keeps the verdicts of the transaction (or, none being under way, of the session) for `posthouse
 * explain`: a moment later, in the store. Nothing is kept when no stage had a turn. */
struct chain_subject {
    struct str sender, rcpt, client,
        outcome;     /* outcome: "accepted", "refused", "discarded", ... with the reply */
    struct str head; /* of mail that is kept nowhere else: refused or discarded; else empty */
    size_t rcpts;
    uint64_t size;
    bool more; /* about one that was kept before: its stages are added to those */
};
void chain_keep(struct chain *c, const struct chain_subject *about);

const char *ph_point_name(enum ph_point p);
const char *ph_verdict_name(enum ph_verdict v);
#endif
