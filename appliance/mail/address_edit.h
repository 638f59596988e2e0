/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* address_edit.h - other addresses in the value of an address field (From, To, Cc ...), and all the
 * rest of it byte for byte: names, comments, encoded words, groups, routes, folds, blanks.
 * Floor 1 (mail). Threads: any (pure). Time and space are linear. What can't be read as an address
 * is left alone. */
#ifndef PH_MAIL_ADDRESS_EDIT_H
#define PH_MAIL_ADDRESS_EDIT_H
#include "appliance/base/buf.h"

/* One address: its local part without quotes, its domain without comments; .p NULL where it has
 * none. Returned true: put what was set here instead; what wasn't touched stays as it is written.
 */
struct address_parts {
    struct str local, domain;
};
typedef bool (*address_edit_fn)(void *ctx, struct address_parts *parts);
/* How many addresses were changed; 0: out is as it was. New parts are used during the call only. */
unsigned address_list_edit(struct str value, address_edit_fn fn, void *ctx, struct buf *out);
#endif
