/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_facts.h"
#include "appliance/base/buf.h"
#include "appliance/mail/header.h"
#include "filters/authres.h"
#include <stdio.h>

enum { SIGNATURES_TOLD = 20 };

static struct str fact(const struct ph_host *host, struct ph_acts *acts, const char *name)
{
    return str_from(host->fact_get(acts, name));
}

/* ---- What others have found out. */

bool dmarc_dkim_next(struct str *rest, struct dmarc_dkim *out)
{
    struct str one;

    while (rest->n) {
        str_cut(*rest, ';', &one, rest);
        one = str_trim(one);
        str_cut(one, ' ', &out->result, &one);
        str_cut(one, ' ', &out->domain, &one);
        str_cut(one, ' ', &out->selector, &one);
        if (out->domain.n)
            return true;
    }
    return false;
}

/* What neither passed nor may yet pass identifies nobody. */
static void add_identity(struct dmarc_request *to, bool dkim, struct str result, struct str domain)
{
    bool pass = str_eq(result, STR("pass"));
    struct dmarc_identity *id = &to->ids[to->n_ids];

    if (to->n_ids == DMARC_IDENTITIES || (!pass && !str_eq(result, STR("temperror"))) ||
        !dmarc_domain_fold(domain, &id->domain))
        return;
    id->dkim = dkim;
    id->pass = pass;
    to->n_ids++;
}

/* The null sender's identity is that of HELO (RFC 7208 2.4), which spf.domain is then. */
void dmarc_facts_read(const struct ph_host *host, ph_turn turn, struct dmarc_request *out)
{
    struct ph_acts *acts = host->acts(host, turn);
    const struct ph_view *view = host->view(host, turn);
    struct str spf = fact(host, acts, "spf.result"), dkim = fact(host, acts, "dkim.results");
    struct dmarc_dkim one;
    struct header_field h;

    if (!spf.p)
        out->unchecked = "SPF wasn't checked";
    else if (!dkim.p &&
             header_find(str_of(view->head, view->head_size), STR("DKIM-Signature"), 0, &h))
        out->unchecked = "DKIM wasn't checked";
    add_identity(out, false, spf, fact(host, acts, "spf.domain"));
    while (dmarc_dkim_next(&dkim, &one))
        add_identity(out, true, one.result, one.domain);
}

void dmarc_facts_auth(const struct ph_host *host, struct ph_acts *acts, struct buf *out)
{
    struct str spf = fact(host, acts, "spf.result"), domain = fact(host, acts, "spf.domain"),
               dkim = fact(host, acts, "dkim.results");
    struct dmarc_dkim one;
    unsigned n = 0;

    if (spf.n && domain.n)
        buf_printf(out, "spf " STR_FMT " " STR_FMT "\n", STR_ARG(spf), STR_ARG(domain));
    while (n++ < SIGNATURES_TOLD && dmarc_dkim_next(&dkim, &one)) {
        size_t before = out->n;
        if (buf_printf(out, "dkim " STR_FMT " " STR_FMT " " STR_FMT "\n", STR_ARG(one.result),
                       STR_ARG(one.domain), STR_ARG(one.selector))) {
            buf_truncate(out, before);
            return;
        }
    }
}

/* ---- The verdict. */

/* "p=reject, applied: none, trusted_forwarder" */
static void put_policy(const struct dmarc_verdict *v, const struct dmarc_outcome *o,
                       struct buf *out)
{
    if (!v->record || !v->record->usable) {
        buf_add_z(out, v->problem);
        return;
    }
    buf_printf(out, "policy of %s: %s", v->domain, dmarc_policy_name(v->asked));
    if (v->result == DMARC_RESULT_FAIL && o->disposition != v->asked)
        buf_printf(out, ", applied: %s, %s", dmarc_policy_name(o->disposition),
                   dmarc_override_name(o->override));
    if (v->problem[0])
        buf_printf(out, ", %s", v->problem);
}

/* RFC 9989 9.1 */
static void set_authres(const struct ph_host *host, struct ph_acts *acts,
                        const struct dmarc_verdict *v, struct str comment)
{
    struct buf text;

    buf_init(&text, AUTHRES_LIMIT);
    authres_result(&text, "dmarc", dmarc_result_name(v->result), comment);
    if (v->author[0])
        authres_property(&text, "header.from", str_from(v->author));
    if (v->record && v->record->usable)
        authres_property(&text, "policy.dmarc", str_from(dmarc_policy_name(v->policy)));
    host->fact_set(acts, "dmarc.authres", buf_z(&text));
    buf_fini(&text);
}

void dmarc_facts_set(const struct ph_host *host, struct ph_acts *acts,
                     const struct dmarc_verdict *v, const struct dmarc_outcome *o)
{
    struct buf comment;

    host->fact_set(acts, "dmarc.result", dmarc_result_name(v->result));
    if (v->author[0])
        host->fact_set(acts, "dmarc.domain", v->author);
    if (v->record && v->record->usable) {
        host->fact_set(acts, "dmarc.policy", dmarc_policy_name(v->policy));
        host->fact_set(acts, "dmarc.policy_domain", v->domain);
        host->fact_set(acts, "dmarc.alignment",
                       v->spf && v->dkim ? "spf,dkim"
                       : v->spf          ? "spf"
                       : v->dkim         ? "dkim"
                                         : "none");
    }
    if (o->override)
        host->fact_set(acts, "dmarc.override", dmarc_override_name(o->override));
    buf_init(&comment, 1024);
    put_policy(v, o, &comment);
    set_authres(host, acts, v, buf_str(&comment));
    buf_fini(&comment);
}

void dmarc_facts_words(const struct dmarc_verdict *v, const struct dmarc_outcome *o,
                       struct dmarc_words *out)
{
    struct buf text;

    buf_init(&text, 1024);
    put_policy(v, o, &text);
    snprintf(out->reason, sizeof out->reason, "%s%s%.100s%s%s%s", dmarc_result_name(v->result),
             v->author[0] ? " for " : "", v->author, text.n ? " (" : "", buf_z(&text),
             text.n ? ")" : "");
    buf_fini(&text);
    out->reply[0] = '\0';
    if (o->verdict == PH_DEFER)
        snprintf(out->reply, sizeof out->reply,
                 "451 4.7.1 DMARC: mail from %.100s can't be checked now (%.60s)", v->author,
                 v->problem);
    else if (o->verdict == PH_REJECT && v->result == DMARC_RESULT_FAIL)
        snprintf(out->reply, sizeof out->reply,
                 "550 5.7.1 DMARC: the policy of %.100s is to refuse mail from it that neither SPF "
                 "nor DKIM confirms (p=reject)",
                 v->domain);
    else if (o->verdict == PH_REJECT)
        snprintf(out->reply, sizeof out->reply, "550 5.7.1 DMARC: %.100s", v->problem);
}
