/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* same_random.c - what the system draws for a fuzz target (ld --wrap): the same in every run, so
 * that what it did with an input it does again. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags);

ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
    static uint64_t state = 1;
    unsigned char *at = p;

    (void)flags;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        at[i] = (unsigned char)(state >> 56);
    }
    return (ssize_t)n;
}
