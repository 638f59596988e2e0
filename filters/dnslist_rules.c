/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dnslist_rules.h"
#include "appliance/base/settings.h"
#include "appliance/base/text.h"
#include "appliance/io/resolver.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

enum { OCTET_MAX = 255, WEIGHT_MAX = 1000, FRACTION_DIGITS = 2, LOOPBACK = 127 };

/* ---- Answers. */

enum dnslist_kind dnslist_kind(const char *ip, uint8_t out[4])
{
    if (inet_pton(AF_INET, ip, out) != 1 || out[0] != LOOPBACK)
        return DNSLIST_FOREIGN;
    return out[1] == OCTET_MAX && out[2] == OCTET_MAX ? DNSLIST_REFUSES : DNSLIST_LISTED;
}

static bool fits(const struct dnslist_rule *r, const uint8_t answer[4])
{
    for (int i = 0; i < 4; i++)
        if (answer[i] < r->low[i] || answer[i] > r->high[i])
            return false;
    return true;
}

int dnslist_weight(const struct dnslist_zone *z, const uint8_t answer[4])
{
    int weight = 0;

    for (size_t i = 0; i < z->n_rules; i++)
        if (fits(&z->rules[i], answer) && abs(z->rules[i].weight) > abs(weight))
            weight = z->rules[i].weight;
    return weight;
}

bool dnslist_address_name(const char *ip, const char *zone, char *out, size_t room)
{
    char reverse[80];
    size_t at;

    if (!resolver_reverse_name(ip, reverse, sizeof reverse))
        return false;
    struct str s = str_from(reverse);
    if (!str_find(s, STR(".in-addr.arpa"), &at) && !str_find(s, STR(".ip6.arpa"), &at))
        return false;
    int n = snprintf(out, room, "%.*s.%s", (int)at, reverse, zone);
    return n > 0 && (size_t)n < room && n < DNSLIST_NAME;
}

struct dnslist_points dnslist_points(int weight)
{
    struct dnslist_points p;
    int part = abs(weight) % DNSLIST_POINT, whole = abs(weight) / DNSLIST_POINT;
    const char *sign = weight < 0 ? "-" : "";

    if (part == 0)
        snprintf(p.z, sizeof p.z, "%s%d", sign, whole);
    else if (part % 10 == 0)
        snprintf(p.z, sizeof p.z, "%s%d.%d", sign, whole, part / 10);
    else
        snprintf(p.z, sizeof p.z, "%s%d.%02d", sign, whole, part);
    return p;
}

/* ---- Settings. */

static int parse_weight(struct str s, int *out)
{
    struct str whole, part;
    uint64_t n, fraction = 0;
    bool minus = str_starts(s, STR("-"));

    if (minus || str_starts(s, STR("+")))
        s = str_skip(s, 1);
    bool dot = str_cut(s, '.', &whole, &part);
    if (str_to_u64(whole, WEIGHT_MAX, &n))
        return -1;
    if (dot && (part.n > FRACTION_DIGITS || str_to_u64(part, DNSLIST_POINT - 1, &fraction)))
        return -1;
    if (part.n == 1)
        fraction *= 10;
    int weight = (int)(n * DNSLIST_POINT + fraction);
    *out = minus ? -weight : weight;
    return weight ? 0 : -1;
}

/* "2", "4-7", "*" */
static int parse_octet(struct str s, uint8_t *low, uint8_t *high)
{
    struct str from, to;
    uint64_t a, b;

    if (str_eq(s, STR("*"))) {
        *low = 0;
        *high = OCTET_MAX;
        return 0;
    }
    if (!str_cut(s, '-', &from, &to))
        to = from;
    if (str_to_u64(from, OCTET_MAX, &a) || str_to_u64(to, OCTET_MAX, &b) || a > b)
        return -1;
    *low = (uint8_t)a;
    *high = (uint8_t)b;
    return 0;
}

static int parse_pattern(struct str s, struct dnslist_rule *r)
{
    struct str octet;

    for (int i = 0; i < 4; i++) {
        bool more = str_cut(s, '.', &octet, &s);
        if (more != (i < 3) || parse_octet(octet, &r->low[i], &r->high[i]))
            return -1;
    }
    return r->low[0] == LOOPBACK && r->high[0] == LOOPBACK ? 0 : -1;
}

/* What follows the '='. */
static int parse_rule(struct str s, struct dnslist_rule *r)
{
    size_t colon;

    if (str_rchr(s, ':', &colon)) {
        if (parse_pattern(str_take(s, colon), r))
            return -1;
        s = str_skip(s, colon + 1);
    } else {
        *r = (struct dnslist_rule){.low = {LOOPBACK},
                                   .high = {LOOPBACK, OCTET_MAX, OCTET_MAX, OCTET_MAX}};
    }
    return parse_weight(s, &r->weight);
}

static struct dnslist_zone *zone_of(struct str name, bool domains, struct dnslist_zone *zones,
                                    size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if (zones[i].domains == domains && str_ieq(str_from(zones[i].name), name))
            return &zones[i];
    if (*n == DNSLIST_ZONES)
        return NULL;
    struct dnslist_zone *z = &zones[(*n)++];
    *z = (struct dnslist_zone){.domains = domains};
    snprintf(z->name, sizeof z->name, STR_FMT, STR_ARG(name));
    return z;
}

static int parse_word(struct str word, bool domains, struct dnslist_zone *zones, size_t *n,
                      struct err *err)
{
    const char *setting = domains ? "domain_lists" : "lists";
    struct str name, rest;
    struct dnslist_rule rule;
    struct buf zone;

    bool cut = str_cut(word, '=', &name, &rest);
    buf_init(&zone, DNSLIST_NAME);
    int bad = !cut || text_domain(str_trim(name), &zone) || parse_rule(str_trim(rest), &rule);
    struct dnslist_zone *z = bad ? NULL : zone_of(buf_str(&zone), domains, zones, n);
    buf_fini(&zone);
    if (bad)
        return ERR(err, ERR_PROTO,
                   "%s: '" STR_FMT
                   "' isn't ZONE=WEIGHT or ZONE=127.0.0.2:WEIGHT, with a weight of up to "
                   "%d that isn't 0",
                   setting, STR_ARG(str_take(word, 80)), WEIGHT_MAX);
    if (!z)
        return ERR(err, ERR_PROTO, "%s: at most %d lists", setting, DNSLIST_ZONES);
    if (z->n_rules == DNSLIST_RULES)
        return ERR(err, ERR_PROTO, "%s: %s: at most %d rules for one list", setting, z->name,
                   DNSLIST_RULES);
    z->rules[z->n_rules++] = rule;
    return 0;
}

int dnslist_parse(const char *lists, const char *domain_lists, struct dnslist_zone *out,
                  size_t *n_out, struct err *err)
{
    struct str rest = str_from(lists), word;

    *n_out = 0;
    while (settings_list_next(&rest, &word))
        if (parse_word(word, false, out, n_out, err))
            return -1;
    rest = str_from(domain_lists);
    while (settings_list_next(&rest, &word))
        if (parse_word(word, true, out, n_out, err))
            return -1;
    return 0;
}
