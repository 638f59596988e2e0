/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* end.h - a connection under test on one end of a socketpair, the test itself on the other. */
#ifndef PH_TESTS_IO_END_H
#define PH_TESTS_IO_END_H
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/io/conn.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

struct end {
    struct loop *loop;
    struct conn *conn;
    int fd;         /* the peer */
    char seen[64];  /* one letter an event: O T I D t E C */
    struct buf got; /* input consumed */
    bool keep;      /* consume nothing */
    bool lines;     /* consume whole lines only */
    void (*hook)(struct end *e, enum conn_event ev);
    int hooked;
};

static inline void end_note(struct end *e, char c)
{
    size_t n = strlen(e->seen);
    if (n + 1 < sizeof(e->seen)) {
        e->seen[n] = c;
        e->seen[n + 1] = '\0';
    }
}

static inline void end_take(struct end *e)
{
    struct str in = conn_input(e->conn);
    size_t n = in.n, at;
    if (e->lines)
        n = str_rchr(in, '\n', &at) ? at + 1 : 0;
    buf_add(&e->got, in.p, n);
    conn_consume(e->conn, n);
}

static inline void end_on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    struct end *e = ctx;
    assert_ptr_equal(c, e->conn);
    end_note(e, "OTIDtEC"[ev]);
    if (e->hook)
        e->hook(e, ev);
    if (ev == CONN_INPUT && e->conn && !e->keep)
        end_take(e);
}

static inline void end_open(struct end *e, struct loop *l, struct tls_ctx *tls)
{
    int fds[2];
    memset(e, 0, sizeof(*e));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    buf_init(&e->got, (size_t)64 << 20);
    e->loop = l;
    e->fd = fds[1];
    e->conn = conn_adopt(l, fds[0], tls);
    assert_non_null(e->conn);
    conn_set_handler(e->conn, end_on_event, e);
}

static inline void end_free(struct end *e)
{
    conn_close(&e->conn);
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
    buf_fini(&e->got);
}

static inline void spin(struct loop *l)
{
    for (int i = 0; i < 8; i++)
        loop_turn(l, false);
}

static inline void end_send(struct end *e, const void *p, size_t n)
{
    assert_int_equal(send(e->fd, p, n, MSG_NOSIGNAL), n);
}

static inline void end_sends(struct end *e, const char *z)
{
    end_send(e, z, strlen(z));
    spin(e->loop);
}

/* What the peer can read now, as a string. */
static inline const char *end_recv(struct end *e, char *out, size_t cap)
{
    ssize_t n = recv(e->fd, out, cap - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    return out;
}

#define assert_got(e, z)                                                                           \
    do {                                                                                           \
        assert_string_equal(buf_z(&(e)->got), (z));                                                \
        buf_clear(&(e)->got);                                                                      \
    } while (0)
#define assert_seen(e, z)                                                                          \
    do {                                                                                           \
        assert_string_equal((e)->seen, (z));                                                       \
        (e)->seen[0] = '\0';                                                                       \
    } while (0)
#endif
