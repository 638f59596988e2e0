/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* conn_private.h - a connection from inside: conn.c (life, events), conn_connect.c, conn_in.c,
 * conn_out.c (output, end), conn_tls.c, conn_tls_client.c. Floor 1 (io), private to this folder.
 * Threads: loop only.
 *
 *   plain  socket -> the loop's read buffer -> handler      what is left -> in
 *          conn_write -> out -> socket
 *   TLS    socket -> the loop's read buffer -> BIO -> the loop's plain buffer -> handler    what is
 * left -> raw, in conn_write -> out -> SSL_write -> BIO -> the loop's cipher buffer -> socket what
 * is left -> wire */
#ifndef PH_IO_CONN_PRIVATE_H
#define PH_IO_CONN_PRIVATE_H
#include "appliance/base/buf.h"
#include "appliance/io/conn.h"
#include "appliance/io/loop_private.h"
#include <openssl/types.h>

enum {
    /* Bytes on their way to the socket, over which we also stop reading: a peer that makes us
     * answer (handshake, key updates) but never reads cannot make us hold more. */
    CONN_WIRE_MAX = 256 * 1024,
    CONN_QUEUE_MAX =
        64 * 1024 * 1024, /* over this, whoever writes ignores CONN_FULL: the connection breaks */
    CONN_HANDSHAKE_MS = 30 * 1000,
    CONN_PROXY_MS = 10 * 1000 /* for the PROXY header */
};

/* Bytes added behind and taken in front; empty, it holds no memory. */
struct queue {
    struct buf b;
    size_t off;
};
void queue_init(struct queue *q);
void queue_free(struct queue *q); /* and is empty and usable again */
int queue_add(struct queue *q, const void *p, size_t n);
void queue_take(struct queue *q, size_t n);
static inline struct str queue_str(const struct queue *q)
{
    return (struct str){q->b.p ? q->b.p + q->off : NULL, q->b.n - q->off};
}
static inline size_t queue_n(const struct queue *q)
{
    return q->b.n - q->off;
}

struct conn_traffic { /* octets on the wire */
    uint64_t received, sent;
};

enum conn_tls_state { CONN_TLS_NONE, CONN_TLS_HANDSHAKE, CONN_TLS_UP };

struct conn {
    uv_poll_t poll; /* its close callback holds one reference */
    struct loop *loop;
    int fd; /* -1: ended, by us or by an error */
    unsigned refs;
    conn_event_fn on_event;
    void *ctx;
    void (*on_gone)(void *ctx); /* the socket is closed */
    void *gone_ctx;
    struct conn_traffic *traffic; /* of its listener; or NULL */
    struct loop_defer settle, flush;
    struct timer timer;
    struct loop_linger linger;
    struct queue in, raw, out, wire;
    struct str view; /* input that still lies in a buffer of the loop, while the handler runs */
    struct str net;  /* ciphertext that still lies in the read buffer, while OpenSSL runs */
    SSL *ssl;
    struct err *err;
    size_t max_input, low, high;
    uint64_t timeout_ms, heard_ms; /* idle limit; when the last byte arrived, in TLS the last
                                      decrypted one */
    uint64_t deadline_ms;          /* end of connecting, handshake or lingering; 0: none */
    uint64_t connect_ms;           /* how long connecting may take */
    struct conn_peer peer;
    struct tls_ctx *after_proxy; /* implicit TLS that begins behind the PROXY header */
    struct tls_peer *tls_peer;   /* TLS as the client: what was demanded and what was proved */
    enum conn_tls_state tls;
    int armed; /* what uv_poll watches */
    bool opened, told_eof, told_closed;
    bool connecting; /* conn_connect(): it doesn't stand yet */
    bool hello_due;  /* TLS as the client: the first word is ours */
    bool proxy;      /* the PROXY header is still to come; what there is of it lies in raw */
    bool viewing;    /* conn_input() is `view`, not `in` */
    bool retell;     /* resumed with input held: CONN_INPUT is due */
    bool paused;
    bool tls_more;  /* OpenSSL may hold decrypted bytes */
    bool eof;       /* the peer ended its side */
    bool blocked;   /* the socket takes no more for now */
    bool full;      /* conn_write said CONN_FULL: CONN_DRAINED is due */
    bool lingering; /* no owner any more, sends what is queued */
    bool fin_sent;
};

/* tls NULL: plain. peer is copied. One reference, the caller's. */
struct conn *conn_new(struct loop *l, int fd, const struct conn_peer *peer, struct tls_ctx *tls,
                      void (*on_gone)(void *ctx), void *gone_ctx);

void conn_peer_local(int fd, struct conn_peer *peer); /* AF_UNIX, with the peer's credentials */

/* conn_proxy.c: on a new connection, before the loop turns */
void conn_expect_proxy(struct conn *c, struct tls_ctx *tls);
void conn_proxy_input(struct conn *c, struct str in);

/* conn.c */
static inline bool conn_live(const struct conn *c)
{
    return c->fd >= 0;
}
void conn_tell(struct conn *c, enum conn_event ev);
void conn_show(struct conn *c, char *p,
               size_t n); /* new input, in a buffer with LOOP_READ_HEAD before it */
size_t conn_held(const struct conn *c);
void conn_settle(struct conn *c); /* tells what is to be told, then watches what is to be watched */
void conn_settle_later(struct conn *c);
void conn_break(struct conn *c, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
void conn_break_why(struct conn *c, enum err_kind kind, enum err_why why, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));
void conn_shut(struct conn *c);  /* ends I/O, without a word */
void conn_rearm(struct conn *c); /* after a change of timeout_ms or deadline_ms */

/* conn_connect.c */
void conn_connect_ready(struct conn *c, bool failed); /* the socket has something to say */
void conn_connect_failed(struct conn *c, int e);

/* conn_in.c */
bool conn_wants_input(const struct conn *c);
void conn_read(struct conn *c);
void conn_show(struct conn *c, char *p,
               size_t n); /* new input, in a buffer with LOOP_READ_HEAD before it */

/* conn_out.c */
void conn_flush_later(struct conn *c);
void conn_flush(struct conn *c);
/* Sends now what the socket takes; what is left goes to q, which must be empty for the order's
 * sake, or is added. */
void conn_send(struct conn *c, struct queue *q, const char *p, size_t n);

/* conn_tls.c */
void conn_tls_begin(struct conn *c, struct tls_ctx *tls); /* as the server */
int conn_tls_clear(struct conn *c); /* before STARTTLS: input is dropped, output goes as it is */
void conn_tls_attach(struct conn *c, struct tls_ctx *tls); /* an SSL without a side yet */
void conn_tls_pump(struct conn *c, struct str net);        /* handshake, or decrypts and shows */
void conn_tls_encrypt(struct conn *c); /* from out to the socket, as far as it takes it */
void conn_tls_bye(struct conn *c);     /* close_notify */
void conn_tls_free(struct conn *c);
#endif
