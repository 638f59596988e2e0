/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/control.h"
#include "appliance/app/admin.h"
#include "appliance/app/admin_words.h"
#include "appliance/app/import_server.h"
#include "appliance/app/revoked.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <string.h>
#include <unistd.h>

enum { REQUEST_MAX = 64 * 1024, REQUEST_MS = 10000, LINGER_MS = 30000, WORDS_MAX = 64 };

static const struct log_ctx log_control = {.module = "control"};

struct control {
    struct loop *loop;
    struct lane *misc;
    const char *dir;
    char *aliases; /* smtp.global_aliases */
    const struct directory_conf *directory;
    struct store *store;
    struct guard *guard;
    void (*on_revoked)(void *ctx, struct str account);
    void *revoked_ctx;
    void (*on_queue)(void *ctx, struct str site_or_domain, bool flush);
    void *queue_ctx;
    void (*on_reports)(void *ctx);
    void *reports_ctx;
    unsigned open;
    struct list streams;
    bool stopping;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
    struct loop_defer defer;
};

struct request { /* one connection */
    struct control *control;
    struct conn *conn; /* NULL once closed */
    bool running;
    struct job job;
    char *text;
    char *aliases; /* of the control, as it began */
    char *answer;
    char *revoked; /* the account whose sessions are to end; or NULL */
    struct admin_queue queue;
    bool reports;
};

static void report_stopped(void *ctx)
{
    struct control *c = ctx;

    c->on_stopped(c->stopped_ctx);
}

static void request_free(struct request *r)
{
    struct control *c = r->control;

    mem_free(r->text);
    mem_free(r->aliases);
    mem_free(r->revoked);
    mem_free(r->queue.of);
    free(r->answer);
    mem_free(r);
    if (--c->open == 0 && c->stopping)
        loop_defer(c->loop, &c->defer);
}

/* ---- running it */
/* JSON is UTF-8; a name in the text may have been cut within a character. */
static json_t *answer_error(int code, const struct err *err)
{
    char text[sizeof err->text];

    memcpy(text, err->text, sizeof text);
    if (!text_utf8_valid(str_from(text))) {
        for (char *p = text; *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
    }
    return json_pack("{si ss}", "exit", code, "error", text);
}

static json_t *answer_call(struct admin_call *call, json_t *request)
{
    const char *argv[WORDS_MAX];
    json_t *list = json_object_get(request, "argv"), *answer;
    size_t n = json_array_size(list);
    int code;

    for (size_t i = 0; i < n && i < WORDS_MAX; i++) {
        argv[i] = json_string_value(json_array_get(list, i));
        if (!argv[i])
            n = WORDS_MAX + 1;
    }
    if (n > WORDS_MAX) {
        err_set(&call->err, ERR_PROTO, ERR_WHY_OTHER, "malformed request");
        return answer_error(ADMIN_USAGE, &call->err);
    }
    call->password = json_string_value(json_object_get(request, "password"));
    call->file = json_string_value(json_object_get(request, "file"));
    code = admin_run(argv, n, call);
    answer = code ? answer_error(code, &call->err) : json_pack("{si}", "exit", code);
    if (call->result)
        json_object_set_new(answer, "result", call->result);
    if (call->more)
        json_object_set_new(answer, "more", json_string(call->more));
    mem_free(call->more);
    call->more = NULL;
    return answer;
}

static json_t *answer_nobody(json_t *instead_of, const char *why)
{
    struct err err;

    json_decref(instead_of);
    err_set(&err, ERR_PERM, ERR_WHY_OTHER, "%s", why);
    return answer_error(ADMIN_REFUSED, &err);
}

json_t *control_answer(const char *dir, const struct directory_conf *directory,
                       const char *global_aliases, struct store *store, struct guard *guard,
                       json_t *request)
{
    struct admin_call call = {.dir = dir,
                              .directory = directory,
                              .global_aliases = global_aliases,
                              .store = store,
                              .guard = guard};
    json_t *answer = answer_call(&call, request);

    if (call.reports)
        answer = answer_nobody(answer, "posthouse isn't running: nobody would send them");
    if (call.revoked && revoked_tell_wait(store, str_from(call.revoked), &call.err)) {
        json_decref(answer);
        (void)err_context(&call.err, "it is done, but sessions at other nodes may go on");
        answer = answer_error(admin_exit_code(&call.err), &call.err);
    }
    mem_free(call.revoked);
    mem_free(call.queue.of);
    return answer;
}

bool control_on_loop(json_t *request)
{
    const char *group = json_string_value(json_array_get(json_object_get(request, "argv"), 0));

    return group && admin_on_loop(group);
}

static void request_answer(struct request *r, struct guard *guard)
{
    json_t *request = json_loads(r->text, JSON_REJECT_DUPLICATES, NULL), *answer;
    struct admin_call call = {.dir = r->control->dir,
                              .directory = r->control->directory,
                              .global_aliases = r->aliases,
                              .store = r->control->store,
                              .guard = guard,
                              .serving = true};

    answer = answer_call(&call, request);
    r->revoked = call.revoked;
    r->queue = call.queue;
    r->reports = call.reports;
    if (call.reports && !r->control->on_reports)
        answer = answer_nobody(answer, "no mail leaves this server");
    r->answer = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    json_decref(request);
}

static void request_run(struct job *j, void *worker)
{
    (void)worker;
    request_answer(CONTAINER_OF(j, struct request, job), NULL);
}

static void request_done(struct job *j)
{
    struct request *r = CONTAINER_OF(j, struct request, job);

    if (r->revoked && r->control->on_revoked)
        r->control->on_revoked(r->control->revoked_ctx, str_from(r->revoked));
    if (r->queue.changed && r->control->on_queue)
        r->control->on_queue(r->control->queue_ctx, str_from(r->queue.of), r->queue.flush);
    if (r->reports && r->control->on_reports)
        r->control->on_reports(r->control->reports_ctx);
    if (r->conn) {
        conn_write_str(r->conn, str_from(r->answer));
        conn_write_str(r->conn, STR("\n"));
        conn_close_flushed(&r->conn, LINGER_MS);
    }
    request_free(r);
}

/* ---- streams of mail */
struct stream {
    struct list link;
    struct control *control;
    struct import_session *session;
};

static void on_stream_end(void *ctx)
{
    struct stream *st = ctx;
    struct control *c = st->control;

    list_del(&st->link);
    mem_free(st);
    if (--c->open == 0 && c->stopping)
        loop_defer(c->loop, &c->defer);
}

/* The request's connection becomes a stream's. */
static void begin_stream(struct request *r, size_t line)
{
    struct control *c = r->control;
    struct stream *st = MEM_NEW(struct stream);
    struct conn *conn = r->conn;

    st->control = c;
    list_add(&c->streams, &st->link);
    c->open++;
    r->conn = NULL;
    request_free(r);
    conn_consume(conn, line + 1);
    st->session = import_session_start(&(struct import_server_env){.loop = c->loop,
                                                                   .store = c->store,
                                                                   .misc = c->misc,
                                                                   .dir = c->dir,
                                                                   .directory = c->directory},
                                       conn, on_stream_end, st);
}

/* ---- reading it */
static void request_take(struct request *r, struct str line)
{
    json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    bool on_loop = control_on_loop(request);
    bool stream = json_is_true(json_object_get(request, "stream"));

    json_decref(request);
    if (stream) {
        begin_stream(r, line.n);
        return;
    }
    r->text = str_dup_z(line);
    r->aliases = str_dup_z(str_from(r->control->aliases));
    r->job = (struct job){.run = request_run, .done = request_done};
    if (on_loop) {
        request_answer(r, r->control->guard);
        request_done(&r->job);
        return;
    }
    if (lane_submit(r->control->misc, &r->job) == 0) {
        r->running = true;
        conn_pause(r->conn);
        conn_set_timeout(r->conn, 0); /* it waits for us now, however long that takes */
        return;
    }
    conn_write_str(r->conn, STR("{\"exit\":75,\"error\":\"too many commands at once\"}\n"));
    conn_close_flushed(&r->conn, LINGER_MS);
    request_free(r);
}

static void request_drop(struct request *r)
{
    conn_close(&r->conn);
    if (!r->running)
        request_free(r);
}

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
    struct request *r = ctx;
    struct str in, line, rest;
    size_t at;

    if (ev != CONN_INPUT) {
        if (ev == CONN_CLOSED || ev == CONN_TIMEOUT || (ev == CONN_EOF && !r->running))
            request_drop(r);
        return;
    }
    in = conn_input(conn);
    if (r->running)
        return;
    if (!str_cut(in, '\n', &line, &rest)) {
        if (in.n >= REQUEST_MAX)
            request_drop(r);
        return;
    }
    if (str_chr(line, '\0', &at))
        request_drop(r);
    else
        request_take(r, line);
}

static void on_accept(void *ctx, struct conn *conn)
{
    struct control *c = ctx;
    const struct conn_peer *peer = conn_peer(conn);
    struct request *r;

    if (peer->uid != 0 && peer->uid != (int64_t)geteuid()) {
        log_warn(&log_control, "control_refused", L_INT("uid", peer->uid), L_INT("pid", peer->pid));
        conn_close(&conn);
        return;
    }
    r = MEM_NEW(struct request);
    r->control = c;
    r->conn = conn;
    c->open++;
    conn_set_max_input(conn, REQUEST_MAX);
    conn_set_timeout(conn, REQUEST_MS);
    conn_set_handler(conn, on_event, r);
}

struct control *control_new(struct loop *l, struct lane *misc, const char *dir, struct store *store,
                            struct guard *guard)
{
    struct control *c = MEM_NEW(struct control);

    c->loop = l;
    c->misc = misc;
    c->dir = dir;
    c->store = store;
    c->guard = guard;
    list_init(&c->streams);
    list_init(&c->defer.link);
    c->defer.fn = report_stopped;
    c->defer.ctx = c;
    return c;
}

void control_set_directory(struct control *c, const struct directory_conf *directory)
{
    c->directory = directory;
}

void control_set_aliases(struct control *c, const char *global_aliases)
{
    mem_free(c->aliases);
    c->aliases = str_dup_z(str_from(global_aliases));
}

void control_on_revoked(struct control *c, void (*fn)(void *ctx, struct str account), void *ctx)
{
    c->on_revoked = fn;
    c->revoked_ctx = ctx;
}

void control_on_queue(struct control *c,
                      void (*fn)(void *ctx, struct str site_or_domain, bool flush), void *ctx)
{
    c->on_queue = fn;
    c->queue_ctx = ctx;
}

void control_on_reports(struct control *c, void (*fn)(void *ctx), void *ctx)
{
    c->on_reports = fn;
    c->reports_ctx = ctx;
}

int control_start(struct control *c, struct listener *ln, struct err *err)
{
    struct listener_conf conf = {
        .name = "control", .max_conns = 32, .on_accept = on_accept, .ctx = c};

    return listener_start(ln, c->loop, &conf, err);
}

void control_stop(struct control *c, void (*on_stopped)(void *ctx), void *ctx)
{
    c->stopping = true;
    c->on_stopped = on_stopped;
    c->stopped_ctx = ctx;
    LIST_EACH(&c->streams, it)
    {
        import_session_stop(LIST_ITEM(it, struct stream, link)->session);
    }
    if (c->open == 0)
        loop_defer(c->loop, &c->defer);
}

void control_free(struct control **c)
{
    if (!*c)
        return;
    loop_defer_cancel(&(*c)->defer);
    mem_free((*c)->aliases);
    mem_free(*c);
    *c = NULL;
}
