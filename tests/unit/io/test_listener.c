/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/log.h"
#include "appliance/io/listener.h"
#include "end.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { MOST = 2048 };
static struct loop *loop;
static struct err err;
static struct conn *conns[MOST];
static int accepted, closed_events;
static size_t taken;
static bool mute;

static int setup(void **state)
{
    (void)state;
    accepted = closed_events = 0;
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    loop_free(&loop);
    return 0;
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    (void)ctx;
    if (ev == CONN_OPEN)
        conn_write_str(c, STR("220\r\n"));
    if (ev == CONN_INPUT) {
        struct str in = conn_input(c);
        if (!mute)
            conn_write_str(c, in);
        taken += in.n;
        conn_consume(c, in.n);
    }
    closed_events += ev == CONN_CLOSED;
}

static void on_accept(void *ctx, struct conn *c)
{
    (void)ctx;
    assert_true(accepted < MOST);
    conns[accepted++] = c;
    conn_set_handler(c, on_event, NULL);
}

static void close_all(void)
{
    for (int i = 0; i < accepted; i++)
        conn_close(&conns[i]);
    spin(loop);
}

static struct listener *start(const char *host, unsigned max_conns)
{
    struct listener *ln;
    assert_int_equal(listener_open(host, 0, &ln, &err), 0);
    assert_true(listener_port(ln) > 0);
    assert_string_equal(listener_host(ln), host);
    struct listener_conf conf = {.on_accept = on_accept, .max_conns = max_conns};
    assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    return ln;
}

static int dial(const struct listener *ln)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(ln))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void hang_up_hard(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd); /* RST */
}

static const char *hear(int fd, char *out, size_t cap)
{
    spin(loop);
    ssize_t n = recv(fd, out, cap - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    return out;
}

static void accepts_and_echoes(void **state)
{
    (void)state;
    char text[32];
    struct listener *ln = start("127.0.0.1", 0);
    int fd = dial(ln);
    assert_string_equal(hear(fd, text, sizeof(text)), "220\r\n");
    assert_int_equal(accepted, 1);
    assert_string_equal(conn_peer(conns[0])->ip, "127.0.0.1");
    assert_false(conn_peer(conns[0])->v6);
    assert_false(conn_peer(conns[0])->local);
    assert_int_equal(conn_peer(conns[0])->uid, -1);
    struct sockaddr_in me;
    socklen_t len = sizeof(me);
    getsockname(fd, (struct sockaddr *)&me, &len);
    assert_int_equal(conn_peer(conns[0])->port, ntohs(me.sin_port));
    assert_int_equal(send(fd, "hi", 2, 0), 2);
    assert_string_equal(hear(fd, text, sizeof(text)), "hi");
    listener_stop(&ln); /* connections live on */
    assert_null(ln);
    assert_int_equal(send(fd, "ho", 2, 0), 2);
    assert_string_equal(hear(fd, text, sizeof(text)), "ho");
    close_all();
    close(fd);
}

static void ipv6(void **state)
{
    (void)state;
    struct listener *ln;
    if (listener_open("::1", 0, &ln, &err) != 0)
        skip(); /* a machine without IPv6 */
    struct listener_conf conf = {.on_accept = on_accept};
    assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(listener_port(ln))};
    a.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    spin(loop);
    assert_string_equal(conn_peer(conns[0])->ip, "::1");
    assert_true(conn_peer(conns[0])->v6);
    close_all();
    listener_stop(&ln);
    close(fd);
}

static void taken_and_wrong_addresses(void **state)
{
    (void)state;
    struct listener *ln, *second;
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    assert_int_equal(listener_open("127.0.0.1", listener_port(ln), &second, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(err.why, ERR_WHY_BUSY);
    uint16_t port = listener_port(ln);
    listener_stop(&ln); /* never started */
    assert_int_equal(listener_open("127.0.0.1", port, &ln, &err), 0);
    listener_stop(&ln);
    assert_int_equal(listener_open("localhost", 0, &ln, &err), -1);
    assert_int_equal(listener_open("192.0.2.1", 0, &ln, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
}

static void limit_of_connections(void **state)
{
    (void)state;
    struct listener *ln = start("127.0.0.1", 3);
    int fd[5];
    char text[16];
    for (int i = 0; i < 5; i++)
        fd[i] = dial(ln);
    spin(loop);
    assert_int_equal(accepted, 3);
    assert_int_equal(listener_open_conns(ln), 3);
    conn_close(&conns[1]);
    spin(loop);
    assert_int_equal(accepted, 4);
    assert_string_equal(hear(fd[3], text, sizeof(text)), "220\r\n");
    assert_string_equal(hear(fd[4], text, sizeof(text)), "");
    hang_up_hard(fd[0]); /* a broken one makes room before its owner has closed it */
    spin(loop);
    assert_int_equal(closed_events, 1);
    assert_int_equal(accepted, 5);
    close_all();
    assert_int_equal(listener_open_conns(ln), 0);
    listener_stop(&ln);
    for (int i = 1; i < 5; i++)
        close(fd[i]);
}

static bool every_second(void *ctx, const char *ip, struct listener_farewell *bye)
{
    (void)ctx;
    assert_string_equal(ip, "127.0.0.1");
    static unsigned asked;
    bye->n = (size_t)snprintf(bye->text, sizeof bye->text, "421\r\n");
    return asked++ % 2 == 0;
}

static void see_refused(void *ctx, const struct listener_stats *st)
{
    *(struct listener_stats *)ctx = *st;
}

static void turned_away(void **state)
{
    (void)state;
    struct listener *ln;
    struct listener_stats stats = {.name = NULL};
    int fd[20];
    char text[16];
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    struct listener_conf conf = {.name = "test", .on_accept = on_accept, .admit = every_second};
    assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    for (int i = 0; i < 20; i++)
        fd[i] = dial(ln);
    spin(loop);
    assert_int_equal(accepted, 10);
    assert_int_equal(listener_open_conns(ln), 10);
    for (int i = 0; i < 20; i++) {
        assert_string_equal(hear(fd[i], text, sizeof(text)), i % 2 ? "421\r\n" : "220\r\n");
        if (i % 2)
            assert_int_equal(recv(fd[i], text, sizeof(text), 0), 0); /* and closed */
        close(fd[i]);
    }
    listeners_each(loop, see_refused, &stats);
    assert_int_equal(stats.accepted, 10);
    assert_int_equal(stats.refused, 10);
    close_all();
    listener_stop(&ln);
}

static void resets(void **state)
{
    (void)state;
    struct listener *ln = start("127.0.0.1", 0);
    int fd = dial(ln);
    spin(loop);
    conn_pause(conns[0]);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    spin(loop);
    hang_up_hard(fd);
    spin(loop);
    conn_resume(conns[0]);
    spin(loop);
    assert_int_equal(closed_events, 1);
    assert_int_equal(conn_error(conns[0])->kind, ERR_TEMP);
    assert_true(conn_error(conns[0])->text[0] != '\0');
    fd = dial(ln); /* data and reset at once: data first */
    spin(loop);
    taken = 0;
    mute = true;
    assert_int_equal(send(fd, "last", 4, 0), 4);
    hang_up_hard(fd);
    spin(loop);
    mute = false;
    assert_int_equal(taken, 4);
    assert_int_equal(closed_events, 2);
    fd = dial(ln); /* reset before it was accepted */
    hang_up_hard(fd);
    spin(loop);
    close_all();
    listener_stop(&ln);
}

static void many_come_and_go(void **state)
{
    (void)state;
    struct listener *ln = start("127.0.0.1", 0);
    for (int round = 0; round < 20; round++) {
        int fd[100];
        accepted = 0;
        for (int i = 0; i < 100; i++)
            fd[i] = dial(ln);
        spin(loop);
        assert_int_equal(accepted, 100);
        for (int i = 0; i < 100; i++) {
            if (i % 3 == 0)
                hang_up_hard(fd[i]);
            else if (i % 3 == 1)
                close(fd[i]);
        }
        spin(loop);
        close_all();
        assert_int_equal(listener_open_conns(ln), 0);
        for (int i = 2; i < 100; i += 3)
            close(fd[i]);
    }
    listener_stop(&ln);
}

static uint64_t fake_ms = 1;
static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void out_of_descriptors(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    clock_replace(&fake);
    int log = memfd_create("log", MFD_CLOEXEC);
    log_set_fd(log);
    struct listener *ln = start("127.0.0.1", 0);
    int fd = dial(ln), last = dup(fd);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)last + 1; /* what is open stays, nothing new */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    spin(loop);
    assert_int_equal(accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    spin(loop);
    assert_int_equal(accepted, 0); /* still resting */
    char text[1024];
    ssize_t n = pread(log, text, sizeof(text), 0);
    struct str first, rest;
    assert_true(n > 0 && str_cut(str_of(text, (size_t)n), '\n', &first, &rest));
    size_t where;
    assert_true(str_find(first, STR("accept_pauses"), &where));
    assert_int_equal(rest.n, 0); /* tried once, not in every turn */
    close(log);
    fake_ms += 100;
    spin(loop);
    assert_int_equal(accepted, 1);
    close_all();
    listener_stop(&ln);
    close(fd);
    close(last);
    log_set_fd(2);
}

/* Connections never take the last descriptors: files are opened with those. */
static void some_descriptors_are_kept(void **state)
{
    enum { CLIENTS = 100, ROOM = 20, KEPT = 60, LIMIT = 1024 };
    static const struct clock_source fake = {.mono_ms = fake_mono};
    struct rlimit old, few;
    int fd[CLIENTS], kept[KEPT];

    (void)state;
    clock_replace(&fake);
    log_set_fd(-1);
    struct listener *ln = start("127.0.0.1", 0);
    for (int i = 0; i < CLIENTS; i++)
        fd[i] = dial(ln);
    int next = dup(fd[0]);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = LIMIT;
    int filled = next;
    while (filled < LIMIT - 64 - ROOM)
        filled = dup(fd[0]) + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 0; i < 20; i++) {
        fake_ms += 100;
        spin(loop);
    }
    int while_scarce = accepted, n_kept = 0;
    while (n_kept < KEPT && (kept[n_kept] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n_kept++;
    for (int i = 0; i < n_kept; i++)
        close(kept[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    fake_ms += 100;
    for (int i = 0; i < 10; i++)
        spin(loop);
    for (int i = next; i < filled; i++)
        close(i);
    close_all();
    for (int i = 0; i < CLIENTS; i++)
        close(fd[i]);
    listener_stop(&ln);
    log_set_fd(2);
    assert_in_range(while_scarce, ROOM - 1, ROOM + 2);
    assert_int_equal(n_kept, KEPT);
    assert_int_equal(accepted, CLIENTS); /* the others waited */
}

static void on_accept_closes(void *ctx, struct conn *c)
{
    accepted++;
    if (accepted == 2)
        listener_stop(ctx); /* also from within */
    conn_close(&c);
}

static void closed_in_on_accept(void **state)
{
    (void)state;
    struct listener *ln;
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    struct listener_conf conf = {.on_accept = on_accept_closes, .ctx = &ln};
    assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    int fd[3];
    for (int i = 0; i < 3; i++)
        fd[i] = dial(ln);
    spin(loop);
    assert_int_equal(accepted, 2);
    assert_null(ln);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

/* The reply must reach a client that still sends: no reset by closing over unread bytes. */
static void flushed_close_over_unread_input(void **state)
{
    (void)state;
    char text[32], more[1000] = {0};
    struct listener *ln = start("127.0.0.1", 0);
    int fd = dial(ln);
    hear(fd, text, sizeof(text));
    conn_pause(conns[0]);
    assert_int_equal(send(fd, more, sizeof(more), 0), sizeof(more));
    spin(loop);
    conn_write_str(conns[0], STR("554 enough\r\n"));
    conn_close_flushed(&conns[0], 10000);
    spin(loop);
    assert_int_equal(send(fd, more, sizeof(more), MSG_NOSIGNAL), sizeof(more));
    spin(loop);
    assert_string_equal(hear(fd, text, sizeof(text)), "554 enough\r\n");
    assert_int_equal(recv(fd, text, 1, 0), 0);
    assert_int_equal(listener_open_conns(ln), 1);
    close(fd);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 0);
    listener_stop(&ln);
}

static void unix_socket(void **state)
{
    (void)state;
    char folder[] = "/tmp/ph-listen-XXXXXX", deep[400], text[16];
    assert_non_null(mkdtemp(folder));
    snprintf(deep, sizeof(deep), "%s/%0120d", folder, 1); /* longer than sun_path */
    assert_int_equal(mkdir(deep, 0700), 0);
    int dirfd = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct listener *ln, *second;
    assert_int_equal(listener_open_unix(dirfd, "control", &ln, &err), 0);
    assert_int_equal(listener_port(ln), 0);
    struct stat st;
    assert_int_equal(fstatat(dirfd, "control", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(listener_open_unix(dirfd, "control", &second, &err), -1);
    assert_int_equal(err.why, ERR_WHY_BUSY);
    assert_int_equal(listener_open_unix(dirfd, "a/b", &second, &err), -1);
    struct listener_conf conf = {.on_accept = on_accept};
    assert_int_equal(listener_start(ln, loop, &conf, &err), 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/control", dirfd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_string_equal(hear(fd, text, sizeof(text)), "220\r\n");
    const struct conn_peer *peer = conn_peer(conns[accepted - 1]);
    assert_true(peer->local);
    assert_string_equal(peer->ip, "");
    assert_int_equal(peer->uid, getuid());
    assert_int_equal(peer->pid, getpid());
    close_all();
    close(fd);
    listener_stop(&ln);
    assert_int_equal(faccessat(dirfd, "control", F_OK, 0), -1);
    /* A stale socket is replaced, anything else isn't. */
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&a, sizeof(a)), 0);
    close(stale);
    assert_int_equal(listener_open_unix(dirfd, "control", &ln, &err), 0);
    listener_stop(&ln);
    close(openat(dirfd, "control", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(listener_open_unix(dirfd, "control", &ln, &err), -1);
    assert_int_equal(err.why, ERR_WHY_EXISTS);
    unlinkat(dirfd, "control", 0);
    close(dirfd);
    rmdir(deep);
    rmdir(folder);
}

/* ---- under the seal of `dev` ---- */

/* socket() other than AF_UNIX, connect() and io_uring_setup() are refused, as appliance/app does
 * it. */
static void seal(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = ARRAY_LEN(rules), .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
        _exit(77); /* a kernel without it */
}

static void on_sealed_event(void *ctx, struct conn *c, enum conn_event ev)
{
    on_event(ctx, c, ev);
    if (ev != CONN_EOF)
        return;
    conn_close_flushed(&c, 1000);
    loop_stop(ctx);
}

static void on_sealed_accept(void *ctx, struct conn *c)
{
    conn_set_handler(c, on_sealed_event, ctx);
}

static int sealed_server(struct listener *ln)
{
    seal();
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EACCES)
        return 2;
    struct loop *l = loop_new();
    struct listener_conf conf = {.on_accept = on_sealed_accept, .ctx = l};
    if (listener_start(ln, l, &conf, &err) != 0)
        return 3;
    loop_run(l);
    listener_stop(&ln);
    loop_free(&l);
    return 0;
}

static void works_sealed(void **state)
{
    (void)state;
    struct listener *ln;
    char text[16] = "";
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(sealed_server(ln));
    int fd = dial(ln), status;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    shutdown(fd, SHUT_WR);
    size_t n = 0;
    for (ssize_t r; n < sizeof(text) - 1 && (r = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0;)
        n += (size_t)r;
    listener_stop(&ln);
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(text, "220\r\nping");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(accepts_and_echoes),
        T(ipv6),
        T(taken_and_wrong_addresses),
        T(limit_of_connections),
        T(turned_away),
        T(resets),
        T(many_come_and_go),
        T(out_of_descriptors),
        T(some_descriptors_are_kept),
        T(closed_in_on_accept),
        T(flushed_close_over_unread_input),
        T(unix_socket),
        T(works_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
