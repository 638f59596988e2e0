/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* text.h - encodings of text: base64, quoted-printable, hex, UTF-8, modified UTF-7, IDNA.
 * Floor 0 (base). Threads: any (pure). Input is hostile; every function is bounded by its output
 * buf's max. */
#ifndef PH_BASE_TEXT_H
#define PH_BASE_TEXT_H
#include "appliance/base/buf.h"

/* RFC 4648 4. Strict: no white space, right padding; -1 otherwise. */
int text_base64_decode(struct str in, struct buf *out) __attribute__((warn_unused_result));
int text_base64_encode(struct str in, struct buf *out); /* one line */
int text_hex_encode(const void *p, size_t n, struct buf *out);
int text_hex_decode(struct str in, struct buf *out) __attribute__((warn_unused_result));

/* MIME bodies (RFC 2045), lenient as mail readers are, in pieces: carry state between calls; zero
 * it first. */
struct text_qp {
    char hold[128]; /* an unfinished =XX or =CRLF, or white space that may end a line */
    unsigned held;
};
struct text_b64 {
    unsigned bits, count;
    bool ended;
};
int text_qp_decode(struct text_qp *st, struct str in, bool last, struct buf *out);
/* -1 only when out is full. White space at the end of a line is dropped (RFC 2045 6.7 rule 3);
 * after the first `=` of base64 nothing follows. */
int text_b64_decode(struct text_b64 *st, struct str in, bool last, struct buf *out);

bool text_utf8_valid(
    struct str s); /* RFC 3629: no surrogates, no overlong, <= U+10FFFF; NUL is valid here */
bool text_ascii(struct str s); /* all bytes < 0x80 */
/* The first character of s: its length 1..4, or 0 when s is empty or doesn't begin with valid
 * UTF-8. */
unsigned text_utf8_next(struct str s, uint32_t *cp_out);
unsigned text_utf8_put(uint32_t cp,
                       char out[4]); /* writes a valid code point, returns its length */
/* Text that others wrote, as people and their terminals can be shown it: folds undone, a tab as a
 * blank, control characters (C0, C1, those that turn the direction) as \u009b, bytes that aren't
 * UTF-8 as \xff. The escapes are JSON's, so JSON on one line stays what it is. */
int text_printable(struct str s, struct buf *out);
bool text_is_printable(struct str s); /* valid UTF-8 without any of them (nor tabs) */
bool text_has_c1(struct str s);       /* U+0080 to U+009F: RFC 5198 2 */
/* For comparing in searches: any known charset -> UTF-8, then case-folded (full Unicode simple
 * folding where libc's towlower knows it in C.UTF-8, ASCII otherwise). An unknown charset is taken
 * as UTF-8; undecodable bytes become U+FFFD, so the result is always valid UTF-8. `charset` empty
 * (or us-ascii) = UTF-8 if valid, else windows-1252. Names are those used in mail, in any case. -1
 * only when out is full. Threads: any. */
bool text_charset_known(struct str charset); /* empty counts as known */
int text_to_utf8(struct str charset, struct str in, struct buf *out);
int text_fold(struct str utf8, struct buf *out);

/* Within an element or attribute of XML 1.0: what has a meaning there is escaped, what may not
 * stand there (controls, octets that are no UTF-8) becomes '?'. -1 only when out is full. */
int text_xml(struct str s, struct buf *out);

/* IMAP mailbox names (RFC 3501 5.1.3). Decode is strict: -1 for what has no canonical meaning. */
int text_utf7_decode(struct str in, struct buf *utf8_out) __attribute__((warn_unused_result));
int text_utf7_encode(struct str utf8, struct buf *out) __attribute__((warn_unused_result));

/* A domain name to its lower-case A-label form (RFC 5891, libidn2), validated: LDH labels of 1..63,
 * 253 in all, no trailing dot. -1: not a domain name. */
int text_domain(struct str in, struct buf *out) __attribute__((warn_unused_result));
#endif
