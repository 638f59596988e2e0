/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cursor.h - parsing one complete IMAP command, token by token (RFC 3501 9).
 * Floor 5 (imap). Threads: any (pure). Input: a whole command without its final CRLF; literals
 * stand in it as
 * "{n}\r\n" and n bytes (reader.h has put them there). Views point into it, or into the arena where
 * quoting was undone. Every function either consumes its token and returns 0, or leaves the cursor
 * alone and returns -1. */
#ifndef PH_IMAP_CURSOR_H
#define PH_IMAP_CURSOR_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/mail/date.h"
#include "appliance/store/message.h"

struct imap_cursor {
    struct str rest;
    struct arena *arena;
};
bool imap_at_end(const struct imap_cursor *c);
bool imap_peek(const struct imap_cursor *c, char ch); /* next byte is ch */
int imap_take(struct imap_cursor *c, char ch);        /* that byte */
int imap_space(struct imap_cursor *c);                /* exactly one SP */
int imap_word(struct imap_cursor *c,
              const char *word); /* that atom, case-insensitive, followed by a non-atom byte */
int imap_atom(struct imap_cursor *c, struct str *out);
int imap_string(struct imap_cursor *c, struct str *out);  /* quoted or literal */
int imap_nstring(struct imap_cursor *c, struct str *out); /* or NIL: .p == NULL */
int imap_astring(struct imap_cursor *c, struct str *out);
int imap_list_mailbox(struct imap_cursor *c,
                      struct str *out); /* LIST's pattern: atoms may hold % and * */
int imap_number(struct imap_cursor *c, uint64_t max, uint64_t *out);
int imap_flag_list(struct imap_cursor *c, bool parens_optional, uint64_t *system_out,
                   struct str **keywords_out, size_t *n_out);
int imap_date_time(struct imap_cursor *c, struct date *out); /* quoted date-time */
int imap_date(struct imap_cursor *c, int64_t *day_out);      /* SEARCH's date, quoted or not */
/* A mailbox name: astring, modified UTF-7 decoded to UTF-8, INBOX in any case normalised. */
int imap_mailbox(struct imap_cursor *c, struct str *out);

/* sequence-set: ranges as written, '*' as UINT32_MAX, sorted, merged. At most 100 000 ranges. */
struct imap_set {
    struct uid_range *ranges;
    size_t n;
    bool star;  /* '*' occurs */
    bool saved; /* "$" (reserved for SEARCHRES) */
};
int imap_set(struct imap_cursor *c, struct imap_set *out);

/* Output tokens. */
void imap_put_string(struct buf *b,
                     struct str s); /* quoted if it can be, else literal; .p NULL = NIL */
void imap_put_quoted_or_literal(struct buf *b, struct str s); /* never NIL */
void imap_put_mailbox(struct buf *b, struct str utf8_name);   /* modified UTF-7, quoted */
void imap_put_literal(struct buf *b, struct str s);
#endif
