/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_imap_jobs.c - several accounts at once: each is a run of its own in a process of its own,
 * whose report (JSON) is added up here. */
#include "appliance/app/admin.h"
#include "appliance/app/import_commands.h"
#include "appliance/app/import_imap.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT_MAX = 4 << 20, PIECE = 4096 };

struct child {
    pid_t pid; /* 0: none */
    int fd;
    const struct import_imap_login *login;
    struct buf report;
};
struct jobs {
    struct import_imap *j;
    struct import_count count;
    struct child *children;
    bool later; /* one of them is to be tried again later */
};

/* ---- The child. */

static int run_one(struct import_imap *j, const struct import_imap_login *l)
{
    struct import_call call = *j->call;
    struct import_run *run;
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};

    call.json = true;
    j->call = &call;
    if (import_run_open(&call, &run, &err) != 0)
        return import_refused(&call, &err);
    if (import_imap_account(j, l, run, &err) != 0)
        import_run_give_up(run, &err);
    return import_run_close(&run);
}

static int start(struct jobs *b, struct child *c, const struct import_imap_login *l)
{
    pid_t parent = getpid();
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return -1;
    fflush(NULL);
    c->pid = fork();
    if (c->pid < 0) {
        close(fds[0]);
        close(fds[1]);
        c->pid = 0;
        return -1;
    }
    if (c->pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent || dup2(fds[1], 1) < 0)
            _exit(ADMIN_TEMPFAIL);
        int code = run_one(b->j, l);
        fflush(stdout);
        _exit(code);
    }
    close(fds[1]);
    c->fd = fds[0];
    c->login = l;
    buf_init(&c->report, REPORT_MAX);
    return 0;
}

/* ---- What it says. */

static uint64_t number(json_t *v, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(v, name));
}

static void add_report(struct jobs *b, const struct child *c, json_t *v)
{
    struct import_count *n = &b->count;
    const char *error = json_string_value(json_object_get(v, "error"));
    json_t *e;
    size_t i;

    n->accounts += number(v, "accounts");
    n->mailboxes += number(v, "mailboxes");
    n->imported += number(v, "imported");
    n->updated += number(v, "updated");
    n->unchanged += number(v, "unchanged");
    n->removed += number(v, "removed");
    n->vanished += number(v, "vanished");
    n->bytes += number(v, "bytes");
    n->nuls += number(v, "nul_bytes");
    n->keywords_lost += number(v, "keywords_lost");
    json_array_foreach(json_object_get(v, "errors"), i, e)
    {
        import_count_failed(n, json_string_value(json_object_get(e, "file")),
                            json_string_value(json_object_get(e, "reason")));
    }
    if (number(v, "failed") > json_array_size(json_object_get(v, "errors")))
        n->failed += number(v, "failed") - json_array_size(json_object_get(v, "errors"));
    json_array_extend(n->renumbered, json_object_get(v, "renumbered"));
    if (error)
        import_count_failed(n, c->login->account, error);
}

static void finish(struct jobs *b, struct child *c)
{
    json_t *v = json_loadb(c->report.p ? c->report.p : "", c->report.n, 0, NULL);
    int status = 0;

    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (v)
        add_report(b, c, v);
    else
        import_count_failed(&b->count, c->login->account, "its process ended without a report");
    if (!WIFEXITED(status) || WEXITSTATUS(status) == ADMIN_TEMPFAIL)
        b->later = true;
    json_decref(v);
    close(c->fd);
    buf_fini(&c->report);
    c->pid = 0;
}

static void read_report(struct jobs *b, struct child *c)
{
    char piece[PIECE];
    ssize_t n = read(c->fd, piece, sizeof piece);

    if (n > 0)
        buf_add(&c->report, piece, (size_t)n);
    else if (n == 0 || errno != EINTR)
        finish(b, c);
}

static void wait_for_some(struct jobs *b)
{
    struct pollfd fds[IMPORT_IMAP_JOBS];
    struct child *of[IMPORT_IMAP_JOBS];
    unsigned n = 0;

    for (unsigned i = 0; i < b->j->jobs; i++)
        if (b->children[i].pid) {
            of[n] = &b->children[i];
            fds[n++] = (struct pollfd){.fd = b->children[i].fd, .events = POLLIN};
        }
    if (poll(fds, n, -1) < 0)
        return;
    for (unsigned i = 0; i < n; i++)
        if (fds[i].revents)
            read_report(b, of[i]);
}

/* ---- All. */

static struct child *idle(struct jobs *b)
{
    for (unsigned i = 0; i < b->j->jobs; i++)
        if (!b->children[i].pid)
            return &b->children[i];
    return NULL;
}

static bool busy(const struct jobs *b)
{
    for (unsigned i = 0; i < b->j->jobs; i++)
        if (b->children[i].pid)
            return true;
    return false;
}

int import_imap_parallel(struct import_imap *j)
{
    struct jobs b = {.j = j};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    struct child *c;

    import_count_init(&b.count, "import", j->call->json, j->call->progress);
    b.children = mem_alloc(j->jobs * sizeof *b.children);
    for (size_t i = 0; i < j->n_logins; i++) {
        while (!(c = idle(&b)))
            wait_for_some(&b);
        if (start(&b, c, &j->logins[i]) != 0) {
            import_count_failed(&b.count, j->logins[i].account, strerror(errno));
            b.later = true;
        }
    }
    while (busy(&b))
        wait_for_some(&b);
    mem_free(b.children);
    if (b.later)
        err_set(&err, ERR_TEMP, ERR_WHY_OTHER,
                "some accounts could not be brought to their end: run it again");
    return import_count_end(&b.count, b.later ? &err : NULL);
}
