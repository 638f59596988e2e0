/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailto.h - the address that a mailto: URI stands for (RFC 6068), of those that ask for reports.
 * Floor 4 (filters). Threads: any (pure). Input is hostile. */
#ifndef PH_FILTERS_MAILTO_H
#define PH_FILTERS_MAILTO_H
#include "appliance/base/arena.h"
#include "filters/dmarc_author.h"

struct mailto {
    struct str address;         /* "local@domain", in ASCII, as in an SMTP path */
    struct dmarc_domain domain; /* of it */
};
/* What follows '?' is left out. False: another scheme, several addresses, or none that reports can
 * be sent to. Memory from a. */
bool mailto_parse(struct arena *a, struct str uri, struct mailto *out);
#endif
