/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(size_t n) __attribute__((noreturn, cold));
static void out_of_memory(size_t n)
{
    char text[80];
    snprintf(text, sizeof text, "posthouse: out of memory (%zu bytes)\n", n);
    log_last_words(text);
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        out_of_memory(n);
    return q;
}

void *mem_dup(const void *p, size_t n)
{
    void *q = malloc(n ? n : 1);
    if (!q)
        out_of_memory(n);
    if (n)
        memcpy(q, p, n);
    return q;
}

void mem_free(void *p)
{
    free(p);
}

void mem_check_failed(const char *what, const char *file, int line)
{
    char text[512];
    snprintf(text, sizeof text, "posthouse: CHECK(%s) failed at %s:%d\n", what, file, line);
    log_last_words(text);
    abort();
}
