/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_hash.h - what a signature of DKIM or ARC covers: fields of a head, a body.
 * Floor 4 (filters). Threads: one at a time; the body is read, so not on the loop. */
#ifndef PH_FILTERS_DKIM_HASH_H
#define PH_FILTERS_DKIM_HASH_H
#include "filters/dkim_check.h"
#include "filters/stage.h"

enum { DKIM_HEAD_MAX = 4 << 20 }; /* of all fields of one signature, in canonical form */

/* The fields of a head, found by their names. Views into it. */
struct dkim_head;
/* -1: more fields than anybody signs. */
int dkim_head_new(struct str head, struct dkim_head **out, struct err *err)
    __attribute__((warn_unused_result));
void dkim_head_free(struct dkim_head **h);
size_t dkim_head_count(const struct dkim_head *h, struct str name);
/* Adds the fields that h= names, words between colons, in canonical form: of several of one name
 * the last first, nothing for those that aren't there (RFC 6376 5.4.2). */
void dkim_head_add(const struct dkim_head *h, struct str names, bool relaxed, struct buf *out);

/* The message that a stage sees; lives as long as the view. */
struct dkim_message dkim_message_of(const struct ph_view *v);
/* SHA-256 of the body, in base64. */
int dkim_body_hash(const struct dkim_message *m, bool relaxed, struct buf *base64_out,
                   struct err *err) __attribute__((warn_unused_result));
#endif
