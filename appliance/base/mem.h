/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mem.h - the only place that calls malloc.
 * Floor 0 (base). Threads: any.
 * Errors: none. Allocation never returns NULL; out of memory aborts (the supervisor restarts us).
 * Nothing whose size comes from the network is allocated before its limit was checked. */
#ifndef PH_BASE_MEM_H
#define PH_BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1))); /* zeroed */
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull, alloc_size(2)));
void *mem_dup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
void mem_free(void *p); /* accepts NULL */

/* Typed helpers: MEM_NEW(struct x) is a zeroed struct x *. */
#define MEM_NEW(type) ((type *)mem_alloc(sizeof(type)))

/* CHECK: a bug, never an input error. Stays on in release builds; prints the place and aborts. */
#define CHECK(x) ((x) ? (void)0 : mem_check_failed(#x, __FILE__, __LINE__))
void mem_check_failed(const char *what, const char *file, int line) __attribute__((noreturn, cold));

/* The struct that embeds `member` at p. */
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#endif
