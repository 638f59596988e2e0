/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dnslist_rules.h - DNS lists (RFC 5782) as the administrator writes them, and what their answers
 * weigh. Floor 4 (filters). Threads: any (pure).
 *
 *   zen.spamhaus.org=5             any answer in 127.0.0.0/8 weighs 5
 *   bl.example=127.0.0.2:4         this answer weighs 4
 *   bl.example=127.0.0.4-7:2.5     so does each of these; several rules for one list add up to one
 *   list.dnswl.org=127.0.*.2-3:-4  under 0: speaks for the client
 *
 * Of all answers of one list the weight that is furthest from 0 counts. */
#ifndef PH_FILTERS_DNSLIST_RULES_H
#define PH_FILTERS_DNSLIST_RULES_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

enum { DNSLIST_ZONES = 32, DNSLIST_RULES = 16, DNSLIST_NAME = 254, DNSLIST_POINT = 100 };

struct dnslist_rule {
    uint8_t low[4], high[4];
    int weight; /* in hundredths of a point */
};
struct dnslist_zone {
    char name[DNSLIST_NAME];
    bool domains; /* lists domain names, not addresses */
    size_t n_rules;
    struct dnslist_rule rules[DNSLIST_RULES];
};
/* Both settings, as PH_LIST has them. Zones are put at `out`, up to DNSLIST_ZONES in all. -1: says
 * which word is malformed. */
int dnslist_parse(const char *lists, const char *domain_lists, struct dnslist_zone *out,
                  size_t *n_out, struct err *err) __attribute__((warn_unused_result));

enum dnslist_kind {
    DNSLIST_LISTED,  /* 127.0.0.0/8 */
    DNSLIST_REFUSES, /* 127.255.255.0/24: the list doesn't answer this resolver */
    DNSLIST_FOREIGN  /* an address that no list answers with: a parked domain, a lying resolver */
};
enum dnslist_kind dnslist_kind(const char *ip, uint8_t out[4]);
/* 0: no rule is for it. */
int dnslist_weight(const struct dnslist_zone *z, const uint8_t answer[4]);
/* "7.2.0.192.zone" for an address, 32 nibbles for IPv6 (RFC 5782 2.1, 2.4). False: not an address,
 * or too long. */
bool dnslist_address_name(const char *ip, const char *zone, char *out, size_t room);
/* "-2.5" */
struct dnslist_points {
    char z[16];
};
struct dnslist_points dnslist_points(int weight);
#endif
