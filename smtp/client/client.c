/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/client.h"

#include "smtp/client/client_private.h"
#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, LINE_MAX_OUT = 16384 };

/* RFC 5321 4.5.3.2. It has no word about connect and EHLO; the handshake has conn's limit. */
static const struct {
    const char *name;
    size_t at;
    uint64_t ms;
} stages[STAGES] = {
    [STAGE_CONNECT] = {"connect", offsetof(struct smtp_timeouts, connect), 30 * SECOND},
    [STAGE_HANDSHAKE] = {"STARTTLS", SIZE_MAX, 0},
    [STAGE_GREETING] = {"greeting", offsetof(struct smtp_timeouts, greeting), 5 * MINUTE},
    [STAGE_EHLO] = {"EHLO", offsetof(struct smtp_timeouts, helo), 5 * MINUTE},
    [STAGE_STARTTLS] = {"STARTTLS", offsetof(struct smtp_timeouts, helo), 2 * MINUTE},
    [STAGE_AUTH] = {"AUTH", offsetof(struct smtp_timeouts, helo), 2 * MINUTE},
    [STAGE_IDLE] = {"idle", SIZE_MAX, 0},
    [STAGE_MAIL] = {"MAIL", offsetof(struct smtp_timeouts, mail), 5 * MINUTE},
    [STAGE_RCPT] = {"RCPT", offsetof(struct smtp_timeouts, rcpt), 5 * MINUTE},
    [STAGE_DATA] = {"DATA", offsetof(struct smtp_timeouts, data), 2 * MINUTE},
    [STAGE_BLOCK] = {"DATA", offsetof(struct smtp_timeouts, block), 3 * MINUTE},
    [STAGE_END] = {"end", offsetof(struct smtp_timeouts, end), 10 * MINUTE},
    [STAGE_QUIT] = {"QUIT", offsetof(struct smtp_timeouts, quit), 5 * SECOND},
};

/* What a reply means; NULL: none is awaited. */
static void (*const on_reply[CLIENT_STATES])(struct smtp_client *) = {
    [CLIENT_GREETING] = client_on_greeting, [CLIENT_EHLO] = client_on_ehlo,
    [CLIENT_HELO] = client_on_helo,         [CLIENT_STARTTLS] = client_on_starttls,
    [CLIENT_AUTH] = client_on_auth,         [CLIENT_ENVELOPE] = client_on_envelope,
    [CLIENT_DATA] = client_on_data,         [CLIENT_END] = client_on_data,
    [CLIENT_NOTHING] = client_on_nothing,
};

const char *client_stage_name(enum client_stage stage)
{
    return stages[stage].name;
}

uint64_t client_limit(const struct smtp_client *c, enum client_stage stage)
{
    uint64_t ms = 0;
    if (stages[stage].at != SIZE_MAX)
        memcpy(&ms, (const char *)&c->timeouts + stages[stage].at, sizeof ms);
    return ms ? ms : stages[stage].ms;
}

void client_await(struct smtp_client *c, enum client_state state, enum client_stage stage)
{
    uint64_t ms = stage == STAGE_CONNECT ? 0 : client_limit(c, stage); /* there conn has it */
    c->state = state;
    c->stage = stage;
    if (ms)
        timer_start(c->timer, ms);
    else
        timer_stop(c->timer);
}

void client_say(struct smtp_client *c, const char *fmt, ...)
{
    struct buf line;
    va_list ap;
    buf_init(&line, LINE_MAX_OUT);
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    log_debug(&c->log, "says", L_Z("host", c->host), L_STR("line", buf_str(&line)));
    buf_add_z(&line, "\r\n");
    CHECK(buf_ok(&line));
    conn_write_str(c->conn, buf_str(&line));
    buf_fini(&line);
}

void client_say_secret(struct smtp_client *c, const char *verb, struct str secret)
{
    log_debug(&c->log, "says", L_Z("host", c->host), L_Z("line", verb[0] ? verb : "(secret)"));
    conn_write_str(c->conn, str_from(verb));
    if (verb[0] && secret.n)
        conn_write(c->conn, " ", 1);
    conn_write_str(c->conn, secret);
    conn_write(c->conn, "\r\n", 2);
}

/* ---- the end ---- */

static void client_unref(struct smtp_client *c)
{
    if (--c->refs > 0)
        return;
    CHECK(!c->conn && !c->login && !c->t.mail);
    tls_ctx_unref(&c->tls);
    smtp_answer_fini(&c->answer);
    arena_free(&c->mem);
    mem_free(c);
}

/* No event comes any more. */
static void stop(struct smtp_client *c, enum client_bye bye, const struct smtp_fault *why)
{
    c->state = CLIENT_OVER;
    timer_free(&c->timer);
    timer_free(&c->retry);
    loop_defer_cancel(&c->refused);
    client_login_free(c);
    if (bye == BYE_QUIT) {
        client_say(c, "QUIT");
        conn_close_flushed(&c->conn, client_limit(c, STAGE_QUIT));
    } else {
        conn_close(&c->conn);
    }
    client_count_end(c->counted, why->kind);
    char text[sizeof why->text + 64] = "";
    if (why->kind != SMTP_FAULT_NONE)
        smtp_fault_reply(why, text, sizeof text);
    log_info(&c->log, "closed", L_Z("host", c->host), L_Z("ip", c->ip), L_UINT("messages", c->sent),
             L_UINT("ms", loop_now_ms(c->loop) - c->began_ms), L_Z("stage", why->stage),
             L_Z("why", text));
}

void client_end(struct smtp_client *c, const struct smtp_fault *why, enum client_bye bye)
{
    struct smtp_fault fault = *why;
    if (c->state == CLIENT_OVER)
        return;
    c->refs++;
    stop(c, bye, &fault);
    client_mail_lost(c, &fault);
    if (!c->closed)
        c->events.on_closed(c->ctx, &fault);
    client_unref(c);
}

void client_end_by_reply(struct smtp_client *c, enum smtp_fault_kind kind, enum client_bye bye)
{
    struct smtp_fault fault;
    client_fault_of(&fault, kind, &c->answer, client_stage_name(c->stage));
    client_end(c, &fault, bye);
}

void client_end_for(struct smtp_client *c, enum smtp_fault_kind kind, const char *status,
                    enum client_bye bye, const char *fmt, ...)
{
    struct smtp_fault fault;
    char text[sizeof fault.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    client_fault(&fault, kind, status, client_stage_name(c->stage), "%s", text);
    client_end(c, &fault, bye);
}

void client_unexpected(struct smtp_client *c)
{
    client_end_for(c, SMTP_FAULT_HOST, "4.5.0", BYE_NOW, "answered %u where that means nothing: %s",
                   c->answer.code, c->answer.text.n ? buf_z(&c->answer.text) : "");
}

void smtp_client_close(struct smtp_client **cp)
{
    struct smtp_client *c = *cp;
    static const struct smtp_fault none;
    if (!c)
        return;
    *cp = NULL;
    c->closed = true;
    if (c->state != CLIENT_OVER)
        stop(c, c->state == CLIENT_IDLE && !c->t.mail ? BYE_QUIT : BYE_NOW, &none);
    client_mail_free(&c->t);
    client_unref(c);
}

/* ---- events ---- */

static void on_answer(struct smtp_client *c)
{
    bool secret = c->state == CLIENT_AUTH;
    log_debug(&c->log, "said", L_Z("host", c->host), L_UINT("code", c->answer.code),
              L_Z("status", c->answer.status),
              L_STR("text", secret ? STR("") : buf_str(&c->answer.text)));
    if (c->state == CLIENT_IDLE && !c->t.mail && c->answer.code / 100 == 4) {
        /* RFC 5321 3.8: it has waited long enough, and says so before it goes. */
        client_end(c, &(struct smtp_fault){.kind = SMTP_FAULT_NONE}, BYE_NOW);
        return;
    }
    if (c->answer.code == 421)
        client_end_by_reply(c, SMTP_FAULT_HOST, BYE_NOW);
    else if (on_reply[c->state])
        on_reply[c->state](c);
    else
        client_unexpected(c);
}

static void on_input(struct smtp_client *c)
{
    while (c->state != CLIENT_OVER) {
        struct str in = conn_input(c->conn);
        size_t used;
        if (in.n == 0)
            break;
        enum smtp_answer_got got = smtp_answer_take(&c->answer, in, &used);
        conn_consume(c->conn, used);
        if (got == SMTP_ANSWER_BAD)
            client_end_for(c, SMTP_FAULT_HOST, "4.5.0", BYE_NOW, "doesn't speak SMTP: %s",
                           c->answer.bad);
        else if (got == SMTP_ANSWER_WHOLE)
            on_answer(c);
    }
}

static void on_eof(struct smtp_client *c)
{
    if (c->state == CLIENT_IDLE && !c->t.mail)
        client_end(c, &(struct smtp_fault){.kind = SMTP_FAULT_NONE}, BYE_NOW);
    else
        client_end_for(c, SMTP_FAULT_HOST, "4.4.2", BYE_NOW, "closed the connection");
}

static void on_broken(struct smtp_client *c)
{
    const char *why = conn_error(c->conn)->text;
    if (c->state == CLIENT_IDLE && !c->t.mail)
        client_end(c, &(struct smtp_fault){.kind = SMTP_FAULT_NONE}, BYE_NOW);
    else if (c->state == CLIENT_HANDSHAKE) /* X.7.5: cryptographic failure */
        client_end_for(c, SMTP_FAULT_TLS, "4.7.5", BYE_NOW, "%s", why);
    else
        client_end_for(c, SMTP_FAULT_HOST, c->state == CLIENT_CONNECTING ? "4.4.1" : "4.4.2",
                       BYE_NOW, "%s", why);
}

static void on_open(struct smtp_client *c)
{
    if (c->use == SMTP_TLS_IMPLICIT)
        client_handshake(c);
    else
        client_await(c, CLIENT_GREETING, STAGE_GREETING);
}

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
    struct smtp_client *c = ctx;
    (void)conn;
    c->refs++;
    switch (ev) {
    case CONN_OPEN:
        on_open(c);
        break;
    case CONN_TLS:
        client_on_tls(c);
        break;
    case CONN_INPUT:
        on_input(c);
        break;
    case CONN_DRAINED:
        c->t.full = false;
        client_data_more(c);
        break;
    case CONN_TIMEOUT:
        break; /* never asked for: a peer that says a word now and then would live for ever */
    case CONN_EOF:
        on_eof(c);
        break;
    case CONN_CLOSED:
        on_broken(c);
        break;
    }
    client_unref(c);
}

static void on_late(void *ctx)
{
    struct smtp_client *c = ctx;
    uint64_t seconds = (client_limit(c, c->stage) + SECOND - 1) / SECOND;
    if (c->stage == STAGE_BLOCK)
        client_end_for(c, SMTP_FAULT_HOST, "4.4.2", BYE_NOW, "took nothing for %llu s",
                       (unsigned long long)seconds);
    else
        client_end_for(c, SMTP_FAULT_HOST, "4.4.2", BYE_NOW, "didn't answer within %llu s",
                       (unsigned long long)seconds);
}

static void on_retry(void *ctx)
{
    struct smtp_client *c = ctx;
    c->refs++;
    if (c->state == CLIENT_PROVING)
        client_login_retry(c);
    else
        client_data_more(c);
    client_unref(c);
}

/* ---- the beginning ---- */

static const char *keep_z(struct smtp_client *c, const char *z)
{
    return arena_str(c->mem, str_from(z)).p;
}

static void keep_demand(struct smtp_client *c, const struct tls_demand *d)
{
    size_t n = 0;
    c->demand = *d;
    while (d->names && d->names[n])
        n++;
    const char **names = ARENA_ARRAY(c->mem, const char *, n + 1);
    for (size_t i = 0; i < n; i++)
        names[i] = keep_z(c, d->names[i]);
    c->demand.names = names;
    struct tls_tlsa *tlsa = ARENA_ARRAY(c->mem, struct tls_tlsa, d->n_tlsa + 1);
    for (size_t i = 0; i < d->n_tlsa; i++) {
        tlsa[i] = d->tlsa[i];
        tlsa[i].data = arena_str(c->mem, d->tlsa[i].data);
    }
    c->demand.tlsa = tlsa;
}

int smtp_client_open(const struct smtp_client_conf *conf, const struct smtp_client_events *events,
                     void *ctx, struct smtp_client **out, struct err *err)
{
    struct conn_target target = conf->target;
    struct smtp_client *c = MEM_NEW(struct smtp_client);
    CHECK(conf->use == SMTP_TLS_OFF || conf->tls);
    *out = NULL;
    c->refs = 1;
    c->timeouts = conf->timeouts;
    if (conf->timeouts.connect || !target.timeout_ms)
        target.timeout_ms = client_limit(c, STAGE_CONNECT);
    if (conn_connect(conf->loop, &target, &c->conn, err) != 0) {
        mem_free(c);
        return -1;
    }
    c->loop = conf->loop;
    c->files = conf->files;
    c->mem = arena_new(0);
    c->host = keep_z(c, conf->host);
    c->hostname = keep_z(c, conf->hostname);
    snprintf(c->ip, sizeof c->ip, "%s", conf->target.ip);
    c->use = conf->use;
    c->tls = conf->tls ? tls_ctx_ref(conf->tls) : NULL;
    keep_demand(c, &conf->demand);
    c->credentials = conf->credentials;
    c->log = conf->log;
    c->events = *events;
    c->ctx = ctx;
    c->timer = timer_new(c->loop, on_late, c);
    c->retry = timer_new(c->loop, on_retry, c);
    c->refused = (struct loop_defer){.fn = client_on_refused, .ctx = c};
    c->began_ms = loop_now_ms(c->loop);
    smtp_answer_init(&c->answer);
    conn_set_handler(c->conn, on_event, c);
    client_count_open();
    client_await(c, CLIENT_CONNECTING, STAGE_CONNECT);
    *out = c;
    return 0;
}

const struct smtp_peer *smtp_client_peer(const struct smtp_client *c)
{
    return &c->peer;
}

bool smtp_client_at_end(const struct smtp_client *c)
{
    return c->state == CLIENT_END;
}

unsigned smtp_client_sent(const struct smtp_client *c)
{
    return c->sent;
}
