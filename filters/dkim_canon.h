/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_canon.h - the forms in which DKIM hashes a message (RFC 6376 3.4).
 * Floor 4 (filters). Threads: one at a time (pure). */
#ifndef PH_FILTERS_DKIM_CANON_H
#define PH_FILTERS_DKIM_CANON_H
#include "appliance/base/buf.h"

/* A body, in pieces of any size: begin, feed, end. */
struct dkim_body {
    bool relaxed;
    void (*put)(void *ctx, const char *p, size_t n); /* NULL: it is only counted */
    void *ctx;
    uint64_t length; /* octets of the canonical form so far */
    /* private */
    uint64_t lines; /* line ends that count only if something follows them */
    bool cr, space, any;
    size_t n;
    char out[4096];
};
void dkim_body_begin(struct dkim_body *b, bool relaxed,
                     void (*put)(void *ctx, const char *p, size_t n), void *ctx);
void dkim_body_feed(struct dkim_body *b, struct str piece);
void dkim_body_end(struct dkim_body *b); /* a last line without its end gets one */

/* A field in relaxed form, with its CRLF. */
int dkim_field_relaxed(struct str name, struct str value, struct buf *out);
#endif
