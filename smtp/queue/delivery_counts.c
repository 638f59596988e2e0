/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_counts.c - what delivery counts (base/metrics.h), and its own numbers. */
#include "appliance/base/metrics.h"
#include "smtp/queue/delivery_private.h"

enum { RESULTS = DELIVERY_EXPIRED + 1, TLS_KINDS = 4, CONNECTS = 2 };

static const char *result_name(size_t i)
{
    static const char *const names[RESULTS] = {"delivered", "deferred", "failed", "expired"};
    return names[i];
}

static const char *tls_name(size_t i)
{
    static const char *const names[TLS_KINDS] = {"none", "encrypted", "pkix", "dane"};
    return names[i];
}

static const char *connect_name(size_t i)
{
    static const char *const names[CONNECTS] = {"ok", "failed"};
    return names[i];
}

static const uint64_t delay_ms[] = {100,    500,     1000,    5000,     30000,    60000,
                                    300000, 1800000, 3600000, 14400000, 86400000, 432000000};

METRIC(attempts, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_delivery_attempts_total",
       .help = "Attempts to send to a recipient at another host, by what they led to.",
       .labels = {{"result", result_name, RESULTS}});
METRIC_BUCKETS(delay, delay_ms, .name = "posthouse_delivery_delay_seconds", .scale = 3,
               .help = "How long delivered recipients had been in the queue.");
METRIC(connects, CONNECTS, .type = METRIC_COUNTER, .name = "posthouse_delivery_connects_total",
       .help = "Connections to other hosts: until they can take mail, or not.",
       .labels = {{"result", connect_name, CONNECTS}});
METRIC(tls, TLS_KINDS, .type = METRIC_COUNTER, .name = "posthouse_delivery_tls_total",
       .help = "Messages sent, by what TLS proved about the host.",
       .labels = {{"trust", tls_name, TLS_KINDS}});
METRIC(reports, 1, .type = METRIC_COUNTER, .name = "posthouse_delivery_reports_total",
       .help = "Delivery status notifications made.");
METRIC(connections, 1, .type = METRIC_GAUGE, .name = "posthouse_delivery_connections",
       .help = "Connections to other hosts that are open or being opened.");
METRIC(sites, 1, .type = METRIC_GAUGE, .name = "posthouse_delivery_sites",
       .help = "Destinations that mail waits for.");
METRIC(in_flight, 1, .type = METRIC_GAUGE, .name = "posthouse_delivery_messages_in_flight",
       .help = "Messages in memory: being sent, about to be, or being settled.");

void delivery_count_attempt(struct delivery *d, enum delivery_result r)
{
    uint64_t *const own[RESULTS] = {&d->stats.delivered, &d->stats.deferred, &d->stats.failed,
                                    &d->stats.expired};
    metric_inc(&attempts, r);
    d->stats.attempts++;
    ++*own[r];
}

void delivery_count_delay(int64_t ms)
{
    metric_observe(&delay, ms > 0 ? (uint64_t)ms : 0);
}

void delivery_count_connect(struct delivery *d, bool failed)
{
    metric_inc(&connects, failed);
    d->stats.connects++;
    d->stats.connect_failures += failed;
}

void delivery_count_tls(struct delivery *d, const struct mail *m)
{
    static const unsigned of_trust[] = {
        [TLS_TRUST_NONE] = 1, [TLS_TRUST_PKIX] = 2, [TLS_TRUST_DANE] = 3};
    unsigned kind = m->at.tls[0] ? of_trust[m->at.trust] : 0;
    metric_inc(&tls, kind);
    d->stats.tls[kind]++;
}

void delivery_count_report(struct delivery *d)
{
    metric_inc(&reports, 0);
    d->stats.reports++;
}

void delivery_count_state(const struct delivery *d)
{
    metric_set(&connections, 0, d->hops);
    metric_set(&sites, 0, map_count(d->sites));
    metric_set(&in_flight, 0, d->n_mails);
}
