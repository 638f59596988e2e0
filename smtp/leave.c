/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* leave.c - what of a message goes to other hosts: its rows of the queue, written in the
 * transaction of the local copies. Steps of deliver.c. Forwarded copies (an alias of ours leads
 * elsewhere) carry where they were forwarded, and a sender for which this host may send. */
#include "appliance/base/clock.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/client/route.h"
#include "smtp/deliver.h"
#include "smtp/queue/srs.h"

static bool leaves(const struct smtp_session *s)
{
    return s->tx.remotes.n && !s->tx.discard && !s->server->conf.capture_account && s->relay;
}

/* ---- Junk: who sends it on is taken for its source */

bool smtp_junk_stays(const struct smtp_session *s)
{
    return leaves(s) && !s->relay->forward_junk && !smtp_may_relay(s);
}

enum smtp_step smtp_step_junk(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!tx->junk || !smtp_junk_stays(s))
        return SMTP_STEP_NEXT;
    if (!tx->accounts.n) /* one reply, for all (DESIGN.md 4) */
        return smtp_step_refuse(s, 550, "5.7.1",
                                "The message looks like junk, which isn't forwarded from here");
    tx->withhold = true;
    return SMTP_STEP_NEXT;
}

/* ---- Loops: RFC 9228, a forwarder's mark in the header */

enum { ADDRESS_MAX = 1024 };

/* Compared without case (as str_ieq does), by a key. */
static struct str key_of(char key[ADDRESS_MAX], struct str address)
{
    address = str_take(address, ADDRESS_MAX);
    for (size_t i = 0; i < address.n; i++)
        key[i] = ascii_lower(address.p[i]);
    return str_of(key, address.n);
}

/* The addresses that forwarded it before, in one pass: there may be thousands, and each recipient
 * asks. */
static struct map *were_here(struct str head)
{
    static const char was;
    struct map *seen = map_new();
    struct header_field f;
    char key[ADDRESS_MAX];
    while (header_next(&head, &f))
        if (str_ieq(f.name, STR("Delivered-To")) && str_trim(f.value).n <= ADDRESS_MAX)
            (void)map_set(seen, key_of(key, str_trim(f.value)), (void *)(uintptr_t)&was);
    return seen;
}

static bool forwards(const struct smtp_session *s)
{
    for (size_t i = 0; i < s->tx.n_list; i++) {
        const struct smtp_recipient *r = &s->tx.list[i];
        if (!r->deleted && r->forwarded && r->n_remotes)
            return true;
    }
    return false;
}

enum smtp_step smtp_step_circle(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct str circle = STR_NULL;
    char key[ADDRESS_MAX];
    if (!leaves(s) || !forwards(s))
        return SMTP_STEP_NEXT;
    struct map *seen = were_here(body_sink_head(tx->sink));
    for (size_t i = 0; i < tx->n_list; i++) {
        struct smtp_recipient *r = &tx->list[i];
        if (r->deleted || !r->forwarded || !r->n_remotes || !map_get(seen, key_of(key, r->address)))
            continue;
        log_warn(&s->log, "forward_loop", L_STR("address", r->address));
        r->n_remotes = 0;
        circle = r->address;
    }
    map_free(&seen);
    if (!circle.n)
        return SMTP_STEP_NEXT;
    smtp_envelope_rebuild(s);
    if (!tx->accounts.n && !tx->remotes.n)
        return smtp_step_refuse(s, 554, "5.4.6",
                                "The message was forwarded by this address before");
    return SMTP_STEP_NEXT;
}

/* ---- The sender of forwarded copies */

static void rewrite(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct err err = {0};
    struct str out;
    if (srs_forward(s->server->conf.srs, tx->arena, tx->sender, clock_wall_ms(), &out, &err))
        log_warn(&s->log, "sender_not_rewritten", L_STR("from", tx->sender),
                 L_Z("reason", err.text));
    else
        tx->srs_sender = out;
}

static void on_sender(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s)) {
        if (a->failed && a->err.kind != ERR_PERM)
            smtp_step_refuse(s, 451, "4.3.0", "The sender can't be looked up at the moment");
        else if (!a->failed && a->kind == DIRECTORY_NOT_OURS)
            rewrite(s);
        smtp_deliver_go_on(s);
    }
    smtp_session_unref(&s);
}

/* A sender in a domain of ours needs no other: this host may send for it. */
enum smtp_step smtp_step_sender(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!leaves(s) || !tx->sender.n || !s->relay->srs || !s->server->conf.srs || !forwards(s))
        return SMTP_STEP_NEXT;
    if (directory_resolve(s->server->conf.directory, tx->sender, on_sender, smtp_session_ref(s)) ==
        0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return SMTP_STEP_WAIT;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    return smtp_step_refuse(s, 451, "4.3.2", "Too busy at the moment");
}

/* ---- The rows */

/* RFC 3461 5.2.7.3: where one address stands for several, its success is reported here (as
 * expanded), and only the rest is asked of the hosts it goes to. */
static unsigned notify_of(const struct smtp_recipient *r)
{
    if (!(r->notify & SMTP_NOTIFY_SUCCESS) || r->n_accounts + r->n_remotes <= 1)
        return r->notify;
    unsigned rest = r->notify & ~(unsigned)SMTP_NOTIFY_SUCCESS;
    return rest ? rest : SMTP_NOTIFY_NEVER;
}

static int64_t expires(const struct smtp_session *s, int64_t now)
{
    return now + (int64_t)(s->tx.sender.n ? s->relay->lifetime : s->relay->bounce_lifetime);
}

static void add_row(struct smtp_session *s, struct queue_to *to, const struct smtp_recipient *r,
                    struct str address)
{
    struct smtp_transaction *tx = &s->tx;
    struct str local, domain;
    struct route route;
    struct err err = {0};
    address_split(address, &local, &domain);
    if (route_choose(s->relay, tx->arena, tx->sender, domain, &route, &err)) {
        /* RCPT was sure of it; the filters' own may lead nowhere. */
        log_warn(&s->log, "recipient_without_route", L_STR("address", address),
                 L_Z("reason", err.text));
        return;
    }
    *to = (struct queue_to){.rcpt = address,
                            .site = route.site,
                            .sender = r->forwarded ? tx->srs_sender : STR_NULL,
                            .orcpt = r->orcpt,
                            .notify = notify_of(r),
                            .next_ms = tx->leaves.entry.since_ms,
                            .expires_ms = expires(s, tx->leaves.entry.since_ms)};
    tx->leaves.n_to++;
}

static bool needs_utf8(const struct smtp_transaction *tx)
{
    if (!tx->utf8)
        return false;
    for (size_t i = 0; i < tx->remotes.n; i++)
        if (!text_ascii(tx->remotes.at[i]))
            return true;
    return !text_ascii(tx->sender) || !text_ascii(body_sink_head(tx->sink));
}

static unsigned flags_of(const struct smtp_transaction *tx)
{
    return (needs_utf8(tx) ? QUEUE_UTF8 : 0) | (tx->requiretls ? QUEUE_REQUIRETLS : 0) |
           (tx->parser.eight_bit || !text_ascii(body_sink_head(tx->sink)) ? QUEUE_8BIT : 0);
}

/* The copies share one prefix: it names the address that forwarded them if that is one for all. */
static struct str mark(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct str address = STR_NULL;
    for (size_t i = 0; i < tx->n_list; i++) {
        const struct smtp_recipient *r = &tx->list[i];
        if (r->deleted || !r->n_remotes)
            continue;
        if (!r->forwarded || (address.n && !str_ieq(address, r->address)))
            return STR_NULL;
        address = r->address;
    }
    return address.n ? arena_printf(tx->arena, "Delivered-To: " STR_FMT "\r\n", STR_ARG(address))
                     : STR_NULL;
}

static bool taken(const struct smtp_transaction *tx, const struct queue_to *to, struct str address)
{
    for (size_t i = 0; i < tx->leaves.n_to; i++)
        if (str_eq(to[i].rcpt, address))
            return true;
    return false;
}

enum smtp_step smtp_step_leave(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (!leaves(s))
        return SMTP_STEP_NEXT;
    struct queue_to *to = ARENA_ARRAY(tx->arena, struct queue_to, tx->remotes.n);
    tx->leaves = (struct queue_new){
        .entry = {.id = tx->id, .sender = tx->sender, .since_ms = clock_wall_ms()},
        .out = {.prefix = mark(s),
                .envid = tx->envid,
                .account = s->account ? arena_str(tx->arena, str_from(s->account)) : STR_NULL,
                .ret = (enum queue_ret)tx->ret,
                .flags = flags_of(tx)},
        .to = to};
    for (size_t i = 0; i < tx->n_list; i++) {
        const struct smtp_recipient *r = &tx->list[i];
        for (size_t k = 0; !r->deleted && k < r->n_remotes && tx->leaves.n_to < tx->remotes.n; k++)
            if (!taken(tx, to, r->remotes[k]))
                add_row(s, &to[tx->leaves.n_to], r, r->remotes[k]);
    }
    if (tx->withhold)
        smtp_hold_leaving(s, &tx->leaves.entry);
    return SMTP_STEP_NEXT;
}

void smtp_leave_queued(struct smtp_session *s)
{
    const struct queue_new *q = &s->tx.leaves;
    const struct smtp_server_conf *conf = &s->server->conf;
    for (size_t i = 0; conf->on_queued && i < q->n_to; i++) {
        bool told = false;
        for (size_t k = 0; k < i && !told; k++)
            told = str_eq(q->to[k].site, q->to[i].site);
        if (!told)
            conf->on_queued(conf->ctx, q->to[i].site);
    }
}
