/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor_config.c - settings that are allowed, and not wise. */
#include "appliance/app/doctor.h"
#include "appliance/app/strangers.h"

void doctor_relay(struct doctor *d)
{
    const struct config *c = d->config;
    const char *relay = c->relay.enabled ? stranger_in(c->relay.trusted_networks) : NULL,
               *guard = stranger_in(c->guard.trusted);

    if (relay)
        doctor_say(d, DOCTOR_BAD, "name your own networks only in relay.trusted_networks",
                   "an open relay: %s may send to anybody without a login", relay);
    else if (!c->relay.enabled)
        doctor_say(d, DOCTOR_OK, "", "mail doesn't leave: relay.enabled is no");
    else
        doctor_say(d, DOCTOR_OK, "", "no strangers may send to others");
    if (guard)
        doctor_say(d, DOCTOR_BAD, "name your own networks only in guard.trusted",
                   "no limit and no ban holds for %s", guard);
    if (c->relay.enabled && !c->smtp.sender_check)
        doctor_say(d, DOCTOR_WARN, "set smtp.sender_check = yes",
                   "each user may send in the name of all others");
}

static void look_at_port(struct doctor *d, const struct port_conf *p)
{
    const char *proxy = p->proxy_from[0] ? stranger_in(p->proxy_from) : NULL;

    if (proxy)
        doctor_say(d, DOCTOR_BAD, "name your own proxies only in its proxy_from",
                   "listener \"%s\": %s may say that it is anybody", p->name, proxy);
    if (p->service != SERVICE_SMTP && p->tls == PORT_NO_TLS)
        doctor_say(d, DOCTOR_WARN, "set its tls, or enabled = no",
                   "listener \"%s\": without TLS nobody can log in there", p->name);
    if (p->service == SERVICE_SMTP && p->tls == PORT_IMPLICIT)
        doctor_say(d, DOCTOR_WARN, "set tls = starttls",
                   "listener \"%s\": other hosts don't speak TLS from the first byte", p->name);
    if (p->service == SERVICE_SMTP && p->tls == PORT_NO_TLS)
        doctor_say(d, DOCTOR_WARN, "set tls = starttls", "listener \"%s\": mail comes in the clear",
                   p->name);
}

void doctor_listeners(struct doctor *d)
{
    enum doctor_mark before = d->worst;
    size_t services[3] = {0}, all = 0;

    d->worst = DOCTOR_OK;
    for (size_t i = 0; i < d->config->n_ports; i++) {
        const struct port_conf *p = &d->config->ports[i];
        if (!p->enabled)
            continue;
        all++;
        services[p->service]++;
        look_at_port(d, p);
    }
    if (!services[SERVICE_SMTP])
        doctor_say(d, DOCTOR_WARN, "add a listener with service = smtp, port = 25",
                   "no listener takes mail from other hosts");
    if (!services[SERVICE_SUBMISSION])
        doctor_say(d, DOCTOR_WARN, "add a listener with service = submission",
                   "no listener takes mail from users");
    if (d->worst == DOCTOR_OK)
        doctor_say(d, DOCTOR_OK, "", "%zu listeners", all);
    d->worst = d->worst > before ? d->worst : before;
}

void doctor_database(struct doctor *d)
{
    const struct database_conf *db = &d->config->database;

    if (!db->url[0])
        doctor_say(d, DOCTOR_OK, "", "SQLite in the data folder, flushed at each commit");
    else if (db->unsafe)
        doctor_say(d, DOCTOR_BAD, "set database.unsafe = no and innodb_flush_log_at_trx_commit = 1",
                   "the server may lose mail that was acknowledged");
    else
        doctor_say(d, DOCTOR_OK, "", "a server that is refused unless it flushes at each commit");
}
