/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rand.h - random bytes from the kernel. Floor 0 (base). Threads: any. Never fails (aborts if the
 * kernel can't). */
#ifndef PH_BASE_RAND_H
#define PH_BASE_RAND_H
#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *p, size_t n);
uint64_t rand_u64(void);
/* n characters of [a-z2-7] (5 bits each) and a NUL; out holds n + 1. */
void rand_text(char *out, size_t n);
#endif
