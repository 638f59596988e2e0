/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* account.h - accounts of the store: whose mailboxes, how much they may hold.
 * Floor 3 (store). Threads: *_tx functions on the commit thread within an operation; the others
 * with a reader. An account is opened on first use (delivery, login) by its name: the folded
 * address ("xandros@example.com"). When the directory's row goes, the account is detached: it keeps
 * its mail under its id, and a re-created address gets a new account. */
#ifndef PH_STORE_ACCOUNT_H
#define PH_STORE_ACCOUNT_H
#include "appliance/store/store.h"

struct account_info {
    uint64_t id;
    struct str name;                      /* the name it had, when detached */
    uint64_t quota_bytes, quota_messages; /* as in force; 0 = unlimited */
    uint64_t used_bytes, used_messages;
    uint64_t domain_quota, domain_used; /* of all accounts of its domain, octets; 0 = unlimited */
    bool detached;
};
/* ERR_WHY_NOT_FOUND: not opened yet (no mail yet: reads as empty with the standard folders; *out is
 * what holds for it then, id 0) - callers open it by op. */
int account_find(struct store_reader *r, struct arena *a, struct str name, struct account_info *out,
                 struct err *err) __attribute__((warn_unused_result));
int account_list(struct store_reader *r, struct arena *a, struct account_info **out, size_t *n_out,
                 struct err *err) __attribute__((warn_unused_result));
/* Finds it or makes it with INBOX, Sent, Drafts, Junk, Trash, Archive (special-use attributes, all
 * subscribed). */
int account_open_tx(struct store_tx *tx, struct str name, uint64_t *id_out, struct err *err)
    __attribute__((warn_unused_result));
int account_set_quota_tx(struct store_tx *tx, uint64_t id, bool own, uint64_t bytes,
                         uint64_t messages, struct err *err)
    __attribute__((warn_unused_result)); /* own = false: back to the settings' default */
/* What the accounts of a domain may hold together; folded. 0: no limit. */
int account_set_domain_quota_tx(struct store_tx *tx, struct str domain, uint64_t bytes,
                                struct err *err) __attribute__((warn_unused_result));
int account_domain_quota(struct store_reader *r, struct str domain, uint64_t *quota_out,
                         uint64_t *used_out, struct err *err) __attribute__((warn_unused_result));
/* The same for the domain of an account, in an operation that is going to add to it. -1
 * ERR_WHY_QUOTA: there is no room for as much. */
int account_domain_room_tx(struct store_tx *tx, uint64_t account, uint64_t more_bytes,
                           struct err *err) __attribute__((warn_unused_result));
/* Is it, or its domain, over its quota, now that the operation added as much to it? */
enum account_over {
    ACCOUNT_WITHIN,
    ACCOUNT_OVER,
    ACCOUNT_OVER_FOR_GOOD /* what was added is more than all it may hold */
};
int account_over_tx(struct store_tx *tx, uint64_t account, uint64_t added, enum account_over *out,
                    struct err *err) __attribute__((warn_unused_result));
int account_detach_tx(struct store_tx *tx, struct str name, struct err *err)
    __attribute__((warn_unused_result));
int account_attach_tx(struct store_tx *tx, uint64_t id, struct str name, struct err *err)
    __attribute__((warn_unused_result));
/* Removes it with all its mail, in slices: run again while *more_out. */
int account_remove_tx(struct store_tx *tx, uint64_t id, bool *more_out, struct err *err)
    __attribute__((warn_unused_result));
/* The quota check made at RCPT and APPEND: 0, or -1 ERR_WHY_QUOTA. The commit looks once more
 * (message_delivery.within_quota, message_append). */
int account_check_quota(const struct account_info *info, uint64_t more_bytes, struct err *err)
    __attribute__((warn_unused_result));
#endif
