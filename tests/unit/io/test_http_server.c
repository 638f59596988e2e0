/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The small HTTP server: answers now and later, foul and slow clients, under the seal. */
#include "appliance/io/http_server.h"
#include "end.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LARGE = 300000 };
static struct loop *loop;
static struct listener *ln;
static struct http_server *server;
static struct http_request *held[4];
static int n_held, called;
static struct err err;
static uint64_t fake_ms = 1000;

static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void on_hello(void *ctx, struct http_request *r)
{
    assert_ptr_equal(ctx, &called);
    called++;
    http_reply(r, 200, "text/plain", STR("hello\n"));
}

static void on_large(void *ctx, struct http_request *r)
{
    (void)ctx;
    static char large[LARGE];
    memset(large, 'x', sizeof(large));
    http_reply(r, 200, "text/plain", str_of(large, sizeof(large)));
}

static void on_later(void *ctx, struct http_request *r)
{
    (void)ctx;
    assert_true(n_held < 4);
    held[n_held++] = r;
}

static const struct http_route routes[] = {
    {"/hello", on_hello}, {"/large", on_large}, {"/later", on_later}, {.path = NULL}};

static int setup(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    clock_replace(&fake);
    n_held = called = 0;
    loop = loop_new();
    assert_int_equal(http_server_new(loop, routes, &called, &server, &err), 0);
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    assert_int_equal(http_server_listen(server, ln, "metrics", &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (ln)
        listener_stop(&ln);
    http_server_free(&server);
    loop_free(&loop);
    clock_replace(NULL);
    return 0;
}

static int dial(const struct listener *to)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(to))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void tell(int fd, const char *z)
{
    assert_int_equal(send(fd, z, strlen(z), MSG_NOSIGNAL), strlen(z));
    spin(loop);
}

static const char *hear(int fd)
{
    static char text[8192];
    spin(loop);
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static bool ended(int fd) /* by the server, all it had said being read */
{
    char bytes[4096];
    ssize_t n;
    spin(loop);
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

static void begins(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("not %s: %s", with, text);
}

static void answers(void **state)
{
    (void)state;
    int fd = dial(ln);
    tell(fd, "GET /hello?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *got = hear(fd);
    begins(got, "HTTP/1.1 200 ");
    assert_non_null(strstr(got, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(got, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(got, "\r\n\r\nhello\n"));
    tell(fd, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"); /* on the same connection */
    got = hear(fd);
    begins(got, "HTTP/1.1 200 ");
    assert_non_null(strstr(got, "Content-Length: 6\r\n"));
    assert_null(strstr(got, "hello"));
    tell(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    begins(hear(fd), "HTTP/1.1 404 ");
    tell(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    got = hear(fd);
    begins(got, "HTTP/1.1 200 ");
    assert_non_null(strstr(strstr(got, "hello\n"), "HTTP/1.1 200 "));
    assert_int_equal(called, 4);
    close(fd);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 0);
}

static void only_reads(void **state)
{
    (void)state;
    int fd = dial(ln);
    tell(fd, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc");
    const char *got = hear(fd);
    begins(got, "HTTP/1.1 405 ");
    assert_non_null(strstr(got, "Allow: GET, HEAD\r\n"));
    assert_true(ended(fd));
    close(fd);
    fd = dial(ln); /* a body with GET is read away */
    tell(fd, "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    assert_string_equal(hear(fd), "");
    tell(fd, "cde");
    begins(hear(fd), "HTTP/1.1 200 ");
    assert_int_equal(called, 1);
    close(fd);
}

static void answers_later(void **state)
{
    (void)state;
    int a = dial(ln), b = dial(ln);
    tell(a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(n_held, 1);
    assert_string_equal(hear(a), "");
    tell(b, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"); /* others go on */
    begins(hear(b), "HTTP/1.1 200 ");
    fake_ms += 60000; /* it is the handler's time */
    spin(loop);
    http_reply(held[0], 503, "application/json", STR("{}"));
    const char *got = hear(a);
    begins(got, "HTTP/1.1 503 ");
    assert_non_null(strstr(got, "\r\n\r\n{}"));
    tell(a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    close(a); /* gone before the answer */
    spin(loop);
    http_reply(held[1], 200, "text/plain", STR("late"));
    spin(loop);
    close(b);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 0);
}

static void ends_with_requests_open(void **state)
{
    (void)state;
    int a = dial(ln), b = dial(ln), c = dial(ln);
    tell(a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    tell(b, "GET /later HT");
    tell(c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    listener_stop(&ln);
    http_server_free(&server);
    spin(loop);
    http_reply(held[0], 200, "text/plain", STR("too late"));
    http_reply(held[1], 200, "text/plain", STR("too late"));
    assert_true(ended(a) && ended(b) && ended(c));
    close(a), close(b), close(c);
}

static void bounds_time(void **state)
{
    (void)state;
    int slow = dial(ln), reader = dial(ln);
    int small = 4096;
    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    tell(slow, "GET /he");
    tell(reader, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 19; i++) { /* a byte a second */
        fake_ms += 1000;
        tell(slow, "a");
    }
    assert_int_equal(listener_open_conns(ln), 2);
    for (int i = 0; i < 4; i++) {
        fake_ms += 1000;
        spin(loop);
    }
    assert_true(ended(slow));
    assert_int_equal(listener_open_conns(ln), 0); /* also who doesn't take the answer */
    close(slow);
    close(reader);
}

static void bounds_size(void **state)
{
    (void)state;
    char many[40000];
    int fd = dial(ln);
    memset(many, 'a', sizeof(many));
    tell(fd, "GET /hello HTTP/1.1\r\nX: ");
    for (size_t done = 0; done < sizeof(many);) {
        ssize_t n = send(fd, many + done, sizeof(many) - done, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
        spin(loop);
    }
    begins(hear(fd), "HTTP/1.1 431 ");
    assert_true(ended(fd));
    close(fd);
    fd = dial(ln);
    assert_true(send(fd, "GET /", 5, MSG_NOSIGNAL) == 5);
    (void)!send(fd, many, sizeof(many), MSG_NOSIGNAL);
    spin(loop);
    begins(hear(fd), "HTTP/1.1 41"); /* 413 or 414 */
    assert_true(ended(fd));
    close(fd);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 0);
    assert_int_equal(called, 0);
}

static void survives_garbage(void **state)
{
    (void)state;
    static const char *const foul[] = {
        "\r\n\r\n\r\n",
        "EHLO x\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET /hello HTTP/9.9\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n", /* no Host */
        "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "\xff\xfe\xfd\n\n",
        "GET /hello\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(foul); i++) {
        int fd = dial(ln);
        tell(fd, foul[i]);
        hear(fd);
        close(fd);
        spin(loop);
    }
    assert_int_equal(listener_open_conns(ln), 0);
    answers(state);
}

static void limits_connections(void **state)
{
    (void)state;
    int fd[40];
    for (int i = 0; i < 40; i++)
        fd[i] = dial(ln);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 32);
    for (int i = 0; i < 10; i++)
        close(fd[i]);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 30); /* those that waited are in */
    tell(fd[39], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    begins(hear(fd[39]), "HTTP/1.1 200 ");
    for (int i = 10; i < 40; i++)
        close(fd[i]);
    spin(loop);
    assert_int_equal(listener_open_conns(ln), 0);
}

static void a_large_answer_in_pieces(void **state)
{
    (void)state;
    char bytes[10000];
    size_t all = 0;
    int fd = dial(ln);
    tell(fd, "GET /large HTTP/1.0\r\n\r\n");
    for (ssize_t n; (n = recv(fd, bytes, sizeof(bytes), 0)) != 0; loop_turn(loop, false))
        all += n > 0 ? (size_t)n : 0;
    assert_true(all > LARGE && all < LARGE + 1000);
    close(fd);
}

/* ---- figures of listeners */
static void note(void *ctx, const struct listener_stats *st)
{
    *(struct listener_stats *)ctx = *st;
}

static void is_counted(void **state)
{
    (void)state;
    struct listener_stats st = {0};
    int fd = dial(ln);
    spin(loop);
    listeners_each(loop, note, &st);
    assert_string_equal(st.name, "metrics");
    assert_string_equal(st.host, "127.0.0.1");
    assert_int_equal(st.port, listener_port(ln));
    assert_int_equal(st.open, 1);
    assert_int_equal(st.accepted, 1);
    close(fd);
    spin(loop);
    listeners_each(loop, note, &st);
    assert_int_equal(st.open, 0);
    assert_int_equal(st.accepted, 1);
}

/* ---- under the seal of `dev` */
static void seal(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = ARRAY_LEN(rules), .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
        _exit(77); /* a kernel without it */
}

static void on_last(void *ctx, struct http_request *r)
{
    http_reply(r, 200, "text/plain", STR("sealed"));
    loop_stop(ctx);
}

static int sealed_server(struct listener *sealed)
{
    static const struct http_route only[] = {{"/", on_last}, {.path = NULL}};
    clock_replace(NULL);
    seal();
    struct loop *l = loop_new();
    struct http_server *s;
    if (http_server_new(l, only, l, &s, &err) != 0 ||
        http_server_listen(s, sealed, NULL, &err) != 0)
        return 3;
    loop_run(l);
    listener_stop(&sealed);
    http_server_free(&s);
    loop_free(&l);
    return 0;
}

static void works_sealed(void **state)
{
    (void)state;
    struct listener *sealed;
    char text[1000] = "";
    int status;
    assert_int_equal(listener_open("127.0.0.1", 0, &sealed, &err), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(sealed_server(sealed));
    int fd = dial(sealed);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
    size_t n = 0;
    for (ssize_t r; n < sizeof(text) - 1 && (r = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0;)
        n += (size_t)r;
    listener_stop(&sealed);
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_non_null(strstr(text, "sealed"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers),
        T(only_reads),
        T(answers_later),
        T(ends_with_requests_open),
        T(bounds_time),
        T(bounds_size),
        T(survives_garbage),
        T(limits_connections),
        T(a_large_answer_in_pieces),
        T(is_counted),
        cmocka_unit_test(works_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
