/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_client_private.h - what the files of the HTTP client know of one another.
 * Floor 1 (io), private to this folder. Threads: loop only. */
#ifndef PH_IO_HTTP_CLIENT_PRIVATE_H
#define PH_IO_HTTP_CLIENT_PRIVATE_H
#include "appliance/base/buf.h"
#include "appliance/io/http_client.h"
#include "appliance/io/loop_private.h"
#include <curl/curl.h>

struct http_client {
    struct loop *loop;
    struct resolver *resolver;
    char *ca_file; /* or NULL */
    size_t most;
    int inet;
    CURLM *multi;
    struct timer timer;  /* libcurl's */
    struct list sockets; /* struct http_socket */
    struct list active;  /* struct http_exchange */
    struct list done;    /* those with an answer */
    size_t n;            /* in both */
    struct loop_defer deliver;
    bool delivering, freed;
};
struct http_lookup {
    struct http_exchange *exchange;
    struct resolver_query *query;
    bool ended;
    enum resolver_status status;
};
struct http_exchange {
    struct list link;
    struct http_client *client;
    struct timer timer;
    uint64_t timeout_ms;
    void (*on_done)(void *ctx, const struct http_answer *a);
    void *ctx;
    bool answering;
    /* asked */
    char *method;
    CURLU *url;
    struct curl_slist *headers;
    char *body; /* or NULL */
    size_t body_n;
    size_t max_body;
    /* where to */
    char *host; /* A-labels or an address, without brackets */
    unsigned port;
    bool literal;
    struct resolver_budget budget;
    struct http_lookup lookups[2];
    struct buf addresses; /* as CURLOPT_RESOLVE has them */
    size_t n_addresses;
    /* under way */
    CURL *easy;
    CURLSH *share;
    struct curl_slist *resolve;
    char why[CURL_ERROR_SIZE];
    size_t head_n;
    bool too_large;
    /* answered */
    struct err err;
    bool failed;
    unsigned status;
    char *type;
    struct buf answer;
};

/* The exchange is over: its answer comes at the end of this turn. */
void http_exchange_finish(struct http_exchange *x);
void http_exchange_fail(struct http_exchange *x, enum err_kind kind, enum err_why why,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- http_client_request.c: is it a request? What it says is copied. False: no. */
bool http_exchange_take(struct http_exchange *x, const struct http_request *q);

/* ---- http_client_curl.c */
CURLM *http_multi_new(struct http_client *h); /* NULL: libcurl can't */
void http_multi_free(struct http_client *h);
/* All is known: connects. */
void http_exchange_connect(struct http_exchange *x);
void http_exchange_disconnect(struct http_exchange *x);
#endif
