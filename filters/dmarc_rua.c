/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_rua.h"
#include "appliance/base/mem.h"
#include "filters/dmarc_private.h"

struct dmarc_rua {
    struct dmarc_known known;
    struct dmarc_domain domain;
    struct dmarc_rua_to list[DMARC_RUA_MAX];
    size_t n;
    struct dmarc_rua_to *asked; /* whether it takes them; NULL: the question is `walk` */
    struct dmarc_question walk;
};

/* ---- Elsewhere. */

/* True: it is to be asked. 4, step 4: a name that would be too long is none. */
static bool ask_agreement(struct dmarc_rua *r, struct dmarc_rua_to *to, struct dmarc_question *out)
{
    struct str name =
        arena_printf(r->known.arena, "%s._report._dmarc.%s", r->domain.z, to->to.domain.z);

    if (name.n > DMARC_DOMAIN) {
        to->state = DMARC_RUA_REFUSES;
        return false;
    }
    *out = (struct dmarc_question){.type = PH_DNS_TXT, .name = name.p};
    r->asked = to;
    return true;
}

/* Step 9: another address of the same host may stand there; one of another host undoes it all. */
static enum dmarc_rua_state replace(struct dmarc_rua *r, struct dmarc_rua_to *to, struct str list)
{
    struct str uri;
    struct mailto other;

    while (dmarc_uri_next(&list, &uri)) {
        if (!mailto_parse(r->known.arena, uri, &other))
            continue;
        if (strcmp(other.domain.z, to->to.domain.z) != 0)
            return DMARC_RUA_REFUSES;
        to->to = other;
        return DMARC_RUA_TAKES;
    }
    return DMARC_RUA_TAKES;
}

static enum dmarc_rua_state agreement(struct dmarc_rua *r, struct dmarc_rua_to *to,
                                      const struct ph_dns_answer *a)
{
    struct dmarc_record record;

    if (a->status == PH_DNS_BOGUS || a->status == PH_DNS_FAILED || a->status == PH_DNS_OVER_BUDGET)
        return DMARC_RUA_UNKNOWN;
    for (size_t i = 0; a->status == PH_DNS_FOUND && i < a->n; i++) {
        struct str text = str_of(a->records[i]->text, a->records[i]->text_size);
        if (text.n <= DMARC_RECORD_LIMIT && dmarc_record_parse(text, &record))
            return replace(r, to, record.rua);
    }
    return DMARC_RUA_REFUSES;
}

/* ---- Is it elsewhere? */

/* Begins anew whenever an answer has come. What can't be found out about the organisation is taken
 * for another one: then the destination must agree. True: *out is to be asked. */
static bool look(struct dmarc_rua *r, struct dmarc_rua_to *to, struct dmarc_question *out)
{
    const char *there = to->to.domain.z;
    struct dmarc_org ours, theirs;
    enum dmarc_step step;

    if (dmarc_within(there, r->domain.z)) {
        to->state = DMARC_RUA_TAKES;
        return false;
    }
    if (!dmarc_share_suffix(there, r->domain.z))
        return ask_agreement(r, to, out);
    step = dmarc_find_org(&r->known, r->domain.z, &ours);
    if (step == DMARC_STEP_DONE)
        step = dmarc_find_org(&r->known, there, &theirs);
    if (step == DMARC_STEP_ASK) {
        if (r->known.missing.name)
            dmarc_known_ask(&r->known, &r->walk);
        *out = r->walk;
        return true;
    }
    if (step == DMARC_STEP_ERROR || strcmp(ours.domain, theirs.domain) != 0)
        return ask_agreement(r, to, out);
    to->state = DMARC_RUA_TAKES;
    return false;
}

bool dmarc_rua_question(struct dmarc_rua *r, struct dmarc_question *out)
{
    r->asked = NULL;
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].state == DMARC_RUA_OPEN && look(r, &r->list[i], out))
            return true;
    return false;
}

void dmarc_rua_answer(struct dmarc_rua *r, const struct ph_dns_answer *a)
{
    if (r->asked)
        r->asked->state = agreement(r, r->asked, a);
    else
        dmarc_known_put(&r->known, &r->walk, a);
}

/* ---- The list. */

static bool has(const struct dmarc_rua *r, struct str address)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_ieq(r->list[i].to.address, address))
            return true;
    return false;
}

struct dmarc_rua *dmarc_rua_new(const char *domain, struct str list)
{
    struct dmarc_rua *r = MEM_NEW(struct dmarc_rua);
    struct mailto to;
    struct str uri;

    r->known.arena = arena_new(0);
    if (!dmarc_domain_fold(str_from(domain), &r->domain))
        return r;
    list = arena_str(r->known.arena, str_take(list, DMARC_RECORD_LIMIT));
    while (r->n < DMARC_RUA_MAX && dmarc_uri_next(&list, &uri))
        if (mailto_parse(r->known.arena, uri, &to) && !has(r, to.address))
            r->list[r->n++].to = to;
    return r;
}

void dmarc_rua_free(struct dmarc_rua **rp)
{
    struct dmarc_rua *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    arena_free(&r->known.arena);
    mem_free(r);
}

const struct dmarc_rua_to *dmarc_rua_list(const struct dmarc_rua *r, size_t *n_out)
{
    *n_out = r->n;
    return r->list;
}
