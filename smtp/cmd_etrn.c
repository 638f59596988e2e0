/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_etrn.c - ETRN: a client whose line is up again asks for what waits for its domain. RFC
 * 1985. It only makes the queue look now, but is for known clients all the same. */
#include "appliance/base/text.h"
#include "smtp/client/route.h"
#include "smtp/commands.h"

bool smtp_offers_etrn(const struct smtp_session *s)
{
    return s->server->conf.on_etrn && s->relay && s->relay->enabled && smtp_is_known(s);
}

int smtp_etrn_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    struct buf domain;
    if (!s->server->conf.on_etrn)
        return smtp_refuse(why, 502, "5.5.1", "ETRN isn't offered here");
    args = str_trim(args);
    /* RFC 1985 5.3: '@' asks for the domains below it too, which is what the queue does anyhow;
     * '#' names queues, of which there are none. */
    if (args.n && args.p[0] == '@')
        args = str_skip(args, 1);
    buf_init(&domain, 256);
    int bad = text_domain(args, &domain);
    s->pending.text = arena_str(s->command, buf_str(&domain));
    buf_fini(&domain);
    if (bad)
        return smtp_refuse(why, 501, "5.5.4", "Syntax: ETRN domain");
    if (!smtp_offers_etrn(s))
        return smtp_refuse(why, 459, "4.7.1", "ETRN is for clients that may send from here");
    return 0;
}

void smtp_etrn_proceed(struct smtp_session *s)
{
    struct str domain = s->pending.text;
    if (s->server->stopping) {
        smtp_reply(s, 458, "4.3.2", "Shutting down");
        return;
    }
    unsigned n = s->server->conf.on_etrn(s->server->conf.ctx, domain);
    log_info(&s->log, "etrn", L_STR("domain", domain), L_UINT("messages", n));
    if (n)
        smtp_reply(s, 253, "2.0.0", "%u pending messages for " STR_FMT " started", n,
                   STR_ARG(domain));
    else
        smtp_reply(s, 250, "2.0.0", "Queuing for " STR_FMT " started", STR_ARG(domain));
}
