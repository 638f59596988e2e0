/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hosts.h - from a route to the addresses to try, in their order, each with the TLS it must have.
 * MX with null MX (RFC 7505), implicit MX, preferences, shuffled within one preference, IPv6 and
 * IPv4 in turns; DANE (RFC 7672) and MTA-STS (RFC 8461). Floor 5 (smtp). Threads: loop only.
 * Answers are made anew each time: the resolver and sts.h cache. */
#ifndef PH_SMTP_HOSTS_H
#define PH_SMTP_HOSTS_H
#include "appliance/io/resolver.h"
#include "smtp/client/route.h"

struct sts;
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
    struct smtp_fault
        unusable; /* kind NONE: try it. Else it must not be tried: why (it isn't in the
                     MTA-STS policy, DANE demands what can't be had, TLSA bogus) */
};
struct hosts_answer {        /* valid until hosts_free() */
    struct smtp_fault fault; /* kind NONE: hosts. Else TEMP or PERM for all recipients */
    struct host *list;
    size_t n;
    enum hosts_policy policy; /* the strongest that holds for the domain */
    struct arena *arena;      /* private */
};
struct hosts_query;
/* on_answer once, later; the answer is the caller's: hosts_free(). */
struct hosts_query *hosts_find(const struct hosts_conf *conf, const struct relay_conf *relay,
                               const struct route *route,
                               void (*on_answer)(void *ctx, struct hosts_answer *a), void *ctx);
void hosts_cancel(struct hosts_query **q);
void hosts_free(struct hosts_answer **a);

/* ---- MTA-STS (sts.c): policies by domain, fetched when the DNS record's id changes, kept in the
 * store for max_age. */
struct http_client;
struct store;
struct sts *sts_new(struct loop *l, struct resolver *r, struct http_client *h, struct store *store);
void sts_free(struct sts **s);
enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
struct sts_policy { /* RFC 8461 3.2; pure parser: text of the policy file */
    enum sts_mode mode;
    uint64_t max_age; /* s */
    struct str mx[64];
    size_t n_mx;
};
int sts_parse(struct arena *a, struct str text, struct sts_policy *out, struct err *err)
    __attribute__((warn_unused_result));
bool sts_covers(const struct sts_policy *p, struct str mx);
/* id of "v=STSv1; id=...;" among TXT records; false: none, or several (RFC 8461 3.1). */
bool sts_record_id(const struct str *txt, size_t n, struct str *id_out);
#endif
