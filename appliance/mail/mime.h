/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mime.h - the structure of a message: exact byte ranges of all parts, found in one pass as the
 * data arrives. Floor 1 (mail). Threads: one at a time (a scan belongs to its owner); the functions
 * are pure. Bounded whatever the input: at most MIME_MAX_PARTS parts and MIME_MAX_DEPTH levels
 * (deeper is one leaf), headers of an inner part kept up to 64 KB. The boundary of every open
 * multipart is watched, as RFC 2046 5.1 wants. Offsets count from the first byte of `data`, i.e.
 * after the empty line that ends the head; so a head may be edited (trace headers added) without a
 * new scan. Sources: RFC 2045, 2046, 3501 6.4.5 and 7.4.2, 3030 (binary). */
#ifndef PH_MAIL_MIME_H
#define PH_MAIL_MIME_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"

enum { MIME_MAX_PARTS = 1000, MIME_MAX_DEPTH = 32 };
enum {
    MIME_META_MAX = 2 * 1024 * 1024
}; /* no meta is larger: give mime_scan_end a buf of at least this maximum */

struct mime_envelope { /* values unfolded, otherwise as written; .p NULL = NIL */
    struct str date, subject, in_reply_to, message_id;
    struct address *from, *sender, *reply_to, *to, *cc, *bcc;
    size_t n_from, n_sender, n_reply_to, n_to, n_cc,
        n_bcc; /* sender and reply_to default to from (RFC 3501) */
};
struct mime_part {
    struct str type,
        subtype; /* never empty: defaults text/plain, message/rfc822 within digest; case kept */
    struct header_params params; /* of Content-Type */
    struct str id, description, encoding, md5, language,
        location;                     /* .p NULL = absent; encoding defaults "7BIT" when absent */
    struct header_params disposition; /* .main.p NULL = absent */
    uint64_t head_at,
        head_size; /* this part's own header block with its empty line, in data; 0,0 for the root.
                    * An inner message's root: the inner message's header block */
    uint64_t body_at,
        body_size;  /* octets of the body, without the CRLF that belongs to the boundary */
    uint64_t lines; /* lines of the body */
    /* multipart: its parts in order, NULL when there are none (no boundary, too deep): a leaf then,
     * as is a message/rfc822 without child (base64 or quoted-printable, too deep). Else: the inner
     * message's root */
    struct mime_part *child;
    struct mime_part *next;
    /* The root and every inner message's root: ENVELOPE of that message. A message/rfc822 part
     * other than the root: the same as child->envelope, which BODYSTRUCTURE wants. Else NULL */
    struct mime_envelope *envelope;
    uint64_t inner_head_at, inner_head_size; /* message/rfc822: the inner message's header block */
};

struct mime_scan;
struct mime_scan *
mime_scan_new(struct str head); /* copies what it needs of the head's Content-* fields */
void mime_scan_feed(struct mime_scan *s,
                    struct str data); /* any pieces, e.g. byte by byte, same result */
/* Ends the scan and encodes the tree, the root's ENVELOPE taken from `head` (which may have been
 * edited meanwhile), as a compact versioned byte string: body.meta. */
int mime_scan_end(struct mime_scan **s, struct str head, struct buf *meta_out);
size_t mime_scan_memory(const struct mime_scan *s); /* bytes that it holds now */
void mime_scan_free(struct mime_scan **s);          /* without result */

/* Decodes meta into a tree in `a` (views into meta where possible: meta must live as long). -1:
 * damaged or of another version (scan again). Bounded against damaged input. */
int mime_meta_decode(struct arena *a, struct str meta, struct mime_part **root_out)
    __attribute__((warn_unused_result));
/* The same in one call, from a whole message in memory. */
int mime_parse(struct arena *a, struct str head, struct str data, struct mime_part **root_out);
/* ENVELOPE alone, from a head. */
struct mime_envelope *mime_envelope_parse(struct arena *a, struct str head);
/* Part by IMAP section numbers, e.g. {1,2} for BODY[1.2] (RFC 3501 6.4.5: a leaf root has part 1; a
 * message/rfc822 part's numbers go into its inner multipart, or its inner leaf as .1). NULL: no
 * such part. */
const struct mime_part *mime_part_find(const struct mime_part *root, const unsigned *path,
                                       size_t n);
#endif
