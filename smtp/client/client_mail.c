/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/store/queue.h"
#include "smtp/client/client_private.h"
#include <stdio.h>

enum { PARAMS_MAX = 8192, ORCPT_MAX = 500 /* RFC 3461 4.2 */ };
enum command { COMMAND_RSET, COMMAND_MAIL, COMMAND_RCPT, COMMAND_DATA };

/* The commands of an envelope, in their order: RSET? MAIL RCPT... DATA? */
static size_t commands(const struct client_transaction *t)
{
    return t->reset + 1 + t->n + !(t->bdat || t->mail->probe);
}

static enum command command_at(const struct client_transaction *t, size_t i, size_t *rcpt_out)
{
    if (t->reset && i == 0)
        return COMMAND_RSET;
    i -= t->reset;
    if (i == 0)
        return COMMAND_MAIL;
    if (i > t->n)
        return COMMAND_DATA;
    *rcpt_out = t->order[i - 1];
    return COMMAND_RCPT;
}

static void say_mail(struct smtp_client *c)
{
    const struct smtp_client_mail *m = c->t.mail;
    unsigned can = c->peer.can;
    struct buf params;
    buf_init(&params, PARAMS_MAX);
    if ((can & SMTP_CAN_SIZE) && !m->probe) /* RFC 1870 6.1 */
        buf_printf(&params, " SIZE=%llu", (unsigned long long)(m->text.n + m->fd_size));
    if ((can & SMTP_CAN_8BITMIME) && (m->eight_bit || c->t.utf8))
        buf_add_z(&params, " BODY=8BITMIME");
    if (c->t.utf8)
        buf_add_z(&params, " SMTPUTF8");
    if ((can & SMTP_CAN_DSN) && m->ret != QUEUE_RET_DEFAULT)
        buf_add_z(&params, m->ret == QUEUE_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if ((can & SMTP_CAN_DSN) && m->envid.n > 0 && m->envid.n <= ORCPT_MAX) {
        buf_add_z(&params, " ENVID=");
        client_xtext(m->envid, &params);
    }
    if (m->requiretls)
        buf_add_z(&params, " REQUIRETLS");
    client_say(c, "MAIL FROM:<%.*s>%s", (int)m->sender.n, m->sender.n ? m->sender.p : "",
               buf_z(&params));
    buf_fini(&params);
}

static void add_notify(unsigned notify, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{QUEUE_NOTIFY_SUCCESS, "SUCCESS"},
                 {QUEUE_NOTIFY_FAILURE, "FAILURE"},
                 {QUEUE_NOTIFY_DELAY, "DELAY"}};
    const char *before = " NOTIFY=";
    if (notify & QUEUE_NOTIFY_NEVER) { /* RFC 3461 4.1: alone */
        buf_add_z(out, " NOTIFY=NEVER");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (notify & words[i].bit) {
            buf_printf(out, "%s%s", before, words[i].word);
            before = ",";
        }
}

static void say_rcpt(struct smtp_client *c, const struct smtp_client_rcpt *r)
{
    struct buf params, orcpt;
    buf_init(&params, PARAMS_MAX);
    buf_init(&orcpt, ORCPT_MAX);
    if (c->peer.can & SMTP_CAN_DSN) {
        add_notify(r->notify, &params);
        client_orcpt(r->orcpt, &orcpt);
        if (orcpt.n && buf_ok(&orcpt)) {
            buf_add_z(&params, " ORCPT=");
            buf_add_str(&params, buf_str(&orcpt));
        }
    }
    client_say(c, "RCPT TO:<%.*s>%s", (int)r->address.n, r->address.p, buf_z(&params));
    buf_fini(&params);
    buf_fini(&orcpt);
}

static void say_one(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    size_t rcpt = 0;
    switch (command_at(t, t->sent++, &rcpt)) {
    case COMMAND_RSET:
        client_say(c, "RSET");
        break;
    case COMMAND_MAIL:
        say_mail(c);
        break;
    case COMMAND_RCPT:
        say_rcpt(c, &t->mail->rcpts[rcpt]);
        break;
    case COMMAND_DATA:
        client_say(c, "DATA");
        break;
    }
}

static void await_next(struct smtp_client *c)
{
    static const enum client_stage stages[] = {[COMMAND_RSET] = STAGE_MAIL,
                                               [COMMAND_MAIL] = STAGE_MAIL,
                                               [COMMAND_RCPT] = STAGE_RCPT,
                                               [COMMAND_DATA] = STAGE_DATA};
    size_t rcpt;
    client_await(c, CLIENT_ENVELOPE, stages[command_at(&c->t, c->t.answered, &rcpt)]);
}

void smtp_client_send(struct smtp_client *c, struct smtp_client_mail *m)
{
    struct client_transaction *t = &c->t;
    CHECK(c->state == CLIENT_IDLE && !t->mail);
    *t = (struct client_transaction){.mail = m,
                                     .reset = c->dirty,
                                     .text = m->text,
                                     .bdat = (c->peer.can & SMTP_CAN_CHUNKING) != 0};
    t->order = mem_alloc((m->n_rcpts + 1) * sizeof *t->order);
    t->rcpt = mem_alloc((m->n_rcpts + 1) * sizeof *t->rcpt);
    m->reply[0] = '\0';
    m->relayed_dsn = false;
    client_check(c, t);
    if (t->n == 0) {
        loop_defer(c->loop, &c->refused);
        return;
    }
    do /* RFC 2920 3.1 */
        say_one(c);
    while ((c->peer.can & SMTP_CAN_PIPELINING) && t->sent < commands(t));
    await_next(c);
}

/* ---- how it ends ---- */

void client_decide(struct client_transaction *t, enum client_rcpt which,
                   const struct smtp_fault *fault)
{
    for (size_t i = 0; i < t->mail->n_rcpts; i++)
        if (t->rcpt[i] == which) {
            t->rcpt[i] = RCPT_DECIDED;
            t->mail->rcpts[i].fault = *fault;
        }
}

void client_mail_free(struct client_transaction *t)
{
    client_read_free(t);
    mem_free(t->order);
    mem_free(t->rcpt);
    *t = (struct client_transaction){.mail = NULL};
}

static void tell_sent(struct smtp_client *c)
{
    struct smtp_client_mail *m = c->t.mail;
    client_count_mail(&c->t);
    client_mail_free(&c->t);
    m->on_sent(c->ctx, m);
}

void client_finish(struct smtp_client *c, bool dirty)
{
    c->dirty = dirty;
    client_await(c, CLIENT_IDLE, STAGE_IDLE);
    tell_sent(c);
}

void client_on_refused(void *ctx)
{
    struct smtp_client *c = ctx;
    tell_sent(c);
}

void client_mail_lost(struct smtp_client *c, const struct smtp_fault *why)
{
    struct client_transaction *t = &c->t;
    struct smtp_fault fault = *why;
    if (!t->mail || c->closed)
        return;
    /* RFC 5321 4.5.3.2.6: the host may have it, or not. It is sent again: rather twice than never.
     * Another host of the site wouldn't know of the first copy. */
    if (t->whole && why->code != 421) {
        fault.kind = SMTP_FAULT_TEMP;
        snprintf(fault.status, sizeof fault.status, "4.4.2");
    }
    client_decide(t, RCPT_ACCEPTED, &fault);
    client_decide(t, RCPT_WAITS, why);
    tell_sent(c);
}

/* ---- replies ---- */

static void on_mail(struct smtp_client *c)
{
    struct smtp_fault fault;
    if (c->answer.code / 100 == 2) {
        c->t.mail_ok = true;
        return;
    }
    client_fault_of(&fault, client_kind_of(c->answer.code), &c->answer, "MAIL");
    client_decide(&c->t, RCPT_WAITS, &fault);
}

static void on_rcpt(struct smtp_client *c, size_t i)
{
    struct client_transaction *t = &c->t;
    struct smtp_fault *fault = &t->mail->rcpts[i].fault;
    if (t->rcpt[i] != RCPT_WAITS)
        return; /* MAIL was refused */
    if (c->answer.code / 100 == 2) {
        t->rcpt[i] = RCPT_ACCEPTED;
        t->accepted++;
        return;
    }
    t->rcpt[i] = RCPT_DECIDED;
    client_fault_of(fault, client_kind_of(c->answer.code), &c->answer, "RCPT");
    /* RFC 5321 4.5.3.1.10: 552 once meant that there are too many recipients. */
    if (c->answer.code == 552 && t->accepted > 0 &&
        (!c->answer.status[0] || strcmp(c->answer.status, "5.5.3") == 0)) {
        fault->kind = SMTP_FAULT_TEMP;
        snprintf(fault->status, sizeof fault->status, "4.5.3");
    }
}

static void on_data_reply(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    if (c->answer.code == 354 && t->accepted > 0) {
        client_data(c);
    } else if (c->answer.code == 354) { /* RFC 2920 3.1 */
        conn_write(c->conn, ".\r\n", 3);
        client_await(c, CLIENT_NOTHING, STAGE_END);
    } else {
        struct smtp_fault fault;
        client_fault_of(&fault, client_kind_of(c->answer.code), &c->answer, "DATA");
        client_decide(t, RCPT_ACCEPTED, &fault);
        client_finish(c, true);
    }
}

/* Who was accepted keeps that: the host forgets it with RSET, or QUIT. */
static void probed(struct smtp_client *c)
{
    static const struct smtp_fault none = {.kind = SMTP_FAULT_NONE};
    client_decide(&c->t, RCPT_ACCEPTED, &none);
    client_finish(c, true);
}

/* All that was said is answered: what comes next? */
static void go_on(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    bool envelope_done = t->answered == t->reset + 1 + t->n;
    if (t->reset + 1u > t->answered || (t->mail_ok && !envelope_done)) {
        say_one(c);
        await_next(c);
    } else if (t->accepted == 0) {
        client_finish(c, t->mail_ok);
    } else if (t->mail->probe) {
        probed(c);
    } else if (t->bdat) {
        client_data(c);
    } else {
        say_one(c);
        await_next(c);
    }
}

void client_on_envelope(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    unsigned class = c->answer.code / 100;
    size_t rcpt = 0;
    enum command command = command_at(t, t->answered, &rcpt);
    bool good = class >= 4;
    if (class == 2)
        good = command != COMMAND_DATA;
    else if (command == COMMAND_RSET)
        good = false;
    else if (class == 3)
        good = command == COMMAND_DATA && c->answer.code == 354;
    if (!good) {
        client_unexpected(c);
        return;
    }
    t->answered++;
    switch (command) {
    case COMMAND_RSET:
        break;
    case COMMAND_MAIL:
        on_mail(c);
        break;
    case COMMAND_RCPT:
        on_rcpt(c, rcpt);
        break;
    case COMMAND_DATA:
        on_data_reply(c);
        return;
    }
    if (t->answered < t->sent)
        await_next(c);
    else
        go_on(c);
}

void client_on_nothing(struct smtp_client *c)
{
    client_finish(c, true);
}
