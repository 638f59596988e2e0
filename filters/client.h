/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client.h - addresses of clients as limits and bans see them.
 * Floor 4 (filters). Threads: any (pure).
 * A host in IPv6 has a whole /64 to take addresses from, so that counts as one; a network is /24 in
 * IPv4 and /64 in IPv6. All are 16 octets, IPv4 as ::ffff:a.b.c.d. */
#ifndef PH_FILTERS_CLIENT_H
#define PH_FILTERS_CLIENT_H
#include "appliance/base/buf.h"
#include "appliance/base/cidr.h"

bool client_parse(const char *ip, uint8_t out[16]); /* false: no IP address ("": AF_UNIX) */
/* The first `bits` of it, others zero. */
struct cidr client_mask(const uint8_t ip[16], unsigned bits);
struct cidr client_host(const uint8_t ip[16]);    /* the address, or its /64 */
struct cidr client_network(const uint8_t ip[16]); /* its /24 or /64 */
bool client_within(const uint8_t ip[16], const struct cidr *net);
/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/64". */
struct client_text {
    char z[56];
};
struct client_text client_text(const struct cidr *net);
/* One address or network as text, host bits zero. */
int client_net_parse(struct str text, struct cidr *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
