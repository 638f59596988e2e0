/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_kill.c - kill -9 under load: a child delivers and tells through a pipe what it would
 * have acknowledged; it is killed at a random moment, sometimes again while it recovers, and the
 * store is audited. The control is a child that acknowledges too early; before the commit would not
 * do: what the kernel has been given outlives the process, flushed or not. */
#include "appliance/app/selftest.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS_MIN = 3,
    ROUNDS_MAX = 15,
    CONTROL_ROUNDS = 5,
    PER_ROUND = 3000, /* messages at most: bounds the room it takes */
    WINDOW = 16,
    LOAD_MS_MIN = 40,
    LOAD_MS_RANDOM = 200,
    SLOW_MAX = 6, /* doublings: to a quarter of a minute */
    START_MS = 60000
};
#define READY 0           /* what the child writes besides numbers */
#define FAILED UINT64_MAX /* a text follows */

struct killing {
    struct selftest *t;
    char *folder;
    uint64_t next; /* number of the next message */
    uint8_t *accepted;
    uint64_t n_accepted, load_ms;
    unsigned
        slow; /* rounds that ended before anything was acknowledged: the next ones are longer */
    bool early;
};

/* ---- The child. */

static void tell(int fd, uint64_t word)
{
    if (write(fd, &word, sizeof word) != sizeof word)
        _exit(1); /* nobody listens any more */
}

static void on_accepted(void *ctx, uint64_t number)
{
    tell(*(const int *)ctx, number);
}

static void child_fail(int fd, const struct err *err)
{
    tell(fd, FAILED);
    if (write(fd, err->text, strlen(err->text)) < 0)
        _exit(1);
    _exit(1);
}

static void child(const struct killing *k, int fd)
{
    struct selftest_load load = {.next = k->next,
                                 .end = k->next + PER_ROUND,
                                 .window = WINDOW,
                                 .early = k->early,
                                 .on_accepted = on_accepted,
                                 .ctx = &fd};
    struct err err = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the parent ends us */
    signal(SIGTERM, SIG_IGN);
    if (selftest_open(k->folder, &k->t->conf, &load.loop, &load.store, &err) != 0)
        child_fail(fd, &err);
    tell(fd, READY);
    if (selftest_load(&load, &err) != 0)
        child_fail(fd, &err);
    for (;;)
        pause();
}

static pid_t start(const struct killing *k, int *fd_out, struct err *err)
{
    int ends[2];
    pid_t pid;

    if (pipe(ends) != 0)
        return ERR(err, ERR_TEMP, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(k, ends[1]);
    }
    close(ends[1]);
    *fd_out = ends[0];
    if (pid < 0) {
        close(ends[0]);
        return ERR(err, ERR_TEMP, "cannot start a process: %s", strerror(errno));
    }
    return pid;
}

/* ---- What it tells. */

static int read_words(struct killing *k, int fd, bool *ready, bool *end, struct err *err)
{
    uint64_t words[512];
    ssize_t n = read(fd, words, sizeof words);

    if (n < 0)
        return errno == EINTR ? 0 : ERR(err, ERR_TEMP, "cannot read a pipe: %s", strerror(errno));
    *end = n == 0;
    /* Each word was written whole; only the text of a failure may leave an odd rest. */
    for (size_t i = 0; i < (size_t)n / sizeof *words; i++) {
        if (words[i] == FAILED)
            return ERR(err, ERR_TEMP, "%.*s", (int)((size_t)n - (i + 1) * sizeof *words),
                       (const char *)&words[i + 1]);
        if (words[i] == READY) {
            *ready = true;
            continue;
        }
        CHECK(words[i] >= k->next && words[i] < k->next + PER_ROUND);
        k->accepted[words[i]] = 1;
        k->n_accepted++;
    }
    return 0;
}

/* Listens until the moment has come, counted from when it is ready. */
static int listen_for(struct killing *k, int fd, uint64_t ms, struct err *err)
{
    uint64_t began = clock_mono_ms(), deadline = began + START_MS;
    bool ready = false, end = false;

    for (uint64_t now = began; !end && now < deadline && !selftest_stopped();
         now = clock_mono_ms()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        bool was = ready;
        if (poll(&p, 1, (int)(deadline - now)) > 0 && read_words(k, fd, &ready, &end, err) != 0)
            return -1;
        if (ready && !was) {
            began = clock_mono_ms();
            deadline = began + ms;
        }
    }
    k->load_ms += ready ? clock_mono_ms() - began : 0;
    if (!ready && !selftest_stopped())
        return ERR(err, ERR_TEMP, "the store did not open within a minute");
    return 0;
}

static int listen_to_end(struct killing *k, int fd, struct err *err)
{
    bool ready = true, end = false;

    while (!end) {
        if (read_words(k, fd, &ready, &end, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- A round. */

static void kill_child(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
}

static int load_and_kill(struct killing *k, struct err *err)
{
    uint64_t ms = (LOAD_MS_MIN + rand_u64() % LOAD_MS_RANDOM) << k->slow, before = k->n_accepted;
    int fd, rc;
    pid_t pid = start(k, &fd, err);

    if (pid < 0)
        return -1;
    rc = listen_for(k, fd, ms, err);
    kill_child(pid);
    if (rc == 0)
        rc = listen_to_end(k, fd, err);
    if (k->n_accepted == before && k->slow < SLOW_MAX)
        k->slow++;
    close(fd);
    return rc;
}

/* It finds what the last one left, and doesn't come far with it. */
static int kill_at_start(struct killing *k, struct err *err)
{
    int fd;
    pid_t pid = start(k, &fd, err);

    if (pid < 0)
        return -1;
    struct timespec t = {.tv_nsec = (long)(rand_u64() % 20) * 1000000};
    nanosleep(&t, NULL);
    kill_child(pid);
    int rc = listen_to_end(k, fd, err);
    close(fd);
    return rc;
}

static int one_round(struct killing *k, uint64_t number, struct selftest_audit *sum,
                     struct err *err)
{
    struct selftest_audit audit = {0};
    char when[64];

    if (load_and_kill(k, err) != 0)
        return -1;
    if (number % 2 && !k->early) {
        k->next += PER_ROUND;
        if (kill_at_start(k, err) != 0)
            return -1;
    }
    k->next += PER_ROUND;
    audit.accepted = k->accepted;
    audit.end = k->next;
    selftest_audit(k->folder, &k->t->conf, &audit);
    snprintf(when, sizeof when, "kill number %llu", (unsigned long long)number + 1);
    selftest_audit_add(sum, &audit, when);
    return 0;
}

static void killing_init(struct killing *k, struct selftest *t, const char *name, bool early)
{
    *k = (struct killing){.t = t, .next = 1, .early = early};
    k->folder = selftest_path(t->folder, name);
    k->accepted = mem_alloc((ROUNDS_MAX * 2 + 1) * PER_ROUND + 1);
}

static void killing_fini(struct killing *k)
{
    selftest_remove(k->folder);
    mem_free(k->folder);
    mem_free(k->accepted);
}

static int run_control(struct selftest *t, bool *noticed, struct err *err)
{
    struct selftest_audit sum = {0};
    struct killing k;
    int rc = 0;

    killing_init(&k, t, "control", true);
    for (uint64_t i = 0; rc == 0 && i < CONTROL_ROUNDS && !sum.lost && !selftest_stopped(); i++)
        rc = one_round(&k, i, &sum, err);
    *noticed = sum.lost > 0;
    killing_fini(&k);
    return rc;
}

int selftest_kill(struct selftest *t, struct selftest_kill *out, struct err *err)
{
    uint64_t deadline = clock_mono_ms() + t->seconds * 350;
    struct killing k;
    int rc = 0;

    *out = (struct selftest_kill){0};
    killing_init(&k, t, "killed", false);
    while (rc == 0 && out->rounds < ROUNDS_MAX && !selftest_stopped() &&
           (out->rounds < ROUNDS_MIN || k.n_accepted == 0 || clock_mono_ms() < deadline)) {
        rc = one_round(&k, out->rounds, &out->audit, err);
        out->rounds++;
    }
    out->accepted = k.n_accepted;
    out->ms = k.load_ms;
    killing_fini(&k);
    return rc == 0 ? run_control(t, &out->control_noticed, err) : -1;
}
