/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* search_match.h - does a message match? Asked in three steps, each dearer than the one before: its
 * row, its head, its text. Floor 5 (imap). Threads: lane store (work of one command). What can't be
 * said yet is SEARCH_UNKNOWN; only then the next step is paid for. */
#ifndef PH_IMAP_SEARCH_MATCH_H
#define PH_IMAP_SEARCH_MATCH_H
#include "imap/search_program.h"

enum search_truth { SEARCH_UNKNOWN, SEARCH_YES, SEARCH_NO };

struct search_field {
    struct header_field raw;
    struct str folded; /* "name: value", decoded and folded; made when first asked for */
    size_t value_at;
};
struct search_message {
    uint32_t uid, recent_from;
    const struct message_info *row; /* NULL: not read (and not asked for) */
    struct arena *arena;
    bool have_head;
    struct search_field *fields;
    size_t n_fields;
    const unsigned char
        *hits; /* enum search_truth of each needle in the text; NULL: nothing known */
};
/* Splits the heads into fields, the first 5000; views into them. */
void search_message_head(struct search_message *m, struct arena *a, struct str prefix,
                         struct str head);
enum search_truth search_match(const struct search_key *k, struct search_message *m);
/* Decodes and folds a header field's value, appending it. */
void search_fold_value(struct str value, struct buf *out);
#endif
