/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* smtp_sink.c - a host on loopback that takes every message and throws it away, fast enough to be
 * nobody's bottleneck. smtp_sink PORT SECONDS; it ends after so many seconds, or when its standard
 * input does. The command XCOUNT is answered with the number of messages taken so far. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int fd;
    bool data;
    char in[65536];
    size_t in_n;
    char out[4096];
    size_t out_n;
};

static unsigned long taken;
static int epoll;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void say(struct client *c, const char *text)
{
    size_t n = strlen(text);

    if (c->out_n + n <= sizeof c->out) {
        memcpy(c->out + c->out_n, text, n);
        c->out_n += n;
    }
}

static bool is(const char *line, const char *verb)
{
    return strncasecmp(line, verb, strlen(verb)) == 0;
}

/* false: the session is over. */
static bool command(struct client *c, const char *line)
{
    char text[64];

    if (is(line, "EHLO"))
        say(c, "250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n"
               "250 ENHANCEDSTATUSCODES\r\n");
    else if (is(line, "MAIL"))
        say(c, "250 2.1.0 Ok\r\n");
    else if (is(line, "RCPT"))
        say(c, "250 2.1.5 Ok\r\n");
    else if (is(line, "DATA")) {
        say(c, "354 Go ahead\r\n");
        c->data = true;
    } else if (is(line, "XCOUNT")) {
        snprintf(text, sizeof text, "250 %lu\r\n", taken);
        say(c, text);
    } else if (is(line, "QUIT")) {
        say(c, "221 2.0.0 Bye\r\n");
        return false;
    } else {
        say(c, "250 2.0.0 Ok\r\n");
    }
    return true;
}

/* Octets of c->in that are done with; the last few may be the beginning of the end. */
static size_t skip_data(struct client *c, size_t at)
{
    char *end = memmem(c->in + at, c->in_n - at, "\r\n.\r\n", 5);

    if (!end)
        return c->in_n - at > 4 ? c->in_n - 4 : at;
    c->data = false;
    taken++;
    say(c, "250 2.0.0 Taken\r\n");
    return (size_t)(end - c->in) + 5;
}

/* false: the session is over. */
static bool work(struct client *c)
{
    size_t at = 0;
    bool more = true;

    while (more && at < c->in_n) {
        if (c->data) {
            size_t next = skip_data(c, at);
            bool waits = c->data;
            at = next;
            if (waits)
                break;
            continue;
        }
        char *end = memchr(c->in + at, '\n', c->in_n - at);
        if (!end)
            break;
        *end = '\0';
        more = command(c, c->in + at);
        at = (size_t)(end - c->in) + 1;
    }
    memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
    return more;
}

static void answer(struct client *c)
{
    ssize_t n = read(c->fd, c->in + c->in_n, sizeof c->in - c->in_n);
    bool more;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        c->in_n += (size_t)n;
        more = work(c);
        /* Replies are a few octets and read at once: a socket that can't take them is broken. */
        if (c->out_n && write(c->fd, c->out, c->out_n) != (ssize_t)c->out_n)
            more = false;
        c->out_n = 0;
        if (more && c->in_n < sizeof c->in)
            return;
    }
    close(c->fd);
    free(c);
}

static void welcome(int listener)
{
    static const char greeting[] = "220 sink ESMTP\r\n";
    int on = 1, fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = malloc(sizeof *c);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (!c)
            die("malloc");
        c->fd = fd;
        c->data = false;
        c->in_n = c->out_n = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (write(fd, greeting, sizeof greeting - 1) < 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
            close(fd);
            free(c);
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct rlimit files = {65536, 65536};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = &input};
    int on = 1, listener;
    time_t until;

    if (argc != 3)
        return 2;
    setrlimit(RLIMIT_NOFILE, &files);
    until = time(NULL) + atol(argv[2]);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_port = htons((unsigned short)atoi(argv[1]));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 1024) != 0)
        die("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0)
        die("epoll");
    printf("ready\n");
    fflush(stdout);
    while (time(NULL) < until) {
        struct epoll_event ready[64];
        int n = epoll_wait(epoll, ready, 64, 1000);
        for (int i = 0; i < n; i++) {
            char rest[64];
            if (ready[i].data.ptr == NULL)
                welcome(listener);
            else if (ready[i].data.ptr != &input)
                answer(ready[i].data.ptr);
            else if (read(STDIN_FILENO, rest, sizeof rest) <= 0)
                return 0;
        }
    }
    return 0;
}
