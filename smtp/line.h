/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* line.h - cuts command lines off the input, and finds those that are no lines.
 * Floor 5 (smtp). Threads: any (pure). The result doesn't depend on the pieces in which the bytes
 * arrive. Only CRLF ends a line. What follows a bare LF up to the next CRLF belongs to the same bad
 * line, so that nothing hidden behind a bare LF is ever taken for a command. */
#ifndef PH_SMTP_LINE_H
#define PH_SMTP_LINE_H
#include "appliance/base/str.h"

enum smtp_line_end {
    SMTP_LINE_MORE,    /* no line yet */
    SMTP_LINE_OK,      /* *line_out, without its CRLF */
    SMTP_LINE_BAD,     /* it holds a NUL, a bare CR or a bare LF */
    SMTP_LINE_TOO_LONG /* over the limit; what is left of it is discarded by the next calls */
};
struct smtp_line {    /* zero it first */
    bool discard, cr; /* private */
};
/* limit: octets of a whole line, CRLF included; 0: what the command that begins it may have (RFC
 * 5321 4.5.3.1.4 and what the extensions add). Take *used_out bytes off the input, whatever the
 * answer. */
enum smtp_line_end smtp_line_take(struct smtp_line *l, struct str in, size_t limit,
                                  struct str *line_out, size_t *used_out);
#endif
