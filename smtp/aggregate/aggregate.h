/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* aggregate.h - reports about a day to the domains that ask for them: what DMARC came to of mail in
 * their name (RFC 9990), with what TLS mail was sent to them (RFC 8460). Floor 5 (smtp). Threads:
 * loop; rows are read, and files packed, on lane store.
 * A day's reports leave in the hours after midnight UTC, each domain's at a time of its own; what
 * couldn't be sent is tried again, until it is REPORTS_DAYS old. A report is put into the queue in
 * the transaction that removes what it tells: it is sent once, whatever crashes, and by one of
 * several nodes. Rows of domains that want none are removed. */
#ifndef PH_SMTP_AGGREGATE_H
#define PH_SMTP_AGGREGATE_H
#include "appliance/base/settings.h"
#include "appliance/base/snapshot.h"
#include "appliance/store/store.h"

enum { REPORTS_DAYS = 3 };
struct reports_conf { /* section "reports" */
    bool dmarc, tls;
    const char *from;    /* empty: postmaster@ORIGIN */
    const char *org;     /* empty: ORIGIN */
    const char *contact; /* empty: none */
};
extern const struct ph_setting reports_settings[];
/* -1: reports.from isn't an address. */
int reports_check(const struct reports_conf *c, struct err *err)
    __attribute__((warn_unused_result));

struct resolver;
struct smtp_server;
struct aggregate;
struct aggregate_env {
    const struct reports_conf *conf;
    struct snapshot *snapshot;     /* that it lies in; NULL: it lives as long as this */
    const char *hostname, *origin; /* copied */
    struct loop *loop;
    struct store *store;
    struct resolver *resolver;
    struct smtp_server *server; /* whose way out they take */
};
struct aggregate *aggregate_new(const struct aggregate_env *env);
void aggregate_set_conf(struct aggregate *a, const struct reports_conf *conf,
                        struct snapshot *snapshot);
/* All reports about days that are over, at once. */
void aggregate_now(struct aggregate *a);
/* No more begin. Those that the server has taken end before the server does. */
void aggregate_stop(struct aggregate *a);
void aggregate_free(struct aggregate **a); /* NULL is fine; before server, resolver and store */
#endif
