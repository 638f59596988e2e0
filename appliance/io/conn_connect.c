/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A connection to another host, from socket() until it stands. */
#include "appliance/io/conn_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A v4-mapped address is the IPv4 address: on a socket of IPv6 it would need a dual stack. */
static bool address_read(const char *ip, uint16_t port, union address *a)
{
    struct in6_addr v6;
    *a = (union address){.v6.sin6_port = 0};
    if (inet_pton(AF_INET, ip, &a->v4.sin_addr) == 1) {
        a->any.sa_family = AF_INET;
    } else if (inet_pton(AF_INET6, ip, &v6) != 1) {
        return false;
    } else if (IN6_IS_ADDR_V4MAPPED(&v6)) {
        a->any.sa_family = AF_INET;
        memcpy(&a->v4.sin_addr, v6.s6_addr + 12, 4);
    } else {
        a->any.sa_family = AF_INET6;
        a->v6.sin6_addr = v6;
    }
    if (a->any.sa_family == AF_INET)
        a->v4.sin_port = htons(port);
    else
        a->v6.sin6_port = htons(port);
    return true;
}

static socklen_t address_size(const union address *a)
{
    return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

static void peer_fill(const union address *a, struct conn_peer *peer)
{
    *peer = (struct conn_peer){.uid = -1, .pid = -1};
    peer->v6 = a->any.sa_family == AF_INET6;
    inet_ntop(a->any.sa_family, peer->v6 ? (const void *)&a->v6.sin6_addr : &a->v4.sin_addr,
              peer->ip, sizeof(peer->ip));
    peer->port = ntohs(peer->v6 ? a->v6.sin6_port : a->v4.sin_port);
}

static const char *connect_why(int e)
{
    switch (e) {
    case ECONNREFUSED:
        return "connection refused";
    case ENOENT:
        return "there is no such socket";
    case EAGAIN: /* of AF_UNIX only */
        return "too many others wait to be connected";
    case EHOSTUNREACH:
        return "no route to host";
    case ENETUNREACH:
        return "network unreachable";
    case ETIMEDOUT:
        return "connection timed out";
    case EACCES: /* seccomp, Landlock or a firewall of this machine */
    case EPERM:
        return "not allowed to connect";
    case EADDRNOTAVAIL:
        return "no address or port left to connect from";
    default:
        return strerror(e);
    }
}

/* ---- the socket ---- */

/* Port 0 only when it connects: sockets to different peers may then share one. */
static int bind_to(int fd, const char *from, int family, struct err *err)
{
    union address a;
    int on = 1;
    if (!address_read(from, 0, &a))
        return ERR(err, ERR_PERM, "\"%.60s\" is no IP address to connect from", from);
    if (a.any.sa_family != family)
        return ERR(err, ERR_PERM, "cannot connect from %s: the other address is IPv%d", from,
                   family == AF_INET ? 4 : 6);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, &a.any, address_size(&a)) != 0)
        return ERR(err, ERR_TEMP, "cannot connect from %s: %s", from,
                   errno == EADDRNOTAVAIL ? "it is no address of this machine" : strerror(errno));
    return 0;
}

static int socket_new(int family, int *out, struct err *err)
{
    *out = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*out < 0)
        return ERR_WHY(err, ERR_TEMP,
                       errno == EACCES || errno == EPERM ? ERR_WHY_DENIED : ERR_WHY_OTHER,
                       "cannot make a socket to connect: %s", strerror(errno));
    return 0;
}

static int socket_open(const struct conn_target *t, int family, int *out, struct err *err)
{
    int on = 1, fd;
    if (socket_new(family, &fd, err) != 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (t->from && t->from[0] && bind_to(fd, t->from, family, err) != 0) {
        close(fd);
        return -1;
    }
    *out = fd;
    return 0;
}

/* ---- connecting ---- */

static void stands(struct conn *c)
{
    c->connecting = false;
    c->deadline_ms = 0;
    c->heard_ms = loop_now_ms(c->loop);
    conn_rearm(c);
    if (queue_n(&c->out) > 0)
        conn_flush_later(c);
}

static void begin(struct conn *c, const union address *to, uint64_t timeout_ms)
{
    c->connecting = true;
    c->connect_ms = timeout_ms;
    int rc;
    do
        rc = connect(c->fd, &to->any, address_size(to));
    while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        stands(c);
    } else if (errno != EINPROGRESS && errno != EALREADY) {
        conn_connect_failed(c, errno);
    } else if (timeout_ms > 0 && timeout_ms < UINT64_MAX - loop_now_ms(c->loop)) {
        c->deadline_ms = loop_now_ms(c->loop) + timeout_ms;
        conn_rearm(c);
    }
}

void conn_connect_failed(struct conn *c, int e)
{
    bool denied = e == EACCES || e == EPERM;
    conn_break_why(c, ERR_TEMP, denied ? ERR_WHY_DENIED : ERR_WHY_OTHER, "%s", connect_why(e));
}

void conn_connect_ready(struct conn *c, bool failed)
{
    int e = 0;
    socklen_t n = sizeof(e);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
        e = errno;
    if (e == 0 && failed)
        e = EIO;
    if (e != 0)
        conn_connect_failed(c, e);
    else
        stands(c);
}

int conn_connect(struct loop *l, const struct conn_target *t, struct conn **out, struct err *err)
{
    union address to;
    struct conn_peer peer;
    int fd;
    *out = NULL;
    if (!address_read(t->ip, t->port, &to))
        return ERR(err, ERR_PERM, "\"%.60s\" is no IP address", t->ip);
    if (socket_open(t, to.any.sa_family, &fd, err) != 0)
        return -1;
    peer_fill(&to, &peer);
    struct conn *c = conn_new(l, fd, &peer, NULL, NULL, NULL);
    if (!c) {
        close(fd);
        return ERR(err, ERR_TEMP, "no room for another connection");
    }
    begin(c, &to, t->timeout_ms);
    *out = c;
    return 0;
}

int conn_connect_unix(struct loop *l, const char *path, struct conn **out, struct err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct conn_peer peer = {.local = true, .uid = -1, .pid = -1};
    size_t n = strlen(path);
    int fd;
    *out = NULL;
    if (n == 0 || n >= sizeof(to.sun_path))
        return ERR(err, ERR_PERM, "\"%.60s\" is no path of a socket: 1 to %zu octets", path,
                   sizeof(to.sun_path) - 1);
    memcpy(to.sun_path, path, n);
    if (socket_new(AF_UNIX, &fd, err) != 0)
        return -1;
    int rc = connect(fd, (const struct sockaddr *)&to, sizeof(to)), e = errno;
    if (rc == 0)
        conn_peer_local(fd, &peer);
    struct conn *c = conn_new(l, fd, &peer, NULL, NULL, NULL);
    if (!c) {
        close(fd);
        return ERR(err, ERR_TEMP, "no room for another connection");
    }
    if (rc != 0)
        conn_connect_failed(c, e);
    *out = c;
    return 0;
}
