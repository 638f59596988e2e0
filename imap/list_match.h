/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* list_match.h - LIST's wildcards (RFC 3501 6.3.8). Pure; time grows with name times pattern, never
 * worse. */
#ifndef PH_IMAP_LIST_MATCH_H
#define PH_IMAP_LIST_MATCH_H
#include "appliance/base/str.h"

/* '*' matches anything, '%' anything but '/'. The level INBOX at the beginning matches in any case.
 */
bool imap_list_match(struct str pattern, struct str name);
#endif
