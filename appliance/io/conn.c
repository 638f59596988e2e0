/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/conn_private.h"
#include "appliance/io/tls.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_timer(void *ctx);
static void on_settle(void *ctx);
static void on_flush(void *ctx);
static void on_linger_drop(struct loop_linger *g);

/* ---- life ---- */

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    loop_closed(c->loop);
    conn_unref(&c);
}

struct conn *conn_new(struct loop *l, int fd, const struct conn_peer *peer, struct tls_ctx *tls,
                      void (*on_gone)(void *ctx), void *gone_ctx)
{
    struct conn *c = MEM_NEW(struct conn);
    if (uv_poll_init(&l->uv, &c->poll, fd) != 0) { /* no room in epoll */
        mem_free(c);
        return NULL;
    }
    c->poll.data = c;
    c->loop = l;
    c->fd = fd;
    c->refs = 2; /* the owner's and the handle's */
    c->peer = *peer;
    c->on_gone = on_gone;
    c->gone_ctx = gone_ctx;
    c->max_input = LOOP_READ_SIZE;
    c->low = 16 * 1024;
    c->high = 64 * 1024;
    queue_init(&c->in);
    queue_init(&c->raw);
    queue_init(&c->out);
    queue_init(&c->wire);
    timer_init(&c->timer, l, on_timer, c);
    c->settle = (struct loop_defer){.fn = on_settle, .ctx = c};
    c->flush = (struct loop_defer){.fn = on_flush, .ctx = c};
    list_init(&c->linger.link);
    c->linger.drop = on_linger_drop;
    if (tls)
        conn_tls_begin(c, tls);
    conn_settle_later(c);
    return c;
}

void conn_peer_local(int fd, struct conn_peer *peer)
{
    *peer = (struct conn_peer){.local = true, .uid = -1, .pid = -1};
    struct ucred cred;
    socklen_t n = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && cred.pid > 0) {
        peer->uid = cred.uid;
        peer->pid = cred.pid;
    }
}

struct conn *conn_adopt(struct loop *l, int fd, struct tls_ctx *tls)
{
    struct conn_peer peer;
    conn_peer_local(fd, &peer);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct conn *c = conn_new(l, fd, &peer, tls, NULL, NULL);
    if (!c)
        close(fd);
    return c;
}

void conn_set_handler(struct conn *c, conn_event_fn on_event, void *ctx)
{
    c->on_event = on_event;
    c->ctx = ctx;
}

struct conn *conn_ref(struct conn *c)
{
    c->refs++;
    return c;
}

void conn_unref(struct conn **cp)
{
    struct conn *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    CHECK(c->refs > 0);
    if (--c->refs > 0)
        return;
    conn_tls_free(c);
    tls_ctx_unref(&c->after_proxy);
    queue_free(&c->in);
    queue_free(&c->raw);
    queue_free(&c->out);
    queue_free(&c->wire);
    mem_free(c->err);
    mem_free(c);
}

void conn_shut(struct conn *c)
{
    if (!conn_live(c))
        return;
    loop_close(c->loop, (uv_handle_t *)&c->poll, on_closed);
    close(c->fd);
    c->fd = -1;
    timer_fini(&c->timer);
    loop_defer_cancel(&c->flush);
    list_del(&c->linger.link);
    queue_free(&c->raw);
    queue_free(&c->out);
    queue_free(&c->wire);
    c->net = STR_NULL;
    if (c->on_gone)
        c->on_gone(c->gone_ctx);
}

static void break_with(struct conn *c, enum err_kind kind, enum err_why why, const char *text)
{
    c->err = MEM_NEW(struct err);
    err_set(c->err, kind, why, "%s", text);
    conn_shut(c);
    conn_settle_later(c);
}

void conn_break(struct conn *c, enum err_kind kind, const char *fmt, ...)
{
    if (!conn_live(c))
        return;
    char text[sizeof(c->err->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    break_with(c, kind, ERR_WHY_OTHER, text);
}

void conn_break_why(struct conn *c, enum err_kind kind, enum err_why why, const char *fmt, ...)
{
    if (!conn_live(c))
        return;
    char text[sizeof(c->err->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    break_with(c, kind, why, text);
}

void conn_close(struct conn **cp)
{
    struct conn *c = *cp;
    if (!c)
        return;
    c->on_event = NULL;
    conn_shut(c);
    loop_defer_cancel(&c->settle);
    conn_unref(
        cp); /* input lives on with the last reference: the handler may still look at its line */
}

void conn_close_flushed(struct conn **cp, uint64_t linger_ms)
{
    struct conn *c = *cp;
    if (!c)
        return;
    if (!conn_live(c) || c->connecting) { /* it doesn't stand: there is nothing to send on */
        conn_close(cp);
        return;
    }
    c->on_event = NULL;
    c->lingering = true;
    c->timeout_ms = 0;
    /* At least until the end of this turn, when output is sent. */
    c->deadline_ms = loop_now_ms(c->loop) + (linger_ms ? linger_ms : 1);
    conn_rearm(c);
    list_add(&c->loop->lingering, &c->linger.link);
    conn_flush_later(c);
    conn_unref(cp); /* the handle still holds one */
}

static void on_linger_drop(struct loop_linger *g)
{
    struct conn *c = CONTAINER_OF(g, struct conn, linger);
    loop_defer_cancel(&c->settle);
    conn_shut(c);
}

/* ---- events ---- */

void conn_tell(struct conn *c, enum conn_event ev)
{
    if (c->on_event)
        c->on_event(c->ctx, c, ev);
}

void conn_settle_later(struct conn *c)
{
    loop_defer(c->loop, &c->settle);
}

static void on_settle(void *ctx)
{
    conn_settle(ctx);
}

static void on_flush(void *ctx)
{
    struct conn *c = conn_ref(ctx);
    conn_flush(c);
    conn_settle(c);
    conn_unref(&c);
}

static void on_poll(uv_poll_t *h, int status, int events);

/* A read watch that isn't wanted any more stays until it fires in vain (drop_read): a pause for the
 * length of one command costs no system call. */
static void watch(struct conn *c, bool drop_read)
{
    int want =
        (conn_wants_input(c) ? UV_READABLE : 0) | (c->blocked || c->connecting ? UV_WRITABLE : 0);
    if (!drop_read && !c->eof)
        want |= c->armed & UV_READABLE;
    if (want == c->armed)
        return;
    c->armed = want;
    if (want)
        CHECK(uv_poll_start(&c->poll, want, on_poll) == 0);
    else
        uv_poll_stop(&c->poll);
}

static void show_held(struct conn *c)
{
    if (!c->retell || c->paused)
        return;
    c->retell = false;
    if (queue_n(&c->in) > 0)
        conn_tell(c, CONN_INPUT);
}

static void tell_eof(struct conn *c)
{
    if (!c->eof || c->told_eof)
        return;
    if (c->proxy) {
        conn_break(c, ERR_PROTO, "the proxy closed the connection before its PROXY header");
        return;
    }
    if (c->tls == CONN_TLS_HANDSHAKE) {
        conn_break(c, ERR_PROTO, "the peer closed the connection during the TLS handshake");
        return;
    }
    if (c->paused || c->tls_more || queue_n(&c->raw) > 0)
        return;
    c->told_eof = true;
    conn_tell(c, CONN_EOF);
}

static void tell_drained(struct conn *c)
{
    if (!c->full || conn_queued(c) > c->low)
        return;
    c->full = false;
    conn_tell(c, CONN_DRAINED);
}

static void settle_live(struct conn *c, bool drop_read)
{
    if (c->lingering || c->connecting) {
        watch(c, drop_read);
        return;
    }
    if (!c->opened && c->tls == CONN_TLS_NONE && !c->proxy) {
        c->opened = true;
        conn_tell(c, CONN_OPEN);
    }
    if (c->hello_due && conn_live(c)) {
        c->hello_due = false;
        conn_tls_pump(c, STR_NULL);
    }
    if (conn_live(c))
        show_held(c);
    if (conn_live(c) && c->tls == CONN_TLS_UP && !c->lingering)
        conn_tls_pump(c, STR_NULL);
    if (conn_live(c))
        tell_eof(c);
    if (conn_live(c))
        tell_drained(c);
    if (conn_live(c))
        watch(c, drop_read);
}

static void settle(struct conn *c, bool drop_read)
{
    conn_ref(c);
    if (conn_live(c))
        settle_live(c, drop_read);
    if (c->err && !c->told_closed) {
        c->told_closed = true;
        conn_tell(c, CONN_CLOSED);
    }
    conn_unref(&c);
}

void conn_settle(struct conn *c)
{
    settle(c, false);
}

/* ---- timeouts ---- */

static bool idle_counts(const struct conn *c)
{
    return c->timeout_ms && c->tls != CONN_TLS_HANDSHAKE && !c->connecting;
}

void conn_rearm(struct conn *c)
{
    uint64_t now = loop_now_ms(c->loop), due = UINT64_MAX;
    if (idle_counts(c) && c->timeout_ms < UINT64_MAX - c->heard_ms)
        due = c->heard_ms + c->timeout_ms;
    if (c->deadline_ms && c->deadline_ms < due)
        due = c->deadline_ms;
    if (due == UINT64_MAX || !conn_live(c))
        timer_stop(&c->timer);
    else
        timer_start(&c->timer, due > now ? due - now : 0);
}

static void deadline_over(struct conn *c)
{
    if (c->lingering)
        conn_shut(c);
    else if (c->connecting)
        conn_break(c, ERR_TEMP, "timed out after %llu s",
                   (unsigned long long)(c->connect_ms + 999) / 1000);
    else
        conn_break(c, ERR_TEMP, "the %s took too long",
                   c->proxy ? "PROXY header" : "TLS handshake");
}

static void on_timer(void *ctx)
{
    struct conn *c = conn_ref(ctx);
    uint64_t now = loop_now_ms(c->loop);
    if (c->deadline_ms && now >= c->deadline_ms) {
        c->deadline_ms = 0;
        deadline_over(c);
    } else if (idle_counts(c) && now - c->heard_ms >= c->timeout_ms) {
        c->heard_ms = now; /* once, then again after the same time */
        conn_tell(c, CONN_TIMEOUT);
    }
    conn_rearm(c);
    conn_unref(&c);
}

void conn_set_timeout(struct conn *c, uint64_t ms)
{
    if (!conn_live(c) || c->lingering)
        return;
    c->timeout_ms = ms;
    c->heard_ms = loop_now_ms(c->loop);
    conn_rearm(c);
}

/* ---- sockets ---- */

/* An error on a socket nobody reads just now: paused, or its end already seen. */
static void break_by_socket(struct conn *c)
{
    int e = 0;
    socklen_t n = sizeof(e);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n);
    conn_break(c, ERR_TEMP, "the connection broke: %s", e ? strerror(e) : "socket error");
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct conn *c = conn_ref(h->data);
    bool in_vain = false;
    if (status < 0) { /* a socket error (EPOLLERR): libuv has stopped watching; reading names it */
        c->armed = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (c->connecting) {
        conn_connect_ready(c, status < 0);
        events = 0;
    }
    if (events & UV_READABLE) {
        if (conn_wants_input(c))
            conn_read(c);
        else if (status < 0)
            break_by_socket(c);
        else
            in_vain = true;
    }
    if (events & UV_WRITABLE)
        conn_flush(c);
    settle(c, in_vain);
    conn_unref(&c);
}

void conn_acknowledge(struct conn *c)
{
    int on = 1;
    if (conn_live(c) && !c->peer.local)
        setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* ---- what it is ---- */

const struct err *conn_error(const struct conn *c)
{
    static const struct err none;
    return c->err ? c->err : &none;
}

const struct conn_peer *conn_peer(const struct conn *c)
{
    return &c->peer;
}
