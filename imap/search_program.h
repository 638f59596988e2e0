/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* search_program.h - a search as a tree of keys, and its parsing.
 * Floor 5 (imap). Threads: any (pure). Memory is the cursor's arena.
 * Bounded: SEARCH_KEYS_MAX keys, SEARCH_DEPTH_MAX levels of OR, NOT and parentheses. */
#ifndef PH_IMAP_SEARCH_PROGRAM_H
#define PH_IMAP_SEARCH_PROGRAM_H
#include "imap/command.h"

enum { SEARCH_KEYS_MAX = 1000, SEARCH_DEPTH_MAX = 100 };

enum search_op {
    SEARCH_AND, /* of all children; none: true */
    SEARCH_OR,
    SEARCH_NOT,
    SEARCH_UIDS,  /* uid in `set` (sequence numbers too: a session's view gives them meaning) */
    SEARCH_FLAGS, /* one of `number`'s flags is set */
    SEARCH_RECENT,
    SEARCH_BEFORE, /* INTERNALDATE, by day (RFC 3501: disregarding time and timezone) */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_SENTBEFORE, /* Date: header, by day as it was written */
    SEARCH_SENTON,
    SEARCH_SENTSINCE,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_HEADER, /* field `field` holds `text`; an empty text: it exists */
    SEARCH_BODY,
    SEARCH_TEXT
};
struct search_key {
    enum search_op op;
    struct search_key *child, *next;
    struct uid_range *set;
    size_t n_set;
    uint64_t number; /* flags, size */
    int64_t day;
    struct str field, text; /* text: UTF-8, case-folded */
    size_t needle;          /* of BODY and TEXT: its place in `needles` */
};
struct search_program {
    struct search_key *root;     /* an AND */
    struct search_key **needles; /* the BODY and TEXT keys */
    size_t n_needles;
    bool uses_rows; /* something of the message's row is asked, not only uids */
    bool uses_head, uses_body;
};
enum search_refusal { SEARCH_FINE, SEARCH_BAD, SEARCH_BADCHARSET };
/* All that follows "SEARCH ". `view` resolves sequence numbers and keywords. Refused: *why_out is
 * for the client. */
enum search_refusal search_program_parse(struct imap_cursor *c, const struct imap_view *view,
                                         struct search_program *out, const char **why_out);
/* The uids a match can have, as far as the top level says: false if none. */
bool search_program_bounds(const struct search_program *p, uint32_t *first, uint32_t *last);
#endif
