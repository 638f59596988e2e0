/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fetch_items.h - what a FETCH asks for: the list of items, and its parsing (RFC 3501 9,
 * fetch-att). Floor 5 (imap). Threads: any (pure). Memory is the cursor's arena; views point into
 * the command. Bounded: FETCH_ITEMS_MAX items, FETCH_FIELDS_MAX header fields in all,
 * FETCH_DEPTH_MAX part numbers a section. */
#ifndef PH_IMAP_FETCH_ITEMS_H
#define PH_IMAP_FETCH_ITEMS_H
#include "imap/cursor.h"

enum { FETCH_ITEMS_MAX = 100, FETCH_FIELDS_MAX = 1000, FETCH_DEPTH_MAX = 64 };

enum fetch_kind {
    FETCH_UID,
    FETCH_FLAGS,
    FETCH_INTERNALDATE,
    FETCH_SIZE,
    FETCH_ENVELOPE,
    FETCH_BODY, /* BODY: without extension data */
    FETCH_BODYSTRUCTURE,
    FETCH_SECTION /* BODY[...] and RFC822, RFC822.HEADER, RFC822.TEXT */
};
enum fetch_text {
    FETCH_TEXT_ALL, /* [] or [1.2] */
    FETCH_TEXT_HEADER,
    FETCH_TEXT_FIELDS,
    FETCH_TEXT_FIELDS_NOT,
    FETCH_TEXT_TEXT,
    FETCH_TEXT_MIME
};
struct fetch_section {
    enum fetch_text text;
    unsigned *path; /* part numbers; none: the message itself */
    size_t depth;
    struct str *fields;
    size_t n_fields;
    bool partial, peek;
    uint64_t from, count;
    struct str label; /* as the response names it: "BODY[HEADER.FIELDS (FROM)]<0>" */
};
struct fetch_item {
    enum fetch_kind kind;
    struct fetch_section *section; /* of FETCH_SECTION */
};
struct fetch_items {
    struct fetch_item *list;
    size_t n;
    unsigned want;  /* BODY_WANT_...: what must be read to answer them all */
    bool structure; /* the MIME tree is needed */
    bool prefix;    /* the recipient's own headers are needed */
    bool seen;      /* reading sets \Seen */
};
/* A macro, one item, or a list in parentheses. uid: UID is among the items, whether asked for or
 * not. -1: *why_out says. */
int fetch_items_parse(struct imap_cursor *c, bool uid, struct fetch_items *out,
                      const char **why_out) __attribute__((warn_unused_result));
#endif
