/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* filter_message.c - the filter stages at a complete message, and what they want done to it: head,
 * body, recipients, sender. Steps of deliver.c. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/deliver.h"
#include <stdio.h>
#include <unistd.h>

enum { HEAD_MAX = BODY_HEAD_MAX + (256 << 10) };

/* A chain that isn't there has nothing to say; one that is may have decided something before. */
static bool wanted(const struct smtp_session *s)
{
    return s->chain || filters_at(s->server->conf.filters, PH_MESSAGE);
}

static void on_data_flushed(void *ctx, const struct err *failed)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    if (failed)
        smtp_store_failed(s, failed);
    if (smtp_session_back(s))
        smtp_deliver_go_on(s);
    smtp_session_unref(&s);
}

enum smtp_step smtp_make_readable(struct smtp_session *s)
{
    struct str data;
    if (body_sink_data(s->tx.sink, &data))
        return SMTP_STEP_NEXT;
    smtp_session_wait(s, SMTP_WAIT_WORK);
    body_sink_flush_data(s->tx.sink, on_data_flushed, s);
    return SMTP_STEP_WAIT;
}

enum smtp_step smtp_step_readable(struct smtp_session *s)
{
    return filters_at(s->server->conf.filters, PH_MESSAGE) ? smtp_make_readable(s) : SMTP_STEP_NEXT;
}

int smtp_show_message(struct smtp_session *s, struct chain_message *m)
{
    *m = (struct chain_message){
        .head = body_sink_head(s->tx.sink), .fd = -1, .data_size = body_sink_data_size(s->tx.sink)};
    if (!body_sink_data(s->tx.sink, &m->data)) {
        m->fd = body_sink_open_data(s->tx.sink);
        if (m->fd < 0)
            return -1;
    }
    if (s->tx.fd_open)
        close(s->tx.fd);
    s->tx.fd_open = m->fd >= 0;
    s->tx.fd = m->fd;
    return 0;
}

static enum smtp_step apply(struct smtp_session *s)
{
    const struct chain_answer *a = chain_answer(s->chain);
    struct smtp_transaction *tx = &s->tx;
    tx->junk = a->verdict == PH_JUNK;
    tx->discard = a->verdict == PH_DISCARD;
    tx->hold = a->hold ? QUEUE_HELD : a->verdict == PH_QUARANTINE ? QUEUE_QUARANTINE : 0;
    if (a->verdict < PH_DEFER)
        return SMTP_STEP_NEXT;
    smtp_refuse(&tx->refused, a->code, a->status, "%s", a->text);
    return SMTP_STEP_REFUSE;
}

static void on_verdict(struct smtp_session *s)
{
    (void)apply(s); /* go_on sees a refusal by itself */
    smtp_deliver_go_on(s);
}

enum smtp_step smtp_step_filter(struct smtp_session *s)
{
    struct chain_message m = {.fd = -1};
    if (!wanted(s))
        return SMTP_STEP_NEXT;
    if (filters_at(s->server->conf.filters, PH_MESSAGE) && smtp_show_message(s, &m))
        return smtp_step_refuse(s, 451, "4.3.0", "The message can't be read at the moment");
    return smtp_filter_run(s, PH_MESSAGE, &m, on_verdict) ? apply(s) : SMTP_STEP_WAIT;
}

/* ---- Head and body */

/* False: it has no room. Without what the stages want it must not go on. */
static bool edit_head(struct smtp_session *s)
{
    struct buf head;
    buf_init(&head, HEAD_MAX);
    bool edited = chain_edit_head(s->chain, body_sink_head(s->tx.sink), &head), ok = buf_ok(&head);
    if (edited && ok)
        body_sink_head_replace(s->tx.sink, buf_str(&head));
    buf_fini(&head);
    return ok;
}

enum smtp_step smtp_step_edit(struct smtp_session *s)
{
    if (s->chain && !s->tx.discard && !edit_head(s))
        return smtp_step_refuse(s, 554, "5.3.4",
                                "The message's head has no room for what is added to it");
    return SMTP_STEP_NEXT;
}

static void on_room_for_more(void *ctx)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    if (smtp_session_back(s))
        smtp_deliver_go_on(s);
    smtp_session_unref(&s);
}

static enum smtp_step put_some(struct smtp_session *s, struct str data)
{
    struct smtp_transaction *tx = &s->tx;
    struct str rest = str_skip(data, tx->replaced_n);
    enum body_put put = body_sink_put_pieces(tx->replaced, &rest);
    tx->replaced_n = data.n - rest.n;
    if (put == BODY_FAIL) {
        smtp_store_failed(s, body_sink_error(tx->replaced));
        return SMTP_STEP_REFUSE;
    }
    if (put == BODY_WAIT) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return SMTP_STEP_ASKED;
    }
    body_sink_end(tx->replaced);
    body_sink_free(&tx->sink);
    tx->sink = tx->replaced;
    tx->replaced = NULL;
    tx->parser.eight_bit = !text_ascii(data);
    return SMTP_STEP_NEXT;
}

/* A body of the filters' own makes a new message of it: the edited head and that. */
enum smtp_step smtp_step_body(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    const struct chain_action *body = s->chain && !tx->discard ? chain_new_body(s->chain) : NULL;
    if (!body)
        return SMTP_STEP_NEXT;
    if (!tx->replaced) {
        tx->replaced_n = 0;
        tx->replaced = body_sink_new(s->server->conf.store, s->conf->message_limit + HEAD_MAX,
                                     on_room_for_more, s);
        if (body_sink_put(tx->replaced, body_sink_head(tx->sink)) == BODY_FAIL)
            return smtp_step_refuse(s, 451, "4.3.0", "The message can't be stored at the moment");
    }
    return put_some(s, body->value);
}

/* ---- Recipients and sender */

static void delete_rcpt(struct smtp_session *s, struct str address)
{
    for (size_t i = 0; i < s->tx.n_list; i++)
        if (str_ieq(s->tx.list[i].address, address))
            s->tx.list[i].deleted = true;
    smtp_envelope_rebuild(s);
}

static void add_found(struct smtp_session *s, struct str address, const struct directory_answer *a)
{
    struct smtp_transaction *tx = &s->tx;
    struct str capture = str_from(s->server->conf.capture_account);
    bool relayed = a->kind == DIRECTORY_NOT_OURS;
    size_t n_remotes = relayed ? 1 : a->n_remotes;
    if (n_remotes && !smtp_can_leave(s))
        n_remotes = 0;
    if (!a->n_accounts && !n_remotes) {
        log_warn(&s->log, "filter_recipient_ignored", L_STR("address", address),
                 L_Z("reason", relayed || a->n_remotes ? "sending to other hosts isn't set up here"
                                                       : "no such address here"));
        return;
    }
    if (tx->n_list >= 2 * SMTP_COPIES_MAX)
        return;
    struct str *accounts = ARENA_ARRAY(tx->arena, struct str, a->n_accounts + 1);
    struct str *remotes = ARENA_ARRAY(tx->arena, struct str, a->n_remotes + 1);
    size_t n_accounts = 0;
    for (; n_accounts < a->n_accounts; n_accounts++)
        accounts[n_accounts] = a->accounts[n_accounts];
    if (capture.n && n_remotes)
        accounts[n_accounts++] = capture;
    for (size_t i = 0; i < n_remotes; i++)
        remotes[i] = relayed ? address : a->remotes[i];
    smtp_recipient_add(s, &(struct smtp_recipient){.address = address,
                                                   .accounts = accounts,
                                                   .n_accounts = n_accounts,
                                                   .remotes = remotes,
                                                   .n_remotes = n_remotes,
                                                   .forwarded = !relayed});
    for (size_t i = 0; i < n_accounts; i++)
        (void)smtp_list_add(tx->arena, &tx->accounts, accounts[i]);
    for (size_t i = 0; i < n_remotes; i++)
        (void)smtp_list_add(tx->arena, &tx->remotes, remotes[i]);
}

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s)) {
        if (a->failed)
            smtp_step_refuse(s, 451, "4.3.0", "A recipient can't be looked up at the moment");
        else
            add_found(s, s->tx.action->value, a);
        s->tx.action = s->tx.action->next;
        smtp_deliver_go_on(s);
    }
    smtp_session_unref(&s);
}

static enum smtp_step ask_directory(struct smtp_session *s, struct str address)
{
    if (directory_resolve(s->server->conf.directory, address, on_resolved, smtp_session_ref(s)) ==
        0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return SMTP_STEP_ASKED;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    return smtp_step_refuse(s, 451, "4.3.2", "Too busy at the moment");
}

enum smtp_step smtp_step_envelope(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!s->chain || tx->discard)
        return SMTP_STEP_NEXT;
    if (!tx->in_envelope) {
        tx->in_envelope = true;
        tx->action = chain_actions(s->chain);
    }
    for (; tx->action; tx->action = tx->action->next) {
        if (tx->action->kind == CHAIN_RCPT_DELETE)
            delete_rcpt(s, tx->action->value);
        else if (tx->action->kind == CHAIN_SENDER)
            tx->sender = arena_str(tx->arena, tx->action->value);
        else if (tx->action->kind == CHAIN_RCPT_ADD)
            return ask_directory(s, tx->action->value);
    }
    return SMTP_STEP_NEXT;
}
