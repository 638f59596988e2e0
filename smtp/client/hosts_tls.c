/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Which TLS a host must have: the route's word, else DANE (RFC 7672), else MTA-STS (RFC 8461). */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/client/hosts_private.h"
#include <stdio.h>

static void add_name(const char **names, size_t *n, const char *name)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(names[i], name) == 0)
            return;
    names[(*n)++] = name;
}

static void demand(struct arena *a, struct host *out, enum smtp_tls_use use, enum tls_trust trust)
{
    const char **names = ARENA_ARRAY(a, const char *, 2);

    names[0] = out->name;
    out->use = use;
    out->demand = (struct tls_demand){.trust = trust, .names = names};
}

/* RFC 7672 3.2.2: the TLSA base domain, which is the SNI; the name of the host; the domain whose
 * MX it is. */
static void demand_dane(const struct tls_question *q, const struct candidate *c, struct arena *a,
                        struct host *out)
{
    const char **names = ARENA_ARRAY(a, const char *, 4);
    size_t n = 0;

    add_name(names, &n, c->base.p);
    add_name(names, &n, out->name);
    if (q->domain)
        add_name(names, &n, q->domain);
    out->use = SMTP_TLS_MUST;
    out->demand = (struct tls_demand){
        .trust = TLS_TRUST_DANE, .names = names, .tlsa = c->records, .n_tlsa = c->n_records};
}

static const char *records_text(const struct candidate *c, struct arena *a)
{
    struct buf out;

    buf_init(&out, 16384);
    for (size_t i = 0; i < c->n_records; i++) {
        const struct tls_tlsa *t = &c->records[i];
        buf_printf(&out, "%u %u %u ", t->usage, t->selector, t->matching);
        text_hex_encode(t->data.p, t->data.n, &out);
        buf_add_char(&out, '\n');
    }
    const char *text = arena_str(a, buf_str(&out)).p;
    buf_fini(&out);
    return text;
}

static void refuse(struct host *out, enum tls_result_type failure, const char *text)
{
    out->failure = failure;
    out->unusable =
        (struct smtp_fault){.kind = SMTP_FAULT_TLS, .status = "4.7.5", .stage = "connect"};
    snprintf(out->unusable.text, sizeof out->unusable.text, "%s", text);
}

/* True: DANE has decided. */
static bool decide_dane(const struct tls_question *q, const struct candidate *c, struct arena *a,
                        struct host *out)
{
    bool wanted = q->tls == ROUTE_TLS_DANE;

    if (c->dane == DANE_NO && !wanted)
        return false;
    out->policy = HOSTS_POLICY_DANE;
    out->policy_text = records_text(c, a);
    demand(a, out, SMTP_TLS_MUST, TLS_TRUST_NONE);
    if (c->dane == DANE_USABLE) {
        demand_dane(q, c, a, out);
    } else if (c->dane == DANE_FAILED) {
        refuse(out, TLS_RESULT_DNSSEC_INVALID, "its TLSA records can't be had or are forged");
    } else if (wanted) {
        refuse(out, TLS_RESULT_DANE_REQUIRED,
               "it has no usable TLSA record, and the route asks for DANE");
    } else if (q->login) { /* RFC 7672 2.2: with unusable records TLS isn't verified */
        demand(a, out, SMTP_TLS_MUST, TLS_TRUST_PKIX);
    }
    return true;
}

static void decide_sts(const struct tls_question *q, struct arena *a, struct host *out)
{
    bool enforce = q->policy->mode == STS_ENFORCE;

    out->policy = enforce ? HOSTS_POLICY_STS : HOSTS_POLICY_STS_TESTING;
    out->policy_text = q->policy_text;
    demand(a, out, enforce ? SMTP_TLS_MUST : SMTP_TLS_MAY,
           enforce ? TLS_TRUST_PKIX : TLS_TRUST_NONE);
    if (sts_covers(q->policy, str_from(out->name)))
        return;
    if (enforce)
        refuse(out, TLS_RESULT_VALIDATION_FAILURE,
               "the MTA-STS policy of the domain doesn't name this host");
    else
        out->failure = TLS_RESULT_VALIDATION_FAILURE;
}

static void decide_auto(const struct tls_question *q, const struct candidate *c, struct arena *a,
                        struct host *out)
{
    if (decide_dane(q, c, a, out))
        return;
    if (q->policy)
        decide_sts(q, a, out);
    else if (q->login && !route_is_loopback(out->ip)) /* a password is for this host alone */
        demand(a, out, SMTP_TLS_MUST, TLS_TRUST_PKIX);
    else
        demand(a, out, SMTP_TLS_MAY, TLS_TRUST_NONE);
}

void hosts_decide_tls(const struct tls_question *q, const struct candidate *c, struct arena *a,
                      struct host *out)
{
    out->policy = HOSTS_POLICY_NONE;
    out->policy_text = "";
    switch (q->tls) {
    case ROUTE_TLS_AUTO:
        decide_auto(q, c, a, out);
        break;
    case ROUTE_TLS_ANY:
        demand(a, out, SMTP_TLS_MAY, TLS_TRUST_NONE);
        break;
    case ROUTE_TLS_NONE:
        demand(a, out, SMTP_TLS_OFF, TLS_TRUST_NONE);
        break;
    case ROUTE_TLS_ENCRYPT:
        demand(a, out, SMTP_TLS_MUST, TLS_TRUST_NONE);
        break;
    case ROUTE_TLS_VERIFY:
        demand(a, out, SMTP_TLS_MUST, TLS_TRUST_PKIX);
        break;
    case ROUTE_TLS_DANE:
        decide_dane(q, c, a, out);
        break;
    case ROUTE_TLS_IMPLICIT:
        demand(a, out, SMTP_TLS_IMPLICIT, TLS_TRUST_PKIX);
        break;
    }
}
