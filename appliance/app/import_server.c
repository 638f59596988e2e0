/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_server.c - the stream of an import or export, read on the loop: lines, and the text that
 * follows some of them. */
#include "appliance/app/import_session.h"
#include "appliance/base/log.h"
#include <stdlib.h>

enum { LINGER_MS = 10000 };

static const struct log_ctx log_import = {.module = "import"};

static void session_free(void *ctx)
{
    struct import_session *s = ctx;
    void (*on_end)(void *) = s->on_end;
    void *end_ctx = s->ctx;

    import_put_free(s);
    import_ask_free(s);
    arena_free(&s->target_mem);
    mem_free(s);
    on_end(end_ctx);
}

/* Only when nothing is under way: what a worker or the committer has is not ours. */
static void end_if_idle(struct import_session *s)
{
    if (s->conn || s->busy || s->feeding)
        return;
    loop_defer_cancel(&s->end);
    s->end.fn = session_free;
    s->end.ctx = s;
    s->busy = true; /* nothing else begins */
    loop_defer(s->env.loop, &s->end);
}

/* ---- Answers. */

void import_session_answer(struct import_session *s, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);

    json_decref(answer);
    if (s->conn && text) {
        conn_write_str(s->conn, str_from(text));
        conn_write_str(s->conn, STR("\n"));
    }
    free(text);
}

void import_session_refuse(struct import_session *s, const struct err *err)
{
    json_t *text = json_string(err->text);

    import_session_answer(s, json_pack("{so sb}", "error",
                                       text ? text : json_string("(a name that is not UTF-8)"),
                                       "temp", err->kind == ERR_TEMP));
}

void import_session_break(struct import_session *s, const char *why)
{
    if (!s->conn)
        return;
    log_warn(&log_import, "import-stream", L_Z("why", why));
    conn_close(&s->conn);
}

/* ---- Input. */

static void request(struct import_session *s, json_t *line)
{
    const char *what = json_string_value(json_object_get(line, "do"));

    if (!what)
        import_session_break(s, "a line without a request");
    else if (strcmp(what, "add") == 0)
        import_put(s, IMPORT_ADD, line);
    else if (strcmp(what, "flags") == 0)
        import_put(s, IMPORT_FLAGS, line);
    else if (strcmp(what, "remove") == 0)
        import_put(s, IMPORT_REMOVE, line);
    else if (!import_ask(s, what, line))
        import_session_break(s, "a request that isn't known");
}

/* Changes of messages go on while others are committed; all else waits until they are. */
static bool may_begin(const struct import_session *s, json_t *line)
{
    const char *what = json_string_value(json_object_get(line, "do"));
    bool put = what && (strcmp(what, "add") == 0 || strcmp(what, "flags") == 0 ||
                        strcmp(what, "remove") == 0);

    return put || (!s->busy && s->n_queue == 0);
}

static bool take_line(struct import_session *s, struct str in)
{
    struct str line, rest;
    json_t *v;
    bool taken;

    if (!str_cut(in, '\n', &line, &rest)) {
        if (in.n >= IMPORT_LINE_MAX)
            import_session_break(s, "a line that is too long");
        return false;
    }
    v = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(v)) {
        json_decref(v);
        import_session_break(s, "a line that is no JSON");
        return false;
    }
    taken = may_begin(s, v);
    if (taken) {
        conn_consume(s->conn, line.n + 1);
        request(s, v);
    }
    json_decref(v);
    return taken;
}

/* "65536", "0", "-" */
static bool take_chunk_head(struct import_session *s, struct str in)
{
    struct str line, rest;
    uint64_t n;

    if (!str_cut(str_take(in, 16), '\n', &line, &rest)) {
        if (in.n >= 16)
            import_session_break(s, "a chunk without its size");
        return false;
    }
    if (str_eq(line, STR("-"))) {
        conn_consume(s->conn, line.n + 1);
        import_put_end(s, true);
        return true;
    }
    if (str_to_u64(line, IMPORT_CHUNK_MAX, &n) != 0) {
        import_session_break(s, "a chunk without its size");
        return false;
    }
    conn_consume(s->conn, line.n + 1);
    s->chunk_left = n;
    if (n == 0)
        import_put_end(s, false);
    return true;
}

/* False: more is needed, or something must end first. */
static bool take_some(struct import_session *s)
{
    struct str in = conn_input(s->conn);

    if (in.n == 0 || s->sink_full || import_put_full(s))
        return false;
    if (!s->current)
        return take_line(s, in);
    if (s->chunk_left == 0)
        return take_chunk_head(s, in);
    in = str_take(in, s->chunk_left);
    s->chunk_left -= in.n;
    import_put_text(s, in);
    conn_consume(s->conn, in.n);
    return true;
}

void import_session_go_on(struct import_session *s)
{
    if (s->feeding)
        return;
    s->feeding = true;
    import_put_commit(s);
    while (s->conn && take_some(s))
        import_put_commit(s);
    s->feeding = false;
    end_if_idle(s);
}

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
    struct import_session *s = ctx;

    (void)conn;
    if (ev == CONN_DRAINED)
        import_ask_drained(s);
    if (ev == CONN_CLOSED || ev == CONN_EOF) {
        conn_close(&s->conn);
        import_ask_stop(s);
    }
    import_session_go_on(s);
}

struct import_session *import_session_start(const struct import_server_env *env, struct conn *conn,
                                            void (*on_end)(void *ctx), void *ctx)
{
    struct import_session *s = MEM_NEW(struct import_session);

    s->env = *env;
    s->conn = conn;
    s->on_end = on_end;
    s->ctx = ctx;
    list_init(&s->end.link);
    list_init(&s->queue);
    list_init(&s->batch_list);
    s->target_mem = arena_new(0);
    s->ask_mem = arena_new(0);
    buf_init(&s->ask.out, SIZE_MAX / 2);
    conn_set_max_input(conn, 2 * IMPORT_LINE_MAX);
    conn_set_timeout(conn, 0); /* the client may have much to read before it has something to say */
    conn_set_handler(conn, on_event, s);
    import_session_answer(s, json_pack("{sb}", "ok", 1));
    return s;
}

void import_session_stop(struct import_session *s)
{
    if (s->conn)
        conn_close_flushed(&s->conn, LINGER_MS);
    import_ask_stop(s);
    end_if_idle(s);
}
