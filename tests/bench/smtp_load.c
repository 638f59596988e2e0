/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* smtp_load.c - sends messages over N connections at once and reports how fast they were
 * acknowledged. Either
 *   smtp_load PORT CONNECTIONS MESSAGES SIZE [RECIPIENTS]
 * to loopback, each connection one message after another; recipient k is user<k>@example.com (k <
 * RECIPIENTS), or xandros@example.com when RECIPIENTS is 0; or
 *   smtp_load -i INDEX ADDRESS PORT CONNECTIONS MESSAGES
 * one message per connection, taken in turn from the lines of INDEX: FILE SOURCE HELO FROM TO, FILE
 * with CRLF and dots doubled, SOURCE the address to come from. MAIL, RCPT and DATA are pipelined
 * where the server offers that. Prints one line of JSON: acknowledged, refused, seconds,
 * per_second, and the time from MAIL (with INDEX: from the connection) to the final 250 in ms (p50,
 * p99, max). Exit 1 if anything was refused. */
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum step { GREETING, EHLO, ENVELOPE, BODY, QUIT, OVER };
struct mail {
    char helo[128];
    char envelope[512];
    char *body;
    size_t body_n;
    struct in_addr source;
};
struct client {
    int fd;
    const struct mail *mail;
    enum step step;
    unsigned replies; /* of the three */
    bool pipelining;
    bool refused;
    double began;
    char in[4096];
    size_t in_n;
    const char *out;
    size_t out_n;
    char envelope[512];
    char ehlo[160];
    const char *rest; /* of the envelope */
};

static unsigned long to_send, acknowledged, refused, started, opened;
static unsigned recipients;
static struct sockaddr_in server = {.sin_family = AF_INET};
static struct mail *mails;
static size_t n_mails;
static bool one_each; /* message per connection */
static double *latency;
static int epoll;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void *room(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (!p)
        die("memory");
    return p;
}

static void make_body(struct mail *m, size_t size)
{
    static const char head[] =
        "From: Load <load@example.org>\r\nTo: <xandros@example.com>\r\n"
        "Subject: a message of a load test\r\nMessage-ID: <load@example.org>\r\n"
        "Date: Fri, 20 Nov 2026 06:00:00 +0000\r\n\r\n";
    char *body = room(NULL, size + sizeof head + 100);
    size_t n = sizeof head - 1;

    memcpy(body, head, n);
    while (n < size) {
        for (size_t i = 0; i < 70; i++)
            body[n + i] = (char)('a' + (i * 7 + n) % 26);
        n += 70;
        memcpy(body + n, "\r\n", 2);
        n += 2;
    }
    memcpy(body + n, ".\r\n", 3);
    m->body = body;
    m->body_n = n + 3;
}

static void read_body(struct mail *m, const char *path)
{
    FILE *f = fopen(path, "rb");
    long size;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        die(path);
    rewind(f);
    m->body = room(NULL, (size_t)size + 3);
    if (fread(m->body, 1, (size_t)size, f) != (size_t)size)
        die(path);
    fclose(f);
    memcpy(m->body + size, ".\r\n", 3);
    m->body_n = (size_t)size + 3;
}

static void read_index(const char *path)
{
    char line[1024], file[300], source[20], from[120], to[120];
    FILE *f = fopen(path, "r");

    if (!f)
        die(path);
    while (fgets(line, sizeof line, f)) {
        struct mail m = {.body = NULL};

        if (sscanf(line, "%299s %19s %127s %119s %119s", file, source, m.helo, from, to) != 5 ||
            inet_pton(AF_INET, source, &m.source) != 1) {
            fprintf(stderr, "%s: not a line of an index: %s", path, line);
            exit(2);
        }
        snprintf(m.envelope, sizeof m.envelope, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from,
                 to);
        read_body(&m, file);
        mails = room(mails, (n_mails + 1) * sizeof *mails);
        mails[n_mails++] = m;
    }
    fclose(f);
    if (n_mails == 0)
        die("no messages");
}

static void flush_out(struct client *c)
{
    while (c->out_n) {
        ssize_t n = write(c->fd, c->out, c->out_n);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
            epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev);
            return;
        }
        if (n < 0)
            die("write");
        c->out += n;
        c->out_n -= (size_t)n;
    }
}

static void send_out(struct client *c, const char *p, size_t n)
{
    c->out = p;
    c->out_n = n;
    flush_out(c);
}

/* The envelope, line by line unless the server takes it in one piece. */
static void next_commands(struct client *c)
{
    const char *p = c->rest, *end = c->pipelining ? NULL : strstr(p, "\r\n");
    size_t n = end ? (size_t)(end - p) + 2 : strlen(p);

    c->rest = p + n;
    if (n)
        send_out(c, p, n);
}

static void next_message(struct client *c)
{
    if (started >= to_send || (one_each && c->rest)) {
        c->step = QUIT;
        send_out(c, "QUIT\r\n", 6);
        return;
    }
    if (one_each)
        memcpy(c->envelope, c->mail->envelope, sizeof c->envelope);
    else if (recipients)
        snprintf(c->envelope, sizeof c->envelope,
                 "MAIL FROM:<load@example.org>\r\nRCPT TO:<user%lu@example.com>\r\nDATA\r\n",
                 started % recipients);
    else
        snprintf(c->envelope, sizeof c->envelope,
                 "MAIL FROM:<load@example.org>\r\nRCPT TO:<xandros@example.com>\r\nDATA\r\n");
    started++;
    c->step = ENVELOPE;
    c->replies = 0;
    if (!one_each)
        c->began = now();
    c->rest = c->envelope;
    next_commands(c);
}

static void on_reply(struct client *c, const char *line)
{
    bool good = line[0] == '2' || line[0] == '3';

    if (c->step == EHLO && strcasecmp(line + 4, "PIPELINING") == 0)
        c->pipelining = true;
    if (line[3] == '-')
        return;
    switch (c->step) {
    case GREETING:
        c->step = EHLO;
        send_out(c, c->ehlo, strlen(c->ehlo));
        break;
    case EHLO:
        next_message(c);
        break;
    case ENVELOPE:
        if (!good) {
            fprintf(stderr, "refused: %s\n", line);
            exit(1);
        }
        if (++c->replies == 3) {
            c->step = BODY;
            send_out(c, c->mail->body, c->mail->body_n);
        } else {
            next_commands(c);
        }
        break;
    case BODY:
        if (good)
            latency[acknowledged++] = now() - c->began;
        else if (refused++ == 0)
            fprintf(stderr, "refused: %s\n", line);
        next_message(c);
        break;
    case QUIT:
    case OVER:
        c->step = OVER;
        break;
    }
}

static void on_input(struct client *c)
{
    ssize_t n = read(c->fd, c->in + c->in_n, sizeof c->in - 1 - c->in_n);
    char *line = c->in, *end;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 && c->step != QUIT && c->step != OVER)
        die("the server hung up");
    if (n <= 0) {
        c->step = OVER;
        return;
    }
    c->in_n += (size_t)n;
    c->in[c->in_n] = '\0';
    while ((end = strstr(line, "\r\n")) != NULL) {
        *end = '\0';
        on_reply(c, line);
        line = end + 2;
    }
    c->in_n -= (size_t)(line - c->in);
    memmove(c->in, line, c->in_n);
}

/* As many connections from each source as there are ports, whether or not others have used them. */
static void bind_source(struct client *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = c->mail->source};
    int on = 1;

    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("bind");
}

static void open_client(struct client *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    memset(c, 0, sizeof *c);
    c->mail = &mails[opened++ % n_mails];
    c->began = now();
    snprintf(c->ehlo, sizeof c->ehlo, "EHLO %s\r\n", c->mail->helo);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (one_each)
        bind_source(c);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll");
}

static void close_client(struct client *c)
{
    close(c->fd);
    c->fd = -1;
    if (one_each && opened < to_send)
        open_client(c);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(double seconds)
{
    qsort(latency, acknowledged, sizeof *latency, by_value);
    printf("{\"acknowledged\":%lu,\"refused\":%lu,\"seconds\":%.3f,\"per_second\":%.1f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           acknowledged, refused, seconds, (double)acknowledged / seconds,
           acknowledged ? latency[acknowledged / 2] * 1e3 : 0,
           acknowledged ? latency[acknowledged * 99 / 100] * 1e3 : 0,
           acknowledged ? latency[acknowledged - 1] * 1e3 : 0);
}

/* Returns the number of connections. */
static unsigned long read_arguments(int argc, char **argv)
{
    static struct mail usual = {.helo = "load.example.org"};
    unsigned long connections;

    one_each = argc == 7 && strcmp(argv[1], "-i") == 0;
    if (one_each) {
        read_index(argv[2]);
        argv += 2;
    }
    if (argc < 5 || inet_pton(AF_INET, one_each ? argv[1] : "127.0.0.1", &server.sin_addr) != 1) {
        fprintf(stderr, "usage: smtp_load PORT CONNECTIONS MESSAGES SIZE [RECIPIENTS]\n"
                        "       smtp_load -i INDEX ADDRESS PORT CONNECTIONS MESSAGES\n");
        exit(2);
    }
    argv += one_each;
    server.sin_port = htons((unsigned short)strtoul(argv[1], NULL, 10));
    connections = strtoul(argv[2], NULL, 10);
    to_send = strtoul(argv[3], NULL, 10);
    if (!one_each) {
        make_body(&usual, strtoul(argv[4], NULL, 10));
        recipients = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
        mails = &usual;
        n_mails = 1;
    }
    return connections;
}

int main(int argc, char **argv)
{
    unsigned long connections = read_arguments(argc, argv), open_n;
    struct client *clients;
    double began;

    clients = calloc(connections, sizeof *clients);
    latency = calloc(to_send + 1, sizeof *latency);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !latency || epoll < 0)
        die("setup");
    began = now();
    for (unsigned long i = 0; i < connections; i++)
        open_client(&clients[i]);
    do {
        struct epoll_event ev[64];
        int n = epoll_wait(epoll, ev, 64, 60000);
        if (n <= 0)
            die("no answer for a minute");
        for (int i = 0; i < n; i++) {
            struct client *c = ev[i].data.ptr;
            if (ev[i].events & EPOLLOUT) {
                struct epoll_event in = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &in);
                flush_out(c);
            }
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_input(c);
            if (c->step == OVER && c->fd >= 0)
                close_client(c);
        }
        open_n = 0;
        for (unsigned long i = 0; i < connections; i++)
            open_n += clients[i].fd >= 0;
    } while (open_n);
    report(now() - began);
    return refused ? 1 : 0;
}
