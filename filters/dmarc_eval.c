/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_eval.h"
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "filters/dmarc_private.h"
#include <stdio.h>

struct dmarc {
    struct dmarc_request request;
    struct dmarc_known known;
    struct dmarc_verdict verdict;
};

const char *dmarc_result_name(enum dmarc_result r)
{
    static const char *const names[DMARC_RESULTS] = {[DMARC_RESULT_NONE] = "none",
                                                     [DMARC_RESULT_PASS] = "pass",
                                                     [DMARC_RESULT_FAIL] = "fail",
                                                     [DMARC_RESULT_TEMPERROR] = "temperror",
                                                     [DMARC_RESULT_PERMERROR] = "permerror"};

    return names[r];
}

/* ---- One author. Each function begins anew whenever an answer has come, and finds what the ones
 * before it found. */

static enum dmarc_step settle(struct dmarc_verdict *v, enum dmarc_result r, const char *problem)
{
    v->result = r;
    v->problem = problem;
    return DMARC_STEP_DONE;
}

/* 4.10.1: at the author domain, at its organisational domain, at its public suffix. */
static enum dmarc_step find_policy(struct dmarc *d, struct dmarc_verdict *v)
{
    struct dmarc_org org;
    const struct dmarc_name *n;
    const char *at = v->author;
    enum dmarc_step step = dmarc_look(&d->known, at, &n);

    if (step == DMARC_STEP_DONE && !n->present) {
        step = dmarc_find_org(&d->known, v->author, &org);
        if (step == DMARC_STEP_DONE) {
            at = org.domain;
            step = dmarc_look(&d->known, at, &n);
        }
        if (step == DMARC_STEP_DONE && !n->present && org.suffix) {
            at = org.suffix;
            step = dmarc_look(&d->known, at, &n);
        }
    }
    if (step != DMARC_STEP_DONE || !n->present)
        return step;
    v->domain = at;
    v->record = &n->record;
    v->text = n->text;
    return step;
}

/* 3.2.13: only NXDOMAIN means that it doesn't exist. Asked only where that matters. */
static enum dmarc_step take_policy(struct dmarc *d, struct dmarc_verdict *v, bool ask)
{
    const struct dmarc_record *r = v->record;
    bool below = v->domain != v->author, exists = true;
    enum dmarc_step step = DMARC_STEP_DONE;
    const struct dmarc_name *n;

    if (ask && dmarc_record_policy(r, below, true) != dmarc_record_policy(r, below, false)) {
        step = dmarc_exists(&d->known, v->author, &n);
        exists = step != DMARC_STEP_DONE || n->present;
    }
    v->asked = v->policy = dmarc_record_policy(r, below, exists);
    if (r->test && v->policy > DMARC_NONE)
        v->policy--;
    return step;
}

/* 4.10.2 */
static enum dmarc_step is_aligned(struct dmarc *d, const struct dmarc_verdict *v,
                                  const struct dmarc_identity *id, bool *out)
{
    const char *domain = id->domain.z;
    struct dmarc_org ours, theirs;
    enum dmarc_step step;

    *out = strcmp(domain, v->author) == 0;
    if (*out || (id->dkim ? v->record->strict_dkim : v->record->strict_spf) ||
        !dmarc_share_suffix(domain, v->author))
        return DMARC_STEP_DONE;
    step = dmarc_find_org(&d->known, v->author, &ours);
    /* The organisational domain of a name is that name or above it. */
    if (step != DMARC_STEP_DONE || !dmarc_within(domain, ours.domain))
        return step;
    step = dmarc_find_org(&d->known, domain, &theirs);
    if (step == DMARC_STEP_DONE)
        *out = strcmp(ours.domain, theirs.domain) == 0;
    return step;
}

struct alignment {
    bool spf, dkim;
    bool open; /* one that isn't known might be */
};

static enum dmarc_step align(struct dmarc *d, const struct dmarc_verdict *v, struct alignment *out)
{
    for (size_t i = 0; i < d->request.n_ids; i++) {
        const struct dmarc_identity *id = &d->request.ids[i];
        bool *method = id->dkim ? &out->dkim : &out->spf, aligned = false;
        if (*method)
            continue;
        enum dmarc_step step = is_aligned(d, v, id, &aligned);
        if (step == DMARC_STEP_ASK)
            return step;
        if (step == DMARC_STEP_ERROR || (aligned && !id->pass))
            out->open = true;
        else if (aligned)
            *method = true;
    }
    return DMARC_STEP_DONE;
}

static enum dmarc_step judge(struct dmarc *d, struct dmarc_verdict *v)
{
    struct alignment a = {0};
    enum dmarc_step step = align(d, v, &a);
    bool pass = a.spf || a.dkim;

    if (step != DMARC_STEP_DONE)
        return step;
    step = take_policy(d, v, !pass);
    if (step == DMARC_STEP_ASK)
        return step;
    v->spf = a.spf;
    v->dkim = a.dkim;
    if (pass)
        return settle(v, DMARC_RESULT_PASS, "");
    if (step == DMARC_STEP_ERROR || a.open) /* 5.3.6 */
        return settle(v, DMARC_RESULT_TEMPERROR,
                      a.open ? "authentication is incomplete" : "no answer from the DNS");
    v->unchecked = d->request.unchecked != NULL;
    if (v->unchecked)
        return settle(v, DMARC_RESULT_TEMPERROR, d->request.unchecked);
    return settle(v, DMARC_RESULT_FAIL, "");
}

/* Somewhere on the way there was no answer. What is published above it will do to tell a name that
 * matters to somebody, as forgers may look for those whose servers are gone. */
static enum dmarc_step guess_policy(struct dmarc *d, struct dmarc_verdict *v)
{
    enum dmarc_step step = dmarc_find_any(&d->known, v);

    if (step == DMARC_STEP_ASK)
        return step;
    if (v->record)
        (void)take_policy(d, v, false);
    return settle(v, DMARC_RESULT_TEMPERROR, "no answer from the DNS");
}

static enum dmarc_step evaluate(struct dmarc *d, struct dmarc_verdict *v)
{
    enum dmarc_step step = find_policy(d, v);

    if (step == DMARC_STEP_ASK)
        return step;
    if (step == DMARC_STEP_ERROR)
        return guess_policy(d, v);
    if (!v->record)
        return settle(v, DMARC_RESULT_NONE, "");
    if (!v->record->usable)
        return settle(v, DMARC_RESULT_PERMERROR, "the record can't be used");
    return judge(d, v);
}

/* ---- All of them. */

enum { SEVERITY_PERMERROR = 2 };

static unsigned severity(const struct dmarc_verdict *v)
{
    static const unsigned fails[DMARC_POLICIES] = {3, 5, 6};

    switch (v->result) {
    case DMARC_RESULT_PASS:
        return 0;
    case DMARC_RESULT_NONE:
        return 1;
    case DMARC_RESULT_PERMERROR:
        return SEVERITY_PERMERROR;
    case DMARC_RESULT_TEMPERROR:
        return 4;
    default:
        return fails[v->policy];
    }
}

/* 11.5: what isn't looked at here could be what a reader is shown. Where one of several couldn't be
 * evaluated, it may be the one that forbids this: who puts a silent domain beside a bank's mustn't
 * get further than with the bank's alone. */
static void look_at_from(const struct dmarc_authors *a, struct dmarc_verdict *v)
{
    v->no_author = a->n == 0 || a->fields > 1 || a->more || a->unclear ||
                   (a->n > 1 && v->result == DMARC_RESULT_TEMPERROR && !v->unchecked);
    if (a->n && v->no_author && severity(v) < SEVERITY_PERMERROR)
        (void)settle(v, DMARC_RESULT_PERMERROR, "From doesn't say clearly whose mail this is");
}

enum dmarc_next dmarc_question(struct dmarc *d, struct dmarc_question *out)
{
    const struct dmarc_authors *authors = &d->request.authors;
    struct dmarc_verdict worst = {.author = "",
                                  .domain = "",
                                  .result = DMARC_RESULT_PERMERROR,
                                  .problem = authors->fields ? "From names no domain" : "no From"};
    bool waits = false;

    for (size_t i = 0; i < authors->n; i++) {
        struct dmarc_verdict v = {.author = authors->at[i].z, .domain = "", .problem = ""};
        if (evaluate(d, &v) == DMARC_STEP_ASK) {
            waits = true;
            if (!d->known.missing.name)
                continue;
            dmarc_known_ask(&d->known, out);
            return DMARC_NEXT_ASK;
        }
        if (i == 0 || severity(&v) > severity(&worst))
            worst = v;
    }
    if (waits)
        return DMARC_NEXT_WAIT;
    look_at_from(authors, &worst);
    d->verdict = worst;
    return DMARC_NEXT_DECIDED;
}

struct dmarc *dmarc_new(const struct dmarc_request *request)
{
    struct dmarc *d = MEM_NEW(struct dmarc);

    d->request = *request;
    d->known.arena = arena_new(0);
    return d;
}

void dmarc_free(struct dmarc **dp)
{
    struct dmarc *d = *dp;

    *dp = NULL;
    if (!d)
        return;
    arena_free(&d->known.arena);
    mem_free(d);
}

void dmarc_answer(struct dmarc *d, const struct dmarc_question *q, const struct ph_dns_answer *a)
{
    dmarc_known_put(&d->known, q, a);
}

const struct dmarc_verdict *dmarc_verdict(const struct dmarc *d)
{
    return &d->verdict;
}
