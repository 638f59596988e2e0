/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* private.h - what the files of the chain share. Nobody else includes it. Floor 4 (filters).
 * Threads: loop, except what is marked. A worker of a lane touches its struct work, the source of
 * its view (never changed while anybody reads it), the kv of its stage (locked). */
#ifndef PH_FILTERS_PRIVATE_H
#define PH_FILTERS_PRIVATE_H
#include "appliance/base/list.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/io/resolver.h"
#include "filters/builtin.h"
#include "filters/chain.h"
#include "filters/outside.h"

enum {
    ACTS_MAX = 256 << 10,
    RECORDS_MAX = 2000,      /* of one scope: what clients can repeat (HELO, AUTH, RCPT) */
    RECORDS_RESERVED = 1000, /* beyond these: of other points */
    TIMERS_MAX = 64,
    QUESTIONS_MAX = 256,
    LOST_MAX = 2
};

/* ---- actions.c: what a stage wants done. Of one turn; a worker's while its work() runs. */
struct ph_acts {
    struct arena *arena; /* made when needed; goes to the chain with the answer */
    bool over;
    bool
        full; /* something had no room: the turn fails, for the rest alone may be worse than none */
    size_t used;
    struct chain_action *actions, **last;
    unsigned n;
    double score;
    struct chain_fact *facts;      /* set by it */
    const struct fact_node *known; /* set before it began */
};
struct fact_node { /* newest first */
    const struct fact_node *next;
    const struct chain_fact *fact;
};
void acts_host(struct ph_host *host); /* fills in the functions */
void acts_init(struct ph_acts *a, const struct fact_node *known);
void acts_fini(struct ph_acts *a);
struct arena *acts_arena(struct ph_acts *a);

/* ---- facts.c: what stages have told. */
struct scope;
/* Facts of one turn, whose memory lives as long as the scope. -1: there is no room; none is there.
 */
int facts_add(struct scope *s, const struct chain_fact *facts) __attribute__((warn_unused_result));
struct str facts_find(const struct fact_node *from, struct str name); /* .p NULL: none */
/* A copy for another thread. */
const struct fact_node *facts_copy(struct arena *a, const struct fact_node *from);

/* ---- kv.c. [any] */
struct kv;
struct stage;
int kv_open(struct stage *s, struct kv **out, struct err *err) __attribute__((warn_unused_result));
void kv_close(struct kv **kv); /* writes what isn't written */
void kv_orphan(struct kv *kv); /* a thread may still come to it: written, and then memory only */
void kv_host(struct ph_host *host);

/* ---- lanes.c: threads that may be lost. */
struct flane;
enum fjob_state { FJOB_IDLE, FJOB_QUEUED, FJOB_RUNNING, FJOB_DONE, FJOB_ABANDONED };
struct fjob {
    void (*run)(struct fjob *j);  /* worker */
    void (*done)(struct fjob *j); /* loop, later, once, unless it was taken back */
    /* private */
    struct list link;
    struct loop_post post;
    struct flane *lane;
    enum fjob_state state; /* under the lane's lock */
};
struct flane *flane_new(struct loop *l, const char *name, unsigned threads, unsigned depth,
                        struct err *err);
int flane_submit(struct flane *lane, struct fjob *j); /* -1: full */
/* Gives a job up. QUEUED: it never ran, done() won't come. RUNNING: its thread is lost (replaced if
 * so wished), done() comes when it ends some day. DONE: done() is on its way. */
enum fjob_state flane_abandon(struct flane *lane, struct fjob *j, bool replace);
bool flane_cancel(struct flane *lane, struct fjob *j); /* takes it back if no thread has begun it */
/* Waits at most `wait_ms` for what runs; false: threads stay behind. */
bool flane_free(struct flane **lane, uint64_t wait_ms);
const char *flane_name(const struct flane *lane);

/* ---- watchdog.c */
struct watchdog;
struct watchdog *watchdog_new(uint64_t limit_ms);
void watchdog_free(struct watchdog **w);
void watchdog_enter(struct watchdog *w, const char *stage); /* may be NULL */
void watchdog_leave(struct watchdog *w);

/* ---- filters.c: the stages, opened. */
struct stage {
    struct ph_host host; /* the one it was given: CONTAINER_OF leads back */
    struct filters *filters;
    const struct filters_entry *entry;
    unsigned index;
    uint64_t bit, after;
    void *inst;
    bool open, off; /* off: by its faults; its turns are answered by on_error */
    unsigned lost;
    struct flane *lane;
    struct lane_user *lane_user;
    struct kv *kv;
    struct list timers; /* of the instance */
    unsigned n_timers;
    struct filters_stats stats;
};
struct lane_user {
    struct list link;
    struct flane *lane;
    unsigned users;
    bool stuck; /* closed, and a thread never came back */
};
struct filters {
    struct filters_env env;
    struct log_ctx log;
    struct stage *stages;
    size_t n;
    unsigned *order;        /* indexes, each after those it waits for */
    uint64_t at[PH_POINTS]; /* stages that are not off, in any snapshot so far */
    struct list lanes, works;
    struct map *turns;
    uint64_t next_turn;
    struct watchdog *watchdog;
    unsigned depth;    /* calls of stages we are in */
    struct list ended; /* turns that ended in such a call: freed when it returns */
    unsigned chains;
    bool opened;                  /* `order` is complete */
    struct filters_config *first; /* of open(), once there is a newer one */
    struct keep *keep;
    struct held *held;
    struct filters_prober prober; /* ask NULL: none */
    struct outside_seen seen;
};
/* Around each call of a stage's code on the loop. */
void stage_enter(struct stage *s);
void stage_leave(struct stage *s);
static inline const struct ph_stage *stage_def(const struct stage *s)
{
    return &s->entry->stage;
}

/* ---- source.c: what stages see at one point. */
struct source {
    unsigned refs;
    struct arena *arena;
    struct ph_view view;
    struct str head, data;
    int fd;
    bool own_fd;
    uint64_t data_size;
};
struct source *source_new(void);
/* copy: for other threads, and so that it outlives the session. */
void source_fill(struct source *s, const struct ph_view *view, const struct chain_message *m,
                 bool copy);
struct source *source_ref(struct source *s);
void source_unref(struct source **s);

/* ---- turn.c */
struct turn {
    struct list link; /* in chain.run.turns, then filters.ended */
    uint64_t id;
    struct chain *chain; /* NULL: over */
    struct stage *stage;
    const void *conf;
    const struct filters_common *common;
    void *memory;
    struct ph_acts acts; /* loop style */
    struct work *work;   /* lane style */
    struct work *job;    /* loop style: what job() was given */
    struct timer *deadline;
    struct list timers;
    unsigned n_timers;
    bool hold; /* it ended by builtin_hold() */
    struct list questions, probes;
    unsigned n_questions, n_probes;
    struct resolver_budget budget;
    uint64_t began_us;
};
/* NULL: it is over, or not one of this host's stage. */
struct turn *turn_find(const struct ph_host *h, ph_turn turn);
void turn_host(struct ph_host *host);
void turn_start(struct chain *c, struct stage *s);
void turn_cancel(struct turn *t); /* without an answer */
void turns_sweep(struct filters *f);
void stage_timers_free(struct stage *s);
/* work.c: lane style */
void work_start(struct turn *t);
void work_host(struct ph_host *host);
void work_detach(struct work *w);                /* its answer isn't wanted any more */
void works_orphan(struct filters *f);            /* what comes back from now on finds no stages */
void turn_fail(struct turn *t, const char *why); /* by its on_error */
void turn_late(struct turn *t);                  /* its deadline has passed */
enum ph_verdict turn_error_verdict(const struct turn *t); /* its on_error */
void turn_end(struct turn *t, struct ph_acts *acts, enum ph_verdict verdict, const char *reply,
              const char *reason, bool failed);
/* The stage's own answer; a failure where its acts had no room. */
void turn_answer(struct turn *t, struct ph_acts *acts, enum ph_verdict verdict, const char *reply,
                 const char *reason);

/* ---- dns.c: questions of turns. */
void dns_host(struct ph_host *h);
void dns_begin(struct turn *t);  /* its budget */
void dns_cancel(struct turn *t); /* no answers any more */

/* ---- probe.c: addresses that turns ask about. */
void probe_host(struct ph_host *h);
void probe_cancel(struct turn *t); /* no answers any more */

/* ---- chain.c */
struct decision {
    enum ph_verdict verdict;
    const char *stage;
    unsigned code;
    char status[12], text[240], reason[256];
};
struct held_arena {
    struct list link;
    struct arena *arena;
};
struct scope { /* session or transaction */
    struct arena *arena;
    struct list arenas;                   /* of acts */
    const struct fact_node *facts, *base; /* base: those of the session, that go on in `facts` */
    size_t n_facts, facts_bytes, compact_at;
    struct chain_record *records, **last_record;
    struct chain_action *actions, **last_action;
    size_t n_records, left_out; /* left_out: there was no room for them */
    double score;
    bool accepted;
    size_t rcpts, rcpts_accepted; /* that passed PH_RCPT; of them, for which a stage said ACCEPT */
    bool allowed, proven;         /* builtin_allow(), builtin_prove() */
    size_t rcpts_allowed, rcpts_if_proven;
    uint64_t postponer;               /* the stage that called builtin_postpone() */
    struct decision soft, firm, stop; /* JUNK, QUARANTINE; those of PH_ALWAYS; DISCARD */
    struct decision late;             /* of MAIL, for all recipients that aren't allowed */
};
struct ended { /* an answered turn of the run, until its actions are taken over in order */
    unsigned index;
    struct ph_acts acts;
    bool acting;
};
struct run {
    enum ph_point point;
    struct source *source;
    uint64_t todo, running, done, held;
    struct list turns;
    struct ended *ended;
    size_t n_ended;
    struct decision stop; /* DEFER, REJECT; at RCPT DISCARD */
    bool accepted;        /* at RCPT: this recipient */
    enum builtin_allow allowed;
    bool active, starting, sync;
    void (*on_answer)(void *ctx);
    void *ctx;
    struct loop_defer defer, advance;
};
struct chain {
    struct filters *filters;
    struct filters_config *config;
    uint64_t session, message;
    struct scope of_session, of_message;
    struct run run;
    struct chain_answer answer;
    char held[256];
    void **sessions; /* a pointer of each stage; NULL: none was asked for */
};
/* A turn ended (acts taken over; they may be NULL) or, acts NULL and verdict PASS, was cancelled.
 */
void chain_turn_ended(struct chain *c, const struct turn *t, struct ph_acts *acts,
                      enum ph_verdict verdict, const char *reply, const char *reason, bool failed);
struct scope *chain_scope(struct chain *c);

/* ---- judge.c: what verdicts come to. */
enum judged {
    JUDGED,
    JUDGED_LATE,      /* it counts at RCPT */
    JUDGED_OVERRIDDEN /* it doesn't count: a rule lets the sender in */
};
enum judged judge_turn(struct chain *c, const struct stage *s, enum ph_verdict v, const char *reply,
                       const char *reason);
void judge_run(struct chain *c);           /* it is over: makes the answer */
bool judge_stopped(const struct chain *c); /* only stages with PH_ALWAYS run on */
bool judge_settled(const struct chain *c); /* by ACCEPT */
bool judge_allowed(const struct chain *c); /* stages with PH_ABOUT_SENDER have no say */

/* ---- reply.c: "450 4.7.1 Text" of a stage, checked; or the server's own words. */
void reply_parse(struct decision *d, const char *reply);

/* ---- keep.c: verdicts on their way into the store. */
struct keep;
struct keep *keep_new(struct filters *f);
void keep_free(struct keep **k);
void keep_put(struct keep *k, uint64_t id, bool again, bool more, struct str detail);
#endif
