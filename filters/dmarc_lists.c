/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_lists.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "filters/arc_facts.h"

static bool is_network(struct str word)
{
    size_t at, digits = 0;

    while (digits < word.n &&
           ((word.p[digits] >= '0' && word.p[digits] <= '9') || word.p[digits] == '.'))
        digits++;
    return digits == word.n || str_chr(word, '/', &at) || str_chr(word, ':', &at);
}

static int take_word(struct dmarc_lists *l, struct buf *networks, struct str word, struct err *err)
{
    if (word.n == 0)
        return 0;
    if (is_network(word)) {
        buf_add_z(networks, networks->n ? ", " : "");
        return buf_add_str(networks, word);
    }
    if (!dmarc_domain_fold(word, &l->sealers[l->n_sealers]))
        return ERR(err, ERR_PERM, "neither a network nor a domain: " STR_FMT, STR_ARG(word));
    l->n_sealers++;
    return 0;
}

static int read_forwarders(const char *text, struct dmarc_lists *l, struct err *err)
{
    struct str rest = str_from(text), word;
    struct buf networks;
    int rc = 0;

    l->sealers = mem_alloc((rest.n / 2 + 1) * sizeof *l->sealers);
    buf_init(&networks, 2 * rest.n + 2);
    while (rest.n && rc == 0) {
        str_cut(rest, ',', &word, &rest);
        rc = take_word(l, &networks, str_trim(word), err);
    }
    if (rc == 0)
        rc = cidr_set_parse(buf_str(&networks), &l->networks, err);
    buf_fini(&networks);
    return rc;
}

int dmarc_lists_read(const char *skip, const char *forwarders, struct dmarc_lists *out,
                     struct err *err)
{
    struct err why = {0};

    *out = (struct dmarc_lists){0};
    if (cidr_set_parse(str_from(skip), &out->skip, &why))
        return ERR(err, ERR_PERM, "skip: %.200s", why.text);
    if (read_forwarders(forwarders, out, &why) == 0)
        return 0;
    dmarc_lists_free(out);
    return ERR(err, ERR_PERM, "forwarders: %.200s", why.text);
}

void dmarc_lists_free(struct dmarc_lists *l)
{
    cidr_set_free(&l->skip);
    cidr_set_free(&l->networks);
    mem_free(l->sealers);
    *l = (struct dmarc_lists){0};
}

static bool is_sealer(const struct dmarc_lists *l, struct str domain)
{
    struct dmarc_domain one;

    if (!dmarc_domain_fold(domain, &one))
        return false;
    for (size_t i = 0; i < l->n_sealers; i++) {
        struct str name = str_from(one.z), above = str_from(l->sealers[i].z);
        if (str_ends(name, above) && (name.n == above.n || name.p[name.n - above.n - 1] == '.'))
            return true;
    }
    return false;
}

/* An AAR need not say whose pass it was (RFC 8601 2.7.2). */
static bool passed_for(const struct arc_claims *claims, const char *author)
{
    struct dmarc_domain from;

    return str_ieq(claims->dmarc, STR("pass")) &&
           (!claims->from.n ||
            (dmarc_domain_fold(claims->from, &from) && strcmp(from.z, author) == 0));
}

bool dmarc_lists_vouched(const struct dmarc_lists *l, const char *arc_sets, const char *author)
{
    struct str rest = str_from(arc_sets);
    bool untouched = true; /* since then only trusted ones have had it */
    struct arc_told one;

    while (l->n_sealers && arc_facts_next(&rest, &one)) {
        bool trusted = is_sealer(l, one.domain);
        if (trusted && (untouched || one.holds) && passed_for(&one.claims, author))
            return true;
        untouched = untouched && trusted;
    }
    return false;
}
