/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tcp_cut.h - a wire to a server that a test can cut: one thread hands bytes on, connection after
 * connection. After cmocka.h. */
#ifndef PH_TESTS_SQL_TCP_CUT_H
#define PH_TESTS_SQL_TCP_CUT_H
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum tcp_cut_when {
    CUT_NOT,
    CUT_REPLIES, /* what is asked still arrives, the answer doesn't come back */
    CUT_ASKING   /* what is asked doesn't arrive either */
};
struct tcp_cut {
    int listener, stop[2];
    unsigned port, to_port;
    atomic_int when;
    atomic_int asked; /* packets that came while it was to be cut */
    pthread_t thread;
};

static int tcp_cut_socket(unsigned port, bool listening)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    assert_true(fd >= 0);
    if (listening)
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 8), 0);
    else
        assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* One direction's bytes, at most once a call. False: this connection is over. */
static bool tcp_cut_move(struct tcp_cut *t, int from, int to, bool asking)
{
    char bytes[65536];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    int when = atomic_load(&t->when);

    if (n <= 0)
        return false;
    if (asking && when != CUT_NOT)
        atomic_fetch_add(&t->asked, 1);
    if ((asking && when == CUT_ASKING) || (!asking && when == CUT_REPLIES))
        return false;
    return send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void tcp_cut_serve(struct tcp_cut *t, int client)
{
    int server = tcp_cut_socket(t->to_port, false);
    struct pollfd p[] = {{.fd = client, .events = POLLIN},
                         {.fd = server, .events = POLLIN},
                         {.fd = t->stop[0], .events = POLLIN}};

    while (poll(p, 3, -1) > 0 && !p[2].revents) {
        if (p[0].revents && !tcp_cut_move(t, client, server, true))
            break;
        if (p[1].revents && !tcp_cut_move(t, server, client, false))
            break;
    }
    close(server);
    close(client);
}

static void *tcp_cut_run(void *ctx)
{
    struct tcp_cut *t = ctx;
    struct pollfd p[] = {{.fd = t->listener, .events = POLLIN},
                         {.fd = t->stop[0], .events = POLLIN}};

    while (poll(p, 2, -1) > 0 && !p[1].revents) {
        int client = accept(t->listener, NULL, NULL);
        if (client >= 0)
            tcp_cut_serve(t, client);
    }
    return NULL;
}

static void tcp_cut_start(struct tcp_cut *t, unsigned to_port)
{
    struct sockaddr_in at;
    socklen_t n = sizeof at;

    memset(t, 0, sizeof *t);
    t->to_port = to_port;
    t->listener = tcp_cut_socket(0, true);
    assert_int_equal(getsockname(t->listener, (struct sockaddr *)&at, &n), 0);
    t->port = ntohs(at.sin_port);
    assert_int_equal(pipe(t->stop), 0);
    assert_int_equal(pthread_create(&t->thread, NULL, tcp_cut_run, t), 0);
}

static void tcp_cut_stop(struct tcp_cut *t)
{
    assert_int_equal(write(t->stop[1], "x", 1), 1);
    pthread_join(t->thread, NULL);
    close(t->listener);
    close(t->stop[0]);
    close(t->stop[1]);
}
#endif
