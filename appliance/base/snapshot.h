/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* snapshot.h - a share in something immutable that is replaced as a whole: the configuration.
 * Floor 0 (base). Threads: references are taken and given back on the loop; what it holds may be
 * read by any thread as long as somebody on the loop keeps a reference for it.
 * A server room keeps `const struct x_conf *` together with the snapshot it lies in; a session
 * takes its own reference when it begins and so keeps the settings it began with. NULL is a
 * snapshot too: of something that lives as long as its user. */
#ifndef PH_BASE_SNAPSHOT_H
#define PH_BASE_SNAPSHOT_H
#include "appliance/base/mem.h"

struct snapshot { /* embed it */
    unsigned refs;
    void (*on_free)(struct snapshot *s);
};

static inline struct snapshot *snapshot_ref(struct snapshot *s)
{
    if (s)
        s->refs++;
    return s;
}
static inline void snapshot_unref(struct snapshot **sp)
{
    struct snapshot *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    CHECK(s->refs > 0);
    if (--s->refs == 0)
        s->on_free(s);
}
#endif
