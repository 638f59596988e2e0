/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/notice.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
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
    struct smtp_list accounts, remotes;
    size_t resolved; /* of its recipients */
    int64_t now_ms;
    struct outbound *outbound;
    struct body_sink *sink;
    struct message_delivery delivery;
    struct queue_new leaves;
    struct queue_to *to;
    int (*deliver)(struct store_op *op, struct store_tx *tx);
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

static void finish(struct sending *s, const struct err *failed)
{
    const struct notice_then *then = s->n.then;
    void *ctx = s->n.ctx;
    end(&s);
    if (then)
        then->done(ctx, failed);
}

static void give_up(struct sending *s, enum err_kind kind, const char *reason)
{
    struct err err;
    err_set(&err, kind, ERR_WHY_OTHER, "%s", reason);
    log_info(&s->log, "notice_dropped", L_Z("what", s->n.what), L_STR("to", s->n.to),
             L_Z("reason", reason));
    finish(s, &err);
}

/* ---- Into the store */

static int run_also(struct store_op *op, struct store_tx *tx)
{
    struct sending *s = CONTAINER_OF(op, struct sending, delivery.op);
    return s->n.then->also(s->n.ctx, tx, &op->err) ? -1 : s->deliver(op, tx);
}

static void on_committed(struct store_op *op)
{
    struct sending *s = CONTAINER_OF(op, struct sending, delivery.op);
    const struct smtp_server_conf *conf = &s->server->conf;
    if (op->failed) {
        give_up(s, ERR_TEMP, op->err.text);
        return;
    }
    log_info(&s->log, "notice", L_Z("what", s->n.what), L_STR("to", s->n.to),
             L_ID("notice", s->n.id));
    for (size_t i = 0; conf->on_queued && i < s->leaves.n_to; i++)
        conf->on_queued(conf->ctx, s->to[i].site);
    finish(s, NULL);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct sending *s = ctx;
    if (failed)
        give_up(s, ERR_TEMP, failed->text);
    else if (store_submit(s->server->conf.store, &s->delivery.op))
        give_up(s, ERR_TEMP, s->delivery.op.err.text);
}

static void submit(struct sending *s)
{
    s->sink = body_sink_new(s->server->conf.store, NOTICE_MAX, NULL, NULL);
    if (body_sink_put(s->sink, s->n.text) == BODY_FAIL) {
        give_up(s, ERR_TEMP, "it can't be stored");
        return;
    }
    body_sink_end(s->sink);
    s->delivery.sink = s->sink;
    s->delivery.internal_ms = s->now_ms;
    body_sink_flush(s->sink, on_flushed, s);
}

/* ---- What the stages say to a copy that leaves */

static bool is_signed(const struct sending *s)
{
    struct header_field h;
    return header_find(s->leaves.out.prefix, STR("DKIM-Signature"), 0, &h);
}

static void on_judged(void *ctx)
{
    struct sending *s = ctx;
    const struct chain_answer *a = outbound_answer(s->outbound);
    if (a->verdict >= PH_QUARANTINE) {
        give_up(s, a->verdict == PH_DEFER ? ERR_TEMP : ERR_PERM,
                a->reason[0] ? a->reason : a->stage);
        return;
    }
    (void)outbound_prefix(outbound_chain(s->outbound), 0, s->arena, &s->leaves.out.prefix);
    if (s->n.only_signed && !is_signed(s))
        give_up(s, ERR_PERM, "it can't be signed: see posthouse dkim");
    else
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
    if (s->leaves.n_to && outbound_start(conf->filters, conf->loop, &m, on_judged, s, &s->outbound))
        return;
    if (s->leaves.n_to && s->n.only_signed)
        give_up(s, ERR_PERM, "it can't be signed: the stage dkim_sign is off");
    else
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

/* A site of its own is kept: no route of the settings has that name. */
static bool choose(struct sending *s, struct str domain, struct route *out)
{
    struct err err = {0};
    if (!s->relay || !s->relay->enabled ||
        route_choose(s->relay, s->arena, STR(""), domain, out, &err))
        return false;
    if (s->n.any_tls && out->mx && out->tls != ROUTE_TLS_NONE)
        out->site = route_any_tls_site(s->arena, out);
    return true;
}

static void add_remote(struct sending *s, struct str address)
{
    struct str local, domain;
    struct route route;
    address_split(address, &local, &domain);
    if (!choose(s, domain, &route))
        return;
    s->to[s->leaves.n_to++] =
        (struct queue_to){.rcpt = arena_str(s->arena, address),
                          .site = route.site,
                          .forced = s->n.any_tls && route.mx && route.tls != ROUTE_TLS_NONE,
                          .next_ms = s->now_ms,
                          .expires_ms = s->now_ms + (int64_t)s->relay->bounce_lifetime};
}

static void address_it(struct sending *s)
{
    struct str capture = str_from(s->server->conf.capture_account);
    message_delivery_init(&s->delivery, on_committed);
    if (s->n.then) {
        s->deliver = s->delivery.op.run;
        s->delivery.op.run = run_also;
    }
    s->delivery.rcpts = ARENA_ARRAY(s->arena, struct message_recipient, s->accounts.n + 1);
    s->to = ARENA_ARRAY(s->arena, struct queue_to, s->remotes.n + 1);
    for (size_t i = 0; i < s->accounts.n; i++)
        add_account(s, s->accounts.at[i]);
    if (capture.n && s->remotes.n)
        add_account(s, capture);
    for (size_t i = 0; !capture.n && i < s->remotes.n; i++)
        add_remote(s, s->remotes.at[i]);
    s->leaves.entry = (struct queue_entry){.id = s->n.id, .since_ms = s->now_ms};
    s->leaves.out.flags = text_ascii(s->n.text) ? 0 : QUEUE_8BIT;
    if (s->n.utf8)
        s->leaves.out.flags |= QUEUE_UTF8 | QUEUE_8BIT;
    s->leaves.to = s->to;
    s->delivery.leaves = s->leaves.n_to ? &s->leaves : NULL;
}

static struct str recipient(const struct sending *s)
{
    return s->resolved ? s->n.more[s->resolved - 1] : s->n.to;
}

static void keep_all(struct sending *s, struct smtp_list *list, const struct str *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)smtp_list_add(s->arena, list, at[i]);
}

static void resolve(struct sending *s);

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct sending *s = ctx;
    struct str to = recipient(s);
    if (a->failed) {
        give_up(s, a->err.kind == ERR_PERM ? ERR_PERM : ERR_TEMP, a->err.text);
        return;
    }
    keep_all(s, &s->accounts, a->accounts, a->n_accounts);
    if (a->kind == DIRECTORY_NOT_OURS)
        keep_all(s, &s->remotes, &to, 1);
    else
        keep_all(s, &s->remotes, a->remotes, a->n_remotes);
    if (s->resolved++ < s->n.n_more) {
        resolve(s);
        return;
    }
    address_it(s);
    if (s->delivery.n_rcpts + s->leaves.n_to)
        show(s);
    else
        give_up(s, ERR_PERM, "its recipient can't be reached");
}

static void resolve(struct sending *s)
{
    if (directory_resolve(s->server->conf.directory, recipient(s), on_resolved, s))
        give_up(s, ERR_TEMP, "the directory is too busy");
}

bool notice_busy(const struct smtp_server *server)
{
    return server->notices >= NOTICES_MAX;
}

static const struct str *copy_list(struct arena *a, const struct str *list, size_t n)
{
    struct str *copy = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_str(a, list[i]);
    return copy;
}

static void begin(struct smtp_server *server, const struct relay_conf *relay,
                  struct snapshot *snapshot, uint64_t sid, const struct notice *n)
{
    struct sending *s = MEM_NEW(struct sending);
    s->server = server;
    s->relay = relay;
    s->snapshot = snapshot_ref(snapshot);
    s->log = (struct log_ctx){.module = "smtp", .sid = sid, .mid = n->about};
    s->arena = arena_new(0);
    s->now_ms = clock_wall_ms();
    s->n = *n;
    s->n.to = arena_str(s->arena, n->to);
    s->n.more = copy_list(s->arena, n->more, n->n_more);
    s->n.account = arena_str(s->arena, n->account);
    s->n.text = arena_str(s->arena, n->text);
    server->notices++;
    server->alive++;
    resolve(s);
}

void notice_send(const struct smtp_session *session, const struct notice *n)
{
    begin(session->server, session->relay, session->snapshot, session->log.sid, n);
}

void notice_post(struct smtp_server *server, const struct notice *n)
{
    begin(server, server->conf.relay, server->conf.snapshot, 0, n);
}
