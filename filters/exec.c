/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* exec.c - the stage `exec`: programs of the administrator judge a message, one after the other, by
 * their exit codes. A message is written down on the stage's lane; then a worker of the instance's
 * own lane runs all its programs, so as many messages are judged at once as it has threads. */
#include "filters/exec.h"
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/io/lanes.h"
#include "appliance/mail/header.h"
#include "filters/builtin.h"
#include "filters/exec_run.h"
#include "filters/outside.h"
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WAITING = 200, CALLS = EXEC_PROGRAMS_MAX, VARIABLES = 20 };

// clang-format off
static const struct ph_setting exec_settings[] = {
    PH_SETTING(INT, exec_conf, at_once, 0, "8", 1, 64,
               "So many messages are given to programs at once; others wait for them."),
    PH_SETTING_END};
// clang-format on

struct exec {
    const struct ph_host *host;
    const struct runner *runner;
    struct lane *lane;
};
struct work { /* one message */
    struct exec *exec;
    struct arena *arena;
    struct job job;
    ph_turn turn;
    unsigned refs; /* loop: the turn, the job that writes the message, the one that runs */
    bool cancelled, queued;
    int message, cancel;
    int error; /* of writing the message */
    const char *env[VARIABLES + 1];
    struct exec_call calls[CALLS];
    size_t n_calls;
    struct exec_result *results; /* of those that were run */
    size_t n_results;
};
struct exec_turn { /* its memory */
    struct work *work;
};

/* ---- What is run. */

static bool looks_at(const struct exec_program *p, const struct ph_view *v)
{
    bool outside = !outside_not(v);

    return (p->mail == EXEC_ALL || outside == (p->mail == EXEC_OUTSIDE)) &&
           (!p->size || v->message_size <= p->size);
}

static void add_call(struct work *w, const struct exec_program *p)
{
    struct exec_call *c = &w->calls[w->n_calls++];
    const char **argv;
    size_t n = 0;

    *c = (struct exec_call){.name = arena_str(w->arena, str_from(p->name)).p,
                            .verdict = arena_dup(w->arena, p->verdict, sizeof p->verdict),
                            .timeout = p->timeout,
                            .fields = p->fields};
    exec_program_request(p, geteuid(), &c->program);
    while (p->argv[n])
        n++;
    argv = ARENA_ARRAY(w->arena, const char *, n + 1);
    for (size_t i = 0; i < n; i++)
        argv[i] = arena_str(w->arena, str_from(p->argv[i])).p;
    c->program.argv = argv;
    c->program.path = argv[0];
}

static void put(struct work *w, size_t *n, const char *name, struct str value)
{
    struct buf text;

    buf_init(&text, EXEC_VALUE_MAX + 64);
    exec_put_variable(&text, name, value);
    CHECK(*n < VARIABLES);
    w->env[(*n)++] = arena_str(w->arena, buf_str(&text)).p;
    buf_fini(&text);
}

static void put_number(struct work *w, size_t *n, const char *name, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    put(w, n, name, str_from(text));
}

static void make_environment(struct work *w, const struct ph_view *v)
{
    struct header_field id;
    struct str head = str_of(v->head, v->head_size);
    size_t n = 0;

    put(w, &n, "PATH", STR("/usr/local/bin:/usr/bin:/bin"));
    put(w, &n, "LANG", STR("C.UTF-8"));
    put(w, &n, "CLIENT_ADDRESS", str_from(v->client_ip));
    put(w, &n, "CLIENT_NAME", str_from(v->client_name));
    put(w, &n, "HELO", str_from(v->helo));
    put(w, &n, "SENDER", str_from(v->mail_from));
    put(w, &n, "RECIPIENT", str_from(v->n_rcpts ? v->rcpts[0] : ""));
    put_number(w, &n, "RECIPIENTS", v->n_rcpts);
    put(w, &n, "MESSAGE_ID",
        header_find(head, STR("Message-ID"), 0, &id) ? str_trim(id.value) : STR(""));
    put_number(w, &n, "SIZE", v->message_size);
    put(w, &n, "USER", str_from(v->auth_user));
    put(w, &n, "LISTENER", str_from(v->port));
    put(w, &n, "TLS", str_from(v->tls));
    put(w, &n, "HOST", str_from(v->host));
    put_number(w, &n, "ID", v->message);
}

/* ---- Its life: on the loop. */

static void work_unref(void *arg)
{
    struct work *w = arg;

    if (--w->refs)
        return;
    if (w->message >= 0)
        close(w->message);
    if (w->cancel >= 0)
        close(w->cancel);
    mem_free(w->results);
    arena_free(&w->arena);
    mem_free(w);
}

static struct work *work_new(struct exec *e, ph_turn turn)
{
    struct work *w = MEM_NEW(struct work);

    w->exec = e;
    w->arena = arena_new(0);
    w->turn = turn;
    w->refs = 1;
    w->message = -1;
    w->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w;
}

/* ---- What comes of it. */

static void add_fields(const struct ph_host *host, struct ph_acts *acts,
                       const struct exec_output *o)
{
    for (size_t i = 0; i < o->n_fields; i++) {
        char name[80], value[1000];
        snprintf(name, sizeof name, STR_FMT, STR_ARG(o->fields[i].name));
        snprintf(value, sizeof value, STR_FMT, STR_ARG(o->fields[i].value));
        (void)host->header_add(acts, name, value);
    }
}

struct sum { /* of all programs */
    enum ph_verdict verdict;
    char reason[256], reply[256], facts[1000];
};

static const char *const verdict_names[PH_VERDICTS] = {
    [PH_PASS] = "pass",       [PH_ACCEPT] = "accept",
    [PH_JUNK] = "junk",       [PH_QUARANTINE] = "quarantine",
    [PH_DISCARD] = "discard", [PH_DEFER] = "defer",
    [PH_REJECT] = "reject"};

static void add_result(const struct work *w, size_t i, struct ph_acts *acts, struct sum *s)
{
    const struct exec_result *r = &w->results[i];
    size_t n = strlen(s->facts);
    struct exec_output o;

    snprintf(s->facts + n, sizeof s->facts - n, "%s%s=%s", n ? "; " : "", w->calls[i].name,
             r->end == EXEC_SAID ? verdict_names[r->verdict] : "error");
    if (r->end != EXEC_SAID)
        return;
    exec_output_parse(str_of(r->printed, r->n_printed), &o);
    if (w->calls[i].fields)
        add_fields(w->exec->host, acts, &o);
    if (r->verdict <= s->verdict && s->verdict != PH_PASS)
        return;
    if (r->verdict == PH_PASS && !o.text[0])
        return;
    s->verdict = r->verdict;
    snprintf(s->reason, sizeof s->reason, "%s: %s", w->calls[i].name,
             o.text[0] ? o.text : verdict_names[r->verdict]);
    exec_reply(r->verdict, o.text, s->reply, sizeof s->reply);
}

static void answer(struct work *w)
{
    const struct ph_host *host = w->exec->host;
    struct ph_acts *acts = host->acts(host, w->turn);
    struct sum s = {.verdict = PH_PASS};

    for (size_t i = 0; i < w->n_results; i++)
        add_result(w, i, acts, &s);
    (void)host->fact_set(acts, "exec.results", s.facts);
    const struct exec_result *last = w->n_results ? &w->results[w->n_results - 1] : NULL;
    if (!last || last->end != EXEC_SAID)
        host->failed(host, w->turn, s.verdict, s.reply[0] ? s.reply : NULL,
                     last ? last->why : strerror(w->error));
    else
        host->done(host, w->turn, s.verdict, s.reply[0] ? s.reply : NULL,
                   s.reason[0] ? s.reason : NULL);
}

/* The turn is over by an answer of ours. */
static void leave(struct work *w)
{
    struct exec_turn *t = w->exec->host->memory(w->exec->host, w->turn);

    if (t)
        t->work = NULL;
    work_unref(w);
}

/* ---- The programs, on a worker of the instance's lane. */

static void run_calls(struct job *j, void *worker)
{
    struct work *w = CONTAINER_OF(j, struct work, job);

    (void)worker;
    for (size_t i = 0; i < w->n_calls; i++) {
        struct exec_result *r = &w->results[w->n_results++];
        exec_run(w->exec->runner, &w->calls[i], w->env, w->message, w->cancel, r);
        if (r->end != EXEC_SAID || r->verdict >= PH_DISCARD)
            return;
    }
}

static void on_run(struct job *j)
{
    struct work *w = CONTAINER_OF(j, struct work, job);

    w->queued = false;
    if (!w->cancelled) {
        answer(w);
        leave(w);
    }
    work_unref(w);
}

static void on_written(void *inst, ph_turn turn, void *arg)
{
    struct exec *e = inst;
    struct work *w = arg;

    if (w->message < 0) {
        char why[200];
        snprintf(why, sizeof why, "the message can't be written down for programs: %s",
                 strerror(w->error));
        e->host->failed(e->host, turn, PH_PASS, NULL, why);
        leave(w);
        return;
    }
    w->results = mem_alloc(w->n_calls * sizeof *w->results);
    w->job = (struct job){.run = run_calls, .done = on_run};
    w->refs++;
    w->queued = lane_submit(e->lane, &w->job) == 0;
    if (!w->queued) {
        work_unref(w);
        e->host->failed(e->host, turn, PH_PASS, NULL, "too many messages wait for programs");
        leave(w);
    }
}

/* ---- Turns. */

static void write_message(void *inst, const struct ph_view *v, void *arg)
{
    struct work *w = arg;
    struct exec *e = inst;

    w->message = exec_message(v, builtin_folder(e->host));
    w->error = w->message < 0 ? errno : 0;
}

static void begin(struct exec *e, ph_turn turn, const struct ph_view *v, const struct exec_conf *c)
{
    struct exec_turn *t = e->host->memory(e->host, turn);
    struct work *w = work_new(e, turn);

    for (size_t i = 0; i < c->n_programs; i++)
        if (looks_at(&c->programs[i], v))
            add_call(w, &c->programs[i]);
    if (!w->n_calls || w->cancel < 0) {
        bool none = !w->n_calls;
        work_unref(w);
        if (none)
            e->host->done(e->host, turn, PH_PASS, NULL, "no program looks at it");
        else
            e->host->failed(e->host, turn, PH_PASS, NULL, "no descriptor for the programs");
        return;
    }
    make_environment(w, v);
    t->work = w;
    w->refs++;
    if (e->host->job(e->host, turn, write_message, on_written, work_unref, w)) { /* answered */
        if (!w->cancelled)
            leave(w);
        work_unref(w);
    }
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct exec *e = inst;

    (void)at;
    begin(e, turn, e->host->view(e->host, turn), conf);
}

static void cancel(void *inst, ph_turn turn)
{
    struct exec *e = inst;
    struct exec_turn *t = e->host->memory(e->host, turn);
    struct work *w = t->work;

    if (!w)
        return;
    t->work = NULL;
    w->cancelled = true;
    if (w->queued && lane_cancel(e->lane, &w->job))
        work_unref(w);
    else
        (void)!write(w->cancel, &(uint64_t){1}, sizeof(uint64_t));
    work_unref(w);
}

/* ---- The stage. */

static int open_lane(struct exec *e, const struct exec_conf *c, struct ph_err *err)
{
    const struct lane_conf lane = {
        .name = "exec", .threads = (unsigned)c->at_once, .depth = WAITING};
    struct err why = {0};

    if (!e->runner) {
        snprintf(err->text, sizeof err->text, "this server can't run any program");
        return -1;
    }
    e->lane = lane_new(builtin_loop(e->host), &lane, &why);
    if (e->lane)
        return 0;
    snprintf(err->text, sizeof err->text, "%.200s", why.text);
    return -1;
}

static void close_stage(void *inst)
{
    struct exec *e = inst;

    lane_free(&e->lane);
    mem_free(e);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct exec *e = MEM_NEW(struct exec);

    e->host = host;
    e->runner = builtin_runner(host);
    if (open_lane(e, conf, err)) {
        mem_free(e);
        return -1;
    }
    *inst = e;
    return 0;
}

static bool idle(const void *conf)
{
    return !((const struct exec_conf *)conf)->n_programs;
}

const struct ph_stage exec_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "exec",
    .doc = "Gives messages to programs of the administrator, each told of in a section program, in "
           "their order: the message is on standard input, the exit code is the verdict, the first "
           "line of the output the reason and the reply. The first program that refuses ends it. "
           "In the environment: CLIENT_ADDRESS, CLIENT_NAME, HELO, SENDER, RECIPIENT (the first), "
           "RECIPIENTS (how many), MESSAGE_ID, SIZE, USER (who has logged in), LISTENER, TLS, "
           "HOST, ID (as in the log). They run outside the sandbox; under posthouse dev they "
           "reach no network. Fact: exec.results.",
    .lane = "exec",
    .after = "limits,headers,policy,spf,dkim,dmarc,dnslist,milter,clamav", /* what is cheaper */
    .settings = exec_settings,
    .conf_size = sizeof(struct exec_conf),
    .turn_size = sizeof(struct exec_turn),
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .idle = idle};
