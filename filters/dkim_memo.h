/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_memo.h - public keys that were read before: how long they are, and how the library takes
 * them. OpenSSL needs as long to decode a key as to verify with it, and few domains send most mail.
 * Floor 4 (filters). Threads: any.
 * It says nothing about whose key it is or whether it is good: what isn't in it is decoded again,
 * and comes out the same. Bounded by DKIM_MEMO_KEYS; when they are too many it begins anew. */
#ifndef PH_FILTERS_DKIM_MEMO_H
#define PH_FILTERS_DKIM_MEMO_H
#include "appliance/base/arena.h"
#include "filters/dkim_tags.h"

enum { DKIM_MEMO_KEYS = 512 };

struct dkim_memo;
struct dkim_memo *dkim_memo_new(void);
void dkim_memo_free(struct dkim_memo **m);
/* key: p= of a record, in base64. normal: the record as dkim_key_record() writes it, from a. */
bool dkim_memo_get(struct dkim_memo *m, enum dkim_key_type type, struct str key, struct arena *a,
                   unsigned *bits_out, struct str *normal_out);
void dkim_memo_put(struct dkim_memo *m, enum dkim_key_type type, struct str key, unsigned bits,
                   struct str normal);
#endif
