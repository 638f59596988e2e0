/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_head.c - takes fields out of the head of a message that ended and isn't flushed yet. */
#include "appliance/store/store_private.h"

/* In one pass: a hostile head may hold thousands of them. */
void body_sink_head_remove(struct body_sink *b, struct str name)
{
    struct str rest = buf_str(&b->head);
    struct header_field f;
    size_t kept = 0, from = 0; /* bytes in place; where the next piece to keep begins */

    while (header_next(&rest, &f)) {
        size_t at = (size_t)(f.raw.p - b->head.p);
        if (!str_ieq(f.name, name))
            continue;
        memmove(b->head.p + kept, b->head.p + from, at - from);
        kept += at - from;
        from = at + f.raw.n;
    }
    memmove(b->head.p + kept, b->head.p + from, b->head.n - from);
    buf_truncate(&b->head, kept + b->head.n - from);
}
