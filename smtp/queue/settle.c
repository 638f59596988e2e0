/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* settle.c - what an attempt led to: recorded in the queue, together with the report to the sender
 * where one is due. What is known here and can't be recorded is kept and tried again: its
 * recipients stay in flight, so nobody gets the message twice. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "smtp/queue/delivery_private.h"
#include <stdio.h>

enum { AGAIN_MIN_MS = 1000, AGAIN_MAX_MS = 300000, TOO_MANY_RCPTS = 452 };

struct outcome {
    enum delivery_result result;
    const char *event;
    int64_t next_ms;
};

static struct log_ctx log_of(const struct mail *m)
{
    struct log_ctx log = m->d->log;
    log.mid = m->entry.id;
    return log;
}

static const char *trust_name(enum tls_trust t)
{
    static const char *const names[] = {
        [TLS_TRUST_NONE] = "none", [TLS_TRUST_PKIX] = "pkix", [TLS_TRUST_DANE] = "dane"};
    return names[t];
}

static void log_row(const struct mail *m, size_t i, const struct outcome *o, int64_t now,
                    struct str said)
{
    const struct queue_to *to = &m->rows[i].to;
    struct log_ctx log = log_of(m);

    if (o->result == DELIVERY_DELIVERED)
        log_info(&log, o->event, L_STR("to", to->rcpt), L_Z("host", m->at.host),
                 L_Z("ip", m->at.ip), L_Z("tls", m->at.tls), L_Z("trust", trust_name(m->at.trust)),
                 L_Z("reply", m->m.reply), L_INT("delay_ms", now - m->entry.since_ms),
                 L_UINT("tries", to->tries + 1), L_UINT("size", m->entry.size));
    else
        log_info(&log, o->event, L_STR("to", to->rcpt), L_Z("host", m->at.host),
                 L_Z("ip", m->at.ip), L_Z("status", m->rcpts[i].fault.status),
                 L_STR("reason", said), L_INT("delay_ms", now - m->entry.since_ms),
                 L_UINT("tries", to->tries + 1),
                 L_INT("next_s", o->next_ms ? (o->next_ms - now) / 1000 : 0));
}

static struct schedule schedule_of(const struct relay_conf *c)
{
    return (struct schedule){.min_backoff = c->min_backoff,
                             .max_backoff = c->max_backoff,
                             .delay_warning = c->delay_warning};
}

static struct schedule_row row_of(const struct mail *m, size_t i, int64_t now)
{
    return (struct schedule_row){.now_ms = now,
                                 .since_ms = m->entry.since_ms,
                                 .expires_ms = m->rows[i].to.expires_ms,
                                 .tries = m->rows[i].to.tries,
                                 .warned = m->rows[i].to.warned};
}

/* RFC 5321 4.5.3.1.10, 9422 4.2: a host that takes fewer recipients in one transaction gets the
 * others in the next one. */
static bool goes_on_at_once(const struct mail *m, size_t i)
{
    const struct smtp_fault *f = &m->rcpts[i].fault;

    if (strcmp(f->stage, "RCPT") != 0 ||
        (f->code != TOO_MANY_RCPTS && strcmp(f->status, "4.5.3") != 0))
        return false;
    for (size_t k = 0; k < m->n; k++)
        if (m->rcpts[k].fault.kind == SMTP_FAULT_NONE)
            return true;
    return false;
}

static struct outcome judge(const struct mail *m, size_t i, int64_t now)
{
    struct schedule schedule = schedule_of(m->d->conf.relay);
    struct schedule_row row = row_of(m, i, now);
    struct outcome o = {.result = DELIVERY_DEFERRED, .event = "deferred"};

    switch (m->rcpts[i].fault.kind) {
    case SMTP_FAULT_NONE:
        return (struct outcome){.result = DELIVERY_DELIVERED, .event = "delivered"};
    case SMTP_FAULT_PERM:
        return (struct outcome){.result = DELIVERY_FAILED, .event = "failed"};
    case SMTP_FAULT_HOST:
    case SMTP_FAULT_TLS:
    case SMTP_FAULT_AUTH:
    case SMTP_FAULT_TEMP:
        break;
    }
    o.next_ms = goes_on_at_once(m, i)
                    ? now
                    : schedule_next(&schedule, &row, m->rows[i].not_before_ms, rand_u64());
    if (!o.next_ms)
        return (struct outcome){.result = DELIVERY_EXPIRED, .event = "expired"};
    return o;
}

/* ---- Who is told. */

static void add_report(struct mail *m, size_t i, enum report_kind kind, const char *status,
                       struct str said)
{
    const struct queue_to *to = &m->rows[i].to;
    const struct smtp_fault *f = &m->rcpts[i].fault;
    struct log_ctx log = log_of(m);

    if (!report_wanted(to->notify, kind))
        return;
    if (mail_is_null(m, i)) { /* RFC 5321 6.1: a report about a report would never end */
        if (kind == REPORT_FAILED)
            log_info(&log, "dropped", L_STR("to", to->rcpt),
                     L_Z("reason", "it has no sender to report to"));
        return;
    }
    struct report_rcpt *r = &m->reports[m->n_reports++];
    *r = (struct report_rcpt){.kind = kind,
                              .address = to->rcpt,
                              .orcpt = to->orcpt,
                              .text = said,
                              .last_ms = clock_wall_ms(),
                              .until_ms = kind == REPORT_DELAYED ? to->expires_ms : 0};
    snprintf(r->status, sizeof r->status, "%s", status);
    if (f->remote) {
        char reply[DELIVERY_REPLY_MAX];
        smtp_fault_reply(f, reply, sizeof reply);
        r->diagnostic = arena_str(m->arena, str_from(reply));
        r->host = str_from(m->at.host);
    }
}

static const char *or_status(const char *status, const char *otherwise)
{
    return status[0] ? status : otherwise;
}

static void report_row(struct mail *m, size_t i, const struct outcome *o, int64_t now,
                       struct str said)
{
    struct schedule schedule = schedule_of(m->d->conf.relay);
    struct schedule_row row = row_of(m, i, now);
    const struct smtp_fault *f = &m->rcpts[i].fault;

    switch (o->result) {
    case DELIVERY_DELIVERED:
        /* RFC 3461 5.2.2: a host that knows DSN reports the success itself; absent NOTIFY doesn't
         * ask for it. */
        if (!m->m.relayed_dsn && (m->rows[i].to.notify & QUEUE_NOTIFY_SUCCESS))
            add_report(m, i, REPORT_RELAYED, "2.0.0", said);
        break;
    case DELIVERY_FAILED:
        add_report(m, i, REPORT_FAILED, or_status(f->status, "5.0.0"), said);
        break;
    case DELIVERY_EXPIRED:
        add_report(m, i, REPORT_FAILED, "4.4.7", said); /* RFC 3463 3.5: time expired */
        break;
    case DELIVERY_DEFERRED:
        if (schedule_warns(&schedule, &row) && !mail_is_null(m, i)) {
            m->results[i].warned = true; /* not asked again, wanted or not */
            add_report(m, i, REPORT_DELAYED, or_status(f->status, "4.0.0"), said);
        }
        break;
    }
}

static void settle_row(struct mail *m, size_t i, int64_t now)
{
    const struct queue_to *to = &m->rows[i].to;
    struct outcome o = judge(m, i, now);
    char text[DELIVERY_REPLY_MAX];
    struct str said;

    if (m->at.host[0])
        smtp_fault_text(&m->rcpts[i].fault, m->at.host, text, sizeof text);
    else /* no host was asked */
        snprintf(text, sizeof text, "%s", m->rcpts[i].fault.text);
    said = arena_str(m->arena, str_from(o.result == DELIVERY_DELIVERED ? m->m.reply : text));
    m->results[i] =
        (struct queue_result){.id = to->id,
                              .n = to->n,
                              .what = o.result == DELIVERY_DEFERRED ? QUEUE_LATER : QUEUE_SETTLED,
                              .warned = to->warned,
                              .next_ms = o.next_ms,
                              .last = said};
    log_row(m, i, &o, now, said);
    delivery_count_attempt(m->d, o.result);
    if (o.result == DELIVERY_DELIVERED)
        delivery_count_delay(now - m->entry.since_ms);
    else
        site_set_last(m->site, text);
    report_row(m, i, &o, now, said);
}

static void record(struct mail *m)
{
    if (m->n_reports)
        mail_report(m);
    else
        mail_settle_submit(m);
}

void mail_settle(struct mail *m)
{
    int64_t now = clock_wall_ms();

    m->n_reports = 0;
    for (size_t i = 0; i < m->n; i++)
        settle_row(m, i, now);
    record(m);
}

/* ---- Recording. */

static void on_again(void *ctx)
{
    record(ctx);
}

void mail_settle_later(struct mail *m)
{
    struct delivery *d = m->d;
    struct log_ctx log = log_of(m);
    uint64_t wait = (uint64_t)AGAIN_MIN_MS << (m->attempts < 10 ? m->attempts : 10);

    mail_report_free(m);
    if (d->drained) { /* it will be sent once more, but it isn't lost */
        log_error(&log, "unsettled", L_UINT("rcpts", m->n));
        mail_free(&m);
        return;
    }
    m->attempts++;
    if (!m->again)
        m->again = timer_new(d->conf.loop, on_again, m);
    timer_start(m->again, wait < AGAIN_MAX_MS ? wait : AGAIN_MAX_MS);
}

static void recorded(struct mail *m)
{
    struct delivery *d = m->d;

    for (size_t i = 0; i < m->n; i++)
        if (m->results[i].what == QUEUE_LATER)
            site_next(m->site, m->results[i].next_ms);
    if (m->sink)
        delivery_count_report(d);
    for (size_t i = 0; m->leaves && i < m->leaves->n_to; i++)
        delivery_wake(d, m->leaves->to[i].site);
    mail_free(&m);
}

static void on_settled(struct store_op *op)
{
    struct mail *m = CONTAINER_OF(op, struct mail, settle.op);
    struct log_ctx log = log_of(m);

    m->busy = false;
    if (!op->failed) {
        recorded(m);
        return;
    }
    log_warn(&log, "unrecorded", L_Z("reason", op->err.text));
    if (m->sink && op->err.kind == ERR_PERM) /* it is the report that can't be */
        m->n_reports = 0;
    mail_settle_later(m);
}

void mail_settle_submit(struct mail *m)
{
    struct queue_settle made = m->settle; /* mailboxes, as mail_report() filled them in */

    queue_settle_init(&m->settle, on_settled);
    m->settle.results = m->results;
    m->settle.n_results = m->n;
    m->settle.owner = m->owner;
    m->settle.report = m->sink;
    if (m->sink) {
        m->settle.rcpts = made.rcpts;
        m->settle.n_rcpts = made.n_rcpts;
        m->settle.leaves = m->leaves;
    }
    if (store_submit(m->d->conf.store, &m->settle.op)) {
        struct log_ctx log = log_of(m);
        log_warn(&log, "unrecorded", L_Z("reason", m->settle.op.err.text));
        mail_settle_later(m);
        return;
    }
    m->busy = true;
}
