/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dns_stub.h - a name server of a few rules on 127.0.0.1, in a thread of its own: UDP and TCP on
 * the same port. What it says is what the test wrote, byte for byte. */
#ifndef PH_TESTS_IO_DNS_STUB_H
#define PH_TESTS_IO_DNS_STUB_H
#include "end.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

enum stub_kind {
    STUB_ANSWER,
    STUB_NXDOMAIN,
    STUB_SERVFAIL,
    STUB_SILENT,
    STUB_HELD, /* answers from when the test releases it */
    STUB_TCP   /* truncated by UDP */
};
enum { STUB_RULES = 256, STUB_RECORDS = 12, STUB_MESSAGE = 65536, STUB_HELD_MAX = 8 };
struct stub_record {
    unsigned type;
    const char *owner; /* wire form; NULL: the name that was asked for */
    struct str rdata;
};
struct stub_rule {
    const char *name; /* lower case, with the final dot */
    unsigned type;    /* 0: any */
    enum stub_kind kind;
    struct stub_record records[STUB_RECORDS];
};
struct stub_held {
    unsigned char query[512];
    size_t n;
    struct sockaddr_in from;
};
struct stub {
    const struct stub_rule *rules; /* ended by name NULL; what fits none is NXDOMAIN */
    int udp, tcp, control[2];
    unsigned port;
    pthread_t thread;
    _Atomic unsigned asked[STUB_RULES]; /* of each rule */
    _Atomic unsigned strangers;         /* questions that no rule is for */
    struct stub_held held[STUB_HELD_MAX];
    size_t n_held;
    _Atomic bool released, mute;
};

/* Nothing that these tests send may leave the machine, whatever the resolver does: a network of our
 * own where the kernel lets us; else the forwarders are on loopback all the same. */
static inline void stub_stay_inside(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &lo), 0);
    lo.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

static inline void stub_put16(struct buf *out, unsigned v)
{
    buf_add_char(out, (char)(v >> 8));
    buf_add_char(out, (char)v);
}

static inline void stub_put_record(struct buf *out, const char *owner, unsigned type,
                                   struct str rdata)
{
    if (owner)
        buf_add(out, owner, strlen(owner) + 1);
    else
        buf_add(out, "\xc0\x0c", 2); /* the question's name */
    stub_put16(out, type);
    stub_put16(out, 1);
    stub_put16(out, 0);
    stub_put16(out, 300);
    stub_put16(out, (unsigned)rdata.n);
    buf_add_str(out, rdata);
}

/* The question of a message: its name as text, its type; returns where it ends, 0: not one. */
static inline size_t stub_question(const unsigned char *m, size_t n, char text[512],
                                   unsigned *type_out)
{
    size_t at = 12, used = 0;

    while (at < n && m[at] && used + m[at] + 2 < 512 && at + m[at] + 5 < n) {
        for (unsigned i = 1; i <= m[at]; i++)
            text[used++] = ascii_lower((char)m[at + i]);
        text[used++] = '.';
        at += m[at] + 1u;
    }
    if (at + 5 > n || m[at])
        return 0;
    if (!used)
        text[used++] = '.';
    text[used] = '\0';
    *type_out = (unsigned)m[at + 1] << 8 | m[at + 2];
    return at + 5;
}

static inline const struct stub_rule *stub_find(struct stub *s, const char *name, unsigned type)
{
    for (const struct stub_rule *r = s->rules; r->name; r++)
        if (strcmp(r->name, name) == 0 && (r->type == type || !r->type)) {
            atomic_fetch_add(&s->asked[r - s->rules], 1);
            return r;
        }
    return NULL;
}

static inline void stub_write(const unsigned char *m, size_t question_end,
                              const struct stub_rule *r, bool truncated, struct buf *out)
{
    static const char soa[] = "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\36";
    unsigned n = 0, rcode = !r || r->kind == STUB_NXDOMAIN ? 3 : r->kind == STUB_SERVFAIL ? 2 : 0;

    while (r && rcode == 0 && !truncated && n < STUB_RECORDS && r->records[n].type)
        n++;
    buf_add(out, m, 2);
    stub_put16(out, 0x8580 | (truncated ? 0x200 : 0) | rcode);
    stub_put16(out, 1);
    stub_put16(out, n);
    stub_put16(out, n || rcode == 2 || truncated ? 0 : 1);
    stub_put16(out, 0);
    buf_add(out, m + 12, question_end - 12);
    for (unsigned i = 0; i < n; i++)
        stub_put_record(out, r->records[i].owner, r->records[i].type, r->records[i].rdata);
    if (!n && rcode != 2 && !truncated)
        stub_put_record(out, "", 6, str_of(soa, sizeof(soa) - 1));
}

/* False: no answer now. */
static inline bool stub_answer(struct stub *s, const unsigned char *m, size_t n, bool udp,
                               struct buf *out)
{
    char name[512];
    unsigned type;
    size_t end = n >= 12 ? stub_question(m, n, name, &type) : 0;
    if (!end)
        return false;
    const struct stub_rule *r = stub_find(s, name, type);
    if (!r)
        atomic_fetch_add(&s->strangers, 1);
    if (atomic_load(&s->mute) || (r && r->kind == STUB_SILENT))
        return false;
    if (r && r->kind == STUB_HELD && !atomic_load(&s->released))
        return false;
    stub_write(m, end, r, r && r->kind == STUB_TCP && udp, out);
    return true;
}

static inline void stub_on_udp(struct stub *s, struct buf *out)
{
    struct stub_held q;
    socklen_t len = sizeof(q.from);
    ssize_t n = recvfrom(s->udp, q.query, sizeof(q.query), 0, (struct sockaddr *)&q.from, &len);
    if (n <= 0)
        return;
    q.n = (size_t)n;
    if (stub_answer(s, q.query, q.n, true, out))
        sendto(s->udp, out->p, out->n, 0, (struct sockaddr *)&q.from, len);
    else if (s->n_held < STUB_HELD_MAX)
        s->held[s->n_held++] = q;
}

static inline void stub_on_tcp(struct stub *s, struct buf *out)
{
    unsigned char m[2 + 512], head[2];
    int fd = accept(s->tcp, NULL, NULL);
    if (fd < 0)
        return;
    if (recv(fd, m, 2, MSG_WAITALL) == 2 && m[0] < 2) {
        size_t n = (size_t)m[0] << 8 | m[1];
        if (recv(fd, m, n, MSG_WAITALL) == (ssize_t)n && stub_answer(s, m, n, false, out)) {
            head[0] = (unsigned char)(out->n >> 8);
            head[1] = (unsigned char)out->n;
            send(fd, head, 2, MSG_NOSIGNAL | MSG_MORE);
            send(fd, out->p, out->n, MSG_NOSIGNAL);
        }
    }
    close(fd);
}

static inline void stub_release_all(struct stub *s, struct buf *out)
{
    atomic_store(&s->released, true); /* the resolver may have asked again */
    for (size_t i = 0; i < s->n_held; i++) {
        struct stub_held *q = &s->held[i];
        buf_clear(out);
        if (stub_answer(s, q->query, q->n, true, out))
            sendto(s->udp, out->p, out->n, 0, (struct sockaddr *)&q->from, sizeof(q->from));
    }
    s->n_held = 0;
}

static inline void *stub_run(void *ctx)
{
    struct stub *s = ctx;
    struct buf out;
    char what;

    buf_init(&out, STUB_MESSAGE);
    for (;;) {
        struct pollfd p[3] = {{s->udp, POLLIN, 0}, {s->tcp, POLLIN, 0}, {s->control[0], POLLIN, 0}};
        if (poll(p, 3, -1) < 0)
            continue;
        buf_clear(&out);
        if (p[2].revents) {
            if (read(s->control[0], &what, 1) != 1 || what == 'q')
                break;
            stub_release_all(s, &out);
        } else if (p[0].revents) {
            stub_on_udp(s, &out);
        } else if (p[1].revents) {
            stub_on_tcp(s, &out);
        }
    }
    buf_fini(&out);
    return NULL;
}

static inline void stub_start(struct stub *s, const struct stub_rule *rules)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);

    memset(s, 0, sizeof(*s));
    s->rules = rules;
    for (int tries = 0;; tries++) { /* a port that is free for both */
        assert_true(tries < 100);
        a = (struct sockaddr_in){.sin_family = AF_INET};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(s->udp, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(getsockname(s->udp, (struct sockaddr *)&a, &len), 0);
        if (bind(s->tcp, (struct sockaddr *)&a, sizeof(a)) == 0)
            break;
        close(s->udp);
        close(s->tcp);
    }
    assert_int_equal(listen(s->tcp, 16), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pipe2(s->control, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, stub_run, s), 0);
}

static inline void stub_tell(struct stub *s, char what)
{
    assert_int_equal(write(s->control[1], &what, 1), 1);
}

static inline void stub_stop(struct stub *s)
{
    stub_tell(s, 'q');
    pthread_join(s->thread, NULL);
    close(s->udp);
    close(s->tcp);
    close(s->control[0]);
    close(s->control[1]);
}

static inline unsigned stub_asked(struct stub *s, const char *name)
{
    unsigned n = 0;
    for (const struct stub_rule *r = s->rules; r->name; r++)
        if (strcmp(r->name, name) == 0)
            n += atomic_load(&s->asked[r - s->rules]);
    return n;
}
#endif
