/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolver.h - the one DNS resolver: validating (RFC 4035), caching, asynchronous; own recursion or
 * forwarders. Floor 1 (io). Threads: loop only (libunbound's own thread is inside).
 * Ownership: a query belongs to the resolver until its answer; resolver_cancel() ends it. An answer
 * and all it points to is valid during the callback only. on_answer never comes from within
 * resolver_ask(), always later from the loop, exactly once unless cancelled.
 * Names are taken as they are in ASCII; U-labels are converted (IDNA 2008) by the caller
 * (base/text.h). A trailing dot is optional. */
#ifndef PH_IO_RESOLVER_H
#define PH_IO_RESOLVER_H
#include "appliance/base/err.h"
#include "appliance/base/settings.h"
#include "appliance/base/str.h"
#include "appliance/io/loop.h"

struct resolver;
struct resolver_conf {        /* section "dns" */
    const char *forwarders;   /* list of ADDRESS or ADDRESS@PORT; empty: own recursion */
    const char *trust_anchor; /* file with the root's DS or DNSKEY records; empty: no validation */
    const char *local_zones;  /* list: built-in local zones to ask for all the same ("test") */
    uint64_t cache;           /* octets */
    uint64_t timeout;         /* of one question, as far as the asker set nothing shorter */
    int64_t queries;          /* questions on their way at once; more wait */
    int inet;                 /* 0 any, 4, 6: not a setting of this section but of main */
};
extern const struct ph_setting resolver_settings[];

/* Without touching files or the network: are the settings well written? */
int resolver_check(const struct resolver_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
/* -1: a forwarder or file that can't be used; says which. After the sandbox: it starts libunbound's
 * thread. Nothing is read from files later. */
int resolver_open(const struct resolver_conf *conf, struct loop *l, struct resolver **out,
                  struct err *err) __attribute__((warn_unused_result));
/* Other forwarders from now on; questions on their way end as they began. */
int resolver_reload(struct resolver *r, const struct resolver_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
void resolver_close(struct resolver **r); /* every query must be answered or cancelled */

enum resolver_type {
    RESOLVER_A = 1,
    RESOLVER_CNAME = 5,
    RESOLVER_PTR = 12,
    RESOLVER_MX = 15,
    RESOLVER_TXT = 16,
    RESOLVER_AAAA = 28,
    RESOLVER_TLSA = 52
};
enum resolver_status {
    RESOLVER_FOUND,      /* records */
    RESOLVER_NO_DATA,    /* the name exists, nothing of this type */
    RESOLVER_NO_NAME,    /* NXDOMAIN */
    RESOLVER_BOGUS,      /* DNSSEC says it is forged, or the zone is broken: temporary */
    RESOLVER_FAILED,     /* SERVFAIL, time, no network: temporary */
    RESOLVER_OVER_BUDGET /* no records, and this asker may ask no more */
};
struct resolver_record {
    /* MX, PTR, CNAME: lower case, no trailing dot, odd bytes as \DDD; "." for the root (null MX)
     */
    struct str name;
    struct str data;                   /* TXT: its strings joined; TLSA: the association data */
    char ip[46];                       /* A, AAAA */
    uint16_t preference;               /* MX */
    uint8_t usage, selector, matching; /* TLSA */
};
struct resolver_answer {
    enum resolver_status status;
    bool secure;                           /* DNSSEC proved it, an absence too */
    uint32_t ttl;                          /* s */
    struct str name;                       /* after CNAMEs; .n == 0: as asked */
    const struct resolver_record *records; /* in the order of the server */
    size_t n;
    const char *why; /* BOGUS, FAILED: for the log */
};
typedef void (*resolver_answer_fn)(void *ctx, const struct resolver_answer *a);

/* What one asker may spend on one piece of work; zero the private part first; it must live until
 * its last answer. NULL in resolver_ask(): only conf.timeout holds. The answer without records that
 * is one too many is OVER_BUDGET; the questions after that are NULL. */
struct resolver_budget {
    unsigned queries, voids; /* most questions; most answers without records; 0: no limit */
    uint64_t deadline_ms;    /* loop_now_ms(); 0: none */
    unsigned asked, empty;   /* private */
};
struct resolver_query;
/* NULL: over the budget, too many wait, or not a name: nothing will come. */
struct resolver_query *resolver_ask(struct resolver *r, enum resolver_type type, struct str name,
                                    struct resolver_budget *budget, resolver_answer_fn on_answer,
                                    void *ctx);
void resolver_cancel(struct resolver_query **q); /* NULL is fine; sets it to NULL */
/* "4.3.2.1.in-addr.arpa" of an address; false: not an address. */
bool resolver_reverse_name(const char *ip, char *out, size_t cap);

struct resolver_stats {
    uint64_t asked, answered, failed, bogus, us_total, us_max;
    unsigned waiting, running;
};
void resolver_stats(const struct resolver *r, struct resolver_stats *out);
#endif
