/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/policy_dkim.h"
#include "filters/dmarc_facts.h"

static bool next_word(struct str *list, struct str *out)
{
    while (list->n) {
        str_cut(*list, ',', out, list);
        *out = str_trim(*out);
        if (out->n)
            return true;
    }
    return false;
}

/* ".example.org" -> example.org, below */
static bool entry(struct str word, struct dmarc_domain *out, bool *below_out)
{
    *below_out = str_starts(word, STR("."));
    return dmarc_domain_fold(str_skip(word, *below_out ? 1 : 0), out);
}

int policy_dkim_check(struct str list, struct err *err)
{
    struct dmarc_domain domain;
    struct str word;
    bool below;

    while (next_word(&list, &word))
        if (!entry(word, &domain, &below))
            return ERR(err, ERR_PROTO, "'%.*s' is no domain", word.n < 100 ? (int)word.n : 100,
                       word.p);
    return 0;
}

static bool is_below(struct str name, struct str domain)
{
    return name.n > domain.n && str_ends(name, domain) && name.p[name.n - domain.n - 1] == '.';
}

bool policy_dkim_within(struct str name, struct str domain)
{
    return str_eq(name, domain) || is_below(name, domain);
}

static bool listed(struct str list, struct str name)
{
    struct dmarc_domain domain;
    struct str word;
    bool below;

    while (next_word(&list, &word))
        if (entry(word, &domain, &below) &&
            (str_eq(name, str_from(domain.z)) || (below && is_below(name, str_from(domain.z)))))
            return true;
    return false;
}

static enum policy_dkim look(struct str name, struct str results, bool *temporary_out)
{
    struct dmarc_dkim one;

    *temporary_out = false;
    while (dmarc_dkim_next(&results, &one)) {
        if (!str_eq(one.domain, name) && !is_below(name, one.domain) && !is_below(one.domain, name))
            continue;
        if (str_eq(one.result, STR("pass")))
            return POLICY_DKIM_SIGNED;
        *temporary_out |= str_eq(one.result, STR("temperror"));
    }
    return *temporary_out ? POLICY_DKIM_UNKNOWN : POLICY_DKIM_MISSING;
}

enum policy_dkim policy_dkim_look(struct str list, struct str head, struct str results,
                                  struct dmarc_domain *domain_out, bool *temporary_out)
{
    enum policy_dkim worst = POLICY_DKIM_FREE;
    struct dmarc_authors authors;

    *temporary_out = false;
    dmarc_authors_find(head, &authors);
    for (size_t i = 0; i < authors.n; i++) {
        struct str name = str_from(authors.at[i].z);
        bool temporary = false;
        if (!listed(list, name))
            continue;
        enum policy_dkim one = results.p ? look(name, results, &temporary) : POLICY_DKIM_UNKNOWN;
        if (one <= worst)
            continue;
        worst = one;
        *domain_out = authors.at[i];
        *temporary_out = temporary;
    }
    return worst;
}
