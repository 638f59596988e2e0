/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_server.c - libmicrohttpd on our loop: it has one epoll descriptor for all its connections,
 * which is polled here; sockets are accepted by our listeners. A request whose answer comes later
 * is suspended meanwhile. */
#include "appliance/io/http_server.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/io/loop_private.h"
#include <microhttpd.h>
#include <sys/socket.h>

enum {
    MAX_CONNS = 32,
    MEMORY = 16 * 1024,
    SILENCE_S = 10,
    WHOLE_MS = 20000, /* microhttpd knows silence only; a trickle is ended by us */
    TICK_MS = 1000
};

struct http_server {
    uv_poll_t poll; /* its close callback frees */
    struct loop *loop;
    struct MHD_Daemon *mhd;
    const struct http_route *routes;
    void *ctx;
    struct loop_defer again;
    struct timer tick;
    struct list clients; /* struct client */
    struct map *added;   /* sockets that libmicrohttpd has but hasn't begun with -> listener */
};
struct client {
    struct list link;
    struct listener *listener;
    int fd;
    uint64_t since_ms;        /* connected, or the last answer was taken */
    struct http_request *now; /* which the handler has; or NULL */
};
struct http_request {
    struct http_server *server; /* NULL: gone */
    struct MHD_Connection *mhd; /* NULL: the client is gone */
    struct client *client;
    struct MHD_Response *response; /* once answered */
    unsigned status;
    bool begun, suspended, answered;
};

static const struct log_ctx log_ctx = {.module = "http"};

/* ---- requests ---- */

static void request_free_if_done(struct http_request *r)
{
    if (r->mhd || (r->begun && !r->answered))
        return;
    if (r->response)
        MHD_destroy_response(r->response);
    mem_free(r);
}

static struct MHD_Response *response_new(const char *type, struct str body)
{
    /* microhttpd copies; it doesn't change what it is given. */
    union {
        const char *given;
        void *wanted;
    } bytes = {.given = body.n ? body.p : ""};
    struct MHD_Response *m =
        MHD_create_response_from_buffer(body.n, bytes.wanted, MHD_RESPMEM_MUST_COPY);

    CHECK(m); /* memory */
    MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
    return m;
}

static enum MHD_Result answer_plainly(struct MHD_Connection *mhd, unsigned status, const char *text)
{
    struct MHD_Response *m = response_new("text/plain; charset=utf-8", str_from(text));
    enum MHD_Result rc;

    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(m, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    rc = MHD_queue_response(mhd, status, m);
    MHD_destroy_response(m);
    return rc;
}

void http_reply(struct http_request *r, unsigned status, const char *type, struct str body)
{
    CHECK(r->begun && !r->answered);
    r->answered = true;
    if (!r->mhd) {
        request_free_if_done(r);
        return;
    }
    r->response = response_new(type, body);
    r->status = status;
    if (!r->suspended)
        return; /* on_request is still on the stack */
    r->suspended = false;
    r->client->now = NULL;
    r->client->since_ms = loop_now_ms(r->server->loop);
    MHD_resume_connection(r->mhd);
    loop_defer(r->server->loop, &r->server->again);
}

static enum MHD_Result begin(struct http_server *s, struct http_request *r, const char *path)
{
    const struct http_route *route = s->routes;

    while (route->path && strcmp(route->path, path) != 0)
        route++;
    if (!route->path)
        return answer_plainly(r->mhd, MHD_HTTP_NOT_FOUND, "There is nothing here.\n");
    r->begun = true;
    route->on_get(s->ctx, r);
    if (r->answered)
        return MHD_queue_response(r->mhd, r->status, r->response);
    r->suspended = true;
    r->client->now = r;
    MHD_suspend_connection(r->mhd);
    return MHD_YES;
}

static struct client *client_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

/* Called when the head is there, for each piece of a body, and at the end; and again after a
 * suspension. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_n, void **slot)
{
    struct http_server *s = cls;
    struct http_request *r = *slot;

    (void)version, (void)data;
    if (!r) {
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
            return answer_plainly(mhd, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        *slot = r = MEM_NEW(struct http_request);
        r->server = s;
        r->mhd = mhd;
        r->client = client_of(mhd);
        return MHD_YES;
    }
    if (*data_n) {
        *data_n = 0;
        return MHD_YES;
    }
    if (r->answered)
        return MHD_queue_response(mhd, r->status, r->response);
    return begin(s, r, path);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
                         enum MHD_RequestTerminationCode how)
{
    struct http_server *s = cls;
    struct http_request *r = *slot;

    (void)how;
    client_of(mhd)->since_ms = loop_now_ms(s->loop);
    if (!r)
        return;
    *slot = NULL;
    r->mhd = NULL;
    r->server = NULL;
    request_free_if_done(r);
}

/* ---- connections ---- */

static void on_client(void *cls, struct MHD_Connection *mhd, void **slot,
                      enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    struct client *c = *slot;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = c = MEM_NEW(struct client);
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->listener = map_del_id(s->added, (uint64_t)c->fd);
        c->since_ms = loop_now_ms(s->loop);
        list_add(&s->clients, &c->link);
    } else if (c) {
        list_del(&c->link);
        listener_socket_closed(c->listener);
        mem_free(c);
        *slot = NULL;
    }
}

static void run(void *ctx)
{
    struct http_server *s = ctx;
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(s->mhd);
    if (MHD_get_timeout(s->mhd, &ms) == MHD_YES && ms == 0)
        loop_defer(s->loop, &s->again);
    if (list_empty(&s->clients))
        timer_stop(&s->tick);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)status, (void)events;
    run(h->data);
}

/* Whoever takes too long in all: a closed socket is one whose client is gone. */
static void on_tick(void *ctx)
{
    struct http_server *s = ctx;
    uint64_t now = loop_now_ms(s->loop);

    LIST_EACH(&s->clients, it)
    {
        struct client *c = LIST_ITEM(it, struct client, link);
        if (!c->now && now - c->since_ms > WHOLE_MS)
            shutdown(c->fd, SHUT_RDWR);
    }
    timer_start(&s->tick, TICK_MS);
    run(s);
}

static void on_socket(void *ctx, struct listener *ln, int fd, const struct sockaddr *peer,
                      unsigned peer_n)
{
    struct http_server *s = ctx;

    /* libmicrohttpd 1.0 says at a later run that it has it, 0.9 at once. */
    struct listener *lost = map_set_id(s->added, (uint64_t)fd, ln);
    if (lost) /* closed without a word; its number is used again */
        listener_socket_closed(lost);
    if (MHD_add_connection(s->mhd, fd, peer, peer_n) != MHD_YES) { /* which has closed it */
        log_warn(&log_ctx, "connection_failed");
        if (map_del_id(s->added, (uint64_t)fd))
            listener_socket_closed(ln);
        return;
    }
    timer_start(&s->tick, TICK_MS);
    loop_defer(s->loop, &s->again);
}

/* ---- life ---- */

static struct MHD_Daemon *start_mhd(struct http_server *s)
{
    return MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0,
                            NULL, NULL, on_request, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                            MHD_OPTION_NOTIFY_CONNECTION, on_client, s,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
                            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

int http_server_new(struct loop *l, const struct http_route *routes, void *ctx,
                    struct http_server **out, struct err *err)
{
    struct http_server *s = MEM_NEW(struct http_server);

    s->loop = l;
    s->routes = routes;
    s->ctx = ctx;
    list_init(&s->clients);
    s->added = map_new();
    s->again = (struct loop_defer){.fn = run, .ctx = s};
    s->mhd = start_mhd(s);
    if (!s->mhd) {
        map_free(&s->added);
        mem_free(s);
        return ERR(err, ERR_TEMP, "cannot start the HTTP server");
    }
    timer_init(&s->tick, l, on_tick, s);
    CHECK(uv_poll_init(&l->uv, &s->poll,
                       MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd) == 0);
    s->poll.data = s;
    CHECK(uv_poll_start(&s->poll, UV_READABLE, on_poll) == 0);
    *out = s;
    return 0;
}

int http_server_listen(struct http_server *s, struct listener *ln, const char *name,
                       struct err *err)
{
    struct listener_conf conf = {
        .name = name, .max_conns = MAX_CONNS, .on_socket = on_socket, .ctx = s};
    return listener_start(ln, s->loop, &conf, err);
}

static void on_closed(uv_handle_t *h)
{
    struct http_server *s = h->data;
    loop_closed(s->loop);
    mem_free(s);
}

void http_server_free(struct http_server **sp)
{
    struct http_server *s = *sp;
    struct str fd;
    void *listener;

    if (!s)
        return;
    *sp = NULL;
    LIST_EACH(&s->clients, it)
    {
        struct client *c = LIST_ITEM(it, struct client, link);
        if (c->now)
            MHD_resume_connection(c->now->mhd); /* microhttpd doesn't stop with any suspended */
    }
    timer_fini(&s->tick);
    loop_defer_cancel(&s->again);
    loop_close(s->loop, (uv_handle_t *)&s->poll, on_closed);
    MHD_stop_daemon(s->mhd);
    for (size_t at = 0; map_next(s->added, &at, &fd, &listener);)
        listener_socket_closed(listener);
    map_free(&s->added);
}
