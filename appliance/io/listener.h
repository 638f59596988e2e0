/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* listener.h - listening sockets, opened before privileges are dropped and served by the loop later.
 * Floor 1 (io). Threads: listener_open before or on the loop; the rest on the loop. */
#ifndef PH_IO_LISTENER_H
#define PH_IO_LISTENER_H
#include "appliance/io/conn.h"

struct listener;
/* Binds and listens (TCP; IPv6 addresses get IPV6_V6ONLY). host: "127.0.0.1", "::1", "0.0.0.0", "::". port 0: the kernel
 * chooses. ERR_PERM/ERR_WHY_BUSY: taken. Not yet part of any loop: may be followed by fork, setuid, seccomp. */
int listener_open(const char *host, uint16_t port, struct listener **out, struct err *err)
    __attribute__((warn_unused_result));
/* AF_UNIX socket `name` inside the folder dirfd (any path length), mode 0600; a stale one is replaced. */
int listener_open_unix(int dirfd, const char *name, struct listener **out, struct err *err)
    __attribute__((warn_unused_result));
uint16_t listener_port(const struct listener *ln);
const char *listener_host(const struct listener *ln);

struct listener_conf {
    struct tls_ctx *implicit_tls; /* NULL: plain start. Else the handshake comes before CONN_OPEN */
    unsigned max_conns;           /* open at once on this listener; more wait in the kernel's queue. 0 = 1000 */
    /* Gets a conn (one reference, its own from now on); sets a handler or closes it. */
    void (*on_accept)(void *ctx, struct conn *c);
    void *ctx;
};
/* Starts accepting. On EMFILE/ENFILE accepting pauses and is tried again; it never spins and never ends the daemon. */
int listener_start(struct listener *ln, struct loop *l, const struct listener_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
void listener_stop(struct listener **ln); /* closes; connections live on */
unsigned listener_open_conns(const struct listener *ln);
#endif
