/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* outbound.c - the filter stages at the point where mail leaves: once for a message, before it is
 * committed. What they add to the header stands in front of the copies that leave, and only of
 * those. Steps of deliver.c. */
#include "filters/outbound.h"
#include "appliance/base/mem.h"
#include "smtp/deliver.h"

/* What stays here for now is shown to them when it is released or judged: signatures are of that
 * day, then, and by keys of that day. */
static bool wanted(const struct smtp_session *s)
{
    return s->tx.leaves.n_to && !s->tx.hold && !s->tx.withhold &&
           filters_at(s->server->conf.filters, PH_OUTBOUND);
}

enum smtp_step smtp_step_outgoing(struct smtp_session *s)
{
    return wanted(s) ? smtp_make_readable(s) : SMTP_STEP_NEXT;
}

static void collect(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (outbound_prefix(s->chain, tx->actions_before, tx->arena, &tx->leaves.out.prefix))
        log_warn(&s->log, "fields_too_large", L_Z("point", "outbound"));
}

static enum smtp_step apply(struct smtp_session *s)
{
    const struct chain_answer *a = chain_answer(s->chain);
    struct smtp_transaction *tx = &s->tx;
    if (a->verdict >= PH_DEFER) {
        smtp_refuse(&tx->refused, a->code, a->status, "%s", a->text);
        return SMTP_STEP_REFUSE;
    }
    if (a->verdict == PH_DISCARD)
        tx->leaves.n_to = 0;
    if (a->verdict == PH_QUARANTINE)
        tx->hold = QUEUE_QUARANTINE;
    else
        collect(s);
    return SMTP_STEP_NEXT;
}

static void on_verdict(struct smtp_session *s)
{
    (void)apply(s); /* go_on sees a refusal by itself */
    smtp_deliver_go_on(s);
}

enum smtp_step smtp_step_outbound(struct smtp_session *s)
{
    struct chain_message m;
    if (!wanted(s))
        return SMTP_STEP_NEXT;
    s->tx.actions_before = outbound_count_actions(s->chain);
    if (smtp_show_message(s, &m))
        return smtp_step_refuse(s, 451, "4.3.0", "The message can't be read at the moment");
    return smtp_filter_run(s, PH_OUTBOUND, &m, on_verdict) ? apply(s) : SMTP_STEP_WAIT;
}
