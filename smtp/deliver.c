/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* deliver.c - the message is complete: judge it, add our header fields, make it durable, answer.
 * One step after the other, as the table `steps` says. It is durable when the operation of
 * step_commit is answered (on_committed); only then comes 250. */
#include "smtp/deliver.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "smtp/counts.h"
#include "smtp/trace.h"
#include <inttypes.h>
#include <stdio.h>

enum { FIELDS_MAX = 8192, PREFIX_MAX = 512 << 10, REMOVERS_MAX = 200 };

enum smtp_step smtp_step_refuse(struct smtp_session *s, unsigned code, const char *status,
                                const char *text)
{
    smtp_refuse(&s->tx.refused, code, status, "%s", text);
    return SMTP_STEP_REFUSE;
}

/* What was found while it came in. */
static enum smtp_step step_faults(struct smtp_session *s)
{
    unsigned faults = s->tx.parser.faults;
    smtp_receive_end(s);
    if (s->tx.refused.code)
        return SMTP_STEP_REFUSE;
    if (faults & (SMTP_DATA_BARE_CR | SMTP_DATA_BARE_LF)) /* RFC 5321 2.3.8 */
        return smtp_step_refuse(s, 554, "5.6.0",
                                "The message holds a CR or LF that isn't part of CR LF");
    if (faults & SMTP_DATA_NUL)
        return smtp_step_refuse(s, 554, "5.6.0", "The message holds a NUL");
    if (faults & SMTP_DATA_LONG_LINE)
        return smtp_step_refuse(s, 554, "5.6.0", "The message holds a line that is too long");
    return SMTP_STEP_NEXT;
}

static void add_trace(struct smtp_session *s, struct buf *out)
{
    const struct conn_peer *peer = conn_peer(s->conn);
    struct smtp_transaction *tx = &s->tx;
    struct smtp_trace t = {.helo = str_from(s->helo),
                           .ip = str_from(peer->ip),
                           .name = smtp_filter_client_name(s),
                           .ip6 = peer->v6,
                           .hostname = str_from(s->server->hostname),
                           .tls = str_from(s->tls),
                           .esmtp = s->esmtp,
                           .auth = s->account != NULL,
                           .utf8 = tx->utf8,
                           .local = s->port->role == SMTP_LOCAL,
                           .uid = peer->uid,
                           .id = tx->id,
                           .rcpt = tx->rcpts == 1 ? tx->first_rcpt : STR_NULL,
                           .now = smtp_trace_now()};
    smtp_trace_received(out, &t);
    struct str author = tx->sender.n ? tx->sender : str_from(s->account);
    if (s->submitting)
        smtp_trace_missing(out, body_sink_head(tx->sink), author, tx->id, t.hostname, t.now);
}

static enum smtp_step step_head(struct smtp_session *s)
{
    body_sink_end(s->tx.sink); /* from here on its head can be read */
    struct str rest = body_sink_head(s->tx.sink);
    struct header_field f;
    unsigned fields = 0, hops = 0;
    while (header_next(&rest, &f)) {
        fields++;
        hops += str_ieq(f.name, STR("Received"));
    }
    /* Whoever looks at the head later, on this thread, can rely on it. */
    if (fields > (unsigned)s->conf->field_limit)
        return smtp_step_refuse(s, 554, "5.6.0", "The message has too many header fields");
    if (hops > (unsigned)s->conf->received_limit) /* RFC 5321 6.3 */
        return smtp_step_refuse(s, 554, "5.4.6",
                                "Too many Received fields: the message goes in circles");
    return SMTP_STEP_NEXT;
}

/* RFC 5322 3.6.3: Bcc is for the sender's own program, and not all of them remove it. */
static enum smtp_step step_drop(struct smtp_session *s)
{
    struct str rest = str_from(s->conf->drop_fields), name;
    while (s->submitting && settings_list_next(&rest, &name))
        body_sink_head_remove(s->tx.sink, name);
    return SMTP_STEP_NEXT;
}

/* ---- Room */

static void judge_room(struct smtp_session *s, enum smtp_room_verdict verdict)
{
    if (verdict == SMTP_ROOM_FULL)
        smtp_step_refuse(s, 452, "4.2.2", "The mailbox is full");
    else if (verdict == SMTP_ROOM_NEVER)
        smtp_step_refuse(s, 552, "5.2.2", "The message is larger than the mailbox may grow");
    else if (verdict == SMTP_ROOM_FAILED)
        smtp_step_refuse(s, 451, "4.3.0", "The mailbox can't be read at the moment");
}

static void on_room(struct smtp_session *s, enum smtp_room_verdict verdict)
{
    judge_room(s, verdict);
    smtp_deliver_go_on(s);
}

/* RCPT has looked at what MAIL announced. Larger, or nothing announced: once more, for one mailbox;
 * where there are several one reply can't tell them apart, and the quota is overrun by this message
 * unless it is so for all of them, which the commit sees (DESIGN.md 4). */
static enum smtp_step step_room(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    uint64_t size = body_sink_size(tx->sink);
    if (tx->discard || tx->accounts.n != 1 || size <= tx->declared)
        return SMTP_STEP_NEXT;
    s->dests = tx->accounts.at;
    s->n_dests = 1;
    switch (smtp_quota_ask(s, size, on_room)) {
    case SMTP_ROOM:
        break;
    case SMTP_ROOM_ASKED:
        return SMTP_STEP_WAIT;
    case SMTP_ROOM_UNKNOWN:
        return smtp_step_refuse(s, 451, "4.3.2", "Too busy at the moment");
    }
    return SMTP_STEP_NEXT;
}

/* ---- Trace */

static enum smtp_step step_trace(struct smtp_session *s)
{
    struct body_sink *sink = s->tx.sink;
    struct buf fields;
    buf_init(&fields, FIELDS_MAX);
    add_trace(s, &fields);
    body_sink_head_remove(sink, STR("Return-Path")); /* RFC 5321 4.4: exactly one, and it is ours */
    body_sink_head_prepend(sink, buf_str(&fields));
    buf_fini(&fields);
    return SMTP_STEP_NEXT;
}

/* ---- Durable */

/* Only what lies in the message itself refuses it for good: what ails the store may be mended. */
void smtp_store_failed(struct smtp_session *s, const struct err *err)
{
    log_info(&s->log, "store_failed", L_Z("reason", err->text));
    if (err->why == ERR_WHY_NO_SPACE)
        smtp_step_refuse(s, 452, "4.3.1", "Not enough space at the moment");
    else if (err->why == ERR_WHY_BUSY)
        smtp_step_refuse(s, 451, "4.3.2", "Too busy at the moment");
    else if (err->why == ERR_WHY_QUOTA && err->kind == ERR_TEMP)
        judge_room(s, SMTP_ROOM_FULL);
    else if (err->why == ERR_WHY_QUOTA)
        judge_room(s, SMTP_ROOM_NEVER);
    else if (err->kind == ERR_PERM && err->why == ERR_WHY_LIMIT)
        smtp_step_refuse(s, 554, "5.3.0", "The message can't be stored");
    else
        smtp_step_refuse(s, 451, "4.3.0", "The message can't be stored at the moment");
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    if (failed)
        smtp_store_failed(s, failed);
    if (smtp_session_back(s))
        smtp_deliver_go_on(s);
    smtp_session_unref(&s);
}

static enum smtp_step step_flush(struct smtp_session *s)
{
    smtp_session_wait(s, SMTP_WAIT_WORK);
    body_sink_flush(s->tx.sink, on_flushed, s);
    return SMTP_STEP_WAIT;
}

static void log_accepted(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    smtp_count_accepted(s);
    log_info(&s->log, "accepted", L_STR("from", tx->sender), L_STR("to", tx->first_rcpt),
             L_UINT("rcpts", tx->rcpts), L_UINT("copies", tx->accounts.n),
             L_UINT("captured", s->server->conf.capture_account ? tx->remotes.n : 0),
             L_UINT("queued", tx->leaves.n_to), L_UINT("size", body_sink_size(tx->sink)),
             L_Z("folder", tx->junk ? "Junk" : "INBOX"), L_ID("body", tx->delivery.body),
             L_Z("account", s->account ? s->account : ""),
             L_UINT("ms", (clock_mono_us() - tx->began_us) / 1000));
}

/* Loop, after the commit: the message is on stable storage in all its mailboxes, or in none. */
static void on_committed(struct store_op *op)
{
    struct smtp_session *s = CONTAINER_OF(op, struct smtp_session, tx.delivery.op);
    if (op->failed) {
        smtp_quota_forget(s); /* it may be what was wrong */
        smtp_store_failed(s, &op->err);
    } else {
        log_accepted(s);
        smtp_leave_queued(s);
        smtp_confirm(s);
        smtp_vacation(s);
    }
    if (smtp_session_back(s))
        smtp_deliver_go_on(s);
    smtp_session_unref(&s);
}

static struct str prefix_for(struct smtp_session *s, struct str account)
{
    struct smtp_transaction *tx = &s->tx;
    const char *capture = s->server->conf.capture_account;
    bool captured = capture && str_eq(account, str_from(capture));
    struct buf prefix;
    buf_init(&prefix, PREFIX_MAX);
    struct str *routes = NULL;
    size_t n = captured ? tx->remotes.n : 0;
    if (n && s->relay) {
        routes = ARENA_ARRAY(tx->arena, struct str, n);
        for (size_t i = 0; i < n; i++)
            routes[i] = smtp_route_text(s, tx->remotes.at[i]);
    }
    smtp_trace_prefix(&prefix, tx->sender, account, tx->remotes.at, routes, n);
    struct str kept = arena_str(tx->arena, buf_str(&prefix));
    buf_fini(&prefix);
    return kept;
}

/* Acknowledged and dropped, as a filter wishes. */
static bool drop(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    char removers[REMOVERS_MAX] = "";
    if (!tx->discard && (tx->accounts.n || tx->leaves.n_to))
        return false;
    if (!tx->discard && s->chain)
        (void)chain_removers(s->chain, removers, sizeof removers);
    tx->discard = true;
    const char *by = removers[0] ? removers : s->chain ? chain_answer(s->chain)->stage : "";
    const char *reason = removers[0] ? "all recipients were removed"
                         : s->chain  ? chain_answer(s->chain)->reason
                                     : "";
    log_info(&s->log, "discarded", L_STR("from", tx->sender), L_STR("to", tx->first_rcpt),
             L_UINT("rcpts", tx->rcpts), L_UINT("size", body_sink_size(tx->sink)), L_Z("by", by),
             L_Z("reason", reason));
    if (removers[0])
        snprintf(tx->outcome, sizeof tx->outcome, "discarded: all recipients were removed by %s",
                 removers);
    return true;
}

static enum smtp_step step_commit(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct message_delivery *d = &tx->delivery;
    if (drop(s))
        return SMTP_STEP_NEXT;
    message_delivery_init(d, on_committed);
    d->sink = tx->sink;
    d->internal_ms = clock_wall_ms();
    d->leaves = tx->leaves.n_to ? &tx->leaves : NULL;
    d->within_quota = true; /* others may have been quicker since RCPT */
    d->n_rcpts = tx->accounts.n;
    d->rcpts = ARENA_ARRAY(tx->arena, struct message_recipient, d->n_rcpts);
    for (size_t i = 0; i < d->n_rcpts; i++)
        d->rcpts[i] = (struct message_recipient){.account = tx->accounts.at[i],
                                                 .mailbox = tx->junk ? STR("Junk") : STR("INBOX"),
                                                 .prefix = prefix_for(s, tx->accounts.at[i])};
    if (tx->hold)
        return smtp_step_hold(s, d->rcpts, d->n_rcpts);
    if (store_submit(s->server->conf.store, &d->op)) {
        smtp_store_failed(s, &d->op.err);
        return SMTP_STEP_REFUSE;
    }
    smtp_session_ref(s);
    smtp_session_wait(s, SMTP_WAIT_WORK);
    return SMTP_STEP_WAIT;
}

/* ---- The one reply (DESIGN.md 4) */

static void note_outcome(struct smtp_session *s)
{
    const struct smtp_refusal *why = &s->tx.refused;
    if (why->code)
        snprintf(s->tx.outcome, sizeof s->tx.outcome, "refused: %u %s %s", why->code, why->status,
                 why->text);
    else if (!s->tx.discard || !str_starts(str_from(s->tx.outcome), STR("discarded: ")))
        snprintf(s->tx.outcome, sizeof s->tx.outcome, "%s",
                 s->tx.discard                    ? "discarded"
                 : s->tx.hold == QUEUE_HELD       ? "held until it can be judged"
                 : s->tx.hold == QUEUE_QUARANTINE ? "in quarantine"
                 : !s->tx.accounts.n              ? "queued for other hosts"
                 : s->tx.withhold    ? "delivered to Junk, in quarantine for other hosts"
                 : s->tx.junk        ? "delivered to Junk"
                 : s->tx.leaves.n_to ? "delivered, and queued for other hosts"
                                     : "delivered");
}

static void answer(struct smtp_session *s)
{
    struct smtp_refusal *why = &s->tx.refused;
    bool bye = why->code == 421; /* of a stage: RFC 5321 3.8 */
    note_outcome(s);
    if (why->code) {
        smtp_count_refused(why->code);
        smtp_refuse_command(s, "message", s->tx.first_rcpt, why);
    } else {
        s->messages++;
        s->errors = s->junk = 0;
        smtp_reply(s, 250, "2.0.0", "Kept as %" PRIu64, s->tx.id);
    }
    if (!s->conn)
        return;
    smtp_transaction_reset(s);
    smtp_session_enter(s, SMTP_READY);
    if (s->server->stopping)
        smtp_session_close_421(s, "4.3.2", "Shutting down", "stopping");
    else if (s->revoked)
        smtp_session_close_421(s, "4.7.0", "Your login is no longer valid", "revoked");
    else if (bye)
        smtp_session_close(s, "refused");
}

static const struct {
    const char *name;
    enum smtp_step (*run)(struct smtp_session *s);
} steps[] = {
    {"faults", step_faults},          /* bare CR or LF, too large: found on the way in */
    {"head", step_head},              /* its fields; Received: loops */
    {"from", smtp_step_from},         /* submission: whose is it? */
    {"drop", step_drop},              /* submission: fields that nobody else sees */
    {"readable", smtp_step_readable}, /* large data: all in its file, for the filters */
    {"filter", smtp_step_filter},     /* what do the stages say? */
    {"edit", smtp_step_edit},         /* what they want: head, */
    {"body", smtp_step_body},         /* body, */
    {"envelope", smtp_step_envelope}, /* recipients, sender */
    {"junk", smtp_step_junk},         /* isn't sent on by aliases */
    {"room", step_room},              /* quota, by the size it has */
    {"trace", step_trace},            /* Received; Date, Message-ID */
    {"circle", smtp_step_circle},     /* mail that was forwarded by the same address before */
    {"sender", smtp_step_sender},     /* SRS of what an outsider's mail is forwarded with */
    {"leave", smtp_step_leave},       /* what goes to other hosts, */
    {"outgoing", smtp_step_outgoing}, /* and what the stages say to that */
    {"outbound", smtp_step_outbound},
    {"flush", step_flush},   /* large data: its file on stable storage */
    {"commit", step_commit}, /* the rows: durable */
};

void smtp_deliver_go_on(struct smtp_session *s)
{
    enum smtp_step next = s->tx.refused.code ? SMTP_STEP_REFUSE : SMTP_STEP_NEXT;
    while (next == SMTP_STEP_NEXT && s->tx.step < ARRAY_LEN(steps)) {
        log_debug(&s->log, "step", L_Z("name", steps[s->tx.step].name));
        next = steps[s->tx.step].run(s);
        if (next != SMTP_STEP_ASKED)
            s->tx.step++;
    }
    if (next == SMTP_STEP_NEXT || next == SMTP_STEP_REFUSE)
        answer(s);
}

void smtp_deliver(struct smtp_session *s)
{
    smtp_session_resume(s, SMTP_WAIT_SINK);
    smtp_session_enter(s, SMTP_ENDING);
    smtp_deliver_go_on(s);
}
