/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mime_meta.h - the pieces body.meta is made of; mime.h says what it is for.
 * Floor 1 (mail), private to this folder. Threads: any (pure).
 *   meta     = version, number of parts, parts (in order, parents first)
 *   part     = depth, [head distance, head size unless the root], body size, lines, has envelope,
 * fields, [envelope] fields   = flags, then what they announce; envelope likewise Numbers are
 * LEB128, strings a number and bytes (0 = NULL, 1 = empty). What one message may keep is a budget:
 * beyond it strings are cut and lists end, so that meta stays below MIME_META_MAX whatever arrives.
 */
#ifndef PH_MAIL_MIME_META_H
#define PH_MAIL_MIME_META_H
#include "appliance/mail/mime.h"

enum {
    MIME_META_VERSION = 1,
    MIME_PARTS_BUDGET = 1024 * 1024, /* fields and envelopes of all parts */
    MIME_ROOT_BUDGET = 512 * 1024,   /* the root's envelope */
    MIME_MAX_ADDRESSES = 4096        /* of one envelope field */
};

struct mime_meta_writer {
    struct buf *out;
    size_t *budget;
};
void mime_meta_number(struct buf *out, uint64_t v);
void mime_meta_fields(struct mime_meta_writer w, const struct mime_part *p);
void mime_meta_envelope(struct mime_meta_writer w, const struct mime_envelope *e);

/* The Content-* fields of a head, into type .. disposition of *out. `digest`: within
 * multipart/digest. */
void mime_head_parse(struct arena *a, struct str head, bool digest, struct mime_part *out);
static inline bool mime_is_multipart(const struct mime_part *p)
{
    return str_ieq(p->type, STR("multipart"));
}
static inline bool mime_is_message(const struct mime_part *p)
{
    return str_ieq(p->type, STR("message")) && str_ieq(p->subtype, STR("rfc822"));
}
#endif
