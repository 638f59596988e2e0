/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hop_tls.c - what a connection showed about a host's TLS, counted for TLSRPT (RFC 8460 4.3): of
 * hosts found by MX only; named ones have no policy that anybody published. */
#include "smtp/queue/delivery_private.h"

static enum tls_result_policy kind_of(enum hosts_policy p)
{
    static const enum tls_result_policy kinds[] = {[HOSTS_POLICY_NONE] = TLS_POLICY_NONE,
                                                   [HOSTS_POLICY_STS_TESTING] = TLS_POLICY_STS,
                                                   [HOSTS_POLICY_STS] = TLS_POLICY_STS,
                                                   [HOSTS_POLICY_DANE] = TLS_POLICY_TLSA};
    return kinds[p];
}

static void note(struct delivery *d, const struct share *s, const struct host *host,
                 enum tls_result_type type)
{
    if (!s->route.mx || s->route.tls == ROUTE_TLS_ANY) /* RFC 8460 3: reports aren't reported */
        return;
    tls_results_note(d->results,
                     &(struct tls_result){.domain = str_from(s->route.host),
                                          .mx = str_from(host ? host->name : NULL),
                                          .policy = str_from(host ? host->policy_text : NULL),
                                          .kind = host ? kind_of(host->policy) : TLS_POLICY_STS,
                                          .type = type});
}

static const struct host *host_of(const struct hop *h)
{
    return &h->share->hosts->list[h->at];
}

void share_note_policy(struct delivery *d, const struct share *s)
{
    if (s->hosts->sts_failure != TLS_RESULT_SUCCESS)
        note(d, s, NULL, s->hosts->sts_failure);
}

void hop_note_unusable(struct hop *h, const struct host *host)
{
    if (host->failure != TLS_RESULT_SUCCESS)
        note(h->d, h->share, host, host->failure);
}

void hop_note_ready(struct hop *h)
{
    const struct smtp_peer *peer = smtp_client_peer(h->client);
    const struct host *host = host_of(h);
    bool testing = host->policy == HOSTS_POLICY_STS_TESTING;

    if (h->plain || host->use == SMTP_TLS_OFF)
        return; /* its failure was noted, or TLS isn't wanted */
    if (!peer->tls[0])
        note(h->d, h->share, host, TLS_RESULT_STARTTLS_NOT_SUPPORTED);
    else if (testing && peer->trust == TLS_TRUST_NONE)
        note(h->d, h->share, host, TLS_RESULT_CERTIFICATE_NOT_TRUSTED);
    else
        note(h->d, h->share, host, TLS_RESULT_SUCCESS);
}

/* OpenSSL's words for what is wrong with a certificate are all there is. */
static enum tls_result_type type_of(const struct smtp_fault *f)
{
    static const struct {
        const char *words;
        enum tls_result_type type;
    } known[] = {{"has expired", TLS_RESULT_CERTIFICATE_EXPIRED},
                 {"ostname mismatch", TLS_RESULT_CERTIFICATE_HOST_MISMATCH},
                 {"self-signed", TLS_RESULT_CERTIFICATE_NOT_TRUSTED},
                 {"self signed", TLS_RESULT_CERTIFICATE_NOT_TRUSTED},
                 {"issuer certificate", TLS_RESULT_CERTIFICATE_NOT_TRUSTED}};

    if (strcmp(f->status, "4.7.10") == 0 || f->code)
        return TLS_RESULT_STARTTLS_NOT_SUPPORTED;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strstr(f->text, known[i].words))
            return known[i].type;
    return TLS_RESULT_VALIDATION_FAILURE;
}

void hop_note_failed(struct hop *h, const struct smtp_fault *f)
{
    if (f->kind == SMTP_FAULT_TLS)
        note(h->d, h->share, host_of(h), type_of(f));
}
