/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_macro.h - macro strings of SPF (RFC 7208 7): checked, and expanded.
 * Floor 4 (filters). Threads: any (pure). Input is hostile: what is expanded is bounded by the
 * strings' lengths below and by the output's maximum. */
#ifndef PH_FILTERS_SPF_MACRO_H
#define PH_FILTERS_SPF_MACRO_H
#include "appliance/base/buf.h"

enum { SPF_MACRO_LIMIT = 4096, SPF_VALUE_LIMIT = 1024, SPF_NAME_LIMIT = 253 };

struct spf_macros { /* what the letters stand for */
    struct str sender, local, sender_domain, domain, validated, helo, receiver;
    struct str ip;     /* %{c}: as people write it */
    struct str dotted; /* %{i}: the address, or its nibbles with dots between */
    bool v6;
    uint64_t now; /* s since 1970 */
};

/* A macro string: visible ASCII, macros well-formed; explanation: blanks and the letters c, r, t
 * too. */
bool spf_macro_check(struct str s, bool explanation);
/* domain-spec (7.1): a macro string that ends in a macro or ".toplabel". */
bool spf_macro_check_domain(struct str s);
/* Does it need `validated`? That one costs questions to the DNS. Of a checked string. */
bool spf_macro_asks(struct str s);
/* Of a checked string. -1: longer than out's maximum, or over the limits. */
int spf_macro_expand(struct str s, const struct spf_macros *m, struct buf *out)
    __attribute__((warn_unused_result));
/* The same for a name to be asked for: cut to 253 octets from the left, by whole labels (7.3), no
 * trailing dot. out holds SPF_MACRO_LIMIT. False: no name that can be in the DNS comes out. */
bool spf_macro_expand_name(struct str s, const struct spf_macros *m, struct buf *out);
/* Labels of 1 to 63, 253 in all, ASCII. */
bool spf_name_valid(struct str name);
#endif
