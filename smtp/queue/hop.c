/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hop.c - one connection of a site: to which address, again at the next one, kept for the next
 * mail, closed. RFC 5321 5.1. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"
#include <stdio.h>

/* ---- What an attempt is told when no address is left. */

/* What may pass counts more than what won't: the message is given up only when every host says so.
 */
static void note(struct hop *h, const struct smtp_fault *f, const char *host)
{
    if (h->fault.kind != SMTP_FAULT_NONE && f->kind == SMTP_FAULT_PERM)
        return;
    h->fault = *f;
    snprintf(h->fault_host, sizeof h->fault_host, "%s", host);
}

void hop_blame(struct hop *h, const struct smtp_fault *why)
{
    rests_blame(h->d->rests, h->where, why, h->d->conf.relay->min_backoff);
    site_halve(h->site);
}

/* How many other connections to the same host can send. */
static unsigned others(const struct hop *h)
{
    unsigned n = 0;

    LIST_EACH(&h->site->hops, it)
    {
        const struct hop *o = LIST_ITEM(it, struct hop, link);
        n += o != h && o->state != HOP_OPENING && o->client && strcmp(o->where, h->where) == 0;
    }
    return n;
}

bool hop_give_back(struct hop *h)
{
    unsigned n = others(h);

    if (!n)
        return false;
    if (h->site->limit > n)
        h->site->limit = n;
    site_give_back(h->site, h->mail);
    h->mail = NULL;
    hop_close(h);
    return true;
}

static void set_peer(struct hop *h, const struct host *host)
{
    snprintf(h->host, sizeof h->host, "%s", host->name);
    snprintf(h->ip, sizeof h->ip, "%s", host->ip);
    snprintf(h->where, sizeof h->where, "%s:%u", host->ip, host->port);
}

/* RFC 8689 4.2.1: the next host's name must come from where it can't be forged. */
static bool vouched_for(const struct share *s, const struct host *host)
{
    return !s->route.mx || host->policy == HOSTS_POLICY_STS || host->policy == HOSTS_POLICY_DANE;
}

static bool usable(struct hop *h, const struct host *host)
{
    static const struct smtp_fault not_safe = {
        .kind = SMTP_FAULT_PERM,
        .status = "5.7.30",
        .stage = "STARTTLS",
        .text = "The sender demands REQUIRETLS, and neither DANE nor MTA-STS vouches for the host"};
    struct smtp_fault rests;
    uint64_t left;

    if (host->unusable.kind != SMTP_FAULT_NONE) {
        note(h, &host->unusable, host->name);
        hop_note_unusable(h, host);
        return false;
    }
    if (mail_requires_tls(h->mail) && !vouched_for(h->share, host)) {
        note(h, &not_safe, host->name);
        return false;
    }
    set_peer(h, host);
    if (h->mail->last_try) /* whatever happened to others: it gets its chance */
        return true;
    left = rests_left(h->d->rests, h->where, &rests);
    if (!left)
        return true;
    note(h, &rests, host->name);
    if (!h->rests_ms || left < h->rests_ms)
        h->rests_ms = left;
    return false;
}

/* ---- Opening. */

static void on_ready(void *ctx);
static void on_closed(void *ctx, const struct smtp_fault *why);

static struct conn_target target_of(const struct hop *h, const struct host *host)
{
    const struct relay_conf *c = h->share->relay;

    return (struct conn_target){.ip = host->ip,
                                .from = strchr(host->ip, ':') ? c->bind_ipv6 : c->bind_ipv4,
                                .port = host->port,
                                .timeout_ms = c->connect_timeout};
}

static int open_client(struct hop *h, const struct host *host, struct err *err)
{
    static const struct smtp_client_events events = {.on_ready = on_ready, .on_closed = on_closed};
    const char *const names[] = {host->name, NULL};
    const struct relay_conf *c = h->share->relay;
    struct smtp_client_conf conf = {
        .loop = h->d->conf.loop,
        .files = h->d->files,
        .target = target_of(h, host),
        .host = host->name,
        .hostname = h->d->hostname,
        .use = h->plain ? SMTP_TLS_OFF : host->use,
        .tls = h->d->tls,
        .demand = host->demand,
        .credentials = h->share->route.credentials,
        .timeouts = {.connect = c->connect_timeout,
                     .greeting = c->helo_timeout,
                     .helo = c->helo_timeout},
        .log = {.module = "smtp", .sid = h->sid, .mid = h->mail->entry.id}};

    if (mail_requires_tls(h->mail) && conf.demand.trust == TLS_TRUST_NONE) {
        conf.demand = (struct tls_demand){.trust = TLS_TRUST_PKIX, .names = names};
        if (conf.use != SMTP_TLS_IMPLICIT)
            conf.use = SMTP_TLS_MUST;
    }
    return smtp_client_open(&conf, &events, h, &h->client, err);
}

/* False: no address is left; h->fault says why. */
static bool open_next(struct hop *h)
{
    for (; h->at < h->share->hosts->n && h->tried < DELIVERY_ADDRESSES; h->at++) {
        const struct host *host = &h->share->hosts->list[h->at];
        struct smtp_fault f = {.kind = SMTP_FAULT_HOST, .status = "4.4.1", .stage = "connect"};
        struct err err;
        if (!usable(h, host))
            continue;
        if (!h->plain)
            h->tried++;
        if (open_client(h, host, &err) == 0)
            return true;
        snprintf(f.text, sizeof f.text, "%s", err.text);
        note(h, &f, host->name);
        delivery_count_connect(h->d, true);
        h->plain = false;
    }
    return false;
}

static void give_up(struct hop *h)
{
    struct mail *m = h->mail;
    struct smtp_fault f = h->fault;
    int64_t rests = h->rests_ms ? clock_wall_ms() + (int64_t)h->rests_ms : 0;

    if (f.kind == SMTP_FAULT_NONE)
        f = (struct smtp_fault){.kind = SMTP_FAULT_TEMP,
                                .status = "4.4.4",
                                .stage = "connect",
                                .text = "It has no address that can be tried"};
    snprintf(m->at.host, sizeof m->at.host, "%s", h->fault_host);
    snprintf(m->at.ip, sizeof m->at.ip, "%s", h->ip);
    h->mail = NULL;
    hop_close(h);
    mail_fail(m, &f, rests);
}

static void begin(struct hop *h)
{
    h->state = HOP_OPENING;
    if (!open_next(h))
        give_up(h);
}

void hop_again(struct hop *h, const struct smtp_fault *why)
{
    smtp_client_close(&h->client);
    note(h, why, h->host);
    h->at++;
    h->plain = false;
    begin(h);
}

void hop_once_more(struct hop *h)
{
    smtp_client_close(&h->client);
    begin(h);
}

static void on_ready(void *ctx)
{
    struct hop *h = ctx;

    delivery_count_connect(h->d, false);
    hop_note_ready(h);
    hop_send(h);
}

static void opening_failed(struct hop *h, struct smtp_fault f)
{
    const struct host *host = &h->share->hosts->list[h->at];

    if (f.kind == SMTP_FAULT_NONE)
        f = (struct smtp_fault){.kind = SMTP_FAULT_HOST,
                                .status = "4.4.2",
                                .stage = "greeting",
                                .text = "It closed the connection"};
    hop_note_failed(h, &f);
    if (f.kind == SMTP_FAULT_TLS && host->use == SMTP_TLS_MAY && !h->plain &&
        !mail_requires_tls(h->mail)) { /* RFC 7435: better than not at all */
        h->plain = true;
        hop_once_more(h);
        return;
    }
    delivery_count_connect(h->d, true);
    if (hop_give_back(h))
        return;
    hop_blame(h, &f);
    hop_again(h, &f);
}

static void on_closed(void *ctx, const struct smtp_fault *why)
{
    struct hop *h = ctx;
    struct smtp_fault f = *why;

    switch (h->state) {
    case HOP_OPENING:
        opening_failed(h, f);
        break;
    case HOP_SENDING: /* on_sent comes before, and closes a client that is broken */
    case HOP_CONVERTING:
        smtp_client_close(&h->client);
        break;
    case HOP_IDLE:
        hop_close(h);
        break;
    }
}

/* ---- Life. */

static void on_idle_over(void *ctx)
{
    hop_close(ctx);
}

void hop_start(struct site *s, struct mail *m)
{
    struct hop *h = MEM_NEW(struct hop);
    struct delivery *d = s->d;

    h->site = s;
    h->d = d;
    h->mail = m;
    h->share = s->share;
    h->share->refs++;
    h->sid = store_new_id(d->conf.store);
    h->generation = d->generation;
    h->timer = timer_new(d->conf.loop, on_idle_over, h);
    list_init(&h->idle);
    list_add(&s->hops, &h->link);
    if (s->n_hops++)
        d->slots++;
    d->hops++;
    begin(h);
}

void hop_close(struct hop *h)
{
    struct site *s = h->site;

    smtp_client_close(&h->client);
    if (h->convert)
        hop_convert_drop(h);
    else if (h->mail)
        mail_free(&h->mail);
    timer_free(&h->timer);
    list_del(&h->link);
    list_del(&h->idle);
    if (--s->n_hops)
        s->d->slots--;
    s->d->hops--;
    share_unref(&h->share);
    mem_free(h);
    site_touch(s);
}

bool hop_fits(const struct hop *h, const struct mail *m)
{
    return !mail_requires_tls(m) || smtp_client_peer(h->client)->trust != TLS_TRUST_NONE;
}

void hop_take(struct hop *h, struct mail *m)
{
    timer_stop(h->timer);
    list_del(&h->idle);
    h->mail = m;
    h->at = 0; /* should the connection be gone, all hosts are as good as before */
    h->tried = 0;
    h->rests_ms = 0;
    h->fault.kind = SMTP_FAULT_NONE;
    hop_send(h);
}

static bool used_up(const struct hop *h)
{
    const struct relay_conf *c = h->d->conf.relay;
    unsigned max = smtp_client_peer(h->client)->mail_max; /* RFC 9422 */

    return h->d->stopping || h->generation != h->d->generation ||
           h->sent >= (unsigned)c->messages || (max && h->sent >= max) ||
           h->site->n_hops > h->site->limit || (h->site->n_hops > 1 && !list_empty(&h->d->waiting));
}

/* The client may have ended with this very mail: then its on_closed comes before the loop's turn is
 * over, and with that the next mail for this hop. */
void hop_done(struct hop *h, bool broken)
{
    struct site *s = h->site;
    struct delivery *d = h->d;

    h->mail = NULL;
    if (broken || used_up(h)) {
        hop_close(h);
        return;
    }
    if (!list_empty(&d->waiting) && loop_now_ms(d->conf.loop) - s->active_ms > DELIVERY_TURN_MS)
        site_drop_ready(s);
    h->state = HOP_IDLE;
    list_add(&d->idle, &h->idle);
    timer_start(h->timer, d->conf.relay->idle);
    site_touch(s);
}
