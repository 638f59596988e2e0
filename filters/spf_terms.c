/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_terms.c - which term says that the client may send (RFC 7208 5). */
#include "filters/client.h"
#include "filters/spf_private.h"

/* ---- Addresses. */

static bool within(const struct spf *s, const uint8_t net[16], bool v6, const struct spf_term *t)
{
    if (v6 != s->macros.v6)
        return false;
    struct cidr c = client_mask(net, v6 ? t->bits6 : 96 + t->bits4);
    return client_within(s->ip, &c);
}

bool spf_has_address(const struct spf *s, const struct ph_dns_answer *a, const struct spf_term *t)
{
    uint8_t ip[16];

    for (size_t i = 0; i < a->n; i++)
        if (client_parse(a->records[i]->ip, ip) && within(s, ip, s->macros.v6, t))
            return true;
    return false;
}

static bool matches_ip(const struct spf *s, const struct spf_term *t)
{
    uint8_t net[16] = {[10] = 0xff, [11] = 0xff};

    if (t->kind == SPF_IP6)
        return within(s, t->ip, true, t);
    memcpy(net + 12, t->ip, 4);
    return within(s, net, false, t);
}

enum outcome spf_ask_addresses(struct spf *s, enum step step, struct str name)
{
    return spf_ask(s, step, s->macros.v6 ? PH_DNS_AAAA : PH_DNS_A, name);
}

/* ---- Mechanisms. */

static enum outcome include(struct spf *s, struct str domain)
{
    s->depth++;
    *spf_top(s) = (struct frame){.domain = domain};
    return spf_ask_record(s, domain);
}

static enum outcome match_ptr(struct spf *s, struct str domain)
{
    for (size_t i = 0; i < s->validated.n; i++)
        if (spf_is_under(s->validated.at[i], domain))
            return MATCH;
    return NO_MATCH;
}

/* Of the term under way, whose name can be made out. */
static enum outcome ask_for_term(struct spf *s)
{
    const struct spf_term *t = &spf_top(s)->term;
    struct str name;

    if (!spf_target(s, t->spec, &name))
        return t->kind == SPF_INCLUDE
                   ? spf_decide_why(s, SPF_PERMERROR, "not a domain's name", t->text)
                   : NO_MATCH;
    switch (t->kind) {
    case SPF_INCLUDE:
        return include(s, name);
    case SPF_A:
        return spf_ask_addresses(s, ON_A, name);
    case SPF_MX:
        return spf_ask(s, ON_MX, PH_DNS_MX, name);
    case SPF_EXISTS:
        return spf_ask(s, ON_EXISTS, PH_DNS_A, name); /* 5.7: A, whatever the client has */
    default:
        return match_ptr(s, name);
    }
}

enum outcome spf_try_term(struct spf *s, const struct spf_term *t)
{
    switch (t->kind) {
    case SPF_ALL:
        return MATCH;
    case SPF_IP4:
    case SPF_IP6:
        return matches_ip(s, t) ? MATCH : NO_MATCH;
    case SPF_REDIRECT:
    case SPF_EXP:
    case SPF_UNKNOWN:
        return NO_MATCH;
    default:
        break;
    }
    if (spf_count_lookup(s, t->text) == WAIT)
        return WAIT;
    if (!spf_ready_for(s, t->spec) || (t->kind == SPF_PTR && !s->validated_known))
        return spf_ask_names(s, ask_for_term);
    return ask_for_term(s);
}

static enum outcome next_mx(struct spf *s)
{
    while (s->mx.next < s->mx.n && !spf_name_valid(s->mx.at[s->mx.next]))
        s->mx.next++;
    if (s->mx.next == s->mx.n)
        return NO_MATCH;
    return spf_ask_addresses(s, ON_MX_ADDRESS, s->mx.at[s->mx.next++]);
}

enum outcome spf_on_a(struct spf *s, const struct ph_dns_answer *a)
{
    if (spf_failed(a))
        return spf_no_answer(s, a);
    if (spf_too_many_voids(s, a))
        return WAIT;
    return spf_has_address(s, a, &spf_top(s)->term) ? MATCH : NO_MATCH;
}

enum outcome spf_on_mx(struct spf *s, const struct ph_dns_answer *a)
{
    if (spf_failed(a))
        return spf_no_answer(s, a);
    if (spf_too_many_voids(s, a))
        return WAIT;
    if (a->n > NAMES_MAX)
        return spf_decide_why(s, SPF_PERMERROR, "more than 10 MX", spf_top(s)->term.text);
    spf_keep_names(s, a, &s->mx);
    return next_mx(s);
}

enum outcome spf_on_mx_address(struct spf *s, const struct ph_dns_answer *a)
{
    if (spf_failed(a))
        return spf_no_answer(s, a);
    return spf_has_address(s, a, &spf_top(s)->term) ? MATCH : next_mx(s);
}

enum outcome spf_on_exists(struct spf *s, const struct ph_dns_answer *a)
{
    if (spf_failed(a))
        return spf_no_answer(s, a);
    if (spf_too_many_voids(s, a))
        return WAIT;
    return a->status == PH_DNS_FOUND ? MATCH : NO_MATCH;
}
