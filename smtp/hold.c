/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hold.c - a message that goes into quarantine, or waits for a filter stage that can't judge it
 * yet: acknowledged, and kept in the store's queue instead of the mailboxes (DESIGN.md 4). */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/held.h"
#include "smtp/counts.h"
#include "smtp/deliver.h"

enum { VIEW_MAX = 3 << 19, SAY_EVERY_MS = 3600 * 1000 };

static void log_kept(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    log_info(&s->log, tx->hold == QUEUE_HELD ? "held" : "quarantined", L_STR("from", tx->sender),
             L_STR("to", tx->first_rcpt), L_UINT("rcpts", tx->rcpts),
             L_UINT("size", body_sink_size(tx->sink)), L_STR("stage", tx->put.entry.stage),
             L_STR("reason", tx->put.entry.reason));
}

/* Somebody has to look: from now on mail is deferred. */
static void say_full(struct smtp_session *s, const struct err *err)
{
    bool held = s->tx.hold == QUEUE_HELD;
    uint64_t *said = &s->server->full_said_ms[held], now = clock_mono_ms();
    smtp_count_full(held);
    if (*said && now - *said < SAY_EVERY_MS)
        return;
    *said = now;
    log_warn(&s->log, held ? "hold_full" : "quarantine_full",
             L_Z("settings", held ? "filters.hold_count, filters.hold_bytes"
                                  : "filters.quarantine_count, filters.quarantine_bytes"),
             L_Z("why", err->text));
}

static void on_kept(struct store_op *op)
{
    struct smtp_session *s = CONTAINER_OF(op, struct smtp_session, tx.put.op);
    if (op->failed && op->err.why == ERR_WHY_LIMIT && op->err.kind == ERR_TEMP)
        say_full(s, &op->err);
    if (op->failed)
        smtp_store_failed(s, &op->err);
    else
        log_kept(s);
    if (smtp_session_back(s))
        smtp_deliver_go_on(s);
    smtp_session_unref(&s);
}

/* What the stages are told when it is judged or released. */
static void fill(struct smtp_session *s, struct buf *view, struct queue_entry *e)
{
    struct ph_view v;
    smtp_filter_view(s, PH_MESSAGE, &v);
    v.route = smtp_filter_route(s);
    held_fill(s->chain, &v, view, e);
}

void smtp_hold_leaving(struct smtp_session *s, struct queue_entry *e)
{
    struct arena *a = s->tx.arena;
    struct buf view;
    e->held = QUEUE_QUARANTINE;
    buf_init(&view, VIEW_MAX);
    fill(s, &view, e);
    e->view = arena_str(a, buf_str(&view));
    e->stage = arena_str(a, e->stage);
    e->reason = arena_printf(a, "junk isn't forwarded: " STR_FMT, STR_ARG(e->reason));
    buf_fini(&view);
}

enum smtp_step smtp_step_hold(struct smtp_session *s, const struct message_recipient *rcpts,
                              size_t n)
{
    struct smtp_transaction *tx = &s->tx;
    const struct filters_conf *conf = filters_settings(s->server->conf.filters);
    struct buf view;
    queue_put_init(&tx->put, on_kept);
    tx->put.sink = tx->sink;
    tx->put.rcpts = rcpts;
    tx->put.n_rcpts = n;
    tx->put.leaves = tx->leaves.n_to ? &tx->leaves : NULL;
    bool held = tx->hold == QUEUE_HELD;
    tx->put.count_max = (uint64_t)(held ? conf->hold_count : conf->quarantine_count);
    tx->put.bytes_max = held ? conf->hold_bytes : conf->quarantine_bytes;
    tx->put.entry.id = tx->id;
    tx->put.entry.held = tx->hold;
    tx->put.entry.sender = tx->sender;
    buf_init(&view, VIEW_MAX);
    fill(s, &view, &tx->put.entry);
    for (size_t i = 0; i < tx->n_list; i++) {
        const struct smtp_recipient *r = &tx->list[i];
        if (!r->deleted)
            held_recipient(&view, r->address, r->accounts, r->n_accounts, r->remotes, r->n_remotes);
    }
    if (smtp_junk_stays(s))
        held_quarantine_junk(&view);
    tx->put.entry.view = arena_str(tx->arena, buf_str(&view));
    buf_fini(&view);
    if (store_submit(s->server->conf.store, &tx->put.op)) {
        smtp_store_failed(s, &tx->put.op.err);
        return SMTP_STEP_REFUSE;
    }
    smtp_session_ref(s);
    smtp_session_wait(s, SMTP_WAIT_WORK);
    return SMTP_STEP_WAIT;
}
