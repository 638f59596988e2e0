/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* header.h - the header block of a message: splitting it off a stream, walking its fields, decoding
 * values. Floor 1 (mail). Threads: any (pure: bytes in, views out). Input is hostile and may be
 * malformed. A `head` here is the whole block, its closing empty line included ("A: b\r\n\r\n").
 * Sources: RFC 5322 2.2, 2047, 2231. */
#ifndef PH_MAIL_HEADER_H
#define PH_MAIL_HEADER_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"

/* Splits a stream of message bytes into head and data, piece by piece, with the same result
 * whatever the pieces. Zero it first. The caller keeps the bytes of the head (bounded by it), so an
 * answer may point back into earlier pieces. */
struct header_split {
    unsigned state; /* private */
    uint64_t seen;  /* private */
    uint64_t line;  /* private: where the current line begins */
};
enum header_split_end {
    HEADER_SPLIT_MORE,  /* undecided: all bytes given so far may belong to the head */
    HEADER_SPLIT_DONE,  /* the head is the first *end_out bytes of the stream, empty line included;
                           then data */
    HEADER_SPLIT_BROKEN /* a line that can't be a header field (no colon after a field name, or a
                         * continuation without a field before it) begins at *end_out: the caller
                         * closes the head by "\r\n" of its own and takes the stream from there as
                         * data */
};
/* end_out counts from the first byte of the stream. At the end of the stream (no empty line seen)
 * the caller closes the head. */
enum header_split_end header_split_feed(struct header_split *s, struct str bytes,
                                        uint64_t *end_out);

struct header_field {
    struct str name; /* "Subject" */
    struct str
        value;      /* after the colon and following blanks; folds are still in it; no final CRLF */
    struct str raw; /* the whole field with its CRLF(s) */
};
/* Takes the next field off *rest (a head or what is left of it); false at the empty line or the
 * end. Lines without a colon are skipped. */
bool header_next(struct str *rest, struct header_field *out);
/* The first (n = 0) or (n+1)th field of that name, case-insensitive. */
bool header_find(struct str head, struct str name, unsigned n, struct header_field *out);
unsigned header_count(struct str head, struct str name);

int header_unfold(struct str value, struct buf *out); /* CRLF before WSP removed (RFC 5322 2.2.3) */
/* Unfolded, encoded words decoded to UTF-8 (RFC 2047, neighbours joined), for search and display.
 */
int header_decode(struct str value, struct buf *out);

/* Parameters of Content-Type and Content-Disposition (RFC 2045 5.1, 2231): value -> main value and
 * parameters, continuations joined and extended values kept as "name*" when they carry a charset.
 * At most 64. */
struct header_param {
    struct str name, value;
};
struct header_params {
    struct str main; /* "text/plain", "attachment" */
    struct header_param *list;
    size_t n;
};
void header_params_parse(struct arena *a, struct str value, struct header_params *out);
bool header_param_get(const struct header_params *p, struct str name, struct str *out);
#endif
