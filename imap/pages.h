/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* pages.h - the messages of a uid set, read page by page and resumable by uid.
 * Floor 5 (imap). Threads: lane store (work of one command). One statement reads a page, whatever
 * the shape of the set; none survives a call. Messages expunged meanwhile are simply not returned
 * (RFC 2180 4.1). */
#ifndef PH_IMAP_PAGES_H
#define PH_IMAP_PAGES_H
#include "appliance/store/message.h"

struct imap_pages {
    uint64_t mailbox;
    const struct uid_range *set; /* the caller's */
    size_t n_set;
    size_t max; /* messages a page */
    bool want_prefix;
    /* private */
    size_t range;
    uint32_t next;
    bool ended;
    struct arena *arena;
    struct message_info *msgs;
    size_t n, i;
};
void imap_pages_init(struct imap_pages *p, uint64_t mailbox, const struct uid_range *set,
                     size_t n_set, size_t max, bool want_prefix);
void imap_pages_fini(struct imap_pages *p); /* accepts a zeroed struct */
/* The next message, valid until the next call; NULL at the end. */
int imap_pages_next(struct imap_pages *p, struct store_reader *r, const struct message_info **out,
                    struct err *err) __attribute__((warn_unused_result));
/* The next call reads from the store (it may be the moment to give the worker back). */
bool imap_pages_at_edge(const struct imap_pages *p);

/* Is uid in a set of ascending ranges? */
bool imap_ranges_have(const struct uid_range *set, size_t n, uint32_t uid);
#endif
