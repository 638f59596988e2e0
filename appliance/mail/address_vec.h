/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* address_vec.h - the addresses of several fields of one name, as one list (ENVELOPE joins them).
 * Floor 1 (mail), private to this folder. Threads: any (pure). */
#ifndef PH_MAIL_ADDRESS_VEC_H
#define PH_MAIL_ADDRESS_VEC_H
#include "appliance/mail/address.h"

struct address_vec { /* zero it first; the memory is the arena's */
    struct address *list;
    size_t n, cap, max;
};
void address_vec_add(struct arena *a, struct address_vec *v, struct str value);
#endif
