/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* search_body.h - looking for several texts at once in a message's text, in bounded memory.
 * Floor 5 (imap). Threads: lane store (work of one command).
 * Searched are: text and message parts, transfer encoding and charset undone; the headers of
 * messages within the message; names and descriptions of all parts. Not: other parts, what is
 * outside of parts, MIME headers as such (or "text" and "base64" would be found everywhere). Markup
 * is not removed. A text is found across the borders of the pieces read, not across those of parts.
 * The scan can be left after any step and resumed with the body opened again. */
#ifndef PH_IMAP_SEARCH_BODY_H
#define PH_IMAP_SEARCH_BODY_H
#include "appliance/base/text.h"
#include "imap/search_match.h"

struct search_segment {
    uint64_t at, size;
    const struct mime_part *names; /* not a stretch: the name and description of this part */
    bool header;
    struct str encoding, charset;
};
struct search_scan {
    unsigned char *hits; /* enum search_truth of each needle */
    /* private */
    const struct search_program *program;
    struct search_segment *list;
    size_t n, cap, at, longest;
    uint64_t offset;
    struct text_qp qp;
    struct text_b64 b64;
    struct buf space, decoded, utf8, window;
};
/* `a` holds what lives as long as the program. */
void search_scan_init(struct search_scan *s, struct arena *a, const struct search_program *program);
void search_scan_fini(struct search_scan *s); /* accepts a zeroed struct */
/* A new message; `a` and `root` live until its scan ends. */
void search_scan_begin(struct search_scan *s, struct arena *a, const struct mime_part *root);
/* Looks through the next piece: 1 = there is more, 0 = that was all (no hit is unknown any more).
 */
int search_scan_step(struct search_scan *s, struct body_reader *body, struct err *err)
    __attribute__((warn_unused_result));
#endif
