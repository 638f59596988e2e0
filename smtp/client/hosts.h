/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hosts.h - from a route to the addresses to try, in their order, each with the TLS it must have.
 * MX with null MX (RFC 7505), implicit MX, preferences, shuffled within one preference, IPv6 and
 * IPv4 in turns; DANE (RFC 7672) and MTA-STS (RFC 8461). Floor 5 (smtp). Threads: loop only.
 * Answers are made anew each time: the resolver and sts.h cache. */
#ifndef PH_SMTP_HOSTS_H
#define PH_SMTP_HOSTS_H
#include "appliance/io/resolver.h"
#include "smtp/client/route.h"
#include "smtp/client/sts.h"

struct hosts_conf {
    struct loop *loop;
    struct resolver *resolver;
    struct sts *sts;  /* NULL: no MTA-STS */
    const char *self; /* our own name: an MX that is us, and those not better, aren't tried */
    const struct cidr_set *self_addresses; /* NULL: none */
};
enum hosts_policy {
    HOSTS_POLICY_NONE,
    HOSTS_POLICY_STS_TESTING,
    HOSTS_POLICY_STS,
    HOSTS_POLICY_DANE
};
struct host {
    const char *name; /* of the MX; for the log and EHLO */
    char ip[46];
    uint16_t port, preference;
    enum smtp_tls_use use;
    struct tls_demand demand;
    enum hosts_policy policy;
    const char *policy_text; /* as TLSRPT has it: lines of the MTA-STS policy, TLSA records; "" */
    enum tls_result_type failure; /* of `unusable`, or what a policy in testing says against it */
    struct smtp_fault
        unusable; /* kind NONE: try it. Else it must not be tried: why (it isn't in the
                     MTA-STS policy, DANE demands what can't be had, TLSA bogus) */
};
struct hosts_answer {        /* valid until hosts_free() */
    struct smtp_fault fault; /* kind NONE: hosts. Else TEMP or PERM for all recipients */
    struct host *list;
    size_t n;
    enum hosts_policy policy;         /* the strongest that holds for the domain */
    enum tls_result_type sts_failure; /* TLS_RESULT_STS_*: its policy couldn't be had, and none is
                                         in force; else TLS_RESULT_SUCCESS */
    struct arena *arena;              /* private */
};
struct hosts_query;
/* What is asked is bounded: 12 mail hosts, 60 questions, 20 addresses. The names and addresses that
 * MX leads to may not be loopback and the like (relay.local_hosts); those of a named host may.
 * conf, relay and route are needed during the call only, but what conf points to until the answer.
 * on_answer once, later; the answer is the caller's: hosts_free(). */
struct hosts_query *hosts_find(const struct hosts_conf *conf, const struct relay_conf *relay,
                               const struct route *route,
                               void (*on_answer)(void *ctx, struct hosts_answer *a), void *ctx);
void hosts_cancel(struct hosts_query **q);
void hosts_free(struct hosts_answer **a);
#endif
