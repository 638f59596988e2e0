/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/listener.h"
#include "appliance/base/log.h"
#include "appliance/io/conn_private.h"
#include "appliance/io/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel caps it by somaxconn */
    BATCH = 64,     /* accepted in one turn, then the others have theirs */
    COST_ACCEPTED = 8,
    COST_REFUSED = 1, /* so many times as many are turned away */
    DEFAULT_MAX_CONNS = 1000,
    SAY_EVERY_MS = 60000,
    RETRY_MS = 100, /* after running out of file descriptors or memory */
    RESERVE = 64    /* file descriptors that connections leave to the rest of the program */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
    struct sockaddr_storage room;
};

struct listener {
    uv_poll_t poll; /* once started: its close callback holds one reference */
    struct loop *loop;
    uint64_t said_ms; /* when the log was told last that accepting rests */
    struct listener_conf conf;
    struct timer retry;
    int fd;
    unsigned refs; /* owner, handle, every connection */
    unsigned open;
    uint64_t accepted, failed, refused;
    struct conn_traffic traffic;
    struct list link;     /* loop->listeners */
    bool watching, tired; /* tired: out of resources, waits for `retry` */
    bool scarce;          /* the last descriptor came near the limit */
    uint16_t port;
    char host[46];
    int dirfd; /* AF_UNIX: to remove the socket at the end; else -1 */
    char *name;
};

static const struct log_ctx log_ctx = {.module = "io"};

/* ---- opening ---- */

static struct listener *listener_new(int fd)
{
    struct listener *ln = MEM_NEW(struct listener);
    ln->fd = fd;
    ln->refs = 1;
    ln->dirfd = -1;
    list_init(&ln->link);
    return ln;
}

static void listener_unref(struct listener *ln)
{
    if (--ln->refs > 0)
        return;
    mem_free(ln->name);
    mem_free(ln);
}

static int parse_host(const char *host, uint16_t port, union address *a, socklen_t *len)
{
    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        *len = sizeof(a->v4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        *len = sizeof(a->v6);
        return 0;
    }
    return -1;
}

/* What accepted sockets inherit on Linux is set once, here. */
static void set_options(int fd, int family)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
}

static int refused(struct err *err, const char *host, uint16_t port)
{
    int e = errno;
    if (e == EADDRINUSE)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_BUSY, "port %u on %s is taken by another program",
                       (unsigned)port, host);
    if (e == EACCES || e == EPERM)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED, "not allowed to listen on %s port %u: %s",
                       host, (unsigned)port, strerror(e));
    return ERR(err, ERR_PERM, "cannot listen on %s port %u: %s", host, (unsigned)port, strerror(e));
}

int listener_open(const char *host, uint16_t port, struct listener **out, struct err *err)
{
    union address a;
    socklen_t len;
    if (parse_host(host, port, &a, &len) != 0)
        return ERR(err, ERR_PERM, "%.64s is not an IP address to listen on", host);
    int family = a.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refused(err, host, port);
    set_options(fd, family);
    if (bind(fd, &a.any, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &a.any, &len) != 0) {
        int rc = refused(err, host, port);
        close(fd);
        return rc;
    }
    struct listener *ln = listener_new(fd);
    ln->port = ntohs(family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    inet_ntop(family, family == AF_INET ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr,
              ln->host, sizeof(ln->host));
    *out = ln;
    return 0;
}

/* Removes a socket nobody listens on any more. */
static int make_way(int dirfd, const char *name, const union address *a, struct err *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0
                               : ERR(err, ERR_PERM, "cannot look at %s: %s", name, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "%s exists and is not a socket", name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR(err, ERR_TEMP, "cannot make a socket: %s", strerror(errno));
    bool alive = connect(fd, &a->any, sizeof(a->un)) == 0 || errno == EAGAIN;
    close(fd);
    if (alive)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_BUSY, "another process listens on %s", name);
    if (unlinkat(dirfd, name, 0) != 0 && errno != ENOENT)
        return ERR(err, ERR_PERM, "cannot replace %s: %s", name, strerror(errno));
    return 0;
}

static int bind_unix(int fd, int dirfd, const char *name, const union address *a, struct err *err)
{
    /* Before listen() nobody can connect, so there is no moment with another mode. */
    if (bind(fd, &a->any, sizeof(a->un)) != 0 || fchmodat(dirfd, name, 0600, 0) != 0 ||
        listen(fd, BACKLOG) != 0)
        return ERR(err, ERR_PERM, "cannot listen on %s: %s", name, strerror(errno));
    return 0;
}

int listener_open_unix(int dirfd, const char *name, struct listener **out, struct err *err)
{
    union address a;
    memset(&a, 0, sizeof(a));
    a.un.sun_family = AF_UNIX;
    /* sun_path holds 107 bytes; the folder may be as deep as it likes. */
    int n = snprintf(a.un.sun_path, sizeof(a.un.sun_path), "/proc/self/fd/%d/%s", dirfd, name);
    if (n < 0 || (size_t)n >= sizeof(a.un.sun_path) || strchr(name, '/'))
        return ERR(err, ERR_PERM, "%.80s is no name for a socket", name);
    if (make_way(dirfd, name, &a, err) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR(err, ERR_TEMP, "cannot make a socket: %s", strerror(errno));
    if (bind_unix(fd, dirfd, name, &a, err) != 0) {
        close(fd);
        return -1;
    }
    struct listener *ln = listener_new(fd);
    ln->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    ln->name = str_dup_z(str_from(name));
    *out = ln;
    return 0;
}

uint16_t listener_port(const struct listener *ln)
{
    return ln->port;
}

const char *listener_host(const struct listener *ln)
{
    return ln->host;
}

unsigned listener_open_conns(const struct listener *ln)
{
    return ln->open;
}

/* ---- accepting ---- */

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(struct listener *ln)
{
    bool want = ln->loop && ln->fd >= 0 && !ln->tired && ln->open < ln->conf.max_conns;
    if (want == ln->watching)
        return;
    ln->watching = want;
    if (want)
        CHECK(uv_poll_start(&ln->poll, UV_READABLE, on_poll) == 0);
    else
        uv_poll_stop(&ln->poll);
}

static void on_conn_gone(void *ctx)
{
    struct listener *ln = ctx;
    ln->open--;
    watch(ln);
    listener_unref(ln);
}

static void on_retry(void *ctx)
{
    struct listener *ln = ctx;
    ln->tired = false;
    watch(ln);
}

/* Out of descriptors or memory: level-triggered polling would spin, so accepting rests. */
static void rest(struct listener *ln, int e)
{
    uint64_t now = loop_now_ms(ln->loop);
    if (!ln->said_ms || now - ln->said_ms >= SAY_EVERY_MS) {
        ln->said_ms = now;
        log_warn(&log_ctx, "accept_pauses", L_Z("error", strerror(e)), L_UINT("port", ln->port),
                 L_UINT("open", ln->open));
    }
    ln->tired = true;
    ln->failed++;
    timer_start(&ln->retry, RETRY_MS);
}

static void describe_peer(int fd, const union address *a, struct conn_peer *peer)
{
    *peer = (struct conn_peer){.uid = -1, .pid = -1};
    const struct in6_addr *v6 = &a->v6.sin6_addr;
    if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->v4.sin_addr, peer->ip, sizeof(peer->ip));
        peer->port = ntohs(a->v4.sin_port);
    } else if (a->any.sa_family == AF_INET6) {
        peer->v6 = !IN6_IS_ADDR_V4MAPPED(v6);
        inet_ntop(peer->v6 ? AF_INET6 : AF_INET, peer->v6 ? v6->s6_addr : v6->s6_addr + 12,
                  peer->ip, sizeof(peer->ip));
        peer->port = ntohs(a->v6.sin6_port);
    } else {
        conn_peer_local(fd, peer);
    }
}

void listener_socket_closed(struct listener *ln)
{
    on_conn_gone(ln);
}

/* Nothing is waited for: who doesn't get the words gets a closed connection. */
static bool turned_away(struct listener *ln, int fd, const char *ip)
{
    struct listener_farewell bye = {.n = 0};
    if (!ln->conf.admit || ln->conf.admit(ln->conf.ctx, ip, &bye))
        return false;
    if (bye.n && send(fd, bye.text, bye.n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        bye.n = 0;
    close(fd);
    ln->refused++;
    return true;
}

/* Whoever opens connections without end must not keep us from opening the file of a message, or the
 * database. The socket for commands is not held back. */
static int most_for_conns(const struct listener *ln)
{
    struct rlimit files;
    if (ln->dirfd >= 0 || getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > INT_MAX)
        return INT_MAX;
    int most = (int)files.rlim_cur;
    return most - (most / 8 < RESERVE ? most / 8 : RESERVE);
}

/* The kernel gives the lowest free number: the next one tells how many are taken. */
static bool scarce_still(struct listener *ln)
{
    int next = fcntl(ln->fd, F_DUPFD_CLOEXEC, 0);
    if (next >= 0)
        close(next);
    ln->scarce = next < 0 || next >= most_for_conns(ln);
    return ln->scarce;
}

enum handed { HANDED_OVER, TURNED_AWAY, NO_RESOURCES };
static enum handed hand_over(struct listener *ln, int fd, const union address *a, socklen_t len)
{
    if (ln->conf.on_socket) {
        ln->refs++;
        ln->open++;
        ln->conf.on_socket(ln->conf.ctx, ln, fd, &a->any, len);
        return HANDED_OVER;
    }
    struct conn_peer peer;
    describe_peer(fd, a, &peer);
    bool proxied = ln->conf.proxies && cidr_set_has(ln->conf.proxies, peer.ip);
    if (!proxied && turned_away(ln, fd, peer.ip))
        return TURNED_AWAY;
    struct tls_ctx *tls = ln->conf.implicit_tls;
    struct conn *c = conn_new(ln->loop, fd, &peer, proxied ? NULL : tls, on_conn_gone, ln);
    if (!c)
        return NO_RESOURCES;
    if (proxied)
        conn_expect_proxy(c, tls);
    c->traffic = &ln->traffic;
    ln->refs++;
    ln->open++;
    ln->conf.on_accept(ln->conf.ctx, c);
    return HANDED_OVER;
}

/* What it cost; 0: nothing more to accept for now. */
static int accept_one(struct listener *ln)
{
    union address a;
    socklen_t len = sizeof(a);
    memset(&a, 0, sizeof(a));
    int fd = accept4(ln->fd, &a.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(ln, errno);
        /* Others (ECONNABORTED, EPROTO, ...) are about one connection: accept(2) says go on. */
        return errno != EAGAIN && errno != EINVAL && errno != EBADF && !ln->tired ? COST_REFUSED
                                                                                  : 0;
    }
    enum handed handed = hand_over(ln, fd, &a, len);
    if (handed == NO_RESOURCES) {
        close(fd);
        rest(ln, ENOMEM);
        return 0;
    }
    if (handed == TURNED_AWAY)
        return COST_REFUSED;
    ln->accepted++;
    ln->scarce = fd >= most_for_conns(ln);
    return ln->scarce ? 0 : COST_ACCEPTED;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)events;
    struct listener *ln = h->data;
    if (status < 0)
        ln->watching = false; /* libuv stopped it */
    if (ln->scarce && scarce_still(ln)) {
        rest(ln, EMFILE);
        watch(ln);
        return;
    }
    /* on_accept may stop the listener; its handle keeps it in memory. */
    for (int spent = 0, cost = 1;
         cost && spent < BATCH * COST_ACCEPTED && ln->fd >= 0 && ln->open < ln->conf.max_conns;
         spent += cost)
        cost = accept_one(ln);
    if (ln->fd >= 0)
        watch(ln);
}

int listener_start(struct listener *ln, struct loop *l, const struct listener_conf *conf,
                   struct err *err)
{
    CHECK(!ln->loop && !conf->on_accept != !conf->on_socket);
    int rc = uv_poll_init(&l->uv, &ln->poll, ln->fd);
    if (rc != 0)
        return ERR(err, ERR_TEMP, "cannot watch port %u: %s", (unsigned)ln->port, uv_strerror(rc));
    ln->poll.data = ln;
    ln->refs++;
    ln->loop = l;
    ln->conf = *conf;
    if (ln->conf.max_conns == 0)
        ln->conf.max_conns = DEFAULT_MAX_CONNS;
    if (ln->conf.implicit_tls)
        tls_ctx_ref(ln->conf.implicit_tls);
    timer_init(&ln->retry, l, on_retry, ln);
    list_add(&l->listeners, &ln->link);
    watch(ln);
    return 0;
}

void listener_set(struct listener *ln, struct tls_ctx *implicit_tls, const struct cidr_set *proxies)
{
    struct tls_ctx *old = ln->conf.implicit_tls;
    CHECK(!old == !implicit_tls);
    ln->conf.implicit_tls = implicit_tls ? tls_ctx_ref(implicit_tls) : NULL;
    ln->conf.proxies = proxies;
    tls_ctx_unref(&old);
}

static void on_closed(uv_handle_t *h)
{
    struct listener *ln = h->data;
    loop_closed(ln->loop);
    listener_unref(ln);
}

void listener_stop(struct listener **lp)
{
    struct listener *ln = *lp;
    if (!ln)
        return;
    *lp = NULL;
    list_del(&ln->link);
    if (ln->loop) {
        timer_fini(&ln->retry);
        loop_close(ln->loop, (uv_handle_t *)&ln->poll, on_closed);
        tls_ctx_unref(&ln->conf.implicit_tls);
    }
    close(ln->fd);
    ln->fd = -1;
    ln->watching = false;
    if (ln->dirfd >= 0) {
        unlinkat(ln->dirfd, ln->name, 0);
        close(ln->dirfd);
    }
    listener_unref(ln);
}

/* ---- figures ---- */

void listeners_each(struct loop *l, void (*fn)(void *ctx, const struct listener_stats *st),
                    void *ctx)
{
    LIST_EACH(&l->listeners, it)
    {
        const struct listener *ln = LIST_ITEM(it, struct listener, link);
        struct listener_stats st = {.name = ln->conf.name,
                                    .host = ln->host,
                                    .port = ln->port,
                                    .open = ln->open,
                                    .max = ln->conf.max_conns,
                                    .accepted = ln->accepted,
                                    .failed = ln->failed,
                                    .refused = ln->refused,
                                    .received = ln->traffic.received,
                                    .sent = ln->traffic.sent};
        if (st.name)
            fn(ctx, &st);
    }
}
