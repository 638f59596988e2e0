/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* aggregate_private.h - what the files of this folder share: rounds over what is due
 * (aggregate.c), one report on its way (one.c), what is different for each kind (one_dmarc.c,
 * one_tls.c). Floor 5 (smtp). Threads: loop, but for prepare(). */
#ifndef PH_SMTP_AGGREGATE_PRIVATE_H
#define PH_SMTP_AGGREGATE_PRIVATE_H
#include "appliance/base/log.h"
#include "appliance/io/resolver.h"
#include "filters/daily.h"
#include "filters/dmarc_rua.h"
#include "smtp/aggregate/aggregate.h"
#include "smtp/aggregate/mail.h"

struct aggregate {
    const struct reports_conf *conf;
    struct snapshot *snapshot;
    char *hostname, *origin;
    struct loop *loop;
    struct store *store;
    struct resolver *resolver;
    struct smtp_server *server;
    struct log_ctx log;
    struct timer *timer;
    /* a round */
    bool running, now, again, stopping;
    enum aggregate_kind kind;
    struct listing *listing; /* under way */
    struct arena *arena;     /* of the list */
    struct daily *list;
    size_t n, at;
    bool last;           /* list is the end of this kind */
    struct list reports; /* on their way */
    unsigned n_reports, n_sent;
    struct loop_defer pump_later;
};

struct one;
struct one_kind {
    const char *name; /* "dmarc" */
    const struct daily_table *table;
    bool ask_first; /* the DNS, and then the rows: most domains want none */
    /* Lane store: reads the rows and appends the packed file. ERR_PERM: it never can be. */
    int (*prepare)(struct one *o, struct store_reader *r, struct buf *file, struct err *err);
    /* Asks the DNS who gets it: one_addressed(), later or at once. */
    void (*address)(struct one *o);
};
extern const struct one_kind one_dmarc, one_tls;

struct one {
    struct list link;    /* in aggregate.reports */
    struct aggregate *a; /* NULL: it is gone */
    const struct one_kind *kind;
    enum aggregate_kind which;
    struct daily day;
    uint64_t id;
    struct arena *arena;
    struct str org, from, contact, submitter;
    struct buf file; /* empty: not made yet */
    size_t told;     /* rows in it */
    bool addressed;
    bool busy;         /* a job, an operation or a mail is under way: it ends no sooner */
    struct str record; /* of the policy */
    struct job job;
    struct err err;
    bool failed;
    struct resolver_query *query;
    struct dmarc_rua *rua;
    struct str to[DMARC_RUA_MAX];
    size_t n_to;
    struct store_op forget;
};
void one_begin(struct aggregate *a, enum aggregate_kind which, const struct daily *d);
void one_orphan(struct one *o); /* the aggregate goes */
void one_next(struct one *o);   /* the step after the one that is done */
/* to, n_to are set. unknown: the DNS doesn't answer for somebody. */
void one_addressed(struct one *o, bool unknown);
void aggregate_ended(struct aggregate *a); /* one has: another may begin */
#endif
