/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* list_names.h - the tree of an account's mailboxes for LIST and LSUB: what exists, what is
 * subscribed, and the levels above them that are neither. Floor 5 (imap). Threads: lane store;
 * everything lives in the arena given. */
#ifndef PH_IMAP_LIST_NAMES_H
#define PH_IMAP_LIST_NAMES_H
#include "appliance/store/mailbox.h"

struct imap_name {
    struct str name;
    bool exists, subscribed;
    bool children;            /* an existing mailbox is below it */
    bool subscribed_children; /* a subscribed name is below it */
    enum mailbox_special special;
};
/* INBOX first, then by name. */
int imap_names_read(struct store_reader *r, struct arena *a, uint64_t account,
                    struct imap_name **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
