/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_server.h - a small HTTP/1.1 server for this machine: GET and HEAD of fixed paths, without
 * TLS. Floor 1 (io). Threads: loop only. libmicrohttpd reads and writes; sockets come from
 * listeners, so it works sealed (no socket(), no connect()). Bounds: connections by the listener
 * (http_server_listen: 32), 16 KB of memory for each connection's headers, 10 s of silence, 20 s in
 * all for a request and the taking of its answer. What a client sends besides a request's head is
 * read away. Paths are compared whole, without the query. Ownership: a request is the handler's
 * until it answers, exactly once, now or later; it may outlive its client and the server, and is
 * then answered without effect. */
#ifndef PH_IO_HTTP_SERVER_H
#define PH_IO_HTTP_SERVER_H
#include "appliance/base/str.h"
#include "appliance/io/listener.h"

struct http_server;
struct http_request;
struct http_route {
    const char *path; /* "/metrics"; NULL ends the table */
    void (*on_get)(void *ctx, struct http_request *r);
};
/* routes live as long as the server; ctx is given to all of them. */
int http_server_new(struct loop *l, const struct http_route *routes, void *ctx,
                    struct http_server **out, struct err *err) __attribute__((warn_unused_result));
/* Starts serving what was opened by listener_open. The listener stays the caller's, to stop before
 * http_server_free or after it. name: static, for metrics. */
int http_server_listen(struct http_server *s, struct listener *ln, const char *name,
                       struct err *err) __attribute__((warn_unused_result));
/* Drops every connection. Whoever listens for it must be stopped before the loop turns again. */
void http_server_free(struct http_server **s);

/* body is copied. type: "text/plain; charset=utf-8". */
void http_reply(struct http_request *r, unsigned status, const char *type, struct str body);
#endif
