/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_client.h - one connection to one milter: made when it is first needed, terms agreed on,
 * packets sent, answers awaited for a limited time. What they mean is milter_session.c's business.
 * Floor 4 (filters). Threads: loop only.
 * Ownership: milter_client_free() ends the connection; no callback after it. Callbacks never come
 * from within a call; in them everything may be called but milter_client_free(). */
#ifndef PH_FILTERS_MILTER_CLIENT_H
#define PH_FILTERS_MILTER_CLIENT_H
#include "appliance/io/loop.h"
#include "filters/milter_codec.h"

enum { MILTER_HOST_MAX = 255, MILTER_PATH_MAX = 107 };
/* Where a milter listens: "inet:127.0.0.1:8891", "inet:[::1]:8891", "inet:rspamd:11332",
 * "inet:8891@localhost" (as libmilter has it), "unix:/run/x.sock", "local:/run/x.sock". */
struct milter_endpoint {
    char text[300]; /* as configured, for people */
    char path[MILTER_PATH_MAX + 1];
    char host[MILTER_HOST_MAX + 1]; /* address or name; localhost is 127.0.0.1 */
    uint16_t port;
    bool numeric;
};
int milter_endpoint_parse(struct str text, struct milter_endpoint *out, struct err *err)
    __attribute__((warn_unused_result));

struct milter_times {
    uint64_t connect_ms, command_ms, content_ms;
};
struct milter_client;
struct milter_events {
    void (*on_ready)(void *ctx);                                 /* connected, terms agreed on */
    void (*on_answer)(void *ctx, const struct milter_answer *a); /* also each action */
    void (*on_room)(void *ctx); /* less is queued, after milter_client_full() */
    /* It didn't come to terms, didn't answer in time, or answered nonsense; it is closed, and may
     * be opened again. */
    void (*on_failed)(void *ctx, const char *why);
    /* The connection ended; an answer may have been awaited. */
    void (*on_lost)(void *ctx, const char *why);
};
struct milter_client *milter_client_new(struct loop *l, const struct milter_endpoint *e,
                                        const struct milter_times *t,
                                        const struct milter_events *events, void *ctx);
void milter_client_free(struct milter_client **c); /* QUIT, if it can be said */
/* ip: of a host that has a name; else NULL. on_ready or on_failed comes. */
void milter_client_open(struct milter_client *c, const char *ip);
bool milter_client_is_open(const struct milter_client *c); /* ready: terms are known */
const struct milter_terms *milter_client_terms(const struct milter_client *c);
/* Packets; at the end of the loop's turn they leave. */
void milter_client_send(struct milter_client *c, struct str packets);
bool milter_client_full(const struct milter_client *c); /* wait for on_room */
/* An answer is awaited from now on, to the command of this name; content: the whole message. */
void milter_client_await(struct milter_client *c, const char *command, bool content);
bool milter_client_awaits(const struct milter_client *c);
void milter_client_close(struct milter_client *c, bool politely); /* no callback comes */
#endif
