/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include <stdio.h>

enum { SMALLEST = 64 };

void buf_init(struct buf *b, size_t max)
{
    /* One more byte than max may be allocated, for the NUL of buf_z. */
    *b = (struct buf){.max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2};
}

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->full = false;
}

static void grow(struct buf *b, size_t need) __attribute__((noinline));
static void grow(struct buf *b, size_t need)
{
    size_t cap = b->cap < SMALLEST ? SMALLEST : b->cap * 2;
    if (cap < need)
        cap = (need + 63) & ~(size_t)63;
    if (cap > b->max + 1)
        cap = b->max + 1;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

/* Makes room for n more bytes, or marks the buffer full. */
static inline int make_room(struct buf *b, size_t n)
{
    if (b->full || n > b->max - b->n) {
        b->full = true;
        return -1;
    }
    if (n > b->cap - b->n)
        grow(b, b->n + n);
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    if (make_room(b, n))
        return -1;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

int buf_add_str(struct buf *b, struct str s)
{
    return buf_add(b, s.p, s.n);
}

int buf_add_z(struct buf *b, const char *z)
{
    return buf_add(b, z, strlen(z));
}

int buf_add_char(struct buf *b, char c)
{
    if (make_room(b, 1))
        return -1;
    b->p[b->n++] = c;
    return 0;
}

int buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    return buf_add(b, digits + at, sizeof digits - at);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    CHECK(n >= 0);
    int r = -1;
    if ((size_t)n < sizeof small) {
        r = buf_add(b, small, (size_t)n);
    } else if (make_room(b, (size_t)n) == 0) {
        if (b->cap - b->n < (size_t)n + 1)
            grow(b, b->n + (size_t)n + 1);
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
        r = 0;
    }
    va_end(again);
    return r;
}

int buf_reserve(struct buf *b, size_t n, char **space_out)
{
    if (make_room(b, n))
        return -1;
    if (!b->p) /* n = 0: a pointer all the same */
        grow(b, 1);
    *space_out = b->p + b->n;
    return 0;
}

void buf_commit(struct buf *b, size_t n)
{
    CHECK(n <= b->cap - b->n && n <= b->max - b->n);
    b->n += n;
}

void buf_drop(struct buf *b, size_t n)
{
    CHECK(n <= b->n);
    b->n -= n;
    if (b->n && n)
        memmove(b->p, b->p + n, b->n);
}

void buf_truncate(struct buf *b, size_t n)
{
    if (n < b->n)
        b->n = n;
}

const char *buf_z(struct buf *b)
{
    if (b->n == b->cap)
        grow(b, b->n + 1);
    b->p[b->n] = '\0';
    return b->p;
}
