/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_client.h - HTTP requests to others (libcurl on the loop): MTA-STS policies, ACME, AWS.
 * Floor 1 (io). Threads: loop only. Host names are asked of our resolver. Certificates are
 * verified. Redirects aren't followed. on_done never comes from within http_client_send(). */
#ifndef PH_IO_HTTP_CLIENT_H
#define PH_IO_HTTP_CLIENT_H
#include "appliance/io/resolver.h"

struct http_client;
struct http_client_conf {
    struct loop *loop;
    struct resolver *resolver;
    const char *ca_file; /* PEM; NULL or empty: the system's */
    unsigned requests;   /* at once; more are refused */
    int inet;            /* 0 any, 4, 6 */
};
struct http_client *http_client_new(const struct http_client_conf *conf, struct err *err);
void http_client_free(struct http_client **h); /* ends what is under way without an answer */

struct http_request {
    const char *method, *url;   /* "GET"; https:// or http:// */
    const char *const *headers; /* "Name: value", NULL-terminated; or NULL */
    struct str body;            /* copied */
    size_t max_body;            /* a longer answer is ERR_WHY_LIMIT */
    uint64_t timeout_ms;        /* for all of it */
};
struct http_answer { /* valid during the callback */
    bool failed;     /* err: no answer at all (name, connection, certificate, time, size) */
    struct err err;
    unsigned status;
    struct str type, body; /* Content-Type */
};
struct http_exchange;
/* NULL: too many at once, or a URL that isn't one. */
struct http_exchange *http_client_send(struct http_client *h, const struct http_request *q,
                                       void (*on_done)(void *ctx, const struct http_answer *a),
                                       void *ctx);
void http_client_cancel(struct http_exchange **x);
#endif
