/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Programs run by the runner: what they get, how their end is told, and that nothing of them
 * outlives who asked, the runner that ran it, or the server; and that a runner that has died is
 * followed by another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include "appliance/io/runner.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct runner r;

static bool no_false(void *ctx, const struct runner_program *p)
{
    (void)ctx;
    return !p->path || strcmp(p->path, "/bin/false") != 0;
}

static int set_up(void **state)
{
    static const struct runner_conf conf = {.allowed = no_false};
    struct err err = {0};

    (void)state;
    return runner_start(&r, &conf, &err);
}

static int tear_down(void **state)
{
    (void)state;
    runner_stop(&r);
    return 0;
}

/* sh -c SCRIPT; its standard output comes out of *out. */
static int sh(const char *script, int *out)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    const char *const env[] = {"WORD=of the environment", NULL};
    struct err err = {0};
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const int fds[] = {ends[1], ends[1]};
    int report = runner_run(
        &r,
        &(struct runner_program){
            .path = "/bin/sh", .argv = argv, .env = env, .fds = fds, .n_fds = out ? 2 : 0},
        &err);
    assert_true(report >= 0);
    close(ends[1]);
    if (out)
        *out = ends[0];
    else
        close(ends[0]);
    return report;
}

static void read_all(int fd, char *to, size_t room)
{
    size_t n = 0;
    ssize_t got;

    while (n + 1 < room && (got = read(fd, to + n, room - 1 - n)) > 0)
        n += (size_t)got;
    to[n] = '\0';
    close(fd);
}

static void what_a_program_gets(void **state)
{
    char text[200];
    int out,
        report = sh("echo \"$0 $WORD $HOME\"; echo unseen >&2; ls /proc/self/fd; exit 7", &out);

    (void)state;
    struct runner_report a = runner_next(report, -1);
    assert_int_equal(a.what, RUNNER_STARTED);
    assert_true(a.pid > 0);
    read_all(out, text, sizeof text);
    assert_string_equal(text, "sh of the environment \n0\n1\n2\n3\n");
    struct runner_report b = runner_next(report, -1);
    assert_int_equal(b.what, RUNNER_ENDED);
    assert_int_equal(b.pid, a.pid);
    assert_true(WIFEXITED(b.value) && WEXITSTATUS(b.value) == 7);
    assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
    close(report);
}

static void what_does_not_begin(void **state)
{
    static const struct {
        const char *path;
        int why;
    } cases[] = {{"/nonexistent/program", ENOENT},
                 {"/etc/passwd", EACCES},
                 {"relative", EINVAL},
                 {"/bin/false", EPERM}};
    const char *const argv[] = {"x", NULL};
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int report =
            runner_run(&r, &(struct runner_program){.path = cases[i].path, .argv = argv}, &err);
        assert_true(report >= 0);
        struct runner_report a = runner_next(report, -1);
        assert_int_equal(a.what, RUNNER_FAILED);
        assert_int_equal(a.value, cases[i].why);
        close(report);
    }
    char *long_word = mem_alloc(RUNNER_REQUEST + 1);
    memset(long_word, 'x', RUNNER_REQUEST);
    const char *const too_long[] = {"x", long_word, NULL};
    assert_int_equal(
        runner_run(&r, &(struct runner_program){.path = "/bin/true", .argv = too_long}, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    mem_free(long_word);
}

static void killed_with_its_children(void **state)
{
    char text[20];
    int out, report = sh("sleep 1000 & sleep 1000 & wait", &out);

    (void)state;
    assert_int_equal(runner_next(report, -1).what, RUNNER_STARTED);
    assert_int_equal(runner_next(report, 0).what, RUNNER_NOTHING);
    close(report);
    read_all(out, text, sizeof text); /* its end: nobody has the other one */
    report = sh("sleep 1000 & exit 0", &out);
    assert_int_equal(runner_next(report, -1).what, RUNNER_STARTED);
    read_all(out, text, sizeof text);
    assert_int_equal(runner_next(report, -1).what, RUNNER_ENDED);
    close(report);
}

static void killed_by_others(void **state)
{
    int out, report = sh("kill -KILL $$", &out);
    struct runner_report a = runner_next(report, -1);

    (void)state;
    assert_int_equal(a.what, RUNNER_STARTED);
    a = runner_next(report, -1);
    assert_int_equal(a.what, RUNNER_ENDED);
    assert_true(WIFSIGNALED(a.value) && WTERMSIG(a.value) == SIGKILL);
    close(report);
    close(out);
}

static void many_at_once(void **state)
{
    enum { N = RUNNER_PROGRAMS + 1 };
    const char *const argv[] = {"sleep", "1000", NULL};
    int reports[N], failed = 0;
    struct err err = {0};

    (void)state;
    for (int i = 0; i < N; i++) {
        reports[i] =
            runner_run(&r, &(struct runner_program){.path = "/bin/sleep", .argv = argv}, &err);
        assert_true(reports[i] >= 0);
        struct runner_report a = runner_next(reports[i], -1);
        failed += a.what == RUNNER_FAILED && a.value == EAGAIN;
    }
    assert_int_equal(failed, 1);
    for (int i = 0; i < N; i++)
        close(reports[i]);
}

/* The runner's process, by a program that is still running: *report is its. */
static pid_t runner_of(const char *then, int *report, int *out)
{
    char script[200], line[20] = "";
    size_t n = 0;

    snprintf(script, sizeof script, "echo $PPID; %s", then);
    *report = sh(script, out);
    assert_int_equal(runner_next(*report, -1).what, RUNNER_STARTED);
    while (!strchr(line, '\n') && n + 1 < sizeof line && read(*out, line + n, 1) == 1)
        n++;
    pid_t pid = (pid_t)strtol(line, NULL, 10);
    assert_true(pid > 1 && pid != r.pid);
    return pid;
}

static void ends_with_code(int report, int code)
{
    assert_int_equal(runner_next(report, -1).what, RUNNER_STARTED);
    struct runner_report a = runner_next(report, -1);
    assert_int_equal(a.what, RUNNER_ENDED);
    assert_true(WIFEXITED(a.value) && WEXITSTATUS(a.value) == code);
    close(report);
}

/* What ran ends with it, whatever it has started, and is told at once; the next runs. */
static void the_runner_dies(void **state)
{
    pid_t before = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char text[20];
        int out, report;
        pid_t pid = runner_of("sleep 1000 & wait", &report, &out);
        assert_int_not_equal(pid, before);
        before = pid;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
        close(report);
        read_all(out, text, sizeof text); /* its end: nobody has the other one */
        ends_with_code(sh("exit 3", NULL), 3);
    }
}

/* Requests that a runner hasn't taken are for the next one, unless nobody waits for them. */
static void requests_wait(void **state)
{
    char folder[] = "/tmp/posthouse-runner-XXXXXX", unwanted[100], file[60];
    int out, report, last;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/begun", folder);
    snprintf(unwanted, sizeof unwanted, "touch %s", file);
    pid_t pid = runner_of("sleep 1000", &report, &out);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    close(sh(unwanted, NULL));
    last = sh("exit 4", NULL);
    assert_int_equal(runner_next(last, 0).what, RUNNER_NOTHING);
    assert_int_equal(kill(pid, SIGKILL), 0);
    ends_with_code(last, 4);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
    close(report);
    close(out);
    assert_int_equal(rmdir(folder), 0);
}

/* A server that ends doesn't wait for a runner that hangs. */
static void the_runner_hangs(void **state)
{
    char text[20];
    int out, report;

    (void)state;
    assert_int_equal(kill(runner_of("sleep 1000 & wait", &report, &out), SIGSTOP), 0);
    runner_stop(&r);
    assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
    read_all(out, text, sizeof text);
    close(report);
}

/* What it ran ends, and what it hasn't taken is for the next one. */
static void another_follows_one_that_hangs(void **state)
{
    char text[20];
    int out, report, next;

    (void)state;
    assert_int_equal(kill(runner_of("sleep 1000 & wait", &report, &out), SIGSTOP), 0);
    next = sh("exit 5", NULL);
    assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
    close(report);
    read_all(out, text, sizeof text);
    ends_with_code(next, 5);
}

static void the_supervisor_dies(void **state)
{
    char text[20];
    struct err err = {0};
    const char *const argv[] = {"true", NULL};
    int out, report = sh("sleep 1000 & wait", &out);

    (void)state;
    assert_int_equal(runner_next(report, -1).what, RUNNER_STARTED);
    kill(r.pid, SIGKILL);
    assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
    read_all(out, text, sizeof text);
    close(report);
    /* The kernel closes its descriptors one by one: a request may still be taken, and is lost. */
    while ((report = runner_run(&r, &(struct runner_program){.path = "/bin/true", .argv = argv},
                                &err)) >= 0) {
        assert_int_equal(runner_next(report, -1).what, RUNNER_GONE);
        close(report);
    }
    assert_non_null(strstr(err.text, "restart"));
}

/* A server of its own, killed: the program goes with it. */
static void the_server_dies(void **state)
{
    char text[20];
    int ends[2], status;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t server = fork();
    if (server == 0) {
        const struct runner_conf conf = {0};
        const char *const argv[] = {"sh", "-c", "sleep 1000 & wait", NULL};
        const int fds[] = {ends[1], ends[1]};
        struct runner own;
        struct err err;
        if (runner_start(&own, &conf, &err))
            _exit(1);
        int report = runner_run(
            &own, &(struct runner_program){.path = "/bin/sh", .argv = argv, .fds = fds, .n_fds = 2},
            &err);
        if (report < 0 || runner_next(report, -1).what != RUNNER_STARTED)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    close(ends[1]);
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_true(WIFSIGNALED(status));
    read_all(ends[0], text, sizeof text);
}

/* Its limits, and another user. */
static void confined(void **state)
{
    const char *const argv[] = {"sh", "-c", "ulimit -v; ulimit -t; id -u; id -G", NULL};
    const bool root = geteuid() == 0;
    const struct {
        const char *said;
        bool switch_user;
    } cases[] = {{"262144\n7\n", false}, {"262144\n7\n65534\n65533\n", true}};
    struct err err = {0};
    char text[200];
    int ends[2];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        const int fds[] = {STDIN_FILENO, ends[1]};
        const struct runner_program p = {.path = "/bin/sh",
                                         .argv = argv,
                                         .fds = fds,
                                         .n_fds = 2,
                                         .switch_user = cases[i].switch_user,
                                         .uid = 65534,
                                         .gid = 65533,
                                         .limits = {.memory = 256 << 20, .cpu_s = 7}};
        int report = runner_run(&r, &p, &err);
        close(ends[1]);
        read_all(ends[0], text, sizeof text);
        struct runner_report first = runner_next(report, -1);
        close(report);
        if (!root && cases[i].switch_user) {
            assert_int_equal(first.what, RUNNER_FAILED);
            assert_int_equal(first.value, EPERM);
        } else {
            assert_int_equal(first.what, RUNNER_STARTED);
            assert_memory_equal(text, cases[i].said, strlen(cases[i].said));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_program_gets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_begin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_with_its_children, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_by_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_runner_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_runner_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_follows_one_that_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_supervisor_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(confined, set_up, tear_down),
        cmocka_unit_test(the_server_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
