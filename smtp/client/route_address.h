/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* route_address.h - IP addresses as places to send mail to. Pure. Floor 5 (smtp). Threads: any.
 * What strangers write (address literals) or put into DNS must not lead a server to itself or into
 * its own network. */
#ifndef PH_SMTP_ROUTE_ADDRESS_H
#define PH_SMTP_ROUTE_ADDRESS_H
#include "appliance/base/str.h"

enum { ROUTE_IP_MAX = 46 };
enum route_scope {
    ROUTE_SCOPE_GLOBAL,
    ROUTE_SCOPE_PRIVATE, /* RFC 1918, 6598, 4193 */
    ROUTE_SCOPE_LOCAL    /* loopback, link-local, unspecified, multicast, reserved: nobody's mail
                            host; or no address at all */
};
enum route_scope route_scope(const char *ip);
bool route_is_loopback(const char *ip);
/* 4, 6, or 0: not an address; out: as inet_ntop() writes it, an IPv4-mapped one as IPv4. */
int route_ip(struct str text, char out[ROUTE_IP_MAX]);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
int route_literal(struct str text, char out[ROUTE_IP_MAX]);
#endif
