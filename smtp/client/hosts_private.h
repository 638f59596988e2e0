/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hosts_private.h - what hosts.c (questions), hosts_order.c and hosts_tls.c (pure) share. */
#ifndef PH_SMTP_HOSTS_PRIVATE_H
#define PH_SMTP_HOSTS_PRIVATE_H
#include "smtp/client/hosts.h"
#include "smtp/client/route_address.h"

enum {
    HOSTS_MAX = 12, /* mail hosts that are asked for */
    HOSTS_QUESTIONS = 60,
    HOSTS_DEADLINE_MS = 90 * 1000,
    HOSTS_ADDRESSES = 20, /* in an answer */
    HOST_ADDRESSES = 8    /* of one family of one host */
};

enum dane_state {
    DANE_NO,     /* not asked, or DNSSEC says or leaves open that there is nothing */
    DANE_FAILED, /* bogus or no answer: it may be hidden from us (RFC 7672 2.1.1) */
    DANE_UNUSABLE,
    DANE_USABLE
};
struct host_ips {
    char ip[HOST_ADDRESSES][ROUTE_IP_MAX];
    size_t n;
    bool asked, found, secure, failed;
};
struct candidate { /* a mail host, or the named one */
    struct hosts_query *query;
    struct str name; /* in the arena, terminated */
    uint16_t preference;
    struct host_ips v4, v6;
    struct str expanded; /* after CNAMEs; .n == 0: as it is */
    struct resolver_query *a, *aaaa, *cname, *tlsa;
    struct str base; /* what TLSA is asked for: RFC 7672 2.2.3 */
    enum dane_state dane;
    struct tls_tlsa *records;
    size_t n_records;
    unsigned refused; /* addresses where no mail host can be */
    bool self;
};

/* ---- hosts_order.c */
/* By preference, in random order within one; names once, the null one (".") not at all. */
void hosts_sort(struct candidate *list, size_t *n);
/* IPv6 and IPv4 in turns. */
size_t hosts_interleave(const struct candidate *c, const char **out, size_t max);
/* RFC 5321 5.1: without us and those that aren't better. True: somebody was dropped. */
bool hosts_drop_self(struct candidate *list, size_t *n);

/* ---- hosts_tls.c */
struct tls_question { /* what is known when a host's TLS is decided */
    enum route_tls tls;
    bool login;
    const char *domain;              /* by MX of it; NULL: a named host */
    const struct sts_policy *policy; /* NULL: none */
    const char *policy_text;
};
/* Fills use, demand, policy, policy_text, unusable, failure of out, whose name and ip are set. */
void hosts_decide_tls(const struct tls_question *q, const struct candidate *c, struct arena *a,
                      struct host *out);
#endif
