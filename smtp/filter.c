/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* filter.c - the filter stages (filters/chain.h) at the points of a session: shown what is known,
 * their refusals answered. The message itself: filter_message.c. */
#include "appliance/base/mem.h"
#include "smtp/commands.h"
#include <stdio.h>

static const char *service_name(const struct smtp_session *s)
{
    static const char *const names[] = {[SMTP_RECEPTION] = "reception",
                                        [SMTP_SUBMISSION] = "submission",
                                        [SMTP_OPEN] = "open",
                                        [SMTP_LOCAL] = "submission"};
    return s->submitting ? "submission" : names[s->port->role];
}

static const char *const *rcpt_names(struct smtp_session *s)
{
    const char **list = ARENA_ARRAY(s->tx.arena, const char *, s->tx.n_list + 1);
    for (size_t i = 0; i < s->tx.n_list; i++)
        list[i] = s->tx.list[i].address.p;
    return list;
}

static const char *const *account_names(struct smtp_session *s)
{
    const char **list = ARENA_ARRAY(s->command, const char *, s->n_dests + 1);
    for (size_t i = 0; i < s->n_dests; i++)
        list[i] = arena_str(s->command, s->dests[i]).p;
    return list;
}

struct str smtp_filter_fact(const struct smtp_session *s, struct str name)
{
    return s->chain ? chain_fact(s->chain, name) : STR_NULL;
}

bool smtp_filter_disowned(const struct smtp_session *s)
{
    return str_eq(smtp_filter_fact(s, STR("spf.result")), STR("fail")) ||
           str_eq(smtp_filter_fact(s, STR("dmarc.result")), STR("fail"));
}

struct str smtp_filter_client_name(const struct smtp_session *s)
{
    return smtp_filter_fact(s, STR("rdns.name"));
}

const char *smtp_filter_route(const struct smtp_session *s)
{
    return smtp_may_relay(s) ? "submission" : "forward";
}

void smtp_filter_view(struct smtp_session *s, enum ph_point point, struct ph_view *v)
{
    const struct smtp_transaction *tx = &s->tx;
    *v = (struct ph_view){.client_ip = conn_peer(s->conn)->ip,
                          .client_name = smtp_filter_client_name(s).p,
                          .port = s->port->name,
                          .service = service_name(s),
                          .tls = s->tls,
                          .helo =
                              point == PH_HELO ? arena_str(s->command, s->pending.text).p : s->helo,
                          .auth_user = point == PH_AUTH ? s->auth_name : s->account,
                          .auth_failed = point == PH_AUTH && s->auth_failed,
                          .message_size = tx->declared,
                          .utf8 = tx->utf8,
                          .host = s->server->hostname,
                          .origin = s->server->origin,
                          .route = point == PH_OUTBOUND ? smtp_filter_route(s) : "",
                          .trusted = guard_trusts(&s->guard)};
    if (!tx->id)
        return;
    v->mail_from = tx->sender.p;
    v->rcpts = rcpt_names(s);
    v->n_rcpts = tx->n_list;
    if (point != PH_RCPT)
        return;
    v->rcpt = arena_str(s->command, s->pending.rcpt.rcpt).p;
    v->accounts = account_names(s);
    v->n_accounts = s->n_dests;
    if (s->leads_to.n)
        v->leads_to = s->leads_to.p;
}

static void on_answer(void *ctx)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    if (smtp_session_back(s))
        s->then(s);
    smtp_session_unref(&s);
}

bool smtp_filter_run(struct smtp_session *s, enum ph_point point, const struct chain_message *m,
                     void (*then)(struct smtp_session *s))
{
    struct ph_view view;
    if (!s->chain) {
        s->chain = chain_new(s->server->conf.filters, s->log.sid);
        if (s->tx.id)
            chain_transaction(s->chain, s->tx.id);
    }
    smtp_filter_view(s, point, &view);
    s->then = then;
    if (chain_run(s->chain, point, &view, m, NULL, on_answer, s) == CHAIN_DONE)
        return true;
    smtp_session_wait(s, SMTP_WAIT_WORK);
    return false;
}

/* ---- Commands */

static void keep_session(struct smtp_session *s, const struct smtp_refusal *why)
{
    char outcome[320];
    snprintf(outcome, sizeof outcome, "refused: %u %s %s", why->code, why->status, why->text);
    chain_keep(s->chain,
               &(struct chain_subject){.client = str_from(s->ip), .outcome = str_from(outcome)});
}

/* RFC 5321 3.1, 3.8: a greeting of 554, or 421, and that was it. */
static void refuse_client(struct smtp_session *s, const struct smtp_refusal *why)
{
    log_info(&s->log, "refused", L_Z("command", "connect"), L_UINT("code", why->code),
             L_Z("reason", why->text), L_Z("ip", conn_peer(s->conn)->ip));
    smtp_session_enter(s, SMTP_GREETED);
    if (why->code >= 500) {
        smtp_reply(s, 554, why->status, "%s", why->text);
        smtp_session_close(s, "refused");
    } else {
        smtp_session_close_421(s, why->status, why->text, "refused");
    }
}

static void refuse(struct smtp_session *s, const struct smtp_refusal *why)
{
    if (!s->tx.id)
        keep_session(s, why);
    if (s->point == PH_CONNECT) {
        refuse_client(s, why);
    } else if (why->code == 421) {
        smtp_session_close_421(s, why->status, why->text, "refused");
    } else {
        if (s->point == PH_MAIL)
            snprintf(s->tx.outcome, sizeof s->tx.outcome, "refused: %u %s %s", why->code,
                     why->status, why->text);
        if (s->point == PH_RCPT)
            smtp_rcpt_refused(s, why->code);
        smtp_refuse_command(s, s->running->verb.p,
                            s->point == PH_RCPT   ? s->pending.rcpt.rcpt
                            : s->point == PH_MAIL ? s->tx.sender
                                                  : STR_NULL,
                            why);
        if (s->conn && s->point == PH_MAIL)
            smtp_transaction_reset(s);
    }
}

static void on_verdict(struct smtp_session *s)
{
    const struct chain_answer *a = chain_answer(s->chain);
    struct smtp_refusal why = {0};
    if (a->verdict < PH_DEFER) {
        s->accept(s);
        return;
    }
    smtp_refuse(&why, a->code, a->status, "%s", a->text);
    refuse(s, &why);
}

void smtp_filter(struct smtp_session *s, enum ph_point point, void (*then)(struct smtp_session *s))
{
    if (!filters_at(s->server->conf.filters, point)) {
        then(s);
        return;
    }
    s->point = point;
    s->accept = then;
    if (smtp_filter_run(s, point, NULL, on_verdict))
        on_verdict(s);
}

void smtp_filter_command(struct smtp_session *s)
{
    smtp_filter(s, (enum ph_point)s->running->point, s->running->accept);
}

bool smtp_filter_drops(const struct smtp_session *s)
{
    return s->chain && filters_at(s->server->conf.filters, PH_RCPT) &&
           chain_answer(s->chain)->verdict == PH_DISCARD;
}

/* ---- Transactions */

void smtp_filter_transaction(struct smtp_session *s)
{
    if (s->chain)
        chain_transaction(s->chain, s->tx.id);
}

void smtp_filter_forget(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!s->chain || !tx->id)
        return;
    bool gone = tx->sink && (tx->refused.code || tx->discard);
    chain_keep(s->chain,
               &(struct chain_subject){.sender = tx->sender,
                                       .rcpt = tx->first_rcpt,
                                       .rcpts = tx->rcpts,
                                       .client = str_from(s->ip),
                                       .size = tx->sink ? body_sink_size(tx->sink) : 0,
                                       .head = gone ? body_sink_head(tx->sink) : STR_NULL,
                                       .outcome = tx->outcome[0] ? str_from(tx->outcome)
                                                                 : STR("given up by the client")});
    chain_transaction(s->chain, 0);
}
