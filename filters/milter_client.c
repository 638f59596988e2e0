/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_client.c - one connection to one milter. */
#include "filters/milter_client.h"
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/io/conn.h"
#include <stdarg.h>
#include <stdio.h>

enum { QUIT_MS = 1000, ROOM = 256 << 10 };

enum state { CLOSED, CONNECTING, NEGOTIATING, READY };

struct milter_client {
    struct loop *loop;
    struct milter_endpoint endpoint;
    struct milter_times times;
    struct milter_events events;
    void *ctx;
    enum state state;
    struct conn *conn;
    struct timer *timer;
    struct loop_defer begun; /* tells of a failure to connect, later */
    char early[200];
    struct arena *arena; /* of the terms */
    struct milter_terms terms;
    bool awaits, content, full;
    const char *command; /* the one that is to be answered */
};

/* ---- Its end. */

void milter_client_close(struct milter_client *c, bool politely)
{
    struct buf quit;

    timer_stop(c->timer);
    loop_defer_cancel(&c->begun);
    if (c->conn && politely && c->state == READY && !c->awaits) {
        buf_init(&quit, 16);
        milter_put(&quit, MILTER_QUIT, STR_NULL);
        conn_write_str(c->conn, buf_str(&quit));
        buf_fini(&quit);
        conn_close_flushed(&c->conn, QUIT_MS);
    }
    conn_close(&c->conn);
    c->state = CLOSED;
    c->awaits = c->full = false;
}

__attribute__((format(printf, 2, 3))) static void failed(struct milter_client *c, const char *fmt,
                                                         ...)
{
    char why[400];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    milter_client_close(c, false);
    c->events.on_failed(c->ctx, why);
}

static void on_time(void *ctx)
{
    struct milter_client *c = ctx;
    unsigned long long ms = c->state != READY ? c->times.command_ms
                            : c->content      ? c->times.content_ms
                                              : c->times.command_ms;

    failed(c, "it did not answer %s within %llu ms", c->command, ms);
}

/* ---- What it says. */

static void agree(struct milter_client *c, struct milter_packet p)
{
    struct err err = {0};

    arena_clear(c->arena);
    p.data = arena_str(c->arena, p.data); /* the names of macros point into it */
    if (milter_read_terms(p, &c->terms, &err)) {
        failed(c, "%s", err.text);
        return;
    }
    timer_stop(c->timer);
    c->awaits = false;
    c->state = READY;
    c->events.on_ready(c->ctx);
}

static void answered(struct milter_client *c, const struct milter_packet *p)
{
    struct milter_answer a;
    struct err err = {0};

    if (!c->awaits) {
        failed(c, "it said something without being asked");
        return;
    }
    if (milter_read_answer(*p, c->terms.actions, &a, &err)) {
        failed(c, "to %s: %s", c->command, err.text);
        return;
    }
    if (a.what >= MILTER_PROGRESS && !c->content && a.what != MILTER_PROGRESS) {
        failed(c, "it wants changes before the end of the message, to %s", c->command);
        return;
    }
    if (a.what >= MILTER_PROGRESS) { /* it is alive */
        timer_start(c->timer, c->content ? c->times.content_ms : c->times.command_ms);
    } else {
        timer_stop(c->timer);
        c->awaits = false;
    }
    c->events.on_answer(c->ctx, &a);
}

static void take_input(struct milter_client *c)
{
    struct conn *conn = conn_ref(c->conn);
    struct milter_packet p;
    size_t n = 0;

    while (c->conn == conn) {
        enum milter_take take = milter_take(conn_input(conn), &p, &n);
        if (take == MILTER_MORE)
            break;
        if (take == MILTER_BROKEN)
            failed(c, "it sent a packet of impossible length");
        else if (c->state == NEGOTIATING)
            agree(c, p);
        else
            answered(c, &p);
        if (c->conn == conn)
            conn_consume(conn, n);
    }
    conn_unref(&conn);
}

static void on_open(struct milter_client *c)
{
    struct buf out;

    buf_init(&out, 64);
    milter_put_terms(&out);
    conn_write_str(c->conn, buf_str(&out));
    buf_fini(&out);
    c->state = NEGOTIATING;
    milter_client_await(c, "the negotiation", false);
}

static void ended(struct milter_client *c, const char *how)
{
    char why[400];

    if (c->state != READY) {
        failed(c, "%s", how);
        return;
    }
    snprintf(why, sizeof why, "%.300s%s%s", how, c->awaits ? ", instead of an answer to " : "",
             c->awaits ? c->command : "");
    milter_client_close(c, false);
    c->events.on_lost(c->ctx, why);
}

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
    struct milter_client *c = ctx;

    if (ev == CONN_OPEN) {
        on_open(c);
    } else if (ev == CONN_INPUT) {
        take_input(c);
    } else if (ev == CONN_DRAINED && c->full) {
        c->full = false;
        if (!c->awaits)
            timer_stop(c->timer);
        c->events.on_room(c->ctx);
    } else if (ev == CONN_EOF) {
        ended(c, "it closed the connection");
    } else if (ev == CONN_CLOSED) {
        ended(c, conn_error(conn) ? conn_error(conn)->text : "the connection broke");
    }
}

/* ---- Its beginning. */

static void on_early(void *ctx)
{
    struct milter_client *c = ctx;
    char why[sizeof c->early];

    memcpy(why, c->early, sizeof why);
    failed(c, "%s", why);
}

void milter_client_open(struct milter_client *c, const char *ip)
{
    const struct milter_endpoint *e = &c->endpoint;
    struct err err = {0};
    int rc;

    milter_client_close(c, false);
    c->state = CONNECTING;
    if (e->path[0]) {
        rc = conn_connect_unix(c->loop, e->path, &c->conn, &err);
    } else {
        const struct conn_target t = {
            .ip = ip ? ip : e->host, .port = e->port, .timeout_ms = c->times.connect_ms};
        rc = conn_connect(c->loop, &t, &c->conn, &err);
    }
    if (rc) {
        snprintf(c->early, sizeof c->early, "%.190s", err.text);
        loop_defer(c->loop, &c->begun);
        return;
    }
    conn_set_max_input(c->conn, ROOM);
    conn_set_handler(c->conn, on_event, c);
}

struct milter_client *milter_client_new(struct loop *l, const struct milter_endpoint *e,
                                        const struct milter_times *t,
                                        const struct milter_events *events, void *ctx)
{
    struct milter_client *c = MEM_NEW(struct milter_client);

    *c = (struct milter_client){
        .loop = l, .endpoint = *e, .times = *t, .events = *events, .ctx = ctx};
    c->arena = arena_new(0);
    c->timer = timer_new(l, on_time, c);
    c->begun = (struct loop_defer){.fn = on_early, .ctx = c};
    list_init(&c->begun.link);
    return c;
}

void milter_client_free(struct milter_client **cp)
{
    struct milter_client *c = *cp;

    if (!c)
        return;
    *cp = NULL;
    milter_client_close(c, true);
    timer_free(&c->timer);
    arena_free(&c->arena);
    mem_free(c);
}

/* ---- Use. */

bool milter_client_is_open(const struct milter_client *c)
{
    return c->state == READY;
}

const struct milter_terms *milter_client_terms(const struct milter_client *c)
{
    return &c->terms;
}

void milter_client_send(struct milter_client *c, struct str packets)
{
    CHECK(c->state == READY);
    c->full = conn_write_str(c->conn, packets) == CONN_FULL;
    if (c->full && !c->awaits) {
        c->command = "by taking what it is sent";
        c->content = false;
        timer_start(c->timer, c->times.command_ms);
    }
}

bool milter_client_full(const struct milter_client *c)
{
    return c->full;
}

void milter_client_await(struct milter_client *c, const char *command, bool content)
{
    c->awaits = true;
    c->command = command;
    c->content = content;
    timer_start(c->timer, content ? c->times.content_ms : c->times.command_ms);
}

bool milter_client_awaits(const struct milter_client *c)
{
    return c->awaits;
}
