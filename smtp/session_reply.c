/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* session_reply.c - what a client is told, and when: who makes errors waits longer and longer for
 * it, until there were too many. */
#include "appliance/base/mem.h"
#include "smtp/commands.h"
#include "smtp/counts.h"
#include "smtp/session.h"
#include <stdarg.h>
#include <stdio.h>

enum { HELD_MAX = 8192 };

static void send_held(void *ctx)
{
    struct smtp_session *s = ctx;
    if (!s->conn)
        return;
    conn_write_str(s->conn, buf_str(&s->held));
    buf_fini(&s->held);
    smtp_session_resume(s, SMTP_WAIT_DELAY);
}

static void queue_reply(struct smtp_session *s, struct str reply, uint64_t delay_ms)
{
    if (!delay_ms && !s->held.n) {
        if (conn_write_str(s->conn, reply) == CONN_FULL)
            smtp_session_wait(s, SMTP_WAIT_OUTPUT);
        return;
    }
    if (!s->held.n)
        buf_init(&s->held, HELD_MAX);
    buf_add_str(&s->held, reply);
    if (!delay_ms)
        return;
    if (!s->delay)
        s->delay = timer_new(s->server->conf.loop, send_held, s);
    timer_start(s->delay, delay_ms);
    smtp_session_wait(s, SMTP_WAIT_DELAY);
}

static uint64_t error_delay(const struct smtp_session *s)
{
    enum { LONGEST_MS = 10000 };
    int64_t over = (int64_t)s->errors - s->conf->soft_errors;
    uint64_t ms = over > 0 ? (uint64_t)over * s->conf->error_delay : 0;
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

void smtp_count_error(struct smtp_session *s)
{
    s->errors++;
    guard_fault(&s->guard, GUARD_ERROR);
}

void smtp_count_slow_error(struct smtp_session *s)
{
    smtp_count_error(s);
    s->slow = true;
}

static void reply(struct smtp_session *s, uint64_t delay_ms, unsigned code, const char *status,
                  struct str text)
{
    struct buf *out = &s->server->scratch;
    buf_clear(out);
    smtp_reply_format(out, code, status, text, s->tx.utf8);
    smtp_count_reply(s, code);
    if (code >= 500)
        smtp_count_error(s);
    if (code >= 500 || s->slow) {
        uint64_t ms = error_delay(s);
        delay_ms = delay_ms > ms ? delay_ms : ms;
    }
    s->slow = false;
    bool too_many = s->errors >= (unsigned)s->conf->hard_errors && code != 421;
    queue_reply(s, buf_str(out), too_many ? 0 : delay_ms);
    if (too_many)
        smtp_session_close_421(s, "4.7.0", "Too many errors", "errors");
}

void smtp_reply(struct smtp_session *s, unsigned code, const char *status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (!s->conn)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply(s, 0, code, status,
          str_of(text, n < 0                     ? 0
                       : (size_t)n < sizeof text ? (size_t)n
                                                 : sizeof text - 1));
}

void smtp_reply_after(struct smtp_session *s, uint64_t ms, unsigned code, const char *status,
                      const char *text)
{
    if (s->conn)
        reply(s, ms, code, status, str_from(text));
}

void smtp_refuse_command(struct smtp_session *s, const char *verb, struct str about,
                         const struct smtp_refusal *why)
{
    log_info(&s->log, "refused", L_Z("command", verb), L_STR("about", about),
             L_UINT("code", why->code), L_Z("status", why->status), L_Z("reason", why->text),
             L_Z("ip", s->conn ? conn_peer(s->conn)->ip : ""));
    smtp_count_refusal(verb, why);
    if (s->conn)
        reply(s, 0, why->code, why->status, str_from(why->text));
}
