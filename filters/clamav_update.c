/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/clamav_update.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/builtin.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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
    CHILD_MAX_S = 3600,
    WORDS_MAX = 32,
    TEST_BYTES = 64 << 20, /* what isn't larger is tried out before it is taken */
    OUTPUT_LINE = 512,
    KEY_ROOM = 256
};
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
    struct lane *lane; /* NULL until an update was wanted */
    struct timer *timer;
    pid_t helper;
    int fd; /* to the helper; the lane's while it runs */
    bool busy, stopping;
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

/* ---- The helper: forked while nobody uses libclamav, whose locks a later child would inherit as
 * they are. It has one thread, and a child of its own for each run. A request is words, each ended
 * by NUL: folder, temporary, then three lists ended by an empty word each; what comes back is what
 * the child prints, and at the end END_MARK and the outcome. */

enum { HELPER_FD = STDERR_FILENO + 1, END_MARK = '\1' };

static bool take_word(FILE *in, char **out)
{
    size_t room = 0;
    char *line = NULL;
    ssize_t n = getdelim(&line, &room, '\0', in);

    *out = n > 0 ? str_dup_z(str_from(line)) : NULL;
    free(line);
    return n > 0;
}

static bool take_list(FILE *in, struct words *out)
{
    char *word;

    while (take_word(in, &word) && word[0] && out->n < WORDS_MAX)
        out->word[out->n++] = word;
    bool whole = word && !word[0];
    mem_free(word);
    return whole;
}

static void put_list(struct buf *out, const struct words *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        buf_add(out, w->word[i], strlen(w->word[i]) + 1);
    buf_add_char(out, '\0');
}

static void child(struct update *u) __attribute__((noreturn));
static void child(struct update *u)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(CHILD_MAX_S);
    (void)dup2(HELPER_FD, STDOUT_FILENO);
    (void)dup2(HELPER_FD, STDERR_FILENO);
    close(HELPER_FD);
    _exit(fetch(u));
}

static enum outcome run_child(struct update *u)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        child(u);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > UPDATE_FORBIDDEN)
        return UPDATE_FAILED;
    return (enum outcome)WEXITSTATUS(status);
}

static void helper(int fd) __attribute__((noreturn));
static void helper(int fd)
{
    static const int passed_over[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    FILE *in;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < ARRAY_LEN(passed_over); i++) /* it ends with the server, not before */
        (void)signal(passed_over[i], SIG_IGN);
    /* Sockets and the lock of the data folder must not outlive the server in it. */
    if (dup2(fd, HELPER_FD) < 0 || close_range(HELPER_FD + 1, ~0u, 0) != 0 ||
        !(in = fdopen(HELPER_FD, "r")))
        _exit(1);
    for (;;) {
        struct update u = {0};
        if (!take_word(in, &u.folder) || !take_word(in, &u.temporary) ||
            !take_list(in, &u.databases) || !take_list(in, &u.mirrors) || !take_list(in, &u.urls))
            _exit(0);
        const char end[] = {END_MARK, (char)('0' + run_child(&u)), '\n'};
        if (write(HELPER_FD, end, sizeof end) != (ssize_t)sizeof end)
            _exit(0);
        words_free(&u.databases);
        words_free(&u.mirrors);
        words_free(&u.urls);
        mem_free(u.folder);
        mem_free(u.temporary);
    }
}

/* ---- The run, on the lane. */

/* True: it was the end. */
static bool take_line(struct update *u, struct str line)
{
    line = str_trim(line);
    if (line.n == 2 && line.p[0] == END_MARK) {
        u->outcome = (enum outcome)(line.p[1] - '0');
        return true;
    }
    if (line.n) {
        snprintf(u->last_line, sizeof u->last_line, STR_FMT, STR_ARG(line));
        log_debug(&(struct log_ctx){.module = "filters"}, "freshclam", L_STR("text", line));
    }
    return false;
}

static void read_output(struct update *u, int fd)
{
    char text[OUTPUT_LINE];
    size_t n = 0, at;
    ssize_t got;

    while ((got = read(fd, text + n, sizeof text - n)) > 0 || (got < 0 && errno == EINTR)) {
        n += got > 0 ? (size_t)got : 0;
        while (str_chr(str_of(text, n), '\n', &at)) {
            if (take_line(u, str_of(text, at)))
                return;
            n -= at + 1;
            memmove(text, text + at + 1, n);
        }
        if (n == sizeof text)
            n = 0; /* no line of interest is so long */
    }
    snprintf(u->last_line, sizeof u->last_line, "the helper has ended; a restart brings it back");
}

static void run_update(struct job *j, void *worker)
{
    struct update *u = CONTAINER_OF(j, struct update, job);
    struct buf request;

    (void)worker;
    u->outcome = UPDATE_FAILED;
    buf_init(&request, 1 << 20);
    buf_add(&request, u->folder, strlen(u->folder) + 1);
    buf_add(&request, u->temporary, strlen(u->temporary) + 1);
    put_list(&request, &u->databases);
    put_list(&request, &u->mirrors);
    put_list(&request, &u->urls);
    if (buf_ok(&request))
        (void)send(u->of->fd, request.p, request.n, MSG_NOSIGNAL);
    buf_fini(&request);
    read_output(u, u->of->fd);
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
    mem_free(up);
}

/* Several nodes share the table, but not the folder. */
static size_t updated_key(const struct clamav *c, char out[KEY_ROOM])
{
    const char *folder = builtin_folder(c->host);
    char host[65] = "";

    (void)gethostname(host, sizeof host - 1);
    snprintf(out, KEY_ROOM, "updated %s %s", host, folder ? folder : "");
    return strlen(out);
}

static void remember(const struct clamav *c)
{
    char text[32], key[KEY_ROOM];
    size_t key_n = updated_key(c, key);
    int n = snprintf(text, sizeof text, "%lld", (long long)clock_wall_ms());

    (void)c->host->kv_set(c->host, key, key_n, text, (size_t)n, 0);
}

/* ms until the next run is due, by the last one. */
static uint64_t due(const struct clamav *c)
{
    const uint64_t every = c->conf->update;
    char text[32] = "", key[KEY_ROOM];
    uint64_t last, now = (uint64_t)clock_wall_ms();
    size_t key_n = updated_key(c, key);

    if (c->host->kv_get(c->host, key, key_n, text, sizeof text - 1) < 0 ||
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

int clamav_update_prepare(struct clamav *c, char *why, size_t room)
{
    struct clamav_updater *up;
    int ends[2];

    if (builtin_sealed(c->host))
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        snprintf(why, room, "no socket for its helper: %s", strerror(errno));
        return -1;
    }
    up = MEM_NEW(struct clamav_updater);
    up->helper = fork();
    if (up->helper == 0)
        helper(ends[1]);
    close(ends[1]);
    up->fd = ends[0];
    up->of = clamav_ref(c);
    c->updater = up;
    if (up->helper > 0)
        return 0;
    snprintf(why, room, "its helper can't be started: %s", strerror(errno));
    return -1;
}

static int make_lane(struct clamav_updater *up, char *why, size_t room)
{
    const struct lane_conf conf = {.name = "clamav-update", .threads = 1, .depth = 1};
    struct err err = {0};

    up->lane = lane_new(up->of->loop, &conf, &err);
    if (!up->lane) {
        snprintf(why, room, "%s", err.text);
        return -1;
    }
    up->timer = timer_new(up->of->loop, on_timer, up);
    return 0;
}

int clamav_update_schedule(struct clamav *c, char *why, size_t room)
{
    if (!c->conf->update) {
        if (c->updater && c->updater->timer)
            timer_stop(c->updater->timer);
        return 0;
    }
    if (strchr(c->conf->database, '/')) {
        snprintf(why, room,
                 "update can write in the data folder only: set database to a name without '/'");
        return -1;
    }
    if (!c->updater) {
        snprintf(why, room, "this server is sealed and can't fetch anything: set update to 0");
        return -1;
    }
    if (!c->updater->lane && make_lane(c->updater, why, room))
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
    up->stopping = true;
    timer_free(&up->timer);
    if (up->helper > 0) { /* its child goes with it, and the lane reads the end of its output */
        kill(up->helper, SIGKILL);
        while (waitpid(up->helper, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    lane_free(&up->lane);
    close(up->fd);
    if (!up->busy)
        dispose(up); /* else at its answer */
}
