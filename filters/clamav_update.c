/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/clamav_update.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/builtin.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MINUTE = 60 * 1000,
    RETRY_MS = 15 * MINUTE,          /* after a failure */
    FORBIDDEN_MS = 24 * 60 * MINUTE, /* the mirror has said so; who goes on is blocked for longer */
    CONNECT_S = 30,
    SILENCE_S = 60,
    ATTEMPTS = 1, /* the next ones come after RETRY_MS */
    WORDS_MAX = 32,
    TEST_BYTES = 64 << 20, /* what isn't larger is tried out before it is taken */
    OUTPUT_LINE = 512
};
static const char updated_key[] = "updated";
static const char official[] = "database.clamav.net";

enum outcome { UPDATE_NOTHING, UPDATE_DONE, UPDATE_FAILED, UPDATE_FORBIDDEN };
struct words {
    char *word[WORDS_MAX];
    uint32_t n;
};
struct update { /* one run */
    struct job job;
    struct clamav_updater *of;
    char *folder, *temporary;
    struct words databases, mirrors, urls;
    enum outcome outcome;
    char last_line[OUTPUT_LINE];
};
struct clamav_updater {
    struct clamav *of;
    struct lane *lane;
    struct timer *timer;
    bool busy;
    pthread_mutex_t lock;
    pid_t child; /* 0: none; this and stopping under lock */
    bool stopping;
};

static void split(const char *list, struct words *out)
{
    struct str rest = str_from(list), word;

    while (out->n < WORDS_MAX && settings_list_next(&rest, &word))
        out->word[out->n++] = str_dup_z(word);
}

static void words_free(struct words *w)
{
    while (w->n)
        mem_free(w->word[--w->n]);
}

/* ---- The child. Nothing of this process is used but what it was given. */

#ifdef PH_CLAMAV
#include <clamav.h>
#include <libfreshclam.h>

static fc_error_t on_download(const char *file, void *ctx)
{
    struct stat st;

    (void)ctx;
    if (stat(file, &st) == 0 && st.st_size > TEST_BYTES)
        return FC_SUCCESS; /* an engine of it might not fit; those are signed */
    return fc_test_database(file, 1);
}

static enum outcome outcome_of(fc_error_t rc, uint32_t updated)
{
    if (rc == FC_EFORBIDDEN || rc == FC_ERETRYLATER)
        return UPDATE_FORBIDDEN;
    if (rc != FC_SUCCESS && rc != FC_UPTODATE)
        return UPDATE_FAILED;
    return updated ? UPDATE_DONE : UPDATE_NOTHING;
}

static fc_error_t fetch_official(struct update *u, uint32_t *updated)
{
    char *info = NULL, *version = NULL;
    size_t at;
    bool private = !str_find(str_from(u->mirrors.word[0]), str_from(official), &at);

    if (!private && fc_dns_query_update_info("current.cvd.clamav.net", &info, &version))
        info = NULL; /* by HTTP then */
    return fc_update_databases(u->databases.word, u->databases.n, u->mirrors.word, u->mirrors.n,
                               private, info, !private, NULL, updated);
}

static enum outcome fetch(struct update *u)
{
    fc_config config = {.msgFlags = FC_CONFIG_MSG_QUIET | FC_CONFIG_MSG_NOWARN,
                        .maxAttempts = ATTEMPTS,
                        .connectTimeout = CONNECT_S,
                        .requestTimeout = SILENCE_S,
                        .databaseDirectory = u->folder,
                        .tempDirectory = u->temporary};
    enum outcome a = UPDATE_NOTHING, b = UPDATE_NOTHING;
    uint32_t updated = 0;

    if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS || fc_initialize(&config) != FC_SUCCESS)
        return UPDATE_FAILED;
    fc_set_fccb_download_complete(on_download);
    if (u->databases.n && u->mirrors.n) {
        fc_error_t rc = fetch_official(u, &updated);
        a = outcome_of(rc, updated);
    }
    updated = 0;
    if (u->urls.n) {
        fc_error_t rc = fc_download_url_databases(u->urls.word, u->urls.n, NULL, &updated);
        b = outcome_of(rc, updated);
    }
    return a > b ? a : b;
}
#else
static enum outcome fetch(struct update *u)
{
    (void)u;
    return UPDATE_FAILED;
}
#endif

static void child(struct update *u, int output) __attribute__((noreturn));
static void child(struct update *u, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    (void)dup2(output, STDOUT_FILENO);
    (void)dup2(output, STDERR_FILENO);
    /* Sockets and the lock of the data folder must not outlive the server in it. */
    if (close_range(STDERR_FILENO + 1, ~0u, 0) != 0)
        _exit(UPDATE_FAILED);
    _exit(fetch(u));
}

/* ---- The run, on the lane. */

static void take_line(struct update *u, struct str line)
{
    line = str_trim(line);
    if (!line.n)
        return;
    snprintf(u->last_line, sizeof u->last_line, STR_FMT, STR_ARG(line));
    log_debug(&(struct log_ctx){.module = "filters"}, "freshclam", L_STR("text", line));
}

static void read_output(struct update *u, int fd)
{
    char text[OUTPUT_LINE];
    size_t n = 0, at;
    ssize_t got;

    while ((got = read(fd, text + n, sizeof text - n)) > 0 || (got < 0 && errno == EINTR)) {
        n += got > 0 ? (size_t)got : 0;
        while (str_chr(str_of(text, n), '\n', &at)) {
            take_line(u, str_of(text, at));
            n -= at + 1;
            memmove(text, text + at + 1, n);
        }
        if (n == sizeof text) {
            take_line(u, str_of(text, n));
            n = 0;
        }
    }
    take_line(u, str_of(text, n));
}

static enum outcome wait_for_child(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) > UPDATE_FORBIDDEN)
        return UPDATE_FAILED;
    return (enum outcome)WEXITSTATUS(status);
}

static pid_t start_child(struct update *u, int output)
{
    struct clamav_updater *up = u->of;
    pid_t pid = -1;

    pthread_mutex_lock(&up->lock);
    if (!up->stopping)
        pid = fork();
    if (pid == 0)
        child(u, output);
    up->child = pid > 0 ? pid : 0;
    pthread_mutex_unlock(&up->lock);
    return pid;
}

static void run_update(struct job *j, void *worker)
{
    struct update *u = CONTAINER_OF(j, struct update, job);
    int ends[2];

    (void)worker;
    u->outcome = UPDATE_FAILED;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = start_child(u, ends[1]);
    close(ends[1]);
    if (pid > 0) {
        read_output(u, ends[0]);
        u->outcome = wait_for_child(pid);
        pthread_mutex_lock(&u->of->lock);
        u->of->child = 0; /* its id may be another's from now on */
        pthread_mutex_unlock(&u->of->lock);
    }
    close(ends[0]);
}

/* ---- When, on the loop. */

static void update_free(struct update *u)
{
    words_free(&u->databases);
    words_free(&u->mirrors);
    words_free(&u->urls);
    mem_free(u->folder);
    mem_free(u->temporary);
    mem_free(u);
}

static void dispose(struct clamav_updater *up)
{
    clamav_unref(&up->of);
    pthread_mutex_destroy(&up->lock);
    mem_free(up);
}

static void remember(const struct clamav *c)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%lld", (long long)clock_wall_ms());

    (void)c->host->kv_set(c->host, updated_key, sizeof updated_key, text, (size_t)n, 0);
}

/* ms until the next run is due, by the last one. */
static uint64_t due(const struct clamav *c)
{
    const uint64_t every = c->conf->update;
    char text[32] = "";
    uint64_t last, now = (uint64_t)clock_wall_ms();

    if (c->host->kv_get(c->host, updated_key, sizeof updated_key, text, sizeof text - 1) < 0 ||
        str_to_u64(str_from(text), INT64_MAX / 2, &last) || last > now || now - last >= every)
        return 0;
    return last + every - now;
}

static void on_updated(struct job *j)
{
    struct update *u = CONTAINER_OF(j, struct update, job);
    struct clamav_updater *up = u->of;
    struct clamav *c = up->of;
    uint64_t next;

    up->busy = false;
    if (up->stopping) {
        update_free(u);
        dispose(up);
        return;
    }
    next = c->conf->update;
    if (u->outcome >= UPDATE_FAILED) {
        uint64_t most = u->outcome == UPDATE_FORBIDDEN ? FORBIDDEN_MS : RETRY_MS;
        c->host->log(c->host, NULL, PH_LOG_WARN, "signatures were not fetched%s: %.200s",
                     u->outcome == UPDATE_FORBIDDEN ? " (the mirror forbids it for now)" : "",
                     u->last_line);
        next = u->outcome == UPDATE_FORBIDDEN || next > most ? most : next;
    } else {
        remember(c);
        c->host->log(c->host, NULL, PH_LOG_INFO, "signatures were looked for: %s",
                     u->outcome == UPDATE_DONE ? "newer ones are here" : "there are none newer");
    }
    if (u->outcome != UPDATE_NOTHING)
        clamav_keeper_look(c); /* part of it may have come before it failed */
    update_free(u);
    if (c->conf->update)
        timer_start(up->timer, next);
}

static void on_timer(void *ctx)
{
    struct clamav_updater *up = ctx;
    struct clamav *c = up->of;
    struct update *u;

    if (up->busy || !c->conf->update)
        return;
    u = MEM_NEW(struct update);
    u->of = up;
    u->folder = str_dup_z(str_from(c->folder));
    u->temporary = str_dup_z(str_from(c->temporary));
    split(c->conf->update_databases, &u->databases);
    split(c->conf->update_mirrors, &u->mirrors);
    split(c->conf->update_urls, &u->urls);
    u->job = (struct job){.run = run_update, .done = on_updated};
    up->busy = lane_submit(up->lane, &u->job) == 0;
    if (!up->busy)
        update_free(u);
}

static int make(struct clamav *c, char *why, size_t room)
{
    const struct lane_conf conf = {.name = "clamav-update", .threads = 1, .depth = 1};
    struct clamav_updater *up = MEM_NEW(struct clamav_updater);
    struct err err = {0};

    up->lane = lane_new(c->loop, &conf, &err);
    if (!up->lane) {
        snprintf(why, room, "%s", err.text);
        mem_free(up);
        return -1;
    }
    CHECK(pthread_mutex_init(&up->lock, NULL) == 0);
    up->of = clamav_ref(c);
    up->timer = timer_new(c->loop, on_timer, up);
    c->updater = up;
    return 0;
}

int clamav_update_schedule(struct clamav *c, char *why, size_t room)
{
    if (!c->conf->update) {
        if (c->updater)
            timer_stop(c->updater->timer);
        return 0;
    }
    if (strchr(c->conf->database, '/')) {
        snprintf(why, room,
                 "update can write in the data folder only: set database to a name without '/'");
        return -1;
    }
    if (builtin_sealed(c->host)) {
        snprintf(why, room, "this server is sealed and can't fetch anything: set update to 0");
        return -1;
    }
    if (!c->updater && make(c, why, room))
        return -1;
    timer_start(c->updater->timer, due(c));
    return 0;
}

void clamav_update_stop(struct clamav *c)
{
    struct clamav_updater *up = c->updater;

    c->updater = NULL;
    if (!up)
        return;
    pthread_mutex_lock(&up->lock);
    up->stopping = true;
    if (up->child)
        kill(up->child, SIGKILL);
    pthread_mutex_unlock(&up->lock);
    timer_free(&up->timer);
    lane_free(&up->lane);
    if (!up->busy)
        dispose(up); /* else at its answer */
}
