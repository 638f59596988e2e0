/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* source.h - an IMAP server that plays a script, in the loop that the client turns. A script is a
 * list of steps, over as many connections as the client makes:
 *   ">text"   the server says this (text only: CRLF is added)
 *   "<text"   it waits for this line; "<text*": for one that begins so
 *   "CLOSE"   it ends the connection: the next steps are of the next one
 * What the client doesn't do isn't waited for by time: after PATIENCE_MS without an event the test
 * fails. */
#ifndef PH_TESTS_IMAP_SOURCE_H
#define PH_TESTS_IMAP_SOURCE_H
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/listener.h"
#include "imap/client/client.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the four above first
#include <cmocka.h>

enum { SOURCE_PATIENCE_MS = 120000 };
#define SOURCE_HELLO                                                                               \
    ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",                                       \
        "<P1 AUTHENTICATE PLAIN AHVzZXIAcHc=", ">P1 OK [CAPABILITY IMAP4rev1] in"

struct source {
    struct loop *loop;
    struct listener *listener;
    struct conn *host;
    const char *const *script;
    size_t at;
    unsigned connections;
    struct timer *patience;
    struct imap_client_conf conf;
    struct imap_client *client;
    struct err err;
};
static const char *const source_ips[] = {"127.0.0.1"};

static inline void source_impatient(void *ctx)
{
    struct source *s = ctx;
    fail_msg("nothing happened; the script is at %zu: %s", s->at,
             s->script[s->at] ? s->script[s->at] : "(its end)");
}

static inline bool source_expect(struct source *s, const char *want)
{
    struct str in = conn_input(s->host), line;
    size_t at, n = strlen(want);

    if (!str_chr(in, '\n', &at))
        return false;
    assert_true(at > 0 && in.p[at - 1] == '\r');
    line = str_take(in, at - 1);
    if (n && want[n - 1] == '*' ? !str_starts(line, str_of(want, n - 1))
                                : !str_eq(line, str_from(want)))
        fail_msg("step %zu: wanted %s, got " STR_FMT, s->at, want, STR_ARG(line));
    conn_consume(s->host, at + 1);
    return true;
}

static inline void source_go(struct source *s)
{
    for (; s->host && s->script[s->at]; s->at++) {
        const char *step = s->script[s->at];
        if (step[0] == '<' && !source_expect(s, step + 1))
            return;
        if (step[0] == '>') {
            conn_write_str(s->host, str_from(step + 1));
            conn_write_str(s->host, STR("\r\n"));
        } else if (strcmp(step, "CLOSE") == 0)
            conn_close_flushed(&s->host, 10000);
    }
}

static inline void source_on_host(void *ctx, struct conn *c, enum conn_event ev)
{
    struct source *s = ctx;

    (void)c;
    timer_start(s->patience, SOURCE_PATIENCE_MS);
    if (ev == CONN_OPEN || ev == CONN_INPUT)
        source_go(s);
    else if (ev == CONN_EOF || ev == CONN_CLOSED)
        conn_close(&s->host);
}

static inline void source_on_accept(void *ctx, struct conn *c)
{
    struct source *s = ctx;

    assert_null(s->host);
    s->host = c;
    s->connections++;
    conn_set_handler(c, source_on_host, s);
}

static inline void source_init(struct source *s, const char *const *script)
{
    const struct listener_conf conf = {.on_accept = source_on_accept, .ctx = s};

    *s = (struct source){.script = script};
    log_set_fd(-1);
    s->loop = loop_new();
    s->patience = timer_new(s->loop, source_impatient, s);
    timer_start(s->patience, SOURCE_PATIENCE_MS);
    assert_int_equal(listener_open("127.0.0.1", 0, &s->listener, &s->err), 0);
    assert_int_equal(listener_start(s->listener, s->loop, &conf, &s->err), 0);
    s->conf = (struct imap_client_conf){.loop = s->loop,
                                        .host = "localhost",
                                        .ips = source_ips,
                                        .n_ips = 1,
                                        .port = listener_port(s->listener),
                                        .use = IMAP_TLS_MAY,
                                        .user = "user",
                                        .password = "pw"};
}

static inline int source_connect(struct source *s)
{
    imap_client_close(&s->client);
    err_clear(&s->err);
    return imap_client_open(&s->conf, &s->client, &s->err);
}

static inline void source_fini(struct source *s)
{
    if (s->script[s->at])
        fail_msg("not played to its end: %zu: %s", s->at, s->script[s->at]);
    imap_client_close(&s->client);
    if (s->host)
        conn_close(&s->host);
    listener_stop(&s->listener);
    timer_free(&s->patience);
    for (int i = 0; i < 10; i++)
        loop_turn(s->loop, false);
    loop_free(&s->loop);
}
#endif
