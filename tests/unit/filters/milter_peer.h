/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_peer.h - a milter that does as the test says, on a thread of its own. */
#ifndef PH_TESTS_FILTERS_MILTER_PEER_H
#define PH_TESTS_FILTERS_MILTER_PEER_H
#include "filters/milter_codec.h"
#include "tests/unit/filters/world.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { PEER_CONNS = 16, PEER_LOG = 1 << 17 };
struct peer_rule {
    char code;         /* command */
    struct str answer; /* packets to send to it; NULL: silence */
    bool close;        /* after that */
};
struct peer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t heard;
    int listener, stop[2];
    char path[96];
    char log[PEER_LOG];    /* "C|name|... H|helo M|<a@b>|": the letter, then data, NUL as | */
    char macros[PEER_LOG]; /* the same of macros */
    size_t body;           /* octets of it seen */
    unsigned connections;
    struct peer_rule rules[16];
    uint32_t actions, steps, version;
    const char *wants; /* list of macros for MAIL */
};

static inline void peer_note(char *log, struct str text)
{
    size_t n = strlen(log);
    for (size_t i = 0; i < text.n && n + 2 < PEER_LOG; i++)
        log[n++] = text.p[i] ? text.p[i] : '|';
    log[n] = '\0';
}

static inline void peer_hear(struct peer *p, struct str packet)
{
    char *log = packet.p[0] == 'D' ? p->macros : p->log;
    pthread_mutex_lock(&p->lock);
    if (packet.p[0] == 'B')
        p->body += packet.n - 1;
    peer_note(log, packet.p[0] == 'B' || packet.p[0] == 'O' ? str_take(packet, 1) : packet);
    peer_note(log, STR(" "));
    pthread_cond_signal(&p->heard);
    pthread_mutex_unlock(&p->lock);
}

static inline bool peer_send(int fd, struct str s)
{
    return send(fd, s.p, s.n, MSG_NOSIGNAL) == (ssize_t)s.n;
}

static inline bool peer_negotiate(const struct peer *p, int fd)
{
    const uint32_t words[3] = {p->version, p->actions, p->steps};
    struct buf data, out;
    buf_init(&data, 1000);
    buf_init(&out, 1000);
    for (int w = 0; w < 3; w++)
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_add_char(&data, (char)(words[w] >> shift));
    if (p->wants) {
        buf_add(&data, "\0\0\0\2", 4);
        buf_add(&data, p->wants, strlen(p->wants) + 1);
    }
    milter_put(&out, MILTER_NEGOTIATE, buf_str(&data));
    bool sent = peer_send(fd, buf_str(&out));
    buf_fini(&data);
    buf_fini(&out);
    return sent;
}

/* False: the connection ends. */
static inline bool peer_answer(const struct peer *p, int fd, char code)
{
    static const uint32_t mute[128] = {
        ['C'] = MILTER_NR_CONNECT, ['H'] = MILTER_NR_HELO,       ['M'] = MILTER_NR_MAIL,
        ['R'] = MILTER_NR_RCPT,    ['T'] = MILTER_NR_DATA,       ['L'] = MILTER_NR_HEADER,
        ['B'] = MILTER_NR_BODY,    ['N'] = MILTER_NR_HEADERS_END};
    for (size_t i = 0; i < ARRAY_LEN(p->rules) && p->rules[i].code; i++)
        if (p->rules[i].code == code)
            return (!p->rules[i].answer.p || peer_send(fd, p->rules[i].answer)) &&
                   !p->rules[i].close;
    if (code == 'O')
        return peer_negotiate(p, fd);
    if (code == 'D' || code == 'A' || (p->steps & mute[(unsigned char)code]))
        return true;
    return code != 'Q' && peer_send(fd, STR("\0\0\0\1c"));
}

static inline bool peer_serve(struct peer *p, int fd)
{
    unsigned char length[4];
    if (recv(fd, length, 4, MSG_WAITALL) != 4)
        return false;
    size_t n = (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    char *packet = mem_alloc(n + 1);
    bool alive = n > 0 && recv(fd, packet, n, MSG_WAITALL) == (ssize_t)n;
    if (alive) {
        peer_hear(p, str_of(packet, n));
        alive = peer_answer(p, fd, packet[0]);
    }
    mem_free(packet);
    return alive;
}

static inline void *peer_run(void *arg)
{
    struct peer *p = arg;
    struct pollfd fds[PEER_CONNS + 2] = {{.fd = p->stop[0], .events = POLLIN},
                                         {.fd = p->listener, .events = POLLIN}};
    nfds_t n = 2;
    while (poll(fds, n, -1) >= 0 && !fds[0].revents) {
        for (nfds_t i = 2; i < n; i++)
            if (fds[i].revents && !peer_serve(p, fds[i].fd)) {
                close(fds[i].fd);
                fds[i--] = fds[--n];
            }
        if (fds[1].revents && n < PEER_CONNS) {
            fds[n++] = (struct pollfd){.fd = accept(p->listener, NULL, NULL), .events = POLLIN};
            pthread_mutex_lock(&p->lock);
            p->connections++;
            pthread_mutex_unlock(&p->lock);
        }
    }
    while (n > 2)
        close(fds[--n].fd);
    return NULL;
}

static inline void peer_init(struct peer *p, const char *dir, const char *name)
{
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->heard, NULL);
    snprintf(p->path, sizeof p->path, "%s/%s", dir, name);
    p->version = MILTER_VERSION;
    p->actions = MILTER_ACTIONS;
}

static inline void peer_start(struct peer *p)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", p->path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 16), 0);
    assert_int_equal(pipe(p->stop), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static inline void peer_stop(struct peer *p)
{
    if (!p->thread)
        return;
    assert_int_equal(write(p->stop[1], "x", 1), 1);
    pthread_join(p->thread, NULL);
    p->thread = 0;
    close(p->listener);
    close(p->stop[0]);
    close(p->stop[1]);
    unlink(p->path);
}

static inline void peer_rule(struct peer *p, char code, struct str answer)
{
    size_t i = 0;
    while (p->rules[i].code && p->rules[i].code != code)
        i++;
    assert_true(i < ARRAY_LEN(p->rules));
    p->rules[i] = (struct peer_rule){code, answer, false};
}

static inline void peer_rule_close(struct peer *p, char code, struct str answer)
{
    peer_rule(p, code, answer);
    for (size_t i = 0; i < ARRAY_LEN(p->rules); i++)
        p->rules[i].close |= p->rules[i].code == code;
}

static inline unsigned peer_connections(struct peer *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = p->connections;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static inline size_t peer_body(struct peer *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->body;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* Waits until it has heard that. */
static inline void peer_has_heard(struct peer *p, const char *what)
{
    pthread_mutex_lock(&p->lock);
    while (!strstr(p->log, what))
        pthread_cond_wait(&p->heard, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* All that it has heard, in order: commands that are answered are heard before their answers. */
static inline void peer_assert_heard(struct peer *p, const char *all)
{
    char *heard = mem_alloc(PEER_LOG);
    pthread_mutex_lock(&p->lock);
    memcpy(heard, p->log, PEER_LOG);
    p->log[0] = '\0';
    pthread_mutex_unlock(&p->lock);
    assert_string_equal(heard, all);
    mem_free(heard);
}

static inline void peer_assert_macros(struct peer *p, const char *some)
{
    char *macros = mem_alloc(PEER_LOG);
    pthread_mutex_lock(&p->lock);
    memcpy(macros, p->macros, PEER_LOG);
    pthread_mutex_unlock(&p->lock);
    if (!strstr(macros, some))
        fail_msg("no \"%s\" in \"%s\"", some, macros);
    mem_free(macros);
}
#endif
