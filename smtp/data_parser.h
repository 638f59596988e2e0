/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* data_parser.h - the octets of a message off the wire: where it ends, what belongs to it, what is
 * wrong with it. Floor 5 (smtp). Threads: any (pure). The result doesn't depend on the pieces in
 * which the bytes arrive. DATA: only CRLF "." CRLF ends it (RFC 5321 4.1.1.4); a leading dot is
 * removed (4.5.2). A bare CR or LF never ends a line here; it only makes the message bad, so that
 * no two servers can see two different messages (SMTP smuggling). BDAT (RFC 3030): every octet
 * belongs to the message; the same faults are found. */
#ifndef PH_SMTP_DATA_PARSER_H
#define PH_SMTP_DATA_PARSER_H
#include "appliance/base/str.h"

enum {
    SMTP_DATA_BARE_CR = 1u << 0,
    SMTP_DATA_BARE_LF = 1u << 1,
    SMTP_DATA_NUL = 1u << 2,      /* can't be sent to an IMAP client (RFC 3501 9: CHAR8) */
    SMTP_DATA_LONG_LINE = 1u << 3 /* over the limit given */
};
struct smtp_data {
    unsigned faults;  /* what was found so far, SMTP_DATA_* */
    uint64_t longest; /* octets of the longest line, without CRLF */
    bool eight_bit;   /* octets over 127 */
    /* private */
    uint64_t line, line_limit;
    unsigned state;
    bool dots;
};
void smtp_data_begin(struct smtp_data *d, bool dots, uint64_t line_limit);
/* Hands the message's bytes to put() in runs as long as possible (views into `in`). Returns how
 * many bytes of `in` were used: all, or with *end_out those up to the end of data. */
typedef void (*smtp_data_put_fn)(void *ctx, struct str run);
size_t smtp_data_feed(struct smtp_data *d, struct str in, smtp_data_put_fn put, void *ctx,
                      bool *end_out);
/* After the last octet of BDAT: a CR at the very end is bare. */
void smtp_data_finish(struct smtp_data *d);
#endif
