/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* runner_supervisor.c - the process that the server forks: it has a runner (runner_main.c) at work,
 * and another when that one has died. It reads no request: what nobody has taken waits in the
 * socket for the next runner; what the dead one had taken has ended with its reports. What that one
 * ran is killed before the next begins. One that lives but gives no sign of it is killed. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/runner_private.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAUSE_MS = 100, /* before another runner, then twice as long each time */
    PAUSE_MAX_MS = 10000,
    LIVED_MS = 60000, /* so long: its death was a chance one */
    LOOK_MS = 2000,   /* it is looked after so often, by a clock that stops when all else does */
    LOOKS = 6         /* without an answer: it hangs. RUNNER_START_MS is longer */
};

struct supervisor {
    struct runner_work work;
    int signals;
    pid_t runner;                         /* 0: there is none */
    uint64_t began_ms, next_ms, pause_ms; /* next: another runner, or a look after this one */
    unsigned silent;                      /* looks in a row */
    bool again;                           /* one has died */
};

static const struct log_ctx log_runner = {.module = "runner"};

bool runner_server_gone(void)
{
    struct pollfd p = {.fd = RUNNER_SOCKET, .events = 0};

    return poll(&p, 1, 0) > 0;
}

/* ---- Its end */

/* Before what is left of the programs is fetched: until then no other group has their numbers. */
static void kill_programs(struct supervisor *s)
{
    for (size_t i = 0; i < RUNNER_PROGRAMS; i++) {
        pid_t group = atomic_exchange(&s->work.shared->groups[i], 0);
        if (group > 1)
            (void)kill(-group, SIGKILL);
    }
}

static int kill_runner(struct supervisor *s)
{
    int status = 0;

    if (s->runner <= 0)
        return 0;
    (void)kill(s->runner, SIGKILL);
    while (waitpid(s->runner, &status, 0) < 0 && errno == EINTR)
        ;
    s->runner = 0;
    kill_programs(s);
    return status;
}

/* ---- Its life */

static void pause_for(struct supervisor *s, const char *why)
{
    const uint64_t now = clock_mono_ms();

    if (s->pause_ms == 0 || now - s->began_ms >= LIVED_MS)
        s->pause_ms = PAUSE_MS;
    log_warn(&log_runner, "runner_died", L_Z("why", why), L_UINT("again_in_ms", s->pause_ms));
    s->next_ms = now + s->pause_ms;
    s->pause_ms = s->pause_ms * 2 < PAUSE_MAX_MS ? s->pause_ms * 2 : PAUSE_MAX_MS;
    s->again = true;
}

static void begin(struct supervisor *s)
{
    char why[80];

    s->began_ms = clock_mono_ms();
    s->work.supervisor = getpid();
    s->next_ms = s->began_ms + LOOK_MS;
    s->silent = 0;
    atomic_store(&s->work.shared->asked, 0);
    atomic_store(&s->work.shared->answered, 0);
    /* Without the handlers of pthread_atfork(): libuv's closes what it takes for its own here. */
    s->runner = _Fork();
    if (s->runner == 0)
        runner_work(&s->work);
    if (s->runner < 0) {
        snprintf(why, sizeof why, "cannot be started: %s", strerror(errno));
        s->runner = 0;
        pause_for(s, why);
    } else if (s->again) {
        log_info(&log_runner, "runner_back", L_INT("pid", s->runner));
    }
}

static void lost(struct supervisor *s)
{
    int status = kill_runner(s);
    char why[80];

    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof why, "ended with code %d", WEXITSTATUS(status));
    if (!runner_server_gone())
        pause_for(s, why);
}

/* Both are awake once a while for this; what it takes is a signal that it knows. Late looks count
 * as one: a machine that stood still says nothing about the runner. */
static void look(struct supervisor *s)
{
    struct runner_shared *shared = s->work.shared;

    if (atomic_load(&shared->answered) == atomic_load(&shared->asked)) {
        s->silent = 0;
        atomic_fetch_add(&shared->asked, 1);
        (void)kill(s->runner, SIGCHLD);
    } else if (++s->silent >= LOOKS) {
        (void)kill_runner(s);
        pause_for(s, "it hung and was killed");
        return;
    }
    s->next_ms = clock_mono_ms() + LOOK_MS;
}

/* Only looks. 0: none has ended. */
static pid_t ended(idtype_t of, pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(of, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

/* It was killed on its way to be a program. */
static void forget(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < RUNNER_PROGRAMS; i++)
        (void)atomic_compare_exchange_strong(&s->work.shared->groups[i], &(pid_t){pid}, 0);
}

/* Programs become children of this process at the moment the runner is dead; what they leave behind
 * does always. */
static void reap(struct supervisor *s)
{
    pid_t pid;

    while ((pid = ended(P_ALL, 0)) > 0) {
        if (s->runner && ended(P_PID, s->runner)) {
            lost(s);
        } else {
            forget(s, pid);
            (void)waitpid(pid, NULL, 0);
        }
    }
}

/* False: the server has died. */
static bool take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    bool over = false;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        over = over || info.ssi_signo == RUNNER_PARENT_DIED;
    if (!over)
        reap(s);
    return !over;
}

static int time_left(const struct supervisor *s)
{
    const uint64_t now = clock_mono_ms();

    return now < s->next_ms ? (int)(s->next_ms - now) : 0;
}

static void supervise(struct supervisor *s)
{
    struct pollfd p[] = {{.fd = s->signals, .events = POLLIN}, {.fd = RUNNER_SOCKET, .events = 0}};

    for (;;) {
        int ms = time_left(s);
        if (ms == 0 && s->runner)
            look(s);
        else if (ms == 0)
            begin(s);
        else if (poll(p, 2, ms) > 0 && (p[1].revents || !take_signals(s)))
            break;
    }
    (void)kill_runner(s);
}

/* ---- Its beginning */

static bool prepare(struct supervisor *s, int socket, pid_t server)
{
    static const int passed_over[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t mine;

    /* Sockets and the lock of the data folder must not outlive the server in it. */
    if (dup2(socket, RUNNER_SOCKET) < 0 || close_range(RUNNER_SOCKET + 1, ~0u, 0) != 0)
        return false;
    (void)fcntl(RUNNER_SOCKET, F_SETFD, FD_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(passed_over); i++) /* it ends with the server, not before */
        (void)signal(passed_over[i], SIG_IGN);
    sigemptyset(&mine);
    sigaddset(&mine, SIGCHLD);
    sigaddset(&mine, RUNNER_PARENT_DIED);
    sigprocmask(SIG_BLOCK, &mine, &s->work.before);
    s->signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    void *shared = mmap(NULL, sizeof *s->work.shared, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    s->work.shared = shared;
    prctl(PR_SET_NAME, "posthouse-run", 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, RUNNER_PARENT_DIED, 0, 0, 0);
    return s->signals >= 0 && getppid() == server;
}

void runner_supervise(int socket, pid_t server, const struct runner_conf *conf)
{
    struct supervisor s = {.work = {.conf = conf}};
    struct err err = {ERR_TEMP, ERR_WHY_OTHER, "no descriptors"};

    if (prepare(&s, socket, server) && (!conf->prepare || conf->prepare(conf->ctx, &err) == 0)) {
        prctl(PR_SET_PDEATHSIG, RUNNER_PARENT_DIED, 0, 0, 0); /* a change of user takes it away */
        if (getppid() == server)
            supervise(&s);
    } else if (getppid() == server) {
        log_error(&log_runner, "runner_failed", L_Z("why", err.text));
    }
    _exit(0);
}
