/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_author.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"

enum { ADDRESSES_MAX = 200, LABEL = 63 };

/* '_' is none of a host name (RFC 1123), but names with it are used for mail, and what wasn't asked
 * about would be a way around the policy of the domain above it. */
static bool is_name(struct str s)
{
    size_t label = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (c == '.' ? label == 0 : label == LABEL)
            return false;
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.", c)) || c == '\0')
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    return s.n <= DMARC_DOMAIN && label > 0;
}

bool dmarc_domain_fold(struct str in, struct dmarc_domain *out)
{
    struct buf ascii;
    bool good;

    if (in.n && in.p[in.n - 1] == '.')
        in.n--;
    buf_init(&ascii, DMARC_DOMAIN + 1);
    if (in.n > 4 * DMARC_DOMAIN)
        good = false;
    else if (text_ascii(in))
        good = is_name(in) && buf_add_str(&ascii, in) == 0;
    else
        good = text_domain(in, &ascii) == 0 && ascii.n <= DMARC_DOMAIN;
    out->z[0] = '\0';
    for (size_t i = 0; good && i < ascii.n; i++) {
        out->z[i] = ascii_lower(ascii.p[i]);
        out->z[i + 1] = '\0';
    }
    buf_fini(&ascii);
    return good;
}

static void add_domain(struct dmarc_authors *all, struct str host)
{
    struct dmarc_domain one;

    if (!dmarc_domain_fold(host, &one)) {
        all->unclear = true;
        return;
    }
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->at[i].z, one.z) == 0)
            return;
    if (all->n == DMARC_AUTHORS)
        all->more = true;
    else
        all->at[all->n++] = one;
}

/* "Smith, Ann <ann@example.com>" without quotes is common: a mere word is no author. One with an
 * '@' may be shown as an address. */
static void add_address(struct dmarc_authors *all, const struct address *a)
{
    size_t at;

    if (!a->host.p) /* begin or end of a group */
        return;
    if (!str_eq(a->host, ADDRESS_NO_DOMAIN))
        add_domain(all, a->host);
    else if (str_chr(a->mailbox, '@', &at) || str_chr(a->name, '@', &at))
        all->unclear = true;
}

void dmarc_authors_find(struct str head, struct dmarc_authors *out)
{
    struct arena *arena = arena_new(0);
    struct header_field h;
    struct address *list;

    *out = (struct dmarc_authors){0};
    while (header_next(&head, &h)) {
        if (!str_ieq(h.name, STR("From")))
            continue;
        out->fields++;
        size_t n = out->fields > DMARC_AUTHORS
                       ? 0
                       : address_list_parse(arena, h.value, ADDRESSES_MAX, &list);
        out->more |= n == ADDRESSES_MAX || out->fields > DMARC_AUTHORS;
        for (size_t i = 0; i < n; i++)
            add_address(out, &list[i]);
    }
    arena_free(&arena);
}
