/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/conn_private.h"
#include <errno.h>
#include <sys/socket.h>

bool conn_wants_input(const struct conn *c)
{
    if (c->eof || c->connecting)
        return false;
    if (c->lingering)
        return true;
    if (queue_n(&c->wire) > CONN_WIRE_MAX)
        return false;
    if (c->tls == CONN_TLS_HANDSHAKE || c->proxy)
        return true;
    return !c->paused && queue_n(&c->in) < c->max_input && queue_n(&c->raw) == 0 && !c->tls_more;
}

static size_t held_n(const struct conn *c)
{
    return c->viewing ? c->view.n : queue_n(&c->in);
}

void conn_show(struct conn *c, char *p, size_t n)
{
    size_t held = queue_n(&c->in);
    c->retell = false;
    if (held > LOOP_READ_HEAD) { /* much is held: behind it, rather than all in front of the new */
        CHECK(queue_add(&c->in, p, n) == 0);
        conn_tell(c, CONN_INPUT);
        return;
    }
    if (held > 0) {
        p -= held;
        n += held;
        memcpy(p, queue_str(&c->in).p, held);
        queue_free(&c->in);
    }
    c->view = str_of(p, n);
    c->viewing = true;
    conn_tell(c, CONN_INPUT);
    c->viewing = false;
    if (c->view.n > 0 && conn_live(c) && !c->lingering)
        CHECK(queue_add(&c->in, c->view.p, c->view.n) == 0);
    c->view = STR_NULL;
}

static void take_input(struct conn *c, char *p, size_t n)
{
    /* Ciphertext is no word yet: a record that trickles in would keep the connection for ever. */
    if (c->tls == CONN_TLS_NONE)
        c->heard_ms = loop_now_ms(c->loop);
    if (c->lingering)
        return; /* nobody wants it, but unread bytes would turn our close into a reset */
    if (c->proxy)
        conn_proxy_input(c, str_of(p, n));
    else if (c->tls != CONN_TLS_NONE)
        conn_tls_pump(c, str_of(p, n));
    else
        conn_show(c, p, n);
}

void conn_read(struct conn *c)
{
    char *p = loop_read_buf(c->loop);
    size_t room = LOOP_READ_SIZE;
    if (c->tls == CONN_TLS_NONE && !c->lingering && c->max_input - queue_n(&c->in) < room)
        room = c->max_input - queue_n(&c->in);
    ssize_t n = recv(c->fd, p, room, 0);
    if (n > 0 && c->traffic)
        c->traffic->received += (uint64_t)n;
    if (n > 0)
        take_input(c, p, (size_t)n);
    else if (n == 0)
        c->eof = true;
    else if (errno != EAGAIN && errno != EINTR)
        conn_break(c, ERR_TEMP, "cannot read: %s", strerror(errno));
    if (c->lingering && (c->eof || c->err))
        conn_shut(c);
}

struct str conn_input(struct conn *c)
{
    return c->viewing ? c->view : queue_str(&c->in);
}

void conn_consume(struct conn *c, size_t n)
{
    /* A handler may consume its line after the command in it has ended the connection or begun TLS.
     */
    if (!conn_live(c) || c->lingering || c->tls == CONN_TLS_HANDSHAKE)
        return;
    CHECK(n <= held_n(c));
    if (c->viewing) {
        c->view = str_skip(c->view, n);
        return;
    }
    bool was_full = queue_n(&c->in) >= c->max_input;
    queue_take(&c->in, n);
    if (was_full && n > 0 && conn_live(c))
        conn_settle_later(c);
}

void conn_set_max_input(struct conn *c, size_t n)
{
    CHECK(n > 0 && n < CONN_QUEUE_MAX / 2);
    c->max_input = n;
    if (conn_live(c))
        conn_settle_later(c);
}

void conn_pause(struct conn *c)
{
    c->paused = true;
}

void conn_resume(struct conn *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    c->retell = true;
    /* Nothing to say and still watching: nothing to do. */
    bool idle = held_n(c) == 0 && queue_n(&c->raw) == 0 && !c->tls_more && !c->eof &&
                (c->armed & UV_READABLE);
    if (conn_live(c) && !idle)
        conn_settle_later(c);
}

bool conn_paused(const struct conn *c)
{
    return c->paused;
}
