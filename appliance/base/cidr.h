/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cidr.h - sets of networks: "10.0.0.0/8, 192.0.2.1, 2001:db8::/32".
 * Floor 0 (base). Threads: any, once parsed (immutable). */
#ifndef PH_BASE_CIDR_H
#define PH_BASE_CIDR_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

struct cidr {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* of the 128 */
};
struct cidr_set {
    struct cidr *at;
    size_t n;
};

/* A list as a PH_LIST setting has it; host bits must be zero. Empty text: the empty set. */
int cidr_set_parse(struct str text, struct cidr_set *out, struct err *err)
    __attribute__((warn_unused_result));
void cidr_set_free(struct cidr_set *s);
/* ip as text, "192.0.2.1" or "2001:db8::1"; anything else is in no set. */
bool cidr_set_has(const struct cidr_set *s, const char *ip);
#endif
