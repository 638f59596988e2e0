/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/rand.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <sys/random.h>

void rand_bytes(void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        CHECK(got > 0 || (got < 0 && errno == EINTR));
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}

uint64_t rand_u64(void)
{
    uint64_t v;
    rand_bytes(&v, sizeof v);
    return v;
}

void rand_text(char *out, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    rand_bytes(out, n);
    for (size_t i = 0; i < n; i++)
        out[i] = letters[(unsigned char)out[i] & 31];
    out[n] = '\0';
}
