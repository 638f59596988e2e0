/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_client_curl.c - libcurl's multi socket interface on our loop. It asks nobody for names:
 * every exchange has a name cache of its own, filled with what our resolver found. */
#include "appliance/io/http_client_private.h"
#include <stdlib.h>
#include <sys/socket.h>

enum {
    HEAD_MAX = 64 * 1024, /* of an answer: status line and headers */
    IDLE_CONNECTIONS = 8
};

struct http_socket {
    uv_poll_t poll; /* its close callback frees */
    struct loop *loop;
    struct http_client *client;
    struct list link;
    curl_socket_t fd;
};

/* ---- sockets and time */

static enum err_why why_of(CURLcode code)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return ERR_WHY_UNTRUSTED;
    case CURLE_FILESIZE_EXCEEDED:
        return ERR_WHY_LIMIT;
    default:
        return ERR_WHY_OTHER;
    }
}

static void on_result(struct http_exchange *x, CURLcode code)
{
    long status = 0;
    const char *type = NULL;

    if (code != CURLE_OK) {
        enum err_why why = x->too_large ? ERR_WHY_LIMIT : why_of(code);
        http_exchange_fail(x, ERR_TEMP, why, "%s: %s", x->host,
                           why == ERR_WHY_LIMIT ? "the answer is too long"
                           : *x->why            ? x->why
                                                : curl_easy_strerror(code));
        return;
    }
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
    x->status = (unsigned)status;
    x->type = str_dup_z(str_from(type));
    http_exchange_finish(x);
}

static void take_results(struct http_client *h)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left))) {
        char *ctx = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &ctx);
        on_result((struct http_exchange *)(void *)ctx, code);
    }
}

static void act(struct http_client *h, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(h->multi, fd, events, &running);
    take_results(h);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct http_socket *s = p->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(s->client, s->fd, flags); /* after this s may be gone */
}

static void on_timer(void *ctx)
{
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_changed(CURLM *multi, long ms, void *ctx)
{
    struct http_client *h = ctx;

    (void)multi;
    if (ms < 0)
        timer_stop(&h->timer);
    else
        timer_start(&h->timer, (uint64_t)ms);
    return 0;
}

static void on_closed(uv_handle_t *p)
{
    struct http_socket *s = p->data;

    loop_closed(s->loop);
    mem_free(s);
}

static void socket_free(struct http_socket *s)
{
    list_del(&s->link);
    loop_close(s->loop, (uv_handle_t *)&s->poll, on_closed);
}

static struct http_socket *socket_new(struct http_client *h, curl_socket_t fd)
{
    struct http_socket *s = MEM_NEW(struct http_socket);

    s->client = h;
    s->loop = h->loop;
    s->fd = fd;
    if (uv_poll_init(&h->loop->uv, &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    s->poll.data = s;
    list_add(&h->sockets, &s->link);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *slot)
{
    struct http_client *h = ctx;
    struct http_socket *s = slot;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            socket_free(s);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (!s)
        s = socket_new(h, fd);
    if (!s)
        return -1;
    curl_multi_assign(h->multi, fd, s);
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    CHECK(uv_poll_start(&s->poll, events, on_poll) == 0);
    return 0;
}

/* libcurl's own sockets would be inherited. */
static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)ctx, (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- answers */

static size_t on_head(char *p, size_t size, size_t n, void *ctx)
{
    struct http_exchange *x = ctx;

    (void)p;
    x->head_n += size * n;
    x->too_large |= x->head_n > HEAD_MAX;
    return x->too_large ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct http_exchange *x = ctx;

    if (buf_add(&x->answer, p, size * n) != 0)
        x->too_large = true;
    return x->too_large ? 0 : size * n;
}

/* libcurl has no address for the host: an address itself needs none, any other has been found
 * before. */
static int on_resolver_start(void *state, void *reserved, void *ctx)
{
    const struct http_exchange *x = ctx;

    (void)state, (void)reserved;
    return x->literal ? 0 : 1;
}

/* ---- a request as libcurl wants it */

#define SET(option, value) (rc |= curl_easy_setopt(x->easy, option, value) != CURLE_OK)

static bool set_safety(struct http_exchange *x)
{
    const struct http_client *h = x->client;
    long family = h->inet == 4   ? CURL_IPRESOLVE_V4
                  : h->inet == 6 ? CURL_IPRESOLVE_V6
                                 : CURL_IPRESOLVE_WHATEVER;
    bool rc = false;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* nor one of the environment */
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_IPRESOLVE, family);
    if (h->ca_file) {
        SET(CURLOPT_CAINFO, h->ca_file);
        SET(CURLOPT_CAPATH, (char *)NULL); /* else the system's authorities count too */
    }
    return !rc;
}

static bool set_hooks(struct http_exchange *x)
{
    bool rc = false;

    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_ERRORBUFFER, x->why);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start);
    SET(CURLOPT_RESOLVER_START_DATA, x);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    if (x->max_body)
        SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->max_body);
    return !rc;
}

static bool set_request(struct http_exchange *x)
{
    bool post = strcmp(x->method, "POST") == 0 || strcmp(x->method, "PUT") == 0, rc = false;

    SET(CURLOPT_CURLU, x->url);
    SET(CURLOPT_HTTPHEADER, x->headers);
    SET(CURLOPT_USERAGENT, "posthouse/" PH_VERSION);
    if (x->body || post) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_n);
        SET(CURLOPT_POSTFIELDS, x->body ? x->body : "");
    } else if (strcmp(x->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return !rc;
    }
    SET(CURLOPT_CUSTOMREQUEST, x->method);
    return !rc;
}

static bool set_addresses(struct http_exchange *x)
{
    struct buf line;
    bool rc = false;

    if (x->literal)
        return true;
    buf_init(&line, x->addresses.n + 512);
    buf_printf(&line, "%s:%u:", x->host, x->port);
    buf_add_str(&line, buf_str(&x->addresses));
    x->resolve = curl_slist_append(NULL, buf_z(&line));
    buf_fini(&line);
    x->share = curl_share_init();
    if (!x->resolve || !x->share ||
        curl_share_setopt(x->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) != CURLSHE_OK)
        return false;
    SET(CURLOPT_SHARE, x->share);
    SET(CURLOPT_RESOLVE, x->resolve);
    return !rc;
}

void http_exchange_connect(struct http_exchange *x)
{
    x->easy = curl_easy_init();
    if (!x->easy || !set_safety(x) || !set_hooks(x) || !set_request(x) || !set_addresses(x)) {
        http_exchange_fail(x, ERR_BUG, ERR_WHY_OTHER, "libcurl doesn't take the request");
        return;
    }
    if (curl_multi_add_handle(x->client->multi, x->easy) != CURLM_OK)
        http_exchange_fail(x, ERR_TEMP, ERR_WHY_OTHER, "libcurl doesn't take the request");
}

void http_exchange_disconnect(struct http_exchange *x)
{
    if (x->easy) {
        curl_multi_remove_handle(x->client->multi, x->easy);
        curl_easy_cleanup(x->easy);
        x->easy = NULL;
    }
    if (x->share)
        curl_share_cleanup(x->share);
    x->share = NULL;
    curl_slist_free_all(x->resolve);
    x->resolve = NULL;
}

/* ---- life */

CURLM *http_multi_new(struct http_client *h)
{
    static bool begun; /* loop only */

    if (!begun && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    begun = true;
    CURLM *m = curl_multi_init();
    if (!m)
        return NULL;
    timer_init(&h->timer, h->loop, on_timer, h);
    curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timeout_changed);
    curl_multi_setopt(m, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    return m;
}

void http_multi_free(struct http_client *h)
{
    LIST_EACH(&h->sockets, it)
    socket_free(LIST_ITEM(it, struct http_socket, link));
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, NULL);
    curl_multi_cleanup(h->multi);
    timer_fini(&h->timer);
}
