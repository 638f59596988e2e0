/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_kind.h - what the name of a client tells of it.
 * Floor 4 (filters). Threads: any (pure). */
#ifndef PH_FILTERS_CLIENT_KIND_H
#define PH_FILTERS_CLIENT_KIND_H
#include <stdbool.h>

/* Letters, digits, '-', '_' and dots, with no empty label: fit for a header field and a log. */
bool client_name_plain(const char *name);
/* A name that a provider gives to each of its addresses: the address is in it, or a word like "dyn"
 * or "dsl". Mail servers of one's own have other names, as a rule. */
bool client_name_generic(const char *name, const char *ip);
#endif
