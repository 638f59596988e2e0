/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* listener.h - listening sockets, opened before privileges are dropped and served by the loop
 * later. Floor 1 (io). Threads: listener_open before or on the loop; the rest on the loop. */
#ifndef PH_IO_LISTENER_H
#define PH_IO_LISTENER_H
#include "appliance/base/cidr.h"
#include "appliance/io/conn.h"

struct listener;
/* Binds and listens (TCP; IPv6 addresses get IPV6_V6ONLY). host: "127.0.0.1", "::1", "0.0.0.0",
 * "::". port 0: the kernel chooses. ERR_PERM/ERR_WHY_BUSY: taken. Not yet part of any loop: may be
 * followed by fork, setuid, seccomp. */
int listener_open(const char *host, uint16_t port, struct listener **out, struct err *err)
    __attribute__((warn_unused_result));
/* AF_UNIX socket `name` inside the folder dirfd (any path length), mode 0600; a stale one is
 * replaced. */
int listener_open_unix(int dirfd, const char *name, struct listener **out, struct err *err)
    __attribute__((warn_unused_result));
uint16_t listener_port(const struct listener *ln);
const char *listener_host(const struct listener *ln);

struct sockaddr;
struct listener_farewell {
    char text[256];
    size_t n;
};
struct listener_conf {
    const char *name;             /* static: its service, for metrics; NULL: not shown there */
    struct tls_ctx *implicit_tls; /* NULL: plain start. Else the handshake comes before CONN_OPEN */
    /* Peers of this set begin with a PROXY header (io/proxy.h), before TLS; conn_peer() is the
     * client's from CONN_OPEN on. Lives until listener_set() or listener_stop(). NULL: nobody does,
     * and whoever sends one is not understood. */
    const struct cidr_set *proxies;
    unsigned
        max_conns; /* open at once on this listener; more wait in the kernel's queue. 0 = 1000 */
    /* Asked first, unless a PROXY header is to come. False: the farewell is sent if there is one,
     * and the socket closed; that costs nothing else, so that a flood which is turned away doesn't
     * hold up the others. NULL: all are let in. */
    bool (*admit)(void *ctx, const char *ip, struct listener_farewell *bye);
    /* Gets a conn (one reference, its own from now on); sets a handler or closes it. */
    void (*on_accept)(void *ctx, struct conn *c);
    /* Instead of on_accept, for a library that reads and writes itself: gets the socket
     * (non-blocking), which it closes; it then calls listener_socket_closed() once. */
    void (*on_socket)(void *ctx, struct listener *ln, int fd, const struct sockaddr *peer,
                      unsigned peer_n);
    void *ctx;
};
/* Starts accepting. On EMFILE/ENFILE accepting pauses and is tried again; it never spins and never
 * ends the daemon. */
int listener_start(struct listener *ln, struct loop *l, const struct listener_conf *conf,
                   struct err *err) __attribute__((warn_unused_result));
/* For connections that are accepted from now on. A listener keeps its kind: implicit_tls is NULL
 * exactly when it was. */
void listener_set(struct listener *ln, struct tls_ctx *implicit_tls,
                  const struct cidr_set *proxies);
void listener_stop(struct listener **ln); /* closes; connections live on */
unsigned listener_open_conns(const struct listener *ln);
void listener_socket_closed(struct listener *ln); /* also after listener_stop */

struct listener_stats {
    const char *name, *host; /* host: "" for AF_UNIX */
    uint16_t port;
    unsigned open, max;
    uint64_t accepted, failed; /* failed: no descriptors or memory for one */
    uint64_t refused;          /* by admit() */
    uint64_t received, sent;   /* octets of its connections, as on the wire */
};
/* All that were started on this loop and have a name. Loop. */
void listeners_each(struct loop *l, void (*fn)(void *ctx, const struct listener_stats *st),
                    void *ctx);
#endif
