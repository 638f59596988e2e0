/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arena.h - memory freed as a whole: one per session, one per transaction or command.
 * Floor 0 (base). Threads: one at a time. Memory is zeroed and aligned for any type. */
#ifndef PH_BASE_ARENA_H
#define PH_BASE_ARENA_H
#include "appliance/base/str.h"

struct arena;
struct arena *
arena_new(size_t first_chunk); /* 0: a small default; nothing is allocated before first use */
void arena_free(struct arena **a);
void arena_clear(struct arena *a); /* gives all back, keeps at most the first chunk */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
void *arena_dup(struct arena *a, const void *p, size_t n) __attribute__((returns_nonnull));
struct str arena_str(struct arena *a,
                     struct str s); /* copy; a NUL follows it, so .p is also a C string */
struct str arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *a); /* bytes handed out since the last clear: for limits */
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))
#endif
