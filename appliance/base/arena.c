/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include <stdarg.h>
#include <stdio.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#endif
#ifdef HAVE_ASAN
/* What is not handed out is poisoned, with a gap behind each piece: an overrun or a view that
 * outlives its arena is found at once. */
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
enum { GAP = 0 };
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

enum { ALIGN = 16, DEFAULT_CHUNK = 1024, LARGEST_CHUNK = 65536 };

struct chunk {
    struct chunk *next;
    size_t cap, used; /* bytes of data */
    char data[] __attribute__((aligned(ALIGN)));
};

/* The chunks in reverse order of use: small pieces come from the head. Everything behind `used` of
 * a chunk is zero. */
struct arena {
    struct chunk *head;
    size_t first_chunk, next_chunk, used;
};

struct arena *arena_new(size_t first_chunk)
{
    struct arena *a = MEM_NEW(struct arena);
    a->first_chunk = a->next_chunk = first_chunk ? first_chunk : DEFAULT_CHUNK;
    return a;
}

static void chunk_free(struct chunk *c)
{
    UNPOISON(c->data, c->cap);
    mem_free(c);
}

void arena_free(struct arena **ap)
{
    struct arena *a = *ap;
    if (!a)
        return;
    while (a->head) {
        struct chunk *c = a->head;
        a->head = c->next;
        chunk_free(c);
    }
    mem_free(a);
    *ap = NULL;
}

void arena_clear(struct arena *a)
{
    struct chunk *kept = NULL;
    while (a->head) {
        struct chunk *c = a->head;
        a->head = c->next;
        if (!a->head && c->cap == a->first_chunk)
            kept = c;
        else
            chunk_free(c);
    }
    if (kept) {
        UNPOISON(kept->data, kept->cap);
        memset(kept->data, 0, kept->used);
        POISON(kept->data, kept->cap);
        kept->used = 0;
    }
    a->head = kept;
    a->next_chunk = kept ? a->first_chunk * 2 : a->first_chunk;
    a->used = 0;
}

static struct chunk *chunk_new(size_t cap)
{
    struct chunk *c = mem_alloc(sizeof *c + cap);
    c->cap = cap;
    POISON(c->data, cap);
    return c;
}

/* A chunk with room for n bytes. What would waste much of the current one gets a chunk of its own
 * behind it. */
static struct chunk *more(struct arena *a, size_t n) __attribute__((noinline));
static struct chunk *more(struct arena *a, size_t n)
{
    bool alone = a->head ? n > a->next_chunk / 4 : n > a->next_chunk;
    struct chunk *c = chunk_new(alone ? n : a->next_chunk);
    if (alone && a->head) {
        c->next = a->head->next;
        a->head->next = c;
        return c;
    }
    c->next = a->head;
    a->head = c;
    if (a->next_chunk < LARGEST_CHUNK)
        a->next_chunk *= 2;
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    CHECK(n < SIZE_MAX / 2);
    size_t size = ((n ? n : 1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct chunk *c = a->head;
    if (!c || size + GAP > c->cap - c->used)
        c = more(a, size + GAP);
    void *p = c->data + c->used;
    c->used += size + GAP;
    a->used += size;
    UNPOISON(p, n);
    return p;
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
    void *q = arena_alloc(a, n);
    if (n)
        memcpy(q, p, n);
    return q;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    CHECK(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    if ((size_t)n < sizeof small)
        memcpy(p, small, (size_t)n);
    else
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return (struct str){p, (size_t)n};
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
