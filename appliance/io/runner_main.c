/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* runner_main.c - the runner: one thread that waits for requests, for programs to end, and for
 * those who asked to lose interest. What it is asked was written by the server, which may have been
 * taken over: everything is checked. It may die at any moment: what it runs is written down where
 * the supervisor sees it. */
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include "appliance/io/runner_private.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct program {
    pid_t pid;
    int report; /* -1: nobody wants to know */
    _Atomic(pid_t) *group;
};
struct state {
    const struct runner_work *work;
    int signals;
    struct program programs[RUNNER_PROGRAMS];
    size_t n;
    struct pollfd polled[2 + RUNNER_PROGRAMS];
    char text[RUNNER_REQUEST + 1];
    const char *argv[RUNNER_WORDS + 1], *env[RUNNER_WORDS + 1];
};
struct request {
    struct runner_program program;
    int fds[1 + RUNNER_FDS];
    unsigned n_fds;
};

static void tell(int report, enum runner_event what, pid_t pid, int value)
{
    const struct runner_report r = {.what = what, .pid = pid, .value = value};

    if (report >= 0)
        (void)send(report, &r, sizeof r, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- A request */

static bool take_words(struct str *rest, uint32_t n, const char **out)
{
    struct str word;

    for (uint32_t i = 0; i < n; i++) {
        if (!str_cut(*rest, '\0', &word, rest))
            return false;
        out[i] = word.p;
    }
    out[n] = NULL;
    return true;
}

static bool take_text(struct state *s, size_t n, struct request *q)
{
    struct runner_head head;
    const char *path[2];

    if (n <= sizeof head || n > RUNNER_REQUEST || s->text[n - 1] != '\0')
        return false;
    memcpy(&head, s->text, sizeof head);
    struct str rest = str_of(s->text + sizeof head, n - sizeof head);
    if (head.n_argv < 1 || head.n_argv > RUNNER_WORDS || head.n_env > RUNNER_WORDS ||
        !take_words(&rest, 1, path) || !take_words(&rest, head.n_argv, s->argv) ||
        !take_words(&rest, head.n_env, s->env) || rest.n)
        return false;
    q->program.path = path[0][0] ? path[0] : NULL;
    q->program.argv = s->argv;
    q->program.env = s->env;
    q->program.switch_user = head.switch_user != 0;
    q->program.uid = head.uid;
    q->program.gid = head.gid;
    q->program.limits = head.limits;
    return !q->program.path || q->program.path[0] == '/';
}

static void take_fds(const struct msghdr *m, struct request *q)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(m);

    if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len < CMSG_LEN(0))
        return;
    size_t size = head->cmsg_len - CMSG_LEN(0);
    q->n_fds = (unsigned)(size / sizeof(int));
    memcpy(q->fds, CMSG_DATA(head), q->n_fds * sizeof(int));
    q->program.fds = q->fds + 1;
    q->program.n_fds = q->n_fds ? q->n_fds - 1 : 0;
}

/* 0: the server is gone. -1: it makes no sense. */
static int receive(struct state *s, struct request *q)
{
    struct iovec iov = {.iov_base = s->text, .iov_len = sizeof s->text};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof q->fds)];
    } room = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    ssize_t n = recvmsg(RUNNER_SOCKET, &m, MSG_CMSG_CLOEXEC);

    *q = (struct request){0};
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return -1;
    if (n <= 0)
        return 0;
    take_fds(&m, q);
    return take_text(s, (size_t)n, q) && q->n_fds && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? 1
                                                                                               : -1;
}

/* ---- The program */

/* Its descriptors come from anywhere: first out of the way of their places, then there. */
static bool place_fds(const struct runner_program *p, int said)
{
    int high[RUNNER_FDS], null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (unsigned i = 0; i < p->n_fds; i++)
        if ((high[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, RUNNER_FDS + 1)) < 0)
            return false;
    null = fcntl(null, F_DUPFD_CLOEXEC, RUNNER_FDS + 1);
    said = dup3(fcntl(said, F_DUPFD_CLOEXEC, RUNNER_FDS + 1), RUNNER_FDS, O_CLOEXEC);
    for (unsigned i = 0; i < p->n_fds; i++)
        if (dup2(high[i], (int)i) < 0)
            return false;
    for (int i = (int)p->n_fds; i <= STDERR_FILENO; i++)
        if (dup2(null, i) < 0)
            return false;
    int from = p->n_fds > STDERR_FILENO ? (int)p->n_fds : STDERR_FILENO + 1;
    if (from < RUNNER_FDS)
        close_range((unsigned)from, RUNNER_FDS - 1, 0);
    close_range(RUNNER_FDS + 1, ~0u, 0);
    return said >= 0;
}

static bool limit(int what, uint64_t most)
{
    const struct rlimit l = {.rlim_cur = most, .rlim_max = most};

    return !most || setrlimit(what, &l) == 0;
}

/* Not by the functions of libc: these wait for the other threads of the process, and their list may
 * still name some that were never in this one. */
static bool become(uid_t uid, gid_t gid)
{
#ifdef SYS_setresuid32
    enum { SET_GROUPS = SYS_setgroups32, SET_GID = SYS_setresgid32, SET_UID = SYS_setresuid32 };
#else
    enum { SET_GROUPS = SYS_setgroups, SET_GID = SYS_setresgid, SET_UID = SYS_setresuid };
#endif
    return syscall(SET_GROUPS, 0, NULL) == 0 && syscall(SET_GID, gid, gid, gid) == 0 &&
           syscall(SET_UID, uid, uid, uid) == 0;
}

/* Who it is, and how much it may take. */
static bool confine(const struct runner_program *p)
{
    if (!limit(RLIMIT_AS, p->limits.memory) || !limit(RLIMIT_CPU, p->limits.cpu_s))
        return false;
    if (!p->switch_user)
        return true;
    if (!become(p->uid, p->gid))
        return false;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* which that has taken away */
    return true;
}

static void child(const struct state *s, const struct runner_program *p, _Atomic(pid_t) *group,
                  pid_t parent, int said) __attribute__((noreturn));
static void child(const struct state *s, const struct runner_program *p, _Atomic(pid_t) *group,
                  pid_t parent, int said)
{
    static const int back[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    char own[] = "/proc/self/exe", *const *argv = (char *const *)(uintptr_t)p->argv;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(127);
    setpgid(0, 0);
    atomic_store(group, getpid());
    for (size_t i = 0; i < ARRAY_LEN(back); i++)
        (void)signal(back[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &s->work->before, NULL);
    if (place_fds(p, said)) {
        said = RUNNER_FDS;
        if (confine(p))
            execve(p->path ? p->path : own, argv, (char *const *)(uintptr_t)p->env);
    }
    int why = errno;
    (void)!write(said, &why, sizeof why);
    _exit(127);
}

/* Each program has one; the one that begins, too. */
static _Atomic(pid_t) *free_group(const struct state *s)
{
    _Atomic(pid_t) *g = s->work->shared->groups;

    while (atomic_load(g))
        g++;
    return g;
}

/* 0, or errno: why it didn't begin. */
static int begin(const struct state *s, const struct runner_program *p, struct program *out)
{
    pid_t parent = getpid();
    int said[2], why = 0;
    ssize_t n;

    if (pipe2(said, O_CLOEXEC) != 0)
        return errno;
    /* Without the handlers of pthread_atfork(): libuv's closes what it takes for its own here. */
    out->group = free_group(s);
    out->pid = _Fork();
    if (out->pid == 0)
        child(s, p, out->group, parent, said[1]);
    why = out->pid < 0 ? errno : 0;
    close(said[1]);
    do /* nothing: it was executed */
        n = out->pid > 0 ? read(said[0], &why, sizeof why) : 0;
    while (n < 0 && errno == EINTR);
    close(said[0]);
    if (why && out->pid > 0) {
        atomic_store(out->group, 0);
        (void)waitpid(out->pid, NULL, 0);
    }
    return why;
}

/* A request may have waited for this runner for longer than who asked. */
static bool wanted(int report)
{
    struct pollfd p = {.fd = report, .events = POLLIN};

    return poll(&p, 1, 0) <= 0;
}

static void start(struct state *s, struct request *q)
{
    struct program *new = &s->programs[s->n];
    const struct runner_conf *conf = s->work->conf;
    int why = EPERM;

    if (!wanted(q->fds[0]))
        return;
    if (s->n == RUNNER_PROGRAMS)
        why = EAGAIN;
    else if (!conf->allowed || conf->allowed(conf->ctx, &q->program))
        why = begin(s, &q->program, new);
    if (why) {
        tell(q->fds[0], RUNNER_FAILED, 0, why);
        return;
    }
    tell(q->fds[0], RUNNER_STARTED, new->pid, 0);
    new->report = q->fds[0];
    q->fds[0] = -1;
    s->n++;
}

/* False: the server is gone. */
static bool serve(struct state *s)
{
    struct request q;
    int rc = receive(s, &q);

    if (rc > 0)
        start(s, &q);
    else if (rc < 0 && q.n_fds)
        tell(q.fds[0], RUNNER_FAILED, 0, EINVAL);
    for (unsigned i = 0; i < q.n_fds; i++)
        if (q.fds[i] >= 0)
            close(q.fds[i]);
    return rc != 0;
}

/* ---- Ends */

static void reap(struct state *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < s->n; i++)
            if (s->programs[i].pid == pid) {
                (void)kill(-pid, SIGKILL); /* what it has left behind */
                atomic_store(s->programs[i].group, 0);
                tell(s->programs[i].report, RUNNER_ENDED, pid, status);
                if (s->programs[i].report >= 0)
                    close(s->programs[i].report);
                s->programs[i] = s->programs[--s->n];
                break;
            }
}

/* Nobody wants to know any more, or says something, which nobody should. */
static void drop(struct program *p)
{
    (void)kill(-p->pid, SIGKILL);
    (void)kill(p->pid, SIGKILL);
    close(p->report);
    p->report = -1;
}

static bool take_signals(struct state *s)
{
    struct signalfd_siginfo info;
    bool over = false;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        over = over || info.ssi_signo == RUNNER_PARENT_DIED;
    if (over && !runner_server_gone())
        log_error(&(struct log_ctx){.module = "runner"}, "runner_supervisor_died",
                  L_Z("means", "no program can be run any more: restart posthouse"));
    reap(s);
    return !over;
}

static void run(struct state *s)
{
    bool go_on = true;

    while (go_on) {
        const size_t n = s->n;
        atomic_store(&s->work->shared->answered, atomic_load(&s->work->shared->asked));
        s->polled[0] = (struct pollfd){.fd = RUNNER_SOCKET, .events = POLLIN};
        s->polled[1] = (struct pollfd){.fd = s->signals, .events = POLLIN};
        for (size_t i = 0; i < n; i++)
            s->polled[2 + i] = (struct pollfd){.fd = s->programs[i].report, .events = POLLIN};
        if (poll(s->polled, 2 + n, -1) < 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (s->programs[i].report >= 0 && s->polled[2 + i].revents)
                drop(&s->programs[i]);
        go_on = !s->polled[1].revents || take_signals(s);
        go_on = go_on && (!s->polled[0].revents || serve(s));
    }
    close(RUNNER_SOCKET); /* whoever sees a program end shall see that, too */
    for (size_t i = 0; i < s->n; i++)
        (void)kill(-s->programs[i].pid, SIGKILL);
}

void runner_work(const struct runner_work *w)
{
    static struct state state;
    sigset_t mine;

    state.work = w;
    sigemptyset(&mine);
    sigaddset(&mine, SIGCHLD);
    sigaddset(&mine, RUNNER_PARENT_DIED);
    close_range(RUNNER_SOCKET + 1, ~0u, 0);
    state.signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    prctl(PR_SET_NAME, "posthouse-exec", 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, RUNNER_PARENT_DIED, 0, 0, 0);
    if (state.signals >= 0 && getppid() == w->supervisor)
        run(&state);
    _exit(0);
}
