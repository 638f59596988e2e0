/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/conn_private.h"
#include <errno.h>
#include <sys/socket.h>

enum { QUEUE_FIRST = 512 }; /* most replies of a turn fit */

void queue_init(struct queue *q)
{
    buf_init(&q->b, CONN_QUEUE_MAX);
    q->off = 0;
}

void queue_free(struct queue *q)
{
    buf_fini(&q->b);
    q->off = 0;
}

int queue_add(struct queue *q, const void *p, size_t n)
{
    char *space;
    if (!q->b.p && n < QUEUE_FIRST && buf_reserve(&q->b, QUEUE_FIRST, &space) != 0)
        return -1;
    if (q->off > 0 && q->off >= q->b.n / 2 && n > q->b.cap - q->b.n) {
        buf_drop(&q->b, q->off);
        q->off = 0;
    }
    return buf_add(&q->b, p, n);
}

void queue_take(struct queue *q, size_t n)
{
    q->off += n;
    if (q->off == q->b.n)
        queue_free(q);
}

enum conn_room conn_write(struct conn *c, const void *p, size_t n)
{
    if (!conn_live(c) || c->lingering || n == 0)
        return c->full ? CONN_FULL : CONN_ROOM;
    if (queue_add(&c->out, p, n) != 0) {
        conn_break(c, ERR_TEMP, "too much output is waiting");
        return CONN_ROOM;
    }
    conn_flush_later(c);
    if (conn_queued(c) >= c->high)
        c->full = true;
    return c->full ? CONN_FULL : CONN_ROOM;
}

enum conn_room conn_write_str(struct conn *c, struct str s)
{
    return conn_write(c, s.p, s.n);
}

size_t conn_queued(const struct conn *c)
{
    return queue_n(&c->out) + queue_n(&c->wire);
}

void conn_set_marks(struct conn *c, size_t low, size_t high)
{
    CHECK(low <= high);
    c->low = low;
    c->high = high;
    if (c->full && conn_live(c))
        conn_settle_later(c);
}

void conn_flush_later(struct conn *c)
{
    loop_defer_last(c->loop, &c->flush);
}

/* What the socket took; on an error the connection is broken and it is all. */
static size_t send_some(struct conn *c, const char *p, size_t n)
{
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
    if (sent > 0 && c->traffic)
        c->traffic->sent += (uint64_t)sent;
    if (sent >= 0)
        return (size_t)sent;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return 0;
    if (c->lingering)
        conn_shut(c);
    else
        conn_break(c, ERR_TEMP, "cannot write: %s", strerror(errno));
    return n;
}

void conn_send(struct conn *c, struct queue *q, const char *p, size_t n)
{
    size_t sent = queue_n(q) == 0 ? send_some(c, p, n) : 0;
    if (sent == n || !conn_live(c))
        return;
    c->blocked = true;
    if (queue_add(q, p + sent, n - sent) != 0)
        conn_break(c, ERR_TEMP, "too much output is waiting");
}

static void drain(struct conn *c, struct queue *q)
{
    struct str s = queue_str(q);
    if (s.n == 0)
        return;
    size_t sent = send_some(c, s.p, s.n);
    if (!conn_live(c))
        return;
    queue_take(q, sent);
    /* Less than all: the socket is full, no need to hear EAGAIN. */
    c->blocked = sent < s.n;
}

/* The owner is gone. Once all is sent: close_notify, our FIN, then wait for the peer's: closing
 * with bytes unread resets the connection, and the last reply with it. */
static void linger_on(struct conn *c)
{
    queue_free(&c->in);
    if (c->fin_sent || c->blocked)
        return;
    if (c->tls == CONN_TLS_UP)
        conn_tls_bye(c);
    if (!conn_live(c) || c->blocked)
        return;
    if (c->eof) {
        conn_shut(c);
        return;
    }
    c->fin_sent = true;
    shutdown(c->fd, SHUT_WR);
}

void conn_flush(struct conn *c)
{
    if (!conn_live(c) || c->connecting)
        return;
    c->blocked = false;
    drain(c, &c->wire);
    if (conn_live(c) && !c->blocked) {
        if (c->tls == CONN_TLS_NONE)
            drain(c, &c->out);
        else if (c->tls == CONN_TLS_UP)
            conn_tls_encrypt(c);
    }
    if (conn_live(c) && c->lingering)
        linger_on(c);
}
