/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* transaction.c - one mail transaction: begun by MAIL, filled by RCPT, its octets handed to the
 * store, forgotten as a whole. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/session.h"
#include <unistd.h>

enum { TRANSACTION_CHUNK = 2048, LINE_STANDARD = 998 /* RFC 5322 2.1.1 */ };

void smtp_transaction_begin(struct smtp_session *s)
{
    smtp_transaction_reset(s);
    if (!s->tx.arena)
        s->tx.arena = arena_new(TRANSACTION_CHUNK);
    s->tx.began_us = clock_mono_us();
    s->tx.id = store_new_id(s->server->conf.store);
    s->log.mid = s->tx.id;
    smtp_filter_transaction(s);
}

void smtp_transaction_reset(struct smtp_session *s)
{
    struct arena *arena = s->tx.arena;
    smtp_filter_forget(s);
    if (s->tx.fd_open)
        close(s->tx.fd);
    body_sink_free(&s->tx.replaced);
    body_sink_free(&s->tx.sink);
    smtp_memory_note(s);
    if (arena)
        arena_clear(arena);
    s->tx = (struct smtp_transaction){.arena = arena};
    s->log.mid = 0;
}

bool smtp_list_add(struct arena *a, struct smtp_list *l, struct str item)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->at[i], item))
            return true;
    if (l->n == SMTP_COPIES_MAX)
        return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct str *at = ARENA_ARRAY(a, struct str, cap);
        if (l->n)
            memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = arena_str(a, item);
    return true;
}

struct smtp_recipient *smtp_recipient_add(struct smtp_session *s, const struct smtp_recipient *r)
{
    struct smtp_transaction *tx = &s->tx;
    if (tx->n_list == tx->cap_list) {
        size_t cap = tx->cap_list ? tx->cap_list * 2 : 4;
        struct smtp_recipient *list = ARENA_ARRAY(tx->arena, struct smtp_recipient, cap);
        if (tx->n_list)
            memcpy(list, tx->list, tx->n_list * sizeof *list);
        tx->list = list;
        tx->cap_list = cap;
    }
    struct smtp_recipient *to = &tx->list[tx->n_list++];
    *to = *r;
    to->address = arena_str(tx->arena, r->address);
    to->orcpt = arena_str(tx->arena, r->orcpt);
    to->accounts = ARENA_ARRAY(tx->arena, struct str, r->n_accounts + 1);
    to->remotes = ARENA_ARRAY(tx->arena, struct str, r->n_remotes + 1);
    for (size_t i = 0; i < r->n_accounts; i++)
        to->accounts[i] = arena_str(tx->arena, r->accounts[i]);
    if (r->away) {
        to->away = ARENA_ARRAY(tx->arena, bool, r->n_accounts + 1);
        memcpy(to->away, r->away, r->n_accounts * sizeof *to->away);
    }
    for (size_t i = 0; i < r->n_remotes; i++)
        to->remotes[i] = arena_str(tx->arena, r->remotes[i]);
    return to;
}

void smtp_envelope_rebuild(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    tx->accounts = tx->remotes = (struct smtp_list){0};
    for (size_t i = 0; i < tx->n_list; i++) {
        const struct smtp_recipient *r = &tx->list[i];
        for (size_t k = 0; !r->deleted && k < r->n_accounts; k++)
            (void)smtp_list_add(tx->arena, &tx->accounts, r->accounts[k]);
        for (size_t k = 0; !r->deleted && k < r->n_remotes; k++)
            (void)smtp_list_add(tx->arena, &tx->remotes, r->remotes[k]);
    }
}

static void on_sink_ready(void *ctx)
{
    smtp_session_resume(ctx, SMTP_WAIT_SINK);
}

int smtp_receive_room(struct smtp_session *s, struct smtp_refusal *why)
{
    if (!store_has_room(s->server->conf.store, s->tx.declared))
        return smtp_refuse(why, 452, "4.3.1", "Not enough space at the moment");
    return smtp_memory_room(s, why);
}

void smtp_receive_begin(struct smtp_session *s, bool dots)
{
    s->tx.data_ms = loop_now_ms(s->server->conf.loop);
    smtp_deadline_arm(s);
    smtp_data_begin(&s->tx.parser, dots, s->conf->long_lines ? s->conf->line_limit : LINE_STANDARD);
    if (smtp_receive_room(s, &s->tx.refused) != 0)
        return;
    s->tx.sink = body_sink_new(s->server->conf.store, s->conf->message_limit, on_sink_ready, s);
    body_sink_announce(s->tx.sink, s->tx.declared);
}

static void refuse_for(struct smtp_session *s, const struct err *err)
{
    struct smtp_refusal *why = &s->tx.refused;
    if (err->why == ERR_WHY_NO_SPACE)
        smtp_refuse(why, 452, "4.3.1", "Not enough space at the moment");
    else if (err->why == ERR_WHY_LIMIT && body_sink_size(s->tx.sink) > s->conf->message_limit)
        smtp_refuse(why, 552, "5.3.4", "The message is larger than %llu octets",
                    (unsigned long long)s->conf->message_limit);
    else if (err->kind == ERR_PERM && err->why == ERR_WHY_LIMIT)
        smtp_refuse(why, 552, "5.3.4", "%s", err->text);
    else
        smtp_refuse(why, 451, "4.3.0", "The message can't be stored at the moment");
    log_info(&s->log, "receive_failed", L_Z("reason", err->text));
}

static void failed(struct smtp_session *s)
{
    refuse_for(s, body_sink_error(s->tx.sink));
    body_sink_free(&s->tx.sink);
    smtp_session_resume(s, SMTP_WAIT_SINK);
}

/* While its head arrives: strangers get less memory for it than the store would give. */
static void limit_head(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!tx->sink || body_sink_head(tx->sink).n <= s->conf->head_limit || smtp_is_known(s))
        return;
    smtp_refuse(&tx->refused, 552, "5.3.4", "The message's header block is larger than %llu octets",
                (unsigned long long)s->conf->head_limit);
    log_info(&s->log, "receive_failed", L_Z("reason", tx->refused.text));
    body_sink_free(&tx->sink);
    smtp_session_resume(s, SMTP_WAIT_SINK);
}

void smtp_receive_put(void *session, struct str run)
{
    struct smtp_session *s = session;
    struct smtp_transaction *tx = &s->tx;
    if (!tx->sink)
        return; /* it is refused already: its rest is only consumed */
    switch (body_sink_put(tx->sink, run)) {
    case BODY_MORE:
        break;
    case BODY_WAIT:
        smtp_session_wait(s, SMTP_WAIT_SINK);
        break;
    case BODY_FAIL:
        failed(s);
        break;
    }
    limit_head(s);
    smtp_memory_keep(s);
}

void smtp_receive_end(struct smtp_session *s)
{
    if (s->tx.sink && body_sink_error(s->tx.sink)->kind != ERR_NONE)
        failed(s);
}
