/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* confirm.c - RFC 3461 NOTIFY=SUCCESS for copies that ended here: one report to the sender about
 * all of them, after the commit. It is a message of its own: one that gets lost in a crash between
 * the two commits was only a courtesy. Copies for other hosts are reported by who sends them. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/client/route.h"
#include "smtp/deliver.h"
#include "smtp/queue/report.h"
#include "smtp/trace.h"

enum {
    CONFIRMS_MAX = 1000,  /* under way at once; more are dropped */
    HEAD_MAX = 64 << 10,  /* of the original, in the report */
    REPORT_MAX = 1 << 20, /* all of it */
    PREFIX_MAX = 2048
};

struct confirm {
    struct smtp_server *server;
    const struct relay_conf *relay;
    struct snapshot *snapshot; /* that relay lies in */
    struct log_ctx log;
    struct arena *arena;
    struct report report;
    struct report_rcpt *rcpts;
    struct body_sink *sink;
    struct message_delivery delivery;
    struct queue_new leaves;
    struct queue_to *to;
};

static void end(struct confirm **cp)
{
    struct confirm *c = *cp;
    struct smtp_server *server = c->server;
    body_sink_free(&c->sink);
    arena_free(&c->arena);
    snapshot_unref(&c->snapshot);
    mem_free(c);
    *cp = NULL;
    server->confirms--;
    server->alive--;
    if (server->stopping && !server->alive)
        loop_defer(server->conf.loop, &server->defer);
}

static void give_up(struct confirm *c, const char *reason)
{
    log_info(&c->log, "not_confirmed", L_STR("to", c->report.to), L_Z("reason", reason));
    end(&c);
}

static void on_committed(struct store_op *op)
{
    struct confirm *c = CONTAINER_OF(op, struct confirm, delivery.op);
    const struct smtp_server_conf *conf = &c->server->conf;
    if (op->failed) {
        give_up(c, op->err.text);
        return;
    }
    log_info(&c->log, "confirmed", L_STR("to", c->report.to), L_UINT("rcpts", c->report.n_rcpts),
             L_UINT("report", c->report.id));
    for (size_t i = 0; conf->on_queued && i < c->leaves.n_to; i++)
        conf->on_queued(conf->ctx, c->to[i].site);
    end(&c);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct confirm *c = ctx;
    if (failed)
        give_up(c, failed->text);
    else if (store_submit(c->server->conf.store, &c->delivery.op))
        give_up(c, c->delivery.op.err.text);
}

static void write_and_submit(struct confirm *c)
{
    struct buf text;
    buf_init(&text, REPORT_MAX);
    report_write(&c->report, &text);
    c->sink = body_sink_new(c->server->conf.store, REPORT_MAX, NULL, NULL);
    bool ok = buf_ok(&text) && body_sink_put(c->sink, buf_str(&text)) != BODY_FAIL;
    buf_fini(&text);
    if (!ok) {
        give_up(c, "the report can't be stored");
        return;
    }
    body_sink_end(c->sink);
    c->delivery.sink = c->sink;
    c->delivery.internal_ms = c->report.now_ms;
    body_sink_flush(c->sink, on_flushed, c);
}

/* ---- Who gets it */

static void add_account(struct confirm *c, struct str account)
{
    struct buf prefix;
    struct message_recipient *to = &c->delivery.rcpts[c->delivery.n_rcpts++];
    buf_init(&prefix, PREFIX_MAX);
    smtp_trace_prefix(&prefix, STR(""), account, NULL, NULL, 0);
    *to = (struct message_recipient){.account = arena_str(c->arena, account),
                                     .mailbox = STR("INBOX"),
                                     .prefix = arena_str(c->arena, buf_str(&prefix))};
    buf_fini(&prefix);
}

static void add_remote(struct confirm *c, struct str address)
{
    struct str local, domain;
    struct route route;
    struct err err = {0};
    address_split(address, &local, &domain);
    if (!c->relay || !c->relay->enabled ||
        route_choose(c->relay, c->arena, STR(""), domain, &route, &err))
        return;
    c->to[c->leaves.n_to++] =
        (struct queue_to){.rcpt = arena_str(c->arena, address),
                          .site = route.site,
                          .next_ms = c->report.now_ms,
                          .expires_ms = c->report.now_ms + (int64_t)c->relay->bounce_lifetime};
}

static void address_it(struct confirm *c, const struct directory_answer *a)
{
    struct str capture = str_from(c->server->conf.capture_account);
    size_t n_remotes = a->kind == DIRECTORY_NOT_OURS ? 1 : a->n_remotes;
    message_delivery_init(&c->delivery, on_committed);
    c->delivery.rcpts = ARENA_ARRAY(c->arena, struct message_recipient, a->n_accounts + 1);
    c->to = ARENA_ARRAY(c->arena, struct queue_to, n_remotes + 1);
    for (size_t i = 0; i < a->n_accounts; i++)
        add_account(c, a->accounts[i]);
    if (capture.n && n_remotes)
        add_account(c, capture);
    for (size_t i = 0; !capture.n && i < n_remotes; i++)
        add_remote(c, a->kind == DIRECTORY_NOT_OURS ? c->report.to : a->remotes[i]);
    c->leaves.entry = (struct queue_entry){.id = c->report.id, .since_ms = c->report.now_ms};
    c->leaves.to = c->to;
    c->delivery.leaves = c->leaves.n_to ? &c->leaves : NULL;
}

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct confirm *c = ctx;
    if (a->failed) {
        give_up(c, a->err.text);
        return;
    }
    address_it(c, a);
    if (c->delivery.n_rcpts + c->leaves.n_to)
        write_and_submit(c);
    else
        give_up(c, "its sender can't be reached");
}

/* ---- What it says */

/* False: nothing to be said of it here. */
static bool describe(const struct smtp_session *s, const struct smtp_recipient *r,
                     struct report_rcpt *out)
{
    bool captured = s->server->conf.capture_account && r->n_remotes;
    size_t here = r->n_accounts - (captured ? 1 : 0), n = here + r->n_remotes;
    if (r->deleted || !report_wanted(r->notify, REPORT_DELIVERED) || !n)
        return false;
    if (n == 1 && !here && !captured)
        return false; /* who sends it will */
    *out = (struct report_rcpt){.kind = n > 1  ? REPORT_EXPANDED
                                        : here ? REPORT_DELIVERED
                                               : REPORT_RELAYED,
                                .status = "2.1.5",
                                .last_ms = clock_wall_ms()};
    return true;
}

static size_t collect(const struct smtp_session *s, struct arena *a, struct report_rcpt *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->tx.n_list; i++) {
        const struct smtp_recipient *r = &s->tx.list[i];
        if (!describe(s, r, &out[n]))
            continue;
        out[n].address = arena_str(a, r->address);
        out[n].orcpt = arena_str(a, r->orcpt);
        n++;
    }
    return n;
}

static void fill(struct confirm *c, const struct smtp_session *s, struct report_rcpt *rcpts,
                 size_t n)
{
    struct arena *a = c->arena;
    struct str head = body_sink_head(s->tx.sink);
    c->report = (struct report){.id = store_new_id(s->server->conf.store),
                                .about = s->tx.id,
                                .hostname = str_from(s->server->hostname),
                                .origin = str_from(s->server->origin),
                                .to = arena_str(a, s->tx.sender),
                                .envid = arena_str(a, s->tx.envid),
                                .now_ms = clock_wall_ms(),
                                .arrived_ms = clock_wall_ms(),
                                .rcpts = rcpts,
                                .n_rcpts = n,
                                .head = arena_str(a, str_take(head, HEAD_MAX)),
                                .utf8 = s->tx.utf8};
    if (c->report.utf8)
        c->leaves.out.flags = QUEUE_UTF8 | QUEUE_8BIT;
}

void smtp_confirm(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    bool any = false;
    for (size_t i = 0; i < tx->n_list && !any; i++)
        any = report_wanted(tx->list[i].notify, REPORT_DELIVERED);
    /* What was taken for junk isn't confirmed to whoever it claims to be from. */
    if (!any || !tx->sender.n || tx->junk || s->server->confirms >= CONFIRMS_MAX)
        return;
    struct arena *arena = arena_new(0);
    struct report_rcpt *rcpts = ARENA_ARRAY(arena, struct report_rcpt, tx->n_list);
    size_t n = collect(s, arena, rcpts);
    if (!n) {
        arena_free(&arena);
        return;
    }
    struct confirm *c = MEM_NEW(struct confirm);
    c->server = s->server;
    c->relay = s->relay;
    c->snapshot = snapshot_ref(s->snapshot);
    c->log = (struct log_ctx){.module = "smtp", .sid = s->log.sid, .mid = tx->id};
    c->arena = arena;
    fill(c, s, rcpts, n);
    s->server->confirms++;
    s->server->alive++;
    if (directory_resolve(s->server->conf.directory, c->report.to, on_resolved, c))
        give_up(c, "the directory is too busy");
}
