/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* conn.h - one connection (TCP or AF_UNIX): socket, TLS, buffered input, queued output. The only
 * thing that sees sockets; TLS ends here and nowhere else. Floor 1 (io). Threads: loop only.
 * Ownership: whoever made it (listener's on_accept) owns one reference; conn_close() ends I/O now
 * and on_event is never called again; memory goes when the last reference and the libuv handles are
 * gone. Events: on_event is never called from within a call of this header, always later from the
 * loop. CONN_OPEN     usable; with implicit TLS: after the handshake CONN_TLS      the handshake
 * begun by conn_start_tls() is done; no byte received before it survives CONN_INPUT    conn_input()
 * has new bytes, or has some and was resumed. Take with conn_consume() what can be used. What is
 *                 left stays; the next CONN_INPUT comes with more bytes. When max_input bytes are
 * held unconsumed, reading stops until some are consumed: a handler bounds its lines itself.
 *   CONN_DRAINED  queued output fell below the low mark, after conn_write() had returned CONN_FULL
 *   CONN_TIMEOUT  no byte of input arrived for the time set by conn_set_timeout(); once, then again
 * after the same time CONN_EOF      the peer ended its side; writing is still possible. Input left
 * unconsumed stays readable. CONN_CLOSED   broken or refused: conn_error(); last event. The owner
 * still calls conn_close(). Memory: an idle connection holds no buffers; input is read into a
 * buffer shared by the loop and only what is left unconsumed is copied. TLS records are decrypted
 * by a BIO over these buffers. */
#ifndef PH_IO_CONN_H
#define PH_IO_CONN_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"
#include "appliance/io/loop.h"
#include "appliance/io/tls.h"

struct conn;

enum conn_event {
    CONN_OPEN,
    CONN_TLS,
    CONN_INPUT,
    CONN_DRAINED,
    CONN_TIMEOUT,
    CONN_EOF,
    CONN_CLOSED
};
typedef void (*conn_event_fn)(void *ctx, struct conn *c, enum conn_event ev);

/* Sets who is told; call it in on_accept, before the loop turns again. */
void conn_set_handler(struct conn *c, conn_event_fn on_event, void *ctx);
/* Takes over a connected stream socket (a socketpair, an inherited one), non-blocking from now on;
 * tls NULL: plain. Set the handler before the loop turns. The peer counts as local. NULL: no
 * resources; fd is closed in any case. */
struct conn *conn_adopt(struct loop *l, int fd, struct tls_ctx *tls);
/* A connection to another host (a numeric address; names are the resolver's business). CONN_OPEN
 * when it stands, CONN_CLOSED when it can't be made or timeout_ms are over: ERR_TEMP, "connection
 * refused" and the like, without the address (conn_peer() knows it). on_event comes later in any
 * case. What is written before CONN_OPEN is sent then; conn_close_flushed() before it just ends.
 * -1: no address, or no resources (ERR_TEMP, ERR_WHY_DENIED behind a seal); *out is NULL. */
struct conn_target {
    const char *ip, *from; /* from: our own address to bind; NULL or empty: the kernel's choice */
    uint16_t port;
    uint64_t timeout_ms; /* 0: as long as the kernel tries, about two minutes */
};
int conn_connect(struct loop *l, const struct conn_target *t, struct conn **out, struct err *err)
    __attribute__((warn_unused_result));
/* The same to a socket of this machine, by its path in the file system: it stands, or not, at once.
 * -1: a path too long (ERR_PERM), or no resources. */
int conn_connect_unix(struct loop *l, const char *path, struct conn **out, struct err *err)
    __attribute__((warn_unused_result));
struct conn *conn_ref(struct conn *c);
void conn_unref(struct conn **c);
/* Ends now: unsent output is dropped. Drops the owner's reference. */
void conn_close(struct conn **c);
/* Sends what is queued (TLS close_notify too), then ends; gives up after linger_ms. Drops the
 * owner's reference. */
void conn_close_flushed(struct conn **c, uint64_t linger_ms);

struct str conn_input(struct conn *c);       /* valid until conn_consume or the handler's return */
void conn_consume(struct conn *c, size_t n); /* nothing happens after a close or conn_start_tls() */
void conn_set_max_input(struct conn *c, size_t n); /* default 64 KB; below 32 MB */
void conn_pause(struct conn *c);  /* no CONN_INPUT until conn_resume(); nestable it is not. The
                                     peer's TCP window fills. EOF waits too */
void conn_resume(struct conn *c); /* CONN_INPUT follows later if input is held */
bool conn_paused(const struct conn *c);
/* Sends the TCP acknowledgement of what was received now: for where the peer may hold back the rest
 * of a request until it comes (Nagle meeting a delayed ACK costs 40 ms). */
void conn_acknowledge(struct conn *c);

/* Output is copied into a queue and sent at the end of the loop's turn, so many small replies are
 * one packet. */
enum conn_room {
    CONN_ROOM,
    CONN_FULL /* queued all the same, but over the high mark: wait for CONN_DRAINED */
};
/* Over 64 MB queued the connection breaks. After an error or a close nothing is queued. */
enum conn_room conn_write(struct conn *c, const void *p, size_t n);
enum conn_room conn_write_str(struct conn *c, struct str s);
size_t conn_queued(const struct conn *c);
void conn_set_marks(struct conn *c, size_t low, size_t high); /* default 16 KB, 64 KB */

/* Server side of STARTTLS: call after queueing the go-ahead reply. Unread plain input is discarded
 * (no injection), input is held until the handshake is done: CONN_TLS, or CONN_CLOSED. Handshake
 * time limit: 30 s. */
void conn_start_tls(struct conn *c, struct tls_ctx *tls);
/* Client side: a handshake with these demands (copied); ctx of tls_ctx_client(). From CONN_OPEN on,
 * in its handler already (implicit TLS), or when the go-ahead reply has been read: unread plain
 * input is discarded here too, and what comes in the clear later breaks the handshake. CONN_TLS
 * when it is done; CONN_CLOSED when the peer isn't who it should be (ERR_TEMP, ERR_WHY_UNTRUSTED,
 * a sentence that says what is wrong), or when it failed otherwise (mostly ERR_PROTO). */
void conn_start_tls_client(struct conn *c, struct tls_ctx *tls, const struct tls_demand *want);
/* What the peer's certificate proved: TLS_TRUST_NONE also without TLS. Not demanded, the name and
 * the system's authorities are still looked at, so PKIX may come where NONE was demanded. */
enum tls_trust conn_tls_trust(const struct conn *c);
bool conn_has_tls(const struct conn *c);
void conn_tls_text(const struct conn *c, char *out,
                   size_t cap);          /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" without TLS */
int conn_tls_bits(const struct conn *c); /* 0 without TLS */
/* What both ends know of this TLS connection and nobody else can have with one of them: how many
 * octets were written to out; 0: there are none (yet), or not with this version of TLS or this
 * certificate. */
enum conn_binding {
    CONN_BIND_EXPORTER, /* "tls-exporter", TLS 1.3 (RFC 9266) */
    CONN_BIND_END_POINT /* "tls-server-end-point": the server's certificate (RFC 5929 4) */
};
enum { CONN_BINDING_MAX = 64 };
size_t conn_channel_binding(const struct conn *c, enum conn_binding kind,
                            unsigned char out[CONN_BINDING_MAX]);

void conn_set_timeout(struct conn *c,
                      uint64_t ms); /* 0: none. Counts from now and from each byte received, in TLS
                                       each byte that came out of it (a record that trickles in is
                                       silence); not during a handshake */
const struct err *conn_error(const struct conn *c);
struct conn_peer {
    /* Behind a trusted proxy: the proxy until CONN_OPEN, from then on the client that its PROXY
     * header names. */
    char ip[46]; /* "192.0.2.1", "2001:db8::1"; v4-mapped addresses as v4; "" for AF_UNIX */
    uint16_t port;
    bool v6, local;   /* local: AF_UNIX */
    bool proxied;     /* behind a trusted proxy, and before CONN_OPEN */
    int64_t uid, pid; /* AF_UNIX peer credentials; else -1 */
};
const struct conn_peer *conn_peer(const struct conn *c);
#endif
