/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "end.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct loop *loop;
static struct err err;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    err_clear(&err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    loop_free(&loop);
    return 0;
}

/* ---- the other host ---- */

/* A socket bound to a port of loopback; backlog < 0: nobody listens, so connecting is refused. */
static int host_open(const char *ip, int backlog, uint16_t *port)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    struct sockaddr_in a4 = {.sin_family = AF_INET};
    bool v6 = strchr(ip, ':') != NULL;
    struct sockaddr *a = v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
    socklen_t n = v6 ? sizeof(a6) : sizeof(a4);
    assert_int_equal(inet_pton(a->sa_family, ip, v6 ? (void *)&a6.sin6_addr : &a4.sin_addr), 1);
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, a, n) != 0) {
        assert_true(v6); /* a machine may be without it */
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, a, &n), 0);
    *port = ntohs(v6 ? a6.sin6_port : a4.sin_port);
    return fd;
}

static int try_connect(struct end *e, const struct conn_target *t)
{
    memset(e, 0, sizeof(*e));
    buf_init(&e->got, 1 << 20);
    e->loop = loop;
    e->fd = -1;
    int rc = conn_connect(loop, t, &e->conn, &err);
    if (rc == 0)
        conn_set_handler(e->conn, end_on_event, e);
    else
        assert_null(e->conn);
    return rc;
}

static void until_seen(struct end *e)
{
    while (!e->seen[0])
        loop_turn(loop, true);
    spin(loop);
}

static void assert_connects(const char *ip, const char *from, const char *peer_ip)
{
    struct end e;
    uint16_t port;
    char text[16];
    int host = host_open(strchr(ip, ':') && !strchr(ip, '.') ? ip : "127.0.0.1", 4, &port);
    if (host < 0)
        skip();
    struct conn_target t = {.ip = ip, .from = from, .port = port, .timeout_ms = 600000};
    assert_int_equal(try_connect(&e, &t), 0);
    assert_seen(&e, ""); /* never from within a call */
    conn_write_str(e.conn, STR("early"));
    until_seen(&e);
    assert_seen(&e, "O");
    struct sockaddr_in a;
    socklen_t n = sizeof(a);
    e.fd = accept(host, (struct sockaddr *)&a, &n);
    assert_true(e.fd >= 0);
    if (from && from[0])
        assert_string_equal(inet_ntoa(a.sin_addr), from);
    const struct conn_peer *peer = conn_peer(e.conn);
    assert_string_equal(peer->ip, peer_ip);
    assert_int_equal(peer->port, port);
    assert_int_equal(peer->v6, strchr(peer_ip, ':') != NULL);
    assert_false(peer->local);
    assert_false(peer->proxied);
    assert_int_equal(peer->uid, -1);
    assert_int_equal(recv(e.fd, text, 5, MSG_WAITALL), 5);
    assert_memory_equal(text, "early", 5);
    end_send(&e, "220 hello\r\n", 11);
    until_seen(&e);
    assert_seen(&e, "I");
    assert_got(&e, "220 hello\r\n");
    end_free(&e);
    close(host);
}

static void connects(void **state)
{
    (void)state;
    assert_connects("127.0.0.1", NULL, "127.0.0.1");
    assert_connects("127.0.0.1", "", "127.0.0.1");
}

static void connects_over_ipv6(void **state)
{
    (void)state;
    assert_connects("::1", NULL, "::1");
}

static void a_mapped_address_is_ipv4(void **state)
{
    (void)state;
    assert_connects("::ffff:127.0.0.1", NULL, "127.0.0.1");
}

static void connects_from_an_address(void **state)
{
    (void)state;
    assert_connects("127.0.0.1", "127.0.0.2", "127.0.0.1");
}

static void refused(void **state)
{
    (void)state;
    struct end e;
    uint16_t port;
    int host = host_open("127.0.0.1", -1, &port);
    struct conn_target t = {.ip = "127.0.0.1", .port = port, .timeout_ms = 600000};
    assert_int_equal(try_connect(&e, &t), 0);
    assert_seen(&e, "");
    until_seen(&e);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    assert_string_equal(conn_error(e.conn)->text, "connection refused");
    end_free(&e);
    close(host);
}

/* A connection to a group is refused by the kernel at once, in every network. */
static void fails_at_once_but_tells_later(void **state)
{
    (void)state;
    struct end e;
    struct conn_target t = {.ip = "224.0.0.1", .port = 25, .timeout_ms = 600000};
    assert_int_equal(try_connect(&e, &t), 0);
    assert_seen(&e, "");
    until_seen(&e);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    assert_string_equal(conn_error(e.conn)->text, "network unreachable");
    end_free(&e);
}

static void what_cannot_begin(void **state)
{
    (void)state;
    struct end e;
    static const struct {
        const char *ip, *from, *why;
        enum err_kind kind;
    } cases[] = {
        {"mx.example.com", NULL, "\"mx.example.com\" is no IP address", ERR_PERM},
        {"", NULL, "is no IP address", ERR_PERM},
        {"127.0.0.1", "here", "\"here\" is no IP address to connect from", ERR_PERM},
        {"127.0.0.1", "::1", "the other address is IPv4", ERR_PERM},
        {"127.0.0.1", "192.0.2.55", "it is no address of this machine", ERR_TEMP},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conn_target t = {.ip = cases[i].ip, .from = cases[i].from, .port = 25};
        assert_int_equal(try_connect(&e, &t), -1);
        assert_int_equal(err.kind, cases[i].kind);
        assert_non_null(strstr(err.text, cases[i].why));
        end_free(&e);
    }
}

/* ---- a host that doesn't answer: its queue of new connections is full ---- */

enum { CALLERS = 16 };

struct deaf {
    int fd, callers[CALLERS];
    uint16_t port;
};

static void deaf_open(struct deaf *d)
{
    d->fd = host_open("127.0.0.1", 0, &d->port);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(d->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < CALLERS; i++) {
        d->callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int rc = connect(d->callers[i], (struct sockaddr *)&a, sizeof(a));
        assert_true(rc == 0 || errno == EINPROGRESS);
    }
}

static void deaf_close(struct deaf *d)
{
    for (size_t i = 0; i < CALLERS; i++)
        close(d->callers[i]);
    close(d->fd);
}

static uint64_t fake_ms;
static uint64_t fake_mono(void)
{
    return fake_ms;
}
static const struct clock_source fake = {.mono_ms = fake_mono};

static void times_out(void **state)
{
    (void)state;
    struct deaf d;
    struct end e;
    fake_ms = 1000;
    clock_replace(&fake);
    loop_turn(loop, false);
    deaf_open(&d);
    struct conn_target t = {.ip = "127.0.0.1", .port = d.port, .timeout_ms = 30000};
    assert_int_equal(try_connect(&e, &t), 0);
    conn_set_timeout(e.conn, 1000); /* counts from when it stands */
    conn_pause(e.conn);
    conn_resume(e.conn);
    conn_write_str(e.conn, STR("lost"));
    spin(loop);
    fake_ms += 29999;
    spin(loop);
    assert_seen(&e, "");
    fake_ms += 1;
    spin(loop);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    assert_string_equal(conn_error(e.conn)->text, "timed out after 30 s");
    end_free(&e);
    deaf_close(&d);
}

static void closed_while_it_connects(void **state)
{
    (void)state;
    struct deaf d;
    struct end e;
    deaf_open(&d);
    struct conn_target t = {.ip = "127.0.0.1", .port = d.port, .timeout_ms = 600000};
    assert_int_equal(try_connect(&e, &t), 0);
    spin(loop);
    conn_close(&e.conn);
    end_free(&e);
    assert_int_equal(try_connect(&e, &t), 0);
    conn_write_str(e.conn, STR("QUIT\r\n"));
    conn_close_flushed(&e.conn, 100000); /* nothing to linger for */
    spin(loop);
    assert_null(e.conn);
    assert_seen(&e, "");
    end_free(&e);
    assert_int_equal(try_connect(&e, &t), 0); /* and before the loop turns */
    end_free(&e);
    deaf_close(&d);
}

/* The limit ends with connecting, and the idle limit begins. */
static void the_limit_is_gone_when_it_stands(void **state)
{
    (void)state;
    struct end e;
    uint16_t port;
    fake_ms = 1000;
    clock_replace(&fake);
    loop_turn(loop, false);
    int host = host_open("127.0.0.1", 4, &port);
    struct conn_target t = {.ip = "127.0.0.1", .port = port, .timeout_ms = 5000};
    assert_int_equal(try_connect(&e, &t), 0);
    conn_set_timeout(e.conn, 60000);
    while (!e.seen[0])
        loop_turn(loop, false);
    assert_seen(&e, "O");
    fake_ms += 59999;
    spin(loop);
    assert_seen(&e, "");
    fake_ms += 1;
    spin(loop);
    assert_seen(&e, "t");
    end_free(&e);
    close(host);
}

static void the_socket_is_set_up(void **state)
{
    (void)state;
    struct end e;
    uint16_t port;
    int host = host_open("127.0.0.1", 4, &port), next = dup(host);
    close(next); /* the descriptor that comes next */
    struct conn_target t = {.ip = "127.0.0.1", .port = port, .timeout_ms = 600000};
    assert_int_equal(try_connect(&e, &t), 0);
    int type = 0, on = 0;
    socklen_t n = sizeof(type);
    assert_int_equal(getsockopt(next, SOL_SOCKET, SO_TYPE, &type, &n), 0);
    assert_int_equal(type, SOCK_STREAM);
    assert_int_equal(getsockopt(next, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
    assert_true(on);
    assert_true(fcntl(next, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(next, F_GETFL) & O_NONBLOCK);
    end_free(&e);
    close(host);
}

/* ---- behind the seal: a system call that isn't allowed ---- */

static bool forbid(int call)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = ARRAY_LEN(rules), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

/* In a process of its own: its exit status. */
static int sealed(int call)
{
    struct end e;
    struct conn_target t = {.ip = "127.0.0.1", .port = 25, .timeout_ms = 600000};
    if (!forbid(call))
        return 77;
    int rc = try_connect(&e, &t);
    if (call == SYS_socket)
        return rc == -1 && err.kind == ERR_TEMP && err.why == ERR_WHY_DENIED ? 0 : 1;
    if (rc != 0)
        return 2;
    while (!e.seen[0])
        loop_turn(loop, true);
    const struct err *why = conn_error(e.conn);
    bool good = strcmp(e.seen, "C") == 0 && why->why == ERR_WHY_DENIED &&
                strcmp(why->text, "not allowed to connect") == 0;
    end_free(&e);
    return good ? 0 : 3;
}

static void the_seal_is_no_crash(void **state)
{
    (void)state;
    static const int calls[] = {SYS_socket, SYS_connect};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(sealed(calls[i]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
            skip();
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(connects),
        T(connects_over_ipv6),
        T(a_mapped_address_is_ipv4),
        T(connects_from_an_address),
        T(refused),
        T(fails_at_once_but_tells_later),
        T(what_cannot_begin),
        T(times_out),
        T(closed_while_it_connects),
        T(the_limit_is_gone_when_it_stands),
        T(the_socket_is_set_up),
        T(the_seal_is_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
