/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolver_private.h - what the files of the resolver know of one another.
 * Floor 1 (io), private to this folder. Threads: loop only. */
#ifndef PH_IO_RESOLVER_PRIVATE_H
#define PH_IO_RESOLVER_PRIVATE_H
#include "appliance/io/loop_private.h"
#include "appliance/io/resolver.h"
#include <unbound.h>

/* ---- resolver_settings.c */
enum { RESOLVER_FORWARDERS = 16 };
struct resolver_forwarder {
    char text[64]; /* ADDRESS@PORT, as libunbound reads it */
    bool v6, loopback;
};
struct resolver_forwarders {
    struct resolver_forwarder at[RESOLVER_FORWARDERS];
    size_t n;
};
int resolver_forwarders_parse(const char *text, int inet, struct resolver_forwarders *out,
                              struct err *err) __attribute__((warn_unused_result));
/* Calls fn with each record of the file, one a line, until it returns other than 0. */
int resolver_anchors_read(const char *path, int (*fn)(void *ctx, const char *record), void *ctx,
                          struct err *err) __attribute__((warn_unused_result));

/* ---- resolver_context.c: a libunbound context, which is final once it works.
 * A flight is a question on its way there. It may outlive the query it was for: libunbound can't be
 * made to give up, only not be listened to. */
struct resolver_query;
struct resolver_context;
struct resolver_flight {
    struct list link;
    struct resolver_context *context;
    struct resolver_query *query; /* NULL: nobody waits for it any more */
};
/* The answer of libunbound, never from within resolver_context_ask(); result is the taker's to
 * free. NULL: it failed, why tells. */
typedef void (*resolver_landed_fn)(struct resolver_query *q, struct ub_result *result,
                                   const char *why);
struct resolver_context_hooks {
    resolver_landed_fn on_landed;
    void (*on_room)(void *ctx); /* flights have ended */
    void *ctx;
};
int resolver_context_new(const struct resolver_conf *conf, struct loop *l,
                         const struct resolver_context_hooks *hooks, struct resolver_context **out,
                         struct err *err) __attribute__((warn_unused_result));
/* NULL: libunbound didn't take it; *why_out tells. */
struct resolver_flight *resolver_context_ask(struct resolver_context *c, struct resolver_query *q,
                                             const char *question, enum resolver_type type,
                                             const char **why_out);
void resolver_flight_abandon(struct resolver_flight **f);
size_t resolver_context_flights(const struct resolver_context *c); /* abandoned ones too */
/* No more questions: it goes when nobody waits for a flight. */
void resolver_context_retire(struct resolver_context *c, struct list *retired);
void resolver_context_free(struct resolver_context **c);
void resolver_contexts_free(struct list *retired);
#endif
