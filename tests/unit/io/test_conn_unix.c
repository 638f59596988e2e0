/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Connecting to sockets of this machine. */
#include "end.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct loop *loop;
static char dir[64], path[96];
static struct err err;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    err_clear(&err);
    snprintf(dir, sizeof dir, "/tmp/ph-unix-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    unlink(path);
    rmdir(dir);
    return 0;
}

static int host_open(int backlog)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void open_end(struct end *e)
{
    memset(e, 0, sizeof(*e));
    buf_init(&e->got, 1 << 20);
    e->loop = loop;
    e->fd = -1;
    assert_int_equal(conn_connect_unix(loop, path, &e->conn, &err), 0);
    conn_set_handler(e->conn, end_on_event, e);
    assert_string_equal(e->seen, ""); /* never from within */
}

static void until_seen(struct end *e)
{
    while (!e->seen[0])
        loop_turn(loop, false);
}

static void assert_fails(const char *why)
{
    struct end e;
    open_end(&e);
    until_seen(&e);
    assert_string_equal(e.seen, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    assert_string_equal(conn_error(e.conn)->text, why);
    end_free(&e);
}

static void bytes_go_both_ways(void **state)
{
    struct end e;
    char got[8] = "";
    (void)state;
    int host = host_open(5);
    open_end(&e);
    conn_write_str(e.conn, STR("hello")); /* before CONN_OPEN */
    until_seen(&e);
    assert_string_equal(e.seen, "O");
    assert_true(conn_peer(e.conn)->local);
    assert_int_equal(conn_peer(e.conn)->pid, getpid());
    int fd = accept(host, NULL, NULL);
    assert_true(fd >= 0);
    while (conn_queued(e.conn))
        loop_turn(loop, false);
    assert_int_equal(recv(fd, got, 5, MSG_WAITALL), 5);
    assert_string_equal(got, "hello");
    assert_int_equal(send(fd, "there", 5, 0), 5);
    while (e.got.n < 5)
        loop_turn(loop, true);
    assert_memory_equal(e.got.p, "there", 5);
    close(fd);
    while (!strchr(e.seen, 'E') && !strchr(e.seen, 'C'))
        loop_turn(loop, true);
    end_free(&e);
    close(host);
}

static void nobody_there(void **state)
{
    (void)state;
    assert_fails("there is no such socket");
    close(host_open(-1)); /* the name is left over */
    assert_fails("connection refused");
}

static void not_for_us(void **state)
{
    (void)state;
    int host = host_open(5);
    if (geteuid() == 0)
        skip();
    assert_int_equal(chmod(path, 0), 0);
    assert_fails("not allowed to connect");
    close(host);
}

static void too_many_wait(void **state)
{
    struct end ends[2];
    (void)state;
    int host = host_open(0);
    open_end(&ends[0]);
    until_seen(&ends[0]);
    assert_fails("too many others wait to be connected");
    end_free(&ends[0]);
    close(host);
}

static void bad_paths(void **state)
{
    struct conn *c;
    char name[200];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(conn_connect_unix(loop, name, &c, &err), -1);
    assert_null(c);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(conn_connect_unix(loop, "", &c, &err), -1);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(not_for_us, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_paths, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
