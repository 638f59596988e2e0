/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_names.c - the names of the client (RFC 7208 5.5), asked for once, when the first term needs
 * them; and the names that terms ask for. */
#include "filters/spf_private.h"

enum outcome spf_ask_names(struct spf *s, enum outcome (*resume)(struct spf *s))
{
    s->resume = resume;
    return spf_ask(s, ON_PTR, PH_DNS_PTR, s->macros.ip);
}

bool spf_is_under(struct str name, struct str domain)
{
    return str_iends(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* 7.3, %{p}: the domain itself, else one below it, else any. */
static struct str validated_name(const struct spf *s, struct str domain)
{
    struct str best = STR_NULL;

    for (size_t i = 0; i < s->validated.n; i++) {
        struct str name = s->validated.at[i];
        if (str_ieq(name, domain))
            return name;
        if (!best.n || (spf_is_under(name, domain) && !spf_is_under(best, domain)))
            best = name;
    }
    return best;
}

static enum outcome next_ptr(struct spf *s)
{
    if (s->ptr.next < s->ptr.n)
        return spf_ask_addresses(s, ON_PTR_ADDRESS, s->ptr.at[s->ptr.next]);
    s->validated_known = true;
    return s->resume(s);
}

void spf_keep_names(struct spf *s, const struct ph_dns_answer *a, struct names *to)
{
    *to = (struct names){.n = 0};
    for (size_t i = 0; i < a->n && to->n < NAMES_MAX; i++)
        to->at[to->n++] = arena_str(s->arena, str_from(a->records[i]->name));
}

/* What goes wrong with the client's names makes it nameless, nothing more (5.5, 7.3). */
enum outcome spf_on_ptr(struct spf *s, const struct ph_dns_answer *a)
{
    if (s->verdict.result != SPF_FAIL && !spf_failed(a) && spf_too_many_voids(s, a))
        return WAIT;
    spf_keep_names(s, a, &s->ptr);
    return next_ptr(s);
}

enum outcome spf_on_ptr_address(struct spf *s, const struct ph_dns_answer *a)
{
    static const struct spf_term exactly = {.bits4 = 32, .bits6 = 128};
    struct str name = s->ptr.at[s->ptr.next++];

    if (spf_has_address(s, a, &exactly))
        s->validated.at[s->validated.n++] = name;
    return next_ptr(s);
}

/* ---- Names of terms. */

bool spf_ready_for(struct spf *s, struct str spec)
{
    return s->validated_known || !spf_macro_asks(spec);
}

void spf_set_macros(struct spf *s)
{
    s->macros.domain = spf_top(s)->domain;
    s->macros.validated = validated_name(s, s->macros.domain);
}

bool spf_target(struct spf *s, struct str spec, struct str *out)
{
    struct buf name;
    bool ok;

    spf_set_macros(s);
    *out = s->macros.domain;
    if (spec.n == 0)
        return true;
    buf_init(&name, SPF_MACRO_LIMIT);
    ok = spf_macro_expand_name(spec, &s->macros, &name);
    if (ok)
        *out = arena_str(s->arena, buf_str(&name));
    buf_fini(&name);
    return ok;
}
