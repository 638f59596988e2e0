/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery.h - sends what the queue holds: who is due, over which connections, how often, and what
 * is reported to the sender. Floor 5 (smtp). Threads: loop only; reads on lane store.
 * What isn't due lies in the store alone: in memory is one small struct a site, and what is under
 * way. A recipient whose 250 was recorded is never tried again; after a crash each is delivered at
 * least once.
 * Concurrency of a site: begins small, grows by one with each message that went well, halves when a
 * host says 421 or doesn't answer; a host that can't be reached rests (per-host back-off) while its
 * site's other hosts are used. Retry: min_backoff doubling to max_backoff, with jitter of a tenth,
 * until lifetime is over; 5xx, null MX and the like end it at once. */
#ifndef PH_SMTP_DELIVERY_H
#define PH_SMTP_DELIVERY_H
#include "appliance/base/snapshot.h"
#include "appliance/directory/directory.h"
#include "appliance/store/queue.h"
#include "smtp/client/callout.h"
#include "smtp/client/hosts.h"
#include "smtp/queue/srs.h"

struct delivery;
struct filters;
struct delivery_conf {
    const struct relay_conf *relay;
    struct snapshot *snapshot; /* that relay lies in; NULL: it lives as long as this */
    const char *hostname;      /* ours; copied */
    const char *origin;        /* domain of the reports' From (MAILER-DAEMON@origin); copied */
    struct loop *loop;
    struct store *store;
    struct directory *directory; /* whose sender is ours */
    struct resolver *resolver;
    struct http_client *http;   /* NULL: no MTA-STS */
    const struct srs_conf *srs; /* NULL: senders are as they are; else lives as long as this */
};
/* Begins with what is due. -1: no resources, or relay.ca_file can't be used. */
int delivery_new(const struct delivery_conf *conf, struct delivery **out, struct err *err)
    __attribute__((warn_unused_result));
void delivery_set_conf(struct delivery *d, const struct relay_conf *relay,
                       struct snapshot *snapshot);
/* Reports that leave pass their PH_OUTBOUND from now on. Lives longer than this. */
void delivery_set_filters(struct delivery *d, struct filters *f);
/* No new attempts; those under way may end until drain_ms are over. on_stopped later on the loop.
 */
void delivery_stop(struct delivery *d, uint64_t drain_ms, void (*on_stopped)(void *ctx), void *ctx);
void delivery_free(struct delivery **d); /* after on_stopped */

/* Rows of this site were committed just now, or changed: look. .n == 0: at all. */
void delivery_wake(struct delivery *d, struct str site);
/* Now, whatever the schedule says (ETRN, queue flush): what waits for this domain and those below
 * it; .n == 0: all. back-off of hosts is forgotten. */
void delivery_flush(struct delivery *d, struct str domain);

/* Asks hosts about addresses over the same routes and within the same connections. The caller's;
 * gone before delivery_free(). */
struct callout *delivery_callout(struct delivery *d);

struct delivery_stats {
    uint64_t attempts, delivered, deferred, failed, expired, reports, connects, connect_failures;
    uint64_t tls[4]; /* messages sent: plain, encrypted, PKIX-verified, DANE-verified */
    unsigned connections, idle, sites, in_flight;
};
void delivery_stats(const struct delivery *d, struct delivery_stats *out);
/* What is known about each site in memory, for `posthouse queue sites`. */
struct delivery_site {
    struct str name;
    unsigned connections, limit, in_flight;
    int64_t next_ms;  /* wall; 0: nothing waits */
    const char *last; /* last failure; "" */
};
void delivery_each(const struct delivery *d,
                   void (*fn)(void *ctx, const struct delivery_site *site), void *ctx);
#endif
