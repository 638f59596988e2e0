/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/metrics.h"
#include "smtp/client/client_private.h"

enum { FAULTS = SMTP_FAULT_PERM + 1, TRUSTS = 4 /* and without TLS */ };

static const char *connection_name(size_t i)
{
    static const char *const names[FAULTS] = {"ready", "host", "tls", "auth", "temp", "perm"};
    return names[i];
}

static const char *rcpt_name(size_t i)
{
    static const char *const names[FAULTS] = {"delivered", "host", "tls", "auth", "temp", "perm"};
    return names[i];
}

static const char *trust_name(size_t i)
{
    static const char *const names[TRUSTS] = {"encrypted", "pkix", "dane", "none"};
    return names[i];
}

METRIC(open_now, 1, .type = METRIC_GAUGE, .name = "posthouse_smtp_client_connections",
       .help = "SMTP connections to other hosts that are open.");
METRIC(begun, FAULTS, .type = METRIC_COUNTER, .name = "posthouse_smtp_client_connections_total",
       .help = "SMTP connections to other hosts: ready to send, or by why they weren't.",
       .labels = {{"result", connection_name, FAULTS}});
METRIC(secured, TRUSTS, .type = METRIC_COUNTER, .name = "posthouse_smtp_client_tls_total",
       .help = "SMTP connections to other hosts that were ready, by what their TLS proved.",
       .labels = {{"trust", trust_name, TRUSTS}});
METRIC(rcpts, FAULTS, .type = METRIC_COUNTER, .name = "posthouse_smtp_client_recipients_total",
       .help = "Recipients offered to other hosts, by what became of them.",
       .labels = {{"result", rcpt_name, FAULTS}});

void client_count_open(void)
{
    metric_inc(&open_now, 0);
}

void client_count_end(bool ready, enum smtp_fault_kind kind)
{
    metric_dec(&open_now, 0);
    if (!ready && kind != SMTP_FAULT_NONE)
        metric_inc(&begun, kind);
}

void client_count_ready(const struct smtp_client *c)
{
    metric_inc(&begun, 0);
    metric_inc(&secured, c->peer.tls[0] ? (size_t)c->peer.trust : TRUSTS - 1);
}

void client_count_mail(const struct client_transaction *t)
{
    if (t->mail->probe)
        return;
    for (size_t i = 0; i < t->mail->n_rcpts; i++)
        metric_inc(&rcpts, t->mail->rcpts[i].fault.kind);
}
