/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resign.h - copies that leave and have to be changed after stages have signed them (made 7 bit for
 * a host without 8BITMIME; RFC 6376 5.3): what was signed here is taken off before, and signed
 * again after it by the same domains. What others have signed stays. Floor 4 (filters). Threads:
 * begun and freed on the loop; the rest on a lane: it takes about a millisecond, and time for large
 * messages. */
#ifndef PH_FILTERS_RESIGN_H
#define PH_FILTERS_RESIGN_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

struct filters;
struct resign;
/* With the keys of now. f NULL: nothing is ours. */
struct resign *resign_new(const struct filters *f);
void resign_free(struct resign **r);

/* Appends the head to rest without the fields among its first `prefix` octets (outbound.h) that a
 * domain whose keys are here has signed: DKIM-Signature, the newest ARC set. */
void resign_take_off(struct resign *r, struct str head, size_t prefix, struct buf *rest);
/* The same fields for the whole text as it is now, which they go on top of: appended. -1: it can't
 * be signed. */
int resign_make(struct resign *r, struct str text, struct buf *fields, struct err *err)
    __attribute__((warn_unused_result));
#endif
