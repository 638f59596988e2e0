/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* helo_name.h - what a client says in HELO, taken apart.
 * Floor 4 (filters). Threads: any (pure). Input is hostile. */
#ifndef PH_FILTERS_HELO_NAME_H
#define PH_FILTERS_HELO_NAME_H
#include <stdbool.h>

enum helo_kind {
    HELO_LITERAL_OWN,   /* "[192.0.2.7]", and that is the client's address */
    HELO_LITERAL_OTHER, /* another address, or none */
    HELO_QUALIFIED,     /* a domain name of two labels or more */
    HELO_UNQUALIFIED    /* one label, an address without brackets, not a domain name */
};
enum helo_kind helo_kind(const char *helo, const char *client_ip);
/* Is it one of ours: host, or in the list of names and addresses, as a PH_LIST setting has it? */
bool helo_is_ours(const char *helo, const char *host, const char *list);
#endif
