/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_private.h - what the files of delivery share. Private to smtp/queue.
 * Floor 5 (smtp). Threads: loop only, but for the run() of jobs, which touch their own fields.
 * A *site* has an entry here while something of it waits. Of the sites with something due as many
 * are *active* as there may be connections; the others stand in line (d->waiting). An active site
 * loads a batch of *mails* (one message with the recipients that share a sender) and sends them
 * over its *hops* (connections). A mail then is settled: the queue is told what became of it, and
 * the sender. Rows in memory are "in flight" (d->flight): no other load takes them up.
 * Whoever changes something calls site_touch(); what follows from it is done once, at the end of
 * the loop's turn (sites_turn), so nothing vanishes under anybody's feet. */
#ifndef PH_SMTP_DELIVERY_PRIVATE_H
#define PH_SMTP_DELIVERY_PRIVATE_H
#include "appliance/base/map.h"
#include "filters/outbound.h"
#include "smtp/client/hosts.h"
#include "smtp/queue/delivery.h"
#include "smtp/queue/report.h"
#include "smtp/queue/schedule.h"

enum {
    DELIVERY_BATCH = 100, /* recipients read at once for a site */
    DELIVERY_BATCH_OCTETS = 256 << 10,
    DELIVERY_ROWS_MAX = 20000, /* recipients in memory: when nothing can be settled */
    DELIVERY_ADDRESSES = 5,    /* RFC 5321 5.1: tried in one attempt */
    DELIVERY_TURN_MS = 30000,  /* how long a site may be active while others stand in line */
    DELIVERY_HOSTS_MS = 60000, /* how long an answer of hosts_find() is good */
    DELIVERY_REPLY_MAX = 600
};
#define DELIVERY_NEVER INT64_MAX

struct site;
struct hop;

/* ---- A mail: delivery_mail.c */

struct mail_row {
    struct queue_to to;
    int64_t not_before_ms; /* its host rests until then; 0: not */
};
struct mail {
    struct list link, of_site; /* ready, or alone; all of the site */
    struct delivery *d;
    struct site *site;
    struct arena *arena;
    struct queue_entry entry;
    struct queue_out out;
    struct mail_row *rows;
    struct smtp_client_rcpt *rcpts; /* as the rows */
    size_t n;
    struct smtp_client_mail m;
    struct str head;  /* with the prefix; views into text */
    struct str text;  /* head and small data: the original */
    struct buf seven; /* the same made 7 bit */
    int fd;
    uint64_t fd_size;
    bool last_try, retried, converted, busy; /* busy: an answer is to come; it can't go yet */
    struct smtp_fault fault;                 /* kind not NONE: it can't be sent at all */
    uint64_t began_us;
    struct { /* where it went, for the log and the report */
        char host[256], ip[46], tls[64];
        enum tls_trust trust;
    } at;
    /* settling */
    struct queue_settle settle;
    struct queue_result *results;
    struct report_rcpt *reports;
    size_t n_reports;
    struct str report_to, report_text; /* report_text: while stages look at it */
    struct outbound *outbound;
    struct body_sink *sink;
    struct queue_new *leaves;
    struct timer *again;
    unsigned attempts;
    uint64_t owner; /* who claimed its rows; 0: nobody else is there */
};
bool mail_is_null(const struct mail *m, size_t row); /* null sender: never reported to */
bool mail_requires_tls(const struct mail *m);
struct str mail_sender(const struct mail *m);
void mail_free(struct mail **m); /* its rows are in flight no more */
/* All recipients end with this; then settled. */
void mail_fail(struct mail *m, const struct smtp_fault *f, int64_t not_before_ms);
void mail_settle(struct mail *m);        /* settle.c: each recipient has its fault */
void mail_settle_submit(struct mail *m); /* settle.c: with or without the report */
void mail_settle_later(struct mail *m);  /* settle.c: all of it again, in a while */
void mail_report(struct mail *m);        /* delivery_report.c: makes the report, then submits */
void mail_report_free(struct mail *m);
void mail_report_cancel(struct mail *m); /* stages look at it no more; it is made again later */

/* ---- Rows in flight: delivery_flight.c */

struct load;
struct flight {
    struct map *rows;
    struct list ended; /* settled while loads ran that may have seen them */
    struct list loads; /* running, oldest first */
    uint64_t seq;
};
void flight_init(struct flight *f);
void flight_fini(struct flight *f);
/* False: it is in flight already, or was settled since the load began. */
bool flight_add(struct flight *f, uint64_t id, uint32_t n);
void flight_end(struct flight *f, uint64_t id, uint32_t n);
struct flight_load {
    struct list link;
    uint64_t seq;
};
void flight_load_begin(struct flight *f, struct flight_load *l);
void flight_load_end(struct flight *f, struct flight_load *l);

/* ---- Hosts that rest: delivery_rest.c */

struct rests;
struct rests *rests_new(struct loop *l);
void rests_free(struct rests **r);
/* where: "ip:port". Grows from a minute, or less if first_max_ms is (who wants its mail tried again
 * in a second means it), to an hour as it goes on failing. */
void rests_blame(struct rests *r, const char *where, const struct smtp_fault *why,
                 uint64_t first_max_ms);
void rests_forget(struct rests *r, const char *where); /* NULL: all */
/* Ms that it still rests, and why; 0: it doesn't. */
uint64_t rests_left(struct rests *r, const char *where, struct smtp_fault *why_out);

/* ---- Where a site's mail goes: shared by its hops, so that an answer outlives a new one. */

struct share {
    unsigned refs;
    struct arena *arena;
    struct snapshot *snapshot; /* the route's credentials may point into it */
    const struct relay_conf *relay;
    struct route route;
    struct hosts_answer *hosts;
    uint64_t until_ms;
};
void share_unref(struct share **s);

/* ---- Sites: site.c (what they do), site_list.c (which there are) */

struct site {
    struct str name;
    struct delivery *d;
    int64_t next_ms; /* wall: the earliest in the store that isn't due; DELIVERY_NEVER */
    size_t heap_at;  /* SIZE_MAX: not in d->heap */
    struct list touched, waiting;
    bool due;            /* something in the store is */
    bool active, loaded; /* loaded: since it is active */
    unsigned limit, n_hops;
    struct list hops, ready, mails;
    size_t n_ready, n_mails; /* ready: mails */
    size_t n_rows;           /* recipients of all its mails */
    struct load *load;
    struct share *share, *asked; /* asked: hosts_find() is under way for this one */
    struct hosts_query *query;
    uint64_t active_ms;
    char *last;
};
struct site *site_get(struct delivery *d, struct str name); /* made if need be */
void site_touch(struct site *s);
/* Something of it is due at this time. */
void site_next(struct site *s, int64_t wall_ms);
void site_set_last(struct site *s, const char *text);
void site_run(struct site *s); /* site.c: all that follows from what was touched */
void site_activate(struct site *s);
void site_forget_hosts(struct site *s);                        /* other settings, or a flush */
struct mail *site_take(struct site *s, const struct hop *hop); /* the next one for this hop */
void site_drop_ready(struct site *s);                          /* back to the store */
void site_halve(struct site *s);
void site_grow(struct site *s);
void site_give_back(struct site *s, struct mail *m); /* it is ready again, before all others */

void sites_turn(void *ctx); /* site_list.c */
void sites_tick(void *ctx); /* timer: what is due now */
void sites_arm(struct delivery *d);
void sites_free(struct delivery *d);
void site_heap_set(struct site *s, int64_t next_ms); /* site_heap.c */
struct site *site_heap_first(struct delivery *d);

/* delivery_nodes.c: other processes that share the store, and what becomes of ours when they take
 * this one for dead. */
struct nodes *nodes_new(struct delivery *d);
void nodes_free(struct nodes **n);
void scan_start(struct delivery *d); /* delivery_scan.c: which sites the store has */
void scan_stop(struct delivery *d);
void load_start(struct site *s); /* delivery_load.c */
/* delivery_resite.c: rows, in the arena, to the sites that they have there. Takes the arena. */
void resite(struct site *from, struct arena **arena, const struct queue_to *rows, size_t n);

/* ---- Hops: hop.c (life), hop_send.c (one mail) */

enum hop_state {
    HOP_OPENING,
    HOP_SENDING,
    HOP_CONVERTING, /* its mail is being made 7 bit */
    HOP_IDLE
};
struct hop {
    struct list link, idle; /* of the site; d->idle, the longest idle first */
    struct site *site;
    struct delivery *d;
    enum hop_state state;
    struct smtp_client *client;
    struct mail *mail;
    struct share *share;
    size_t at; /* which host */
    unsigned tried;
    bool plain;              /* its TLS failed where it may be left out */
    struct smtp_fault fault; /* of this attempt so far */
    char fault_host[256];
    uint64_t rests_ms; /* the least that a resting host still rests */
    char host[256], ip[46], where[64];
    struct timer *timer;
    struct convert *convert;
    uint64_t sid, generation;
    unsigned sent;
};
/* Takes the mail. The site's share has hosts. */
void hop_start(struct site *s, struct mail *m);
void hop_take(struct hop *h, struct mail *m); /* an idle one */
bool hop_fits(const struct hop *h, const struct mail *m);
void hop_close(struct hop *h); /* its mail, if any, is dropped */
/* The connection is gone before the mail was taken: the next address, or the same once more. When
 * none is left the mail fails. */
void hop_again(struct hop *h, const struct smtp_fault *why);
void hop_once_more(struct hop *h);
void hop_blame(struct hop *h, const struct smtp_fault *why);
/* The host takes no more than it has: its other connections will send the mail. True: the hop is
 * gone. False: it has no other. */
bool hop_give_back(struct hop *h);
/* Without its mail, which is being settled: the next one, idle, or closed. */
void hop_done(struct hop *h, bool broken);
void hop_send(struct hop *h); /* hop_send.c */
/* hop_tls.c: for TLSRPT */
void share_note_policy(struct delivery *d, const struct share *s);
void hop_note_unusable(struct hop *h, const struct host *host);
void hop_note_ready(struct hop *h);
void hop_note_failed(struct hop *h, const struct smtp_fault *f);
void hop_convert_drop(struct hop *h); /* hop_send.c: it ends while its mail is made 7 bit */

/* ---- All of it: delivery.c */

struct delivery {
    struct delivery_conf conf;
    char *hostname, *origin, *ca_file;
    struct tls_ctx *tls;
    struct lane *files;
    struct sts *sts;
    struct tls_results *results;
    struct filters *filters; /* NULL: none yet */
    struct rests *rests;
    struct flight flight;
    struct map *sites;
    struct site **heap;
    size_t n_heap, heap_room;
    struct list waiting, touched, idle;
    size_t n_mails, n_rows;
    unsigned active, slots; /* slots: of the active sites, each at least one, and one a hop */
    unsigned hops, ops;     /* ops: operations and jobs under way that no mail or load has */
    uint64_t generation;
    struct loop_defer turn, stopped;
    struct timer *tick, *drain;
    struct nodes *nodes; /* delivery_nodes.c */
    struct scan *scan;
    bool scan_again, stopping, drained, told;
    void (*on_stopped)(void *ctx);
    void *stop_ctx;
    struct delivery_stats stats;
    struct log_ctx log;
};
void delivery_check_stopped(struct delivery *d);
void delivery_abandon(struct delivery *d); /* Its rows are others' now: all that is under way, but
                                             for what waits for the last reply only. */
unsigned delivery_slots(const struct delivery *d);

/* ---- What is counted: delivery_counts.c */

enum delivery_result { DELIVERY_DELIVERED, DELIVERY_DEFERRED, DELIVERY_FAILED, DELIVERY_EXPIRED };
void delivery_count_attempt(struct delivery *d, enum delivery_result r);
void delivery_count_delay(int64_t ms);
void delivery_count_connect(struct delivery *d, bool failed);
void delivery_count_tls(struct delivery *d, const struct mail *m);
void delivery_count_report(struct delivery *d);
void delivery_count_state(const struct delivery *d);
#endif
