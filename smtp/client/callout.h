/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* callout.h - asks the hosts of an address's domain whether they would take mail for it: MAIL,
 * RCPT, and no DATA. Over the routes, hosts and TLS that mail would take, within its connections.
 * Floor 5 (smtp). Threads: loop only.
 * What can be known here isn't asked: an address of ours is the directory's, and a domain whose
 * mail comes to this very host, or goes to a relay that takes everything, is CALLOUT_UNKNOWN. Who
 * is asked for one address at the same time shares one connection. Bounded: 20 connections in all,
 * 2 to a domain and 60 a minute, 5 hosts, 500 addresses under way. Answers aren't kept. No circle:
 * with the null sender, which nobody can ask about, a host that asks us in turn learns nothing new.
 * A sender of our own makes one possible: see stage sender. */
#ifndef PH_SMTP_CALLOUT_H
#define PH_SMTP_CALLOUT_H
#include "smtp/client/hosts.h"

enum callout_result {
    CALLOUT_TAKEN,
    CALLOUT_REFUSED,   /* for good: no such address, or no mail can be sent to its domain */
    CALLOUT_TEMPORARY, /* 4xx, no host answers, DNS fails, no time */
    CALLOUT_UNKNOWN /* it can't be found out: see above; or it isn't this address that is refused,
                       but us (5.7.x), the mailbox is full, MAIL itself is refused */
};
struct callout_answer {
    enum callout_result result;
    bool sender_refused; /* UNKNOWN: MAIL itself was refused for good */
    const char *text;    /* for people, printable: host and reply, or what happened */
};
/* What a connection is made of; asked for anew each time. Valid during the call, but what hosts
 * points to. */
struct callout_house {
    const struct relay_conf *relay;
    struct snapshot *snapshot; /* that it lies in */
    struct hosts_conf hosts;
    struct tls_ctx *tls;
    struct lane *files;
    const char *hostname;
};
struct directory;
struct callout_conf {
    struct loop *loop;
    struct directory *directory;
    void (*house)(void *ctx, struct callout_house *out);
    bool (*take)(void *ctx); /* room for one more connection; false: not now */
    void (*give)(void *ctx); /* one that was taken is over */
    void *ctx;
};
struct callout;
struct callout_query;
typedef void (*callout_answer_fn)(void *ctx, const struct callout_answer *a);
struct callout *callout_new(const struct callout_conf *conf);
void callout_free(struct callout **c); /* what is under way gets no answer, and is gone */
/* address: "local@domain". sender: of MAIL, empty for <>. on_answer once, later, at the latest
 * after deadline_ms. NULL: too much is asked already. */
struct callout_query *callout_ask(struct callout *c, struct str address, struct str sender,
                                  uint64_t deadline_ms, callout_answer_fn on_answer, void *ctx);
void callout_cancel(struct callout_query **q); /* NULL is fine */
unsigned callout_connections(const struct callout *c);

/* What a host's reply to MAIL or RCPT says about the address. Pure. */
enum callout_result callout_judge(const struct smtp_fault *f);
#endif
