/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* callout_private.h - one address that is asked about: callout.c has all of them and says when each
 * may connect, callout_probe.c asks. Floor 5 (smtp), private to callout. Threads: loop only. */
#ifndef PH_SMTP_CALLOUT_PRIVATE_H
#define PH_SMTP_CALLOUT_PRIVATE_H
#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/base/snapshot.h"
#include "smtp/client/callout.h"

enum {
    CALLOUT_CONNECTIONS = 20,
    CALLOUT_OF_DOMAIN = 2,
    CALLOUT_PER_MINUTE = 60,
    CALLOUT_HOSTS = 5,
    CALLOUT_PROBES = 500,
    CALLOUT_DOMAINS = 5000,
    CALLOUT_RETRY_MS = 200
};
struct callout_domain {
    uint64_t since_ms; /* of the minute that is counted */
    unsigned asked, running;
};
struct callout_query {
    struct list link;    /* in probe.queries */
    struct probe *probe; /* NULL: it is being answered */
    struct timer *limit;
    callout_answer_fn on_answer;
    void *ctx;
};
struct probe {
    struct list waiting; /* in callout.waiting: for a connection */
    struct callout *callout;
    struct arena *arena;
    struct str key, address, sender, domain;
    struct list queries;
    struct loop_defer begin;
    bool resolving, over; /* over: only the directory still has it */
    bool connected;       /* it has a connection of the house's */
    struct snapshot *snapshot;
    const struct relay_conf *relay;
    struct route route;
    struct hosts_query *finding;
    struct hosts_answer *hosts;
    size_t at;
    unsigned tried;
    bool plain; /* its TLS failed where it may be left out */
    struct smtp_client *client;
    struct smtp_client_mail mail;
    struct smtp_client_rcpt rcpt;
    struct smtp_fault fault; /* of the hosts so far */
    char fault_host[256];
};
struct callout {
    struct callout_conf conf;
    struct map *probes, *domains;
    struct list waiting;
    struct timer *tick;
    unsigned running;
};
/* callout_probe.c */
void probe_begin(void *probe);
void probe_connect(struct probe *p); /* a connection may be made */
void probe_free(struct probe *p);    /* whatever it is at */
/* callout.c */
void callout_wait(struct probe *p); /* until probe_connect() */
/* Tells all that ask; it is gone afterwards. */
void callout_end(struct probe *p, const struct callout_answer *a);
#endif
