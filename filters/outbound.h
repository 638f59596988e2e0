/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* outbound.h - stages at PH_OUTBOUND for mail that leaves without a session of its own: reports,
 * notices, what was held and is released; and what stages put in front of copies that leave.
 * Floor 4 (filters). Threads: loop. */
#ifndef PH_FILTERS_OUTBOUND_H
#define PH_FILTERS_OUTBOUND_H
#include "filters/chain.h"

/* Puts fields that stages added or inserted in front of *prefix, as they stand before the head of
 * copies that leave: inserted ones on top, the last one first; added ones below them. Memory from
 * a. The first `skip` actions of the transaction are those of earlier points. Other actions on the
 * message don't count here: it is in mailboxes, too. -1: they are too long; *prefix stays. */
int outbound_prefix(const struct chain *c, size_t skip, struct arena *a, struct str *prefix);
size_t outbound_count_actions(const struct chain *c); /* c may be NULL */

struct outbound_mail {
    uint64_t id;         /* of the message */
    const char *route;   /* as in ph_view */
    const char *account; /* who it is from; "": this server */
    const char *sender;  /* "": the null sender */
    const char *host;    /* this server's name */
    const char *const *rcpts;
    size_t n_rcpts;
    bool utf8;
    struct chain_message message;
};
/* A whole text in memory as the chain is shown it. */
struct chain_message outbound_message(struct str text);
struct outbound; /* one run; copies nothing: what it was given lives until its end */
/* False: no stage looks at mail that leaves (f may be NULL). Else on_done(ctx) comes on the loop,
 * later, exactly once; then outbound_answer(), until outbound_free(). */
bool outbound_start(struct filters *f, struct loop *l, const struct outbound_mail *m,
                    void (*on_done)(void *ctx), void *ctx, struct outbound **out);
const struct chain_answer *outbound_answer(const struct outbound *o);
const struct chain *outbound_chain(const struct outbound *o);
void outbound_free(struct outbound **o); /* under way too: on_done() won't come */
#endif
