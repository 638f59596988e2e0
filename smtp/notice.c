/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/notice.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/outbound.h"
#include "smtp/client/route.h"
#include "smtp/trace.h"

enum {
    NOTICES_MAX = 1000, /* under way at once; more are dropped */
    FIELDS_MAX = 2048
};

struct sending {
    struct smtp_server *server;
    const struct relay_conf *relay;
    struct snapshot *snapshot; /* that relay lies in */
    struct log_ctx log;
    struct arena *arena;
    struct notice n;
    int64_t now_ms;
    struct outbound *outbound;
    struct body_sink *sink;
    struct message_delivery delivery;
    struct queue_new leaves;
    struct queue_to *to;
};

static void end(struct sending **sp)
{
    struct sending *s = *sp;
    struct smtp_server *server = s->server;
    outbound_free(&s->outbound);
    body_sink_free(&s->sink);
    arena_free(&s->arena);
    snapshot_unref(&s->snapshot);
    mem_free(s);
    *sp = NULL;
    server->notices--;
    server->alive--;
    if (server->stopping && !server->alive)
        loop_defer(server->conf.loop, &server->defer);
}

static void give_up(struct sending *s, const char *reason)
{
    log_info(&s->log, "notice_dropped", L_Z("what", s->n.what), L_STR("to", s->n.to),
             L_Z("reason", reason));
    end(&s);
}

/* ---- Into the store */

static void on_committed(struct store_op *op)
{
    struct sending *s = CONTAINER_OF(op, struct sending, delivery.op);
    const struct smtp_server_conf *conf = &s->server->conf;
    if (op->failed) {
        give_up(s, op->err.text);
        return;
    }
    log_info(&s->log, "notice", L_Z("what", s->n.what), L_STR("to", s->n.to),
             L_UINT("notice", s->n.id));
    for (size_t i = 0; conf->on_queued && i < s->leaves.n_to; i++)
        conf->on_queued(conf->ctx, s->to[i].site);
    end(&s);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct sending *s = ctx;
    if (failed)
        give_up(s, failed->text);
    else if (store_submit(s->server->conf.store, &s->delivery.op))
        give_up(s, s->delivery.op.err.text);
}

static void submit(struct sending *s)
{
    s->sink = body_sink_new(s->server->conf.store, NOTICE_MAX, NULL, NULL);
    if (body_sink_put(s->sink, s->n.text) == BODY_FAIL) {
        give_up(s, "it can't be stored");
        return;
    }
    body_sink_end(s->sink);
    s->delivery.sink = s->sink;
    s->delivery.internal_ms = s->now_ms;
    body_sink_flush(s->sink, on_flushed, s);
}

/* ---- What the stages say to a copy that leaves */

static void on_judged(void *ctx)
{
    struct sending *s = ctx;
    const struct chain_answer *a = outbound_answer(s->outbound);
    if (a->verdict >= PH_QUARANTINE) {
        give_up(s, a->reason[0] ? a->reason : a->stage);
        return;
    }
    (void)outbound_prefix(outbound_chain(s->outbound), 0, s->arena, &s->leaves.out.prefix);
    submit(s);
}

static const char *const *names_of(struct sending *s)
{
    const char **names = ARENA_ARRAY(s->arena, const char *, s->leaves.n_to + 1);
    for (size_t i = 0; i < s->leaves.n_to; i++)
        names[i] = s->to[i].rcpt.p; /* of the arena: terminated */
    return names;
}

static void show(struct sending *s)
{
    const struct outbound_mail m = {.id = s->n.id,
                                    .route = "own",
                                    .account = s->n.account.p,
                                    .sender = "",
                                    .host = s->server->hostname,
                                    .rcpts = names_of(s),
                                    .n_rcpts = s->leaves.n_to,
                                    .utf8 = s->n.utf8,
                                    .message = outbound_message(s->n.text)};
    const struct smtp_server_conf *conf = &s->server->conf;
    if (!s->leaves.n_to ||
        !outbound_start(conf->filters, conf->loop, &m, on_judged, s, &s->outbound))
        submit(s);
}

/* ---- Who gets it */

static void add_account(struct sending *s, struct str account)
{
    struct message_recipient *to = &s->delivery.rcpts[s->delivery.n_rcpts++];
    struct buf fields;
    buf_init(&fields, FIELDS_MAX);
    smtp_trace_prefix(&fields, STR(""), account, NULL, NULL, 0);
    *to = (struct message_recipient){.account = arena_str(s->arena, account),
                                     .mailbox = STR("INBOX"),
                                     .prefix = arena_str(s->arena, buf_str(&fields))};
    buf_fini(&fields);
}

static void add_remote(struct sending *s, struct str address)
{
    struct str local, domain;
    struct route route;
    struct err err = {0};
    address_split(address, &local, &domain);
    if (!s->relay || !s->relay->enabled ||
        route_choose(s->relay, s->arena, STR(""), domain, &route, &err))
        return;
    s->to[s->leaves.n_to++] =
        (struct queue_to){.rcpt = arena_str(s->arena, address),
                          .site = route.site,
                          .next_ms = s->now_ms,
                          .expires_ms = s->now_ms + (int64_t)s->relay->bounce_lifetime};
}

static void address_it(struct sending *s, const struct directory_answer *a)
{
    struct str capture = str_from(s->server->conf.capture_account);
    size_t n_remotes = a->kind == DIRECTORY_NOT_OURS ? 1 : a->n_remotes;
    message_delivery_init(&s->delivery, on_committed);
    s->delivery.rcpts = ARENA_ARRAY(s->arena, struct message_recipient, a->n_accounts + 1);
    s->to = ARENA_ARRAY(s->arena, struct queue_to, n_remotes + 1);
    for (size_t i = 0; i < a->n_accounts; i++)
        add_account(s, a->accounts[i]);
    if (capture.n && n_remotes)
        add_account(s, capture);
    for (size_t i = 0; !capture.n && i < n_remotes; i++)
        add_remote(s, a->kind == DIRECTORY_NOT_OURS ? s->n.to : a->remotes[i]);
    s->leaves.entry = (struct queue_entry){.id = s->n.id, .since_ms = s->now_ms};
    s->leaves.out.flags = text_ascii(s->n.text) ? 0 : QUEUE_8BIT;
    if (s->n.utf8)
        s->leaves.out.flags |= QUEUE_UTF8 | QUEUE_8BIT;
    s->leaves.to = s->to;
    s->delivery.leaves = s->leaves.n_to ? &s->leaves : NULL;
}

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct sending *s = ctx;
    if (a->failed) {
        give_up(s, a->err.text);
        return;
    }
    address_it(s, a);
    if (s->delivery.n_rcpts + s->leaves.n_to)
        show(s);
    else
        give_up(s, "its recipient can't be reached");
}

bool notice_busy(const struct smtp_server *server)
{
    return server->notices >= NOTICES_MAX;
}

void notice_send(const struct smtp_session *session, const struct notice *n)
{
    struct smtp_server *server = session->server;
    struct sending *s = MEM_NEW(struct sending);
    s->server = server;
    s->relay = session->relay;
    s->snapshot = snapshot_ref(session->snapshot);
    s->log = (struct log_ctx){.module = "smtp", .sid = session->log.sid, .mid = n->about};
    s->arena = arena_new(0);
    s->now_ms = clock_wall_ms();
    s->n = *n;
    s->n.to = arena_str(s->arena, n->to);
    s->n.account = arena_str(s->arena, n->account);
    s->n.text = arena_str(s->arena, n->text);
    server->notices++;
    server->alive++;
    if (directory_resolve(server->conf.directory, s->n.to, on_resolved, s))
        give_up(s, "the directory is too busy");
}
