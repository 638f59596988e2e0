/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* callout_probe.c - one address: is it ours, where would its mail go, what do the hosts there say?
 */
#include "appliance/directory/directory.h"
#include "smtp/client/callout_private.h"
#include <stdio.h>

enum { SAID = 700 };

/* ---- What it comes to */

static bool begins(const char *status, const char *with)
{
    return strncmp(status, with, strlen(with)) == 0;
}

/* RFC 3463: 5.1.x is about addresses, 5.2.1 a mailbox that takes no mail. Hosts that give no status
 * say 550, 551 or 553 (RFC 5321 4.2.3); a host that takes no mail at all 521 or 556 (RFC 7504). */
static enum callout_result judge_refusal(const struct smtp_fault *f)
{
    if (f->code == 521 || f->code == 556)
        return CALLOUT_REFUSED;
    if (begins(f->status, "5.1.7") || begins(f->status, "5.1.8"))
        return CALLOUT_UNKNOWN; /* our sender */
    if (begins(f->status, "5.1.") || strcmp(f->status, "5.2.1") == 0)
        return CALLOUT_REFUSED;
    if (strcmp(f->status, "5.0.0") == 0 && (f->code == 550 || f->code == 551 || f->code == 553))
        return CALLOUT_REFUSED;
    return CALLOUT_UNKNOWN;
}

enum callout_result callout_judge(const struct smtp_fault *f)
{
    switch (f->kind) {
    case SMTP_FAULT_NONE:
        return CALLOUT_TAKEN;
    case SMTP_FAULT_PERM:
        return strcmp(f->stage, "RCPT") == 0 && f->remote ? judge_refusal(f) : CALLOUT_UNKNOWN;
    case SMTP_FAULT_AUTH:
        return CALLOUT_UNKNOWN;
    case SMTP_FAULT_HOST:
    case SMTP_FAULT_TLS:
    case SMTP_FAULT_TEMP:
        break;
    }
    return CALLOUT_TEMPORARY;
}

static void end(struct probe *p, enum callout_result result, const char *text)
{
    callout_end(p, &(struct callout_answer){.result = result, .text = text});
}

static void end_by(struct probe *p, const struct smtp_fault *f, const char *host)
{
    char said[SAID];

    smtp_fault_text(f, host, said, sizeof said);
    callout_end(p, &(struct callout_answer){.result = callout_judge(f),
                                            .sender_refused = f->kind == SMTP_FAULT_PERM &&
                                                              strcmp(f->stage, "MAIL") == 0 &&
                                                              f->remote,
                                            .text = said});
}

/* ---- The hosts */

static void on_sent(void *ctx, struct smtp_client_mail *m);
static void on_ready(void *ctx);
static void on_closed(void *ctx, const struct smtp_fault *why);

static int open_client(struct probe *p, const struct host *host, struct err *err)
{
    static const struct smtp_client_events events = {.on_ready = on_ready, .on_closed = on_closed};
    const struct relay_conf *c = p->relay;
    struct callout_house house;

    p->callout->conf.house(p->callout->conf.ctx, &house);
    const struct smtp_client_conf conf = {
        .loop = p->callout->conf.loop,
        .files = house.files,
        .target = {.ip = host->ip,
                   .from = strchr(host->ip, ':') ? c->bind_ipv6 : c->bind_ipv4,
                   .port = host->port,
                   .timeout_ms = c->connect_timeout},
        .host = host->name,
        .hostname = house.hostname,
        .use = p->plain ? SMTP_TLS_OFF : host->use,
        .tls = house.tls,
        .demand = host->demand,
        .credentials = p->route.credentials,
        .timeouts = {.connect = c->connect_timeout,
                     .greeting = c->helo_timeout,
                     .helo = c->helo_timeout},
        .log = {.module = "smtp"}};

    return smtp_client_open(&conf, &events, p, &p->client, err);
}

static void note(struct probe *p, const struct smtp_fault *f, const char *host)
{
    p->fault = *f;
    snprintf(p->fault_host, sizeof p->fault_host, "%s", host);
}

/* The next host, or what they came to. */
static void go_on(struct probe *p)
{
    for (; p->at < p->hosts->n && p->tried < CALLOUT_HOSTS; p->at++) {
        const struct host *host = &p->hosts->list[p->at];
        struct smtp_fault f = {.kind = SMTP_FAULT_HOST, .status = "4.4.1", .stage = "connect"};
        struct err err;
        if (host->unusable.kind != SMTP_FAULT_NONE) {
            note(p, &host->unusable, host->name);
            continue;
        }
        p->tried += !p->plain;
        if (open_client(p, host, &err) == 0)
            return;
        snprintf(f.text, sizeof f.text, "%s", err.text);
        note(p, &f, host->name);
        p->plain = false;
    }
    if (p->fault.kind == SMTP_FAULT_NONE)
        end(p, CALLOUT_TEMPORARY, "it has no address that can be tried");
    else
        end_by(p, &p->fault, p->fault_host);
}

static void begin_hosts(void *ctx)
{
    go_on(ctx);
}

void probe_connect(struct probe *p)
{
    p->begin.fn = begin_hosts;
    loop_defer(p->callout->conf.loop, &p->begin);
}

static void next_host(struct probe *p, const struct smtp_fault *why)
{
    smtp_client_close(&p->client);
    note(p, why, p->hosts->list[p->at].name);
    p->plain = false;
    p->at++;
    go_on(p);
}

static void on_ready(void *ctx)
{
    struct probe *p = ctx;

    p->rcpt = (struct smtp_client_rcpt){.address = p->address};
    p->mail = (struct smtp_client_mail){.sender = p->sender,
                                        .probe = true,
                                        .rcpts = &p->rcpt,
                                        .n_rcpts = 1,
                                        .fd = -1,
                                        .on_sent = on_sent};
    smtp_client_send(p->client, &p->mail);
}

static void on_sent(void *ctx, struct smtp_client_mail *m)
{
    struct probe *p = ctx;
    const struct smtp_fault f = m->rcpts[0].fault;

    if (f.kind == SMTP_FAULT_HOST)
        next_host(p, &f);
    else if (f.kind == SMTP_FAULT_NONE)
        end(p, CALLOUT_TAKEN, p->hosts->list[p->at].name);
    else
        end_by(p, &f, p->hosts->list[p->at].name);
}

static void on_closed(void *ctx, const struct smtp_fault *why)
{
    struct probe *p = ctx;
    struct smtp_fault f = *why;

    if (f.kind == SMTP_FAULT_NONE)
        f = (struct smtp_fault){.kind = SMTP_FAULT_HOST,
                                .status = "4.4.2",
                                .stage = "greeting",
                                .text = "It closed the connection"};
    if (f.kind == SMTP_FAULT_TLS && p->hosts->list[p->at].use == SMTP_TLS_MAY && !p->plain) {
        smtp_client_close(&p->client); /* RFC 7435, as delivery does */
        p->plain = true;
        go_on(p);
        return;
    }
    next_host(p, &f);
}

/* ---- Where it would go */

static void on_hosts(void *ctx, struct hosts_answer *a)
{
    struct probe *p = ctx;
    const struct smtp_fault *f = &a->fault;

    p->finding = NULL;
    p->hosts = a;
    if (f->kind == SMTP_FAULT_NONE)
        callout_wait(p);
    else if (f->kind != SMTP_FAULT_PERM)
        end(p, CALLOUT_TEMPORARY, f->text);
    else
        end(p, strcmp(f->status, "5.4.6") == 0 ? CALLOUT_UNKNOWN : CALLOUT_REFUSED, f->text);
}

static void find_hosts(struct probe *p)
{
    struct callout_house house;
    struct err err = {0};

    p->callout->conf.house(p->callout->conf.ctx, &house);
    p->relay = house.relay;
    p->snapshot = snapshot_ref(house.snapshot);
    if (route_choose(p->relay, p->arena, p->sender, p->domain, &p->route, &err)) {
        end(p, CALLOUT_REFUSED, err.text);
    } else if (!p->route.mx && strcmp(p->route.name, "relay") == 0) {
        end(p, CALLOUT_UNKNOWN, "its mail would go over relay.host, which knows nothing of it");
    } else {
        p->finding = hosts_find(&house.hosts, p->relay, &p->route, on_hosts, p);
        if (!p->finding)
            end(p, CALLOUT_TEMPORARY, "its hosts can't be looked up at the moment");
    }
}

/* ---- Is it ours? */

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct probe *p = ctx;

    p->resolving = false;
    if (p->over)
        probe_free(p);
    else if (a->failed)
        end(p, a->err.kind == ERR_PERM ? CALLOUT_UNKNOWN : CALLOUT_TEMPORARY, a->err.text);
    else if (a->kind == DIRECTORY_LOCAL)
        end(p, CALLOUT_TAKEN, "it is an address of ours");
    else if (a->kind == DIRECTORY_UNKNOWN)
        end(p, CALLOUT_REFUSED, "there is no such address in this domain of ours");
    else
        find_hosts(p);
}

void probe_begin(void *ctx)
{
    struct probe *p = ctx;

    p->resolving = true;
    if (directory_resolve(p->callout->conf.directory, p->address, on_resolved, p) == 0)
        return;
    p->resolving = false;
    end(p, CALLOUT_TEMPORARY, "the directory is too busy");
}

void probe_free(struct probe *p)
{
    loop_defer_cancel(&p->begin);
    list_del(&p->waiting);
    smtp_client_close(&p->client);
    hosts_cancel(&p->finding);
    hosts_free(&p->hosts);
    snapshot_unref(&p->snapshot);
    if (p->resolving) {
        p->over = true;
        return;
    }
    arena_free(&p->arena);
    mem_free(p);
}
