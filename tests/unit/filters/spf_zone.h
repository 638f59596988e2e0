/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_zone.h - a scenario of the SPF suite as a DNS without a network. */
#ifndef PH_TESTS_SPF_ZONE_H
#define PH_TESTS_SPF_ZONE_H
#include "filters/stage.h"
#include "tests/unit/filters/spf_suite.h"
#include <arpa/inet.h>

enum { ZONE_RECORDS = 16, ZONE_CNAMES = 8 };
struct zone_answer {
    struct ph_dns_answer answer;
    struct ph_dns_record records[ZONE_RECORDS];
    const struct ph_dns_record *list[ZONE_RECORDS];
};

static inline struct str zone_name(struct str s)
{
    return s.n && s.p[s.n - 1] == '.' ? str_take(s, s.n - 1) : s;
}

static inline const char *zone_reverse(struct arena *a, const char *ip)
{
    unsigned char b[16];
    char text[80] = "";
    size_t n = 0;

    if (inet_pton(AF_INET, ip, b) == 1)
        return arena_printf(a, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]).p;
    if (inet_pton(AF_INET6, ip, b) != 1)
        return ip;
    for (int i = 15; i >= 0; i--)
        n += (size_t)snprintf(text + n, sizeof text - n, "%x.%x.", b[i] & 15u, b[i] >> 4u);
    return arena_printf(a, "%sip6.arpa", text).p;
}

static inline struct ph_dns_record zone_record(struct arena *a, const struct suite_record *r)
{
    struct ph_dns_record out = {.ip = "", .name = "", .text = ""};
    struct str joined = r->values == 2 ? arena_printf(a, "%s%s", r->value[0].p, r->value[1].p)
                        : r->values    ? r->value[0]
                                       : STR("");

    if (str_eq(r->type, STR("A")) || str_eq(r->type, STR("AAAA"))) {
        out.ip = r->value[0].p;
    } else if (str_eq(r->type, STR("MX"))) {
        struct str name = zone_name(r->value[1]);
        out.preference = (uint16_t)strtoul(r->value[0].p, NULL, 10);
        out.name = name.n ? arena_str(a, name).p : ".";
    } else if (str_eq(r->type, STR("PTR"))) {
        out.name = arena_str(a, zone_name(r->value[0])).p;
    } else {
        out.text = joined.p;
        out.text_size = joined.n;
    }
    return out;
}

static inline const char *zone_type(enum ph_dns_type type)
{
    return type == PH_DNS_A      ? "A"
           : type == PH_DNS_AAAA ? "AAAA"
           : type == PH_DNS_MX   ? "MX"
           : type == PH_DNS_PTR  ? "PTR"
                                 : "TXT";
}

static inline const struct ph_dns_answer *zone_ask(const struct suite_scenario *z, struct arena *a,
                                                   enum ph_dns_type type, const char *asked)
{
    struct zone_answer *out = ARENA_NEW(a, struct zone_answer);
    struct str name = zone_name(str_from(type == PH_DNS_PTR ? zone_reverse(a, asked) : asked));
    bool known = false, late = false;

    out->answer = (struct ph_dns_answer){
        .size = sizeof out->answer, .name = "", .why = "", .records = out->list};
    for (size_t i = 0, hops = 0; i < z->n_zone; i++) {
        const struct suite_record *r = &z->zone[i];
        if (!str_ieq(zone_name(r->name), name))
            continue;
        known = true;
        late |= str_eq(r->type, STR("TIMEOUT"));
        if (str_eq(r->type, STR("CNAME"))) {
            if (++hops > ZONE_CNAMES) {
                late = true;
                break;
            }
            name = zone_name(r->value[0]);
            i = (size_t)-1;
        } else if (str_eq(r->type, str_from(zone_type(type))) && r->values) {
            assert_true(out->answer.n < ZONE_RECORDS);
            out->records[out->answer.n] = zone_record(a, r);
            out->list[out->answer.n] = &out->records[out->answer.n];
            out->answer.n++;
        }
    }
    out->answer.status = out->answer.n ? PH_DNS_FOUND
                         : late        ? PH_DNS_FAILED
                         : known       ? PH_DNS_NO_DATA
                                       : PH_DNS_NO_NAME;
    return &out->answer;
}
#endif
