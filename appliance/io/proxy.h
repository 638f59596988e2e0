/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* proxy.h - the header of the PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who
 * the client behind a proxy is.
 * Floor 1 (io). Threads: any (pure). Looks at no more than PROXY_HEADER_MAX octets. */
#ifndef PH_IO_PROXY_H
#define PH_IO_PROXY_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

enum {
    PROXY_HEADER_MAX = 4096 /* version 2 may carry extensions, which are passed over; larger ones
                               than this are refused */
};
enum proxy_result { PROXY_MORE, PROXY_OK, PROXY_BAD };

struct proxy_client {
    bool known; /* false: the proxy speaks for itself (LOCAL, UNKNOWN) */
    char ip[46];
    uint16_t port;
    bool v6;
};
/* in: what came so far, from the first octet. OK: *used octets are the header. BAD: err says why;
 * it is found as early as possible. */
enum proxy_result proxy_parse(struct str in, struct proxy_client *out, size_t *used,
                              struct err *err);
#endif
