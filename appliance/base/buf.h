/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* buf.h - bytes that grow, up to a stated maximum.
 * Floor 0 (base). Threads: one at a time.
 * Ownership: buf_init/buf_fini embedded. buf_str() is valid until the next change.
 * Errors: an append that would exceed max appends nothing, sets `full` and returns -1; later
 * appends also fail, so a series may be checked once at its end with buf_ok(). */
#ifndef PH_BASE_BUF_H
#define PH_BASE_BUF_H
#include "appliance/base/str.h"
#include <stdarg.h>

struct buf {
    char *p;
    size_t n, cap, max;
    bool full;
};

void buf_init(struct buf *b, size_t max); /* allocates nothing yet */
void buf_fini(struct buf *b);             /* frees; may be initialised again */
void buf_clear(struct buf *b);            /* n = 0, full = false; keeps the memory */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_str(struct buf *b, struct str s);
int buf_add_z(struct buf *b, const char *z);
int buf_add_char(struct buf *b, char c);
int buf_add_u64(struct buf *b, uint64_t v); /* decimal */
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int buf_reserve(struct buf *b, size_t n,
                char **space_out); /* room for n more; then buf_commit(n written) */
void buf_commit(struct buf *b, size_t n);
void buf_drop(struct buf *b, size_t n);     /* removes the first n bytes */
void buf_truncate(struct buf *b, size_t n); /* keeps the first n bytes */
const char *buf_z(struct buf *b);           /* terminated (the NUL isn't counted in n) */

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
static inline bool buf_ok(const struct buf *b)
{
    return !b->full;
}
#endif
