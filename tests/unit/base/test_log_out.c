/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The log when nobody reads it: whoever logs never waits, what is missing is counted. */
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 30000, PATIENCE_S = 60 };

static const struct log_ctx ctx = {.module = "test"};
static int ends[2]; /* read, write */

static int set_up(void **state)
{
    (void)state;
    alarm(PATIENCE_S); /* what hangs, fails */
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    log_set_fd(ends[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alarm(0);
    log_set_fd(2);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void log_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        log_info(&ctx, "line", L_UINT("i", i),
                 L_Z("text", "and some more, as lines are not short"));
}

/* Takes all that comes up to the line `last`. Each number is there once and in order, or among
 * those that are told as lost, at their place. How many were. */
static uint64_t read_all(FILE *from)
{
    static char line[8192];
    uint64_t next = 0, lost = 0;
    while (fgets(line, sizeof line, from)) {
        const char *i = strstr(line, " i="), *n = strstr(line, "module=log event=lines_lost n=");
        if (n) {
            uint64_t more = strtoull(n + strlen("module=log event=lines_lost n="), NULL, 10);
            assert_true(more > 0);
            lost += more;
            next += more;
        } else if (i) {
            assert_int_equal(strtoull(i + 3, NULL, 10), next);
            next++;
        }
        if (strstr(line, " event=last"))
            break;
    }
    assert_int_equal(next, MANY);
    return lost;
}

/* Reads until nothing is left, whatever it is. */
static void drain(void)
{
    char rest[65536];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (!log_flush(10))
        while (read(ends[0], rest, sizeof rest) > 0)
            ;
}

static void nobody_waits_for_a_reader(void **state)
{
    (void)state;
    log_start_thread();
    log_many();
    assert_false(log_flush(0));
    assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK); /* others have it, too */
    drain();
    assert_true(log_stop_thread(0));
}

static void what_is_lost_is_told_at_its_place(void **state)
{
    (void)state;
    log_start_thread();
    log_many();
    if (fork() == 0) { /* makes room, and looks */
        alarm(PATIENCE_S);
        FILE *from = fdopen(ends[0], "r");
        uint64_t lost = read_all(from);
        _exit(lost > 1000 && lost < MANY - 5000 ? 0 : 1);
    }
    while (!log_flush(1000))
        ;
    log_info(&ctx, "last");
    int status;
    wait(&status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(log_stop_thread(PATIENCE_S * 1000));
}

static void lines_are_there_at_once(void **state)
{
    (void)state;
    char text[512], path[] = "/tmp/ph-log-XXXXXX";
    int pair[2], file = mkstemp(path);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const int to[] = {ends[1], pair[1], file}, from[] = {ends[0], pair[0], open(path, O_RDONLY)};
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        fcntl(from[i], F_SETFL, O_NONBLOCK);
        log_set_fd(to[i]);
        log_start_thread();
        for (int k = 0; k < 100; k++) {
            log_info(&ctx, "line", L_INT("k", k));
            ssize_t n = read(from[i], text, sizeof text - 1);
            assert_true(n > 0);
            text[n] = '\0';
            assert_non_null(strstr(text, " level=info module=test event=line k="));
        }
        assert_true(log_stop_thread(0));
    }
    unlink(path);
    close(file);
    close(from[2]);
    close(pair[0]);
    close(pair[1]);
}

static void a_socket_that_nobody_reads(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    log_set_fd(pair[1]);
    log_start_thread();
    log_many();
    assert_false(log_flush(0));
    assert_false(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
    if (fork() == 0) {
        alarm(PATIENCE_S);
        uint64_t lost = read_all(fdopen(pair[0], "r"));
        _exit(lost > 0 ? 0 : 1);
    }
    while (!log_flush(1000))
        ;
    log_info(&ctx, "last");
    int status;
    wait(&status);
    assert_int_equal(status, 0);
    assert_true(log_stop_thread(PATIENCE_S * 1000));
    close(pair[0]);
    close(pair[1]);
}

/* A pipe that another user made: the thread writes all of it, soon. */
static void a_pipe_that_cannot_be_opened(void **state)
{
    (void)state;
    char text[512];
    uid_t me = geteuid();
    assert_int_equal(fchmod(ends[1], 0), 0);
    if (me == 0)
        assert_int_equal(seteuid(65534), 0);
    log_prepare();
    if (me == 0)
        assert_int_equal(seteuid(me), 0);
    log_start_thread();
    for (int k = 0; k < 100; k++) {
        log_info(&ctx, "line", L_INT("k", k));
        ssize_t n = read(ends[0], text, sizeof text - 1); /* waits for it */
        assert_true(n > 0);
    }
    assert_true(log_stop_thread(PATIENCE_S * 1000));
    log_start_thread();
    log_many();
    assert_false(log_stop_thread(0));
    drain(); /* then it ends */
}

static void the_end_waits_for_nobody(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        alarm(PATIENCE_S);
        log_start_thread();
        log_many();
        exit(7);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void a_failed_check_waits_for_nobody(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        alarm(PATIENCE_S);
        dup2(ends[1], 2);
        log_start_thread();
        log_many();
        mem_check_failed("nothing", "here", 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* As long as somebody reads, the last lines before the end are all there. */
static void nothing_is_missing_before_an_abort(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        log_start_thread();
        log_many();
        while (!log_flush(1000))
            ;
        log_info(&ctx, "last");
        mem_check_failed("nothing", "here", 1);
    }
    FILE *from = fdopen(dup(ends[0]), "r");
    char line[512];
    read_all(from);
    assert_non_null(fgets(line, sizeof line, from));
    assert_string_equal(line, "posthouse: CHECK(nothing) failed at here:1\n");
    fclose(from);
    waitpid(pid, NULL, 0);
}

static void children_write_for_themselves(void **state)
{
    (void)state;
    char text[512];
    int status;
    log_start_thread();
    pid_t pid = fork();
    if (pid == 0) {
        log_info(&ctx, "child");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, " level=info module=test event=child\n"));
    assert_true(log_stop_thread(0));
}

int main(void)
{
#define WITH_PIPE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PIPE(nobody_waits_for_a_reader),
        WITH_PIPE(what_is_lost_is_told_at_its_place),
        WITH_PIPE(lines_are_there_at_once),
        WITH_PIPE(a_socket_that_nobody_reads),
        WITH_PIPE(the_end_waits_for_nobody),
        WITH_PIPE(a_failed_check_waits_for_nobody),
        WITH_PIPE(nothing_is_missing_before_an_abort),
        WITH_PIPE(children_write_for_themselves),
        WITH_PIPE(a_pipe_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
