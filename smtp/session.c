/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* session.c - the life of one connection: events in, lines to the commands, octets to the message,
 * its end. */
#include "smtp/session.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/commands.h"
#include "smtp/counts.h"
#include <stdio.h>

enum {
    COMMAND_CHUNK = 1024,
    LINGER_MS = 5000,
    PRESSED_MS = 10000 /* patience when nearly all connections, or all memory, are taken */
};

const char *smtp_state_name(enum smtp_state state)
{
    static const char *const names[] = {"connecting", "greeted", "ready",  "mail",
                                        "rcpt",       "bdat",    "sasl",   "tls",
                                        "data",       "chunk",   "ending", "closed"};
    return names[state];
}

struct smtp_session *smtp_session_ref(struct smtp_session *s)
{
    s->refs++;
    return s;
}

void smtp_session_unref(struct smtp_session **sp)
{
    struct smtp_session *s = *sp;
    *sp = NULL;
    if (!s || --s->refs)
        return;
    smtp_transaction_reset(s);
    chain_free(&s->chain);
    arena_free(&s->tx.arena);
    arena_free(&s->command);
    buf_fini(&s->held);
    timer_free(&s->delay);
    timer_free(&s->greeting);
    smtp_deadline_free(s);
    mem_free(s->rcpt_domains);
    mem_free(s->account);
    snapshot_unref(&s->snapshot);
    struct smtp_server *server = s->server;
    mem_free(s);
    server->alive--;
    if (server->stopping && !server->alive)
        loop_defer(server->conf.loop, &server->defer);
}

bool smtp_session_in_message(const struct smtp_session *s)
{
    return s->state == SMTP_DATA || s->state == SMTP_CHUNK || s->state == SMTP_BDAT ||
           s->state == SMTP_ENDING;
}

static uint64_t patience(const struct smtp_session *s, uint64_t ms)
{
    if (s->account || s->port->role == SMTP_LOCAL || guard_trusts(&s->guard) ||
        !(guard_pressed(s->server->conf.guard) || s->server->memory.pressed))
        return ms;
    return ms < PRESSED_MS ? ms : PRESSED_MS;
}

static uint64_t timeout_of(const struct smtp_session *s)
{
    switch (s->state) {
    case SMTP_DATA:
    case SMTP_CHUNK:
        return patience(s, s->conf->data_timeout);
    case SMTP_CONNECTING: /* conn limits the handshake itself */
    case SMTP_TLS:
    case SMTP_ENDING:
    case SMTP_CLOSED:
        return 0;
    default:
        return patience(s, s->conf->command_timeout);
    }
}

void smtp_session_retime(struct smtp_session *s)
{
    uint64_t ms = timeout_of(s);
    if (s->conn && ms != s->timeout_ms)
        conn_set_timeout(s->conn, ms);
    s->timeout_ms = ms;
}

void smtp_session_enter(struct smtp_session *s, enum smtp_state state)
{
    if (s->state == state)
        return;
    log_debug(&s->log, "state", L_Z("from", smtp_state_name(s->state)),
              L_Z("to", smtp_state_name(state)));
    s->state = state;
    smtp_session_retime(s);
}

void smtp_session_wait(struct smtp_session *s, unsigned wait)
{
    if (s->conn && !s->waits)
        conn_pause(s->conn);
    s->waits |= wait;
}

void smtp_session_resume(struct smtp_session *s, unsigned wait)
{
    if (!(s->waits & wait))
        return;
    s->waits &= ~wait;
    smtp_deadline_arm(s);
    if (s->conn && !s->waits)
        conn_resume(s->conn);
}

bool smtp_session_back(struct smtp_session *s)
{
    smtp_session_resume(s, SMTP_WAIT_WORK);
    return s->conn != NULL;
}

void smtp_session_close(struct smtp_session *s, const char *why)
{
    if (!s->conn)
        return;
    log_info(&s->log, "closed", L_Z("why", why), L_Z("listener", s->port->name),
             L_Z("ip", conn_peer(s->conn)->ip), L_Z("account", s->account ? s->account : ""),
             L_Z("tls", s->tls), L_UINT("messages", s->messages), L_UINT("errors", s->errors),
             L_Z("state", smtp_state_name(s->state)),
             L_UINT("ms", loop_now_ms(s->server->conf.loop) - s->opened_ms));
    smtp_count_end(s, conn_error(s->conn)->text[0] ? "broken" : why);
    if (s->held.n)
        conn_write_str(s->conn, buf_str(&s->held));
    if (s->delay)
        timer_stop(s->delay);
    timer_free(&s->greeting);
    smtp_deadline_free(s);
    smtp_auth_left(s);
    guard_leave(&s->guard);
    bool committing = s->state == SMTP_ENDING && (s->waits & SMTP_WAIT_WORK);
    conn_close_flushed(&s->conn, LINGER_MS);
    smtp_session_enter(s, SMTP_CLOSED);
    if (s->chain)
        chain_cancel(s->chain);
    if (!committing) /* else the operation has it until its answer; see unref */
        smtp_transaction_reset(s);
    list_del(&s->link);
    s->server->open--;
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
}

void smtp_session_close_421(struct smtp_session *s, const char *status, const char *text,
                            const char *why)
{
    if (!s->conn)
        return;
    if (s->state != SMTP_CONNECTING && s->state != SMTP_TLS)
        smtp_reply(s, 421, status, "%s", text);
    smtp_session_close(s, why);
}

void smtp_session_forget_client(struct smtp_session *s)
{
    smtp_transaction_reset(s);
    s->helo[0] = '\0';
    s->esmtp = false;
    s->line = (struct smtp_line){0};
    s->line_ms = 0;
}

/* ---- Input */

static void bad_line(struct smtp_session *s, bool too_long)
{
    struct smtp_refusal why = {0};
    if (too_long)
        smtp_refuse(&why, 500, "5.5.2", "Line too long");
    else
        smtp_refuse(&why, 500, "5.5.2",
                    "A line ends with CR LF and holds neither of them, nor NUL");
    if (s->state == SMTP_SASL) { /* the exchange is over (RFC 4954 4) */
        smtp_auth_left(s);
        smtp_session_enter(s, SMTP_READY);
    }
    smtp_refuse_command(s, "line", STR_NULL, &why);
}

/* false: more input is needed. */
static bool take_line(struct smtp_session *s, struct str in)
{
    struct str line;
    size_t used;
    enum smtp_line_end end =
        smtp_line_take(&s->line, in, s->state == SMTP_SASL ? SASL_LINE_MAX : 0, &line, &used);
    if (s->state != SMTP_SASL)
        arena_clear(s->command);
    if (end == SMTP_LINE_OK)
        line = arena_str(s->command, line); /* the view ends with the consumption */
    conn_consume(s->conn, used);
    if (end == SMTP_LINE_MORE) {
        if (!s->line_ms) {
            s->line_ms = loop_now_ms(s->server->conf.loop);
            smtp_deadline_arm(s);
        }
        return false;
    }
    s->line_ms = 0;
    if (s->revoked && !smtp_session_in_message(s)) { /* RSET has ended its message */
        smtp_session_close_421(s, "4.7.0", "Your login is no longer valid", "revoked");
        return false;
    }
    if (end != SMTP_LINE_OK)
        bad_line(s, end == SMTP_LINE_TOO_LONG);
    else if (s->state == SMTP_SASL)
        smtp_auth_line(s, line);
    else
        smtp_command_run(s, line);
    return true;
}

static void take_input(struct smtp_session *s)
{
    bool more = true;
    while (more && s->conn && !s->waits && s->state != SMTP_TLS && s->state != SMTP_CONNECTING) {
        struct str in = conn_input(s->conn);
        if (!in.n)
            break;
        if (smtp_deadline_over(s))
            break;
        if (s->state == SMTP_DATA)
            smtp_data_input(s, in);
        else if (s->state == SMTP_CHUNK)
            smtp_chunk_input(s, in);
        else
            more = take_line(s, in);
    }
    if (s->conn && s->eof && !s->waits)
        smtp_session_close(s, "eof");
}

static void greet_now(void *session)
{
    struct smtp_session *s = session;
    smtp_session_enter(s, SMTP_GREETED);
    smtp_session_resume(s, SMTP_WAIT_DELAY);
    if (s->server->stopping)
        smtp_session_close_421(s, "4.3.2", "Shutting down", "stopping");
    else
        smtp_reply(s, 220, NULL, "%s %s", s->server->hostname, s->conf->banner);
}

/* RFC 5321 3.1: the client waits for the greeting. Submission is spared: its users wait as well. */
static void greet_later(struct smtp_session *s)
{
    if (!s->conf->greet_delay || s->port->role == SMTP_SUBMISSION || s->port->role == SMTP_LOCAL ||
        guard_trusts(&s->guard)) {
        greet_now(s);
        return;
    }
    s->greeting = timer_new(s->server->conf.loop, greet_now, s);
    timer_start(s->greeting, s->conf->greet_delay);
}

static void talks_early(struct smtp_session *s)
{
    guard_fault(&s->guard, GUARD_ERROR);
    log_info(&s->log, "early_talker", L_Z("ip", s->ip));
    if (s->conf->early_talker == SMTP_EARLY_IGNORE) {
        smtp_session_wait(s, SMTP_WAIT_DELAY);
        return;
    }
    smtp_session_enter(s, SMTP_GREETED);
    smtp_reply(s, 554, "5.5.1", "Wait for the greeting before you talk");
    smtp_session_close(s, "early");
}

static bool admit(struct smtp_session *s, struct guard_text *why)
{
    if (s->port->role == SMTP_LOCAL) /* who may connect says the socket's mode */
        s->admitted = true;
    if (!s->admitted)
        s->admitted = guard_connect(s->server->conf.guard, &s->guard, conn_peer(s->conn)->ip,
                                    s->port->role != SMTP_RECEPTION, why) == GUARD_OK;
    return s->admitted;
}

static void greet(struct smtp_session *s)
{
    struct guard_text why;
    snprintf(s->ip, sizeof s->ip, "%s", conn_peer(s->conn)->ip);
    conn_tls_text(s->conn, s->tls, sizeof s->tls);
    if (admit(s, &why)) { /* asked here for a client behind a proxy, else at accept */
        smtp_filter(s, PH_CONNECT, greet_later);
        return;
    }
    smtp_session_enter(s, SMTP_GREETED);
    smtp_session_close_421(s, "4.7.0", why.z, "refused");
}

static void on_timeout(struct smtp_session *s)
{
    if (s->waits & ~SMTP_WAIT_OUTPUT) /* it waits for us */
        return;
    smtp_session_close_421(s, "4.4.2", "Nothing came for too long", "timeout");
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    switch (ev) {
    case CONN_OPEN:
        greet(s);
        break;
    case CONN_TLS:
        conn_tls_text(c, s->tls, sizeof s->tls);
        smtp_session_forget_client(s);
        smtp_session_enter(s, SMTP_GREETED);
        break;
    case CONN_INPUT:
        if (s->greeting && s->state == SMTP_CONNECTING)
            talks_early(s);
        else
            take_input(s);
        break;
    case CONN_DRAINED:
        smtp_session_resume(s, SMTP_WAIT_OUTPUT);
        break;
    case CONN_TIMEOUT:
        on_timeout(s);
        break;
    case CONN_EOF:
        s->eof = true;
        take_input(s);
        break;
    case CONN_CLOSED:
        smtp_session_close(s, conn_error(c)->text[0] ? conn_error(c)->text : "reset");
        break;
    }
    smtp_session_unref(&s);
}

bool smtp_admit(void *smtp_port, const char *ip, struct listener_farewell *bye)
{
    const struct smtp_port *port = smtp_port;
    struct guard_text why;
    if (port->role == SMTP_LOCAL)
        return true;
    if (guard_check(port->server->conf.guard, ip, port->role != SMTP_RECEPTION, &why) == GUARD_OK)
        return true;
    if (!port->implicit_tls)
        bye->n = (size_t)snprintf(bye->text, sizeof bye->text, "421 4.7.0 %s\r\n", why.z);
    return false;
}

void smtp_on_accept(void *smtp_port, struct conn *c)
{
    struct smtp_port *port = smtp_port;
    struct smtp_session *s = MEM_NEW(struct smtp_session);
    s->server = port->server;
    s->conf = port->server->conf.smtp;
    s->relay = port->server->conf.relay;
    s->snapshot = snapshot_ref(port->server->conf.snapshot);
    s->port = port;
    s->conn = c;
    s->refs = 1;
    struct guard_text why;
    if (!conn_peer(c)->proxied)
        admit(s, &why);
    s->log = (struct log_ctx){.module = "smtp", .sid = store_new_id(port->server->conf.store)};
    s->submitting = port->role == SMTP_SUBMISSION || port->role == SMTP_LOCAL;
    s->command = arena_new(COMMAND_CHUNK);
    s->opened_ms = loop_now_ms(port->server->conf.loop);
    list_add(&port->server->sessions, &s->link);
    port->server->open++;
    smtp_count_open();
    port->server->alive++;
    conn_set_handler(c, on_event, s);
}
