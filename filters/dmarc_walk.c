/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc_walk.c - records, and the DNS tree walk from one to the next (RFC 9989 4.10). */
#include "filters/dmarc_private.h"
#include <stdio.h>

enum { WALK_LABELS = 8 };

/* ---- What is known. */

static struct dmarc_name *find_name(struct dmarc_known *k, enum ph_dns_type type, const char *name)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->at[i].type == type && str_eq(k->at[i].name, str_from(name)))
            return &k->at[i];
    return NULL;
}

static enum dmarc_step find(struct dmarc_known *k, enum ph_dns_type type, const char *prefix,
                            const char *domain, const struct dmarc_name **out)
{
    char name[DMARC_DOMAIN + sizeof "_dmarc."];
    struct dmarc_name *n;

    snprintf(name, sizeof name, "%s%s", prefix, domain);
    n = find_name(k, type, name);
    *out = n;
    if (n && !n->due)
        return n->error ? DMARC_STEP_ERROR : DMARC_STEP_DONE;
    if (!n && k->n == DMARC_NAMES)
        return DMARC_STEP_ERROR;
    k->missing = (struct dmarc_question){.type = type};
    if (!n)
        k->missing.name = arena_str(k->arena, str_from(name)).p;
    return DMARC_STEP_ASK;
}

enum dmarc_step dmarc_look(struct dmarc_known *k, const char *domain, const struct dmarc_name **out)
{
    return find(k, PH_DNS_TXT, "_dmarc.", domain, out);
}

enum dmarc_step dmarc_exists(struct dmarc_known *k, const char *domain,
                             const struct dmarc_name **out)
{
    return find(k, PH_DNS_A, "", domain, out);
}

/* Of several records none counts (step 2). */
static void take_record(struct dmarc_known *k, struct dmarc_name *n, const struct ph_dns_answer *a)
{
    struct dmarc_record r;
    size_t found = 0;

    for (size_t i = 0; i < a->n; i++) {
        struct str text = str_of(a->records[i]->text, a->records[i]->text_size);
        if (text.n > DMARC_RECORD_LIMIT || !dmarc_record_parse(text, &r) || found++)
            continue;
        n->text = arena_str(k->arena, text);
        (void)dmarc_record_parse(n->text, &n->record); /* its views into what is kept */
    }
    n->present = found == 1;
}

void dmarc_known_ask(struct dmarc_known *k, struct dmarc_question *out)
{
    *out = k->missing;
    k->at[k->n++] =
        (struct dmarc_name){.name = str_from(out->name), .type = out->type, .due = true};
}

void dmarc_known_put(struct dmarc_known *k, const struct dmarc_question *q,
                     const struct ph_dns_answer *a)
{
    struct dmarc_name *n = find_name(k, q->type, q->name);

    if (!n || !n->due)
        return;
    n->due = false;
    n->error =
        a->status == PH_DNS_BOGUS || a->status == PH_DNS_FAILED || a->status == PH_DNS_OVER_BUDGET;
    if (n->type == PH_DNS_TXT && a->status == PH_DNS_FOUND)
        take_record(k, n, a);
    else if (n->type == PH_DNS_A)
        n->present = a->status != PH_DNS_NO_NAME;
}

/* ---- Names. */

static const char *parent_of(const char *domain)
{
    const char *dot = strchr(domain, '.');

    return dot ? dot + 1 : NULL;
}

/* Steps 4 and 7: one label less, or the last seven of many. */
static const char *next_target(const char *domain)
{
    unsigned labels = 1;

    for (const char *p = domain; *p; p++)
        labels += *p == '.';
    do
        domain = parent_of(domain);
    while (domain && labels-- > WALK_LABELS);
    return domain;
}

/* The part of `domain` that is one label longer than `above`, which lies in it. */
static const char *below(const char *domain, const char *above)
{
    const char *p = above - 1;

    while (p > domain && p[-1] != '.')
        p--;
    return p;
}

bool dmarc_within(const char *domain, const char *above)
{
    size_t n = strlen(domain), m = strlen(above);

    return n >= m && strcmp(domain + n - m, above) == 0 && (n == m || domain[n - m - 1] == '.');
}

bool dmarc_share_suffix(const char *a, const char *b)
{
    const char *dot = strrchr(a, '.');

    return dmarc_within(b, dot ? dot + 1 : a);
}

/* ---- The walk: 4.10.2, from the longest name to the shortest. */

enum dmarc_step dmarc_find_org(struct dmarc_known *k, const char *domain, struct dmarc_org *out)
{
    const struct dmarc_name *n;

    *out = (struct dmarc_org){.domain = domain};
    for (const char *at = domain; at; at = next_target(at)) {
        enum dmarc_step step = dmarc_look(k, at, &n);
        if (step != DMARC_STEP_DONE)
            return step;
        if (!n->present)
            continue;
        if (n->record.psd == DMARC_PSD_YES && at != domain) {
            out->domain = below(domain, at);
            out->suffix = at;
            break;
        }
        out->domain = at;
        if (n->record.psd != DMARC_PSD_UNKNOWN)
            break;
    }
    return DMARC_STEP_DONE;
}

enum dmarc_step dmarc_find_any(struct dmarc_known *k, struct dmarc_verdict *v)
{
    const struct dmarc_name *n;

    for (const char *at = v->author; at; at = next_target(at)) {
        enum dmarc_step step = dmarc_look(k, at, &n);
        if (step == DMARC_STEP_ASK)
            return step;
        if (step == DMARC_STEP_ERROR || !n->present || !n->record.usable)
            continue;
        if (n->record.psd == DMARC_PSD_YES && v->record)
            break; /* the organisation has its own */
        v->domain = at;
        v->record = &n->record;
        v->text = n->text;
    }
    return DMARC_STEP_DONE;
}
