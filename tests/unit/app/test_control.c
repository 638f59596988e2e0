/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/control.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static _Atomic uint64_t now_ms = 1000000;
static struct loop *loop;
static struct lane *misc;
static struct control *control;
static struct listener *listener;
static char dir[] = "/tmp/ph-control-test-XXXXXX";
static int dirfd_;
static sem_t gate, reached;

static uint64_t fake_mono(void)
{
    return now_ms;
}

static int64_t fake_wall(void)
{
    return 1700000000000;
}

static int setup(void **state)
{
    static const struct clock_source source = {fake_mono, fake_wall};
    struct err err = {0};

    (void)state;
    log_set_fd(-1);
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    clock_replace(&source);
    sem_init(&gate, 0, 0);
    sem_init(&reached, 0, 0);
    loop = loop_new();
    misc = lane_new(loop, &(struct lane_conf){.name = "misc", .threads = 1, .depth = 10}, &err);
    assert_non_null(misc);
    control = control_new(loop, misc, dir, NULL, NULL);
    assert_int_equal(listener_open_unix(dirfd_, CONTROL_SOCKET, &listener, &err), 0);
    assert_int_equal(control_start(control, listener, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    listener_stop(&listener);
    control_free(&control);
    lane_free(&misc);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, false);
    loop_free(&loop);
    clock_replace(NULL);
    static const char *const files[] = {"directory.db", "directory.db-wal", "directory.db-shm"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlinkat(dirfd_, files[i], 0);
    close(dirfd_);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static int client(const char *request)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(un.sun_path, sizeof un.sun_path, "%s/" CONTROL_SOCKET, dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return fd;
}

static void turn(int times)
{
    for (int i = 0; i < times; i++)
        loop_turn(loop, false);
}

static void wait_at_gate(struct job *j, void *worker)
{
    (void)j;
    (void)worker;
    sem_post(&reached);
    sem_wait(&gate);
}

/* `mailbox check` of a large store, say: whoever waits for it isn't given up. */
static void a_command_may_take_long(void **state)
{
    static struct job before;
    struct lane_stats stats = {0};
    char reply[200] = "";
    ssize_t n = -1;

    (void)state;
    before = (struct job){.run = wait_at_gate};
    assert_int_equal(lane_submit(misc, &before), 0);
    sem_wait(&reached);
    int fd = client("{\"argv\":[\"nonsense\"]}\n");
    while (stats.waiting == 0) {
        turn(1);
        lane_stats(misc, &stats);
    }
    for (int i = 0; i < 30; i++) {
        now_ms += 60000;
        turn(3);
    }
    sem_post(&gate);
    while (n < 0) {
        loop_turn(loop, false);
        n = recv(fd, reply, sizeof reply - 1, 0);
    }
    assert_non_null(strstr(reply, "\"exit\":"));
    close(fd);
    turn(10);
}

/* JSON is UTF-8, the text of an error is cut where its room ends. */
static void errors_name_what_was_cut(void **state)
{
    json_t *answer = NULL;
    char name[300] = "a";

    (void)state;
    for (size_t n = 1; n < 2 * 140; n += 2)
        memcpy(name + n, "\xc3\xbc", 3);
    json_t *request = json_pack("{s[sss]}", "argv", "user", "show", name);
    answer = control_answer(dir, NULL, NULL, NULL, NULL, request);
    assert_int_equal(json_integer_value(json_object_get(answer, "exit")), 1);
    assert_non_null(strstr(json_string_value(json_object_get(answer, "error")), "?"));
    json_decref(answer);
    json_decref(request);
}

static void who_asks_nothing_is_given_up(void **state)
{
    char reply[10];
    ssize_t n = -1;

    (void)state;
    int fd = client("{\"argv\":");
    turn(5);
    for (int i = 0; i < 100 && n < 0; i++) {
        now_ms += 1000;
        turn(3);
        n = recv(fd, reply, sizeof reply, 0);
    }
    assert_int_equal(n, 0);
    close(fd);
    turn(10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_may_take_long, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_what_was_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(who_asks_nothing_is_given_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
