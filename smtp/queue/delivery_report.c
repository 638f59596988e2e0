/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_report.c - the report about a mail: who gets it, its text in a body, and then all of it
 * is recorded at once. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "smtp/queue/delivery_private.h"
#include <stdio.h>

enum { REPORT_ROOM = 4 << 20 };

void mail_report_free(struct mail *m)
{
    outbound_free(&m->outbound);
    body_sink_free(&m->sink);
    m->leaves = NULL;
}

static void drop(struct mail *m, struct str to, const char *why)
{
    struct log_ctx log = m->d->log;

    log.mid = m->entry.id;
    log_warn(&log, "report-dropped", L_STR("to", to), L_Z("reason", why));
    m->n_reports = 0;
    mail_report_free(m);
    mail_settle_submit(m);
}

/* ---- Its text. */

static void on_flushed(void *ctx, const struct err *failed)
{
    struct mail *m = ctx;

    m->busy = false;
    if (failed)
        mail_settle_later(m);
    else
        mail_settle_submit(m);
}

static void write_report(struct mail *m, uint64_t id, struct buf *text)
{
    struct delivery *d = m->d;
    bool failed = false;

    for (size_t i = 0; i < m->n_reports; i++)
        failed |= m->reports[i].kind == REPORT_FAILED;
    const struct report r = {.id = id,
                             .about = m->entry.id,
                             .hostname = str_from(d->hostname),
                             .origin = str_from(d->origin),
                             .to = mail_sender(m),
                             .envid = m->out.envid,
                             .now_ms = clock_wall_ms(),
                             .arrived_ms = m->entry.since_ms,
                             .rcpts = m->reports,
                             .n_rcpts = m->n_reports,
                             .head = m->head,
                             .text = str_skip(m->text, m->head.n),
                             /* RFC 3461 6.2: RET is about failures; others get the headers. So
                              * does what needs REQUIRETLS (RFC 8689 5) */
                             .full = failed && m->out.ret == QUEUE_RET_FULL && m->fd < 0 &&
                                     !mail_requires_tls(m),
                             .utf8 = (m->out.flags & QUEUE_UTF8) != 0};
    report_write(&r, text);
}

/* The text is as long as the message's head and a little. */
static void keep_report(struct mail *m, struct str text)
{
    m->sink = body_sink_new(m->d->conf.store, text.n + 1, NULL, NULL);
    if (body_sink_put(m->sink, text) == BODY_FAIL) {
        mail_settle_later(m);
        return;
    }
    body_sink_end(m->sink);
    m->busy = true;
    body_sink_flush(m->sink, on_flushed, m);
}

/* ---- Stages look at what leaves. */

/* A report can't be refused to anybody, nor held: it goes out, is dropped, or made later. */
static void on_judged(void *ctx)
{
    struct mail *m = ctx;
    const struct chain_answer *a = outbound_answer(m->outbound);
    char why[300];

    m->busy = false;
    if (a->verdict == PH_DEFER) {
        mail_settle_later(m);
    } else if (a->verdict == PH_REJECT || a->verdict == PH_DISCARD) {
        snprintf(why, sizeof why, "stage %.31s: %.240s", a->stage, a->reason);
        drop(m, m->report_to, why);
    } else {
        (void)outbound_prefix(outbound_chain(m->outbound), 0, m->arena, &m->leaves->out.prefix);
        outbound_free(&m->outbound);
        keep_report(m, m->report_text);
    }
}

void mail_report_cancel(struct mail *m)
{
    outbound_free(&m->outbound);
    m->busy = false;
    mail_settle_later(m);
}

static const char *const *names_of(struct mail *m)
{
    const char **names = ARENA_ARRAY(m->arena, const char *, m->leaves->n_to + 1);

    for (size_t i = 0; i < m->leaves->n_to; i++)
        names[i] = m->leaves->to[i].rcpt.p; /* of the arena: terminated */
    return names;
}

/* False: nobody wants to see it. */
static bool show(struct mail *m, uint64_t id, struct str text)
{
    m->report_text = arena_str(m->arena, text);
    const struct outbound_mail out = {.id = id,
                                      .route = "own",
                                      .account = "",
                                      .sender = "",
                                      .host = m->d->hostname,
                                      .rcpts = names_of(m),
                                      .n_rcpts = m->leaves->n_to,
                                      .utf8 = (m->leaves->out.flags & QUEUE_UTF8) != 0,
                                      .message = outbound_message(m->report_text)};
    m->busy = outbound_start(m->d->filters, m->d->conf.loop, &out, on_judged, m, &m->outbound);
    return m->busy;
}

/* ---- Where it goes. */

static void to_mailboxes(struct mail *m, const struct directory_answer *a)
{
    struct message_recipient *list =
        ARENA_ARRAY(m->arena, struct message_recipient, a->n_accounts + 1);

    for (size_t i = 0; i < a->n_accounts; i++) {
        struct str prefix = arena_printf(
            m->arena, "Return-Path: <>\r\nDelivered-To: " STR_FMT "\r\n", STR_ARG(a->accounts[i]));
        list[i] = (struct message_recipient){.account = arena_str(m->arena, a->accounts[i]),
                                             .mailbox = STR("INBOX"),
                                             .prefix = prefix};
    }
    m->settle.rcpts = list;
    m->settle.n_rcpts = a->n_accounts;
}

static void to_others(struct mail *m, uint64_t id, const struct str *list, size_t n)
{
    const struct relay_conf *relay = m->d->conf.relay;
    int64_t now = clock_wall_ms();
    struct queue_new *q = ARENA_NEW(m->arena, struct queue_new);
    struct queue_to *to = ARENA_ARRAY(m->arena, struct queue_to, n + 1);

    q->entry = (struct queue_entry){.id = id, .since_ms = now, .sender = STR("")};
    q->to = to;
    for (size_t i = 0; i < n; i++) {
        struct str local, domain;
        struct route route;
        struct err err;
        address_split(list[i], &local, &domain);
        if (route_choose(relay, m->arena, STR(""), domain, &route, &err))
            continue;
        to[q->n_to++] = (struct queue_to){.rcpt = arena_str(m->arena, list[i]),
                                          .site = arena_str(m->arena, route.site),
                                          .next_ms = now,
                                          .expires_ms = now + (int64_t)relay->bounce_lifetime};
    }
    if (q->n_to)
        m->leaves = q;
}

static void make(struct mail *m, struct str to, const struct directory_answer *a)
{
    uint64_t id = store_new_id(m->d->conf.store);
    struct buf text;

    m->settle.n_rcpts = 0;
    m->leaves = NULL;
    if (a->kind == DIRECTORY_LOCAL) {
        to_mailboxes(m, a);
        to_others(m, id, a->remotes, a->n_remotes);
    } else {
        to_others(m, id, &to, 1);
    }
    if (!m->settle.n_rcpts && !m->leaves) {
        drop(m, to, "its domain isn't one that mail can be sent to");
        return;
    }
    buf_init(&text, REPORT_ROOM + m->text.n * 2);
    write_report(m, id, &text);
    if (m->leaves) {
        if (mail_requires_tls(m)) /* RFC 8689 5: so does what speaks of it */
            m->leaves->out.flags |= QUEUE_REQUIRETLS;
        if (!text_ascii(buf_str(&text)))
            m->leaves->out.flags |= QUEUE_8BIT;
        if ((m->out.flags & QUEUE_UTF8) && (m->leaves->out.flags & QUEUE_8BIT || !text_ascii(to)))
            m->leaves->out.flags |= QUEUE_UTF8;
    }
    if (!m->leaves || !show(m, id, buf_str(&text)))
        keep_report(m, buf_str(&text));
    buf_fini(&text);
}

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct mail *m = ctx;
    struct str to = m->report_to;

    m->busy = false;
    if (a->failed && a->err.kind == ERR_PERM)
        drop(m, to, a->err.text);
    else if (a->failed)
        mail_settle_later(m);
    else if (a->kind == DIRECTORY_UNKNOWN)
        drop(m, to, "there is no such address");
    else
        make(m, to, a);
}

/* The sender of forwarded mail is one of ours that stands for another (SRS). -1: forged. */
static int true_sender(struct mail *m, struct str *out)
{
    const struct srs_conf *srs = m->d->conf.srs;
    struct str sender = mail_sender(m);
    struct err err;
    int rc;

    *out = sender;
    if (!srs)
        return 0;
    rc = srs_reverse(srs, m->arena, sender, clock_wall_ms(), out, &err);
    if (rc == 0)
        *out = sender;
    return rc < 0 ? -1 : 0;
}

void mail_report(struct mail *m)
{
    if (true_sender(m, &m->report_to)) {
        drop(m, mail_sender(m), "its address was made up, or is too old (SRS)");
        return;
    }
    if (directory_resolve(m->d->conf.directory, m->report_to, on_resolved, m))
        mail_settle_later(m);
    else
        m->busy = true;
}
