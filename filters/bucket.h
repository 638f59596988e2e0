/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* bucket.h - token buckets in a table of bounded size.
 * Floor 4 (filters). Threads: one at a time. Pure: time is an argument (monotonic ms).
 * A bucket is one number: the time at which it will be full again (GCRA). So it needs no refilling,
 * a changed rate holds at once, and a full bucket is as good as none: it takes no place. When all
 * places are taken, the one that was not used for the longest time is forgotten. */
#ifndef PH_FILTERS_BUCKET_H
#define PH_FILTERS_BUCKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bucket_rate {
    uint64_t n;      /* tokens it holds, and gets back within the time; 0: no limit */
    uint64_t per_ms; /* over 0 */
};
struct bucket_table;
struct bucket_table *bucket_table_new(size_t max); /* grows up to max buckets of 32 octets */
void bucket_table_free(struct bucket_table **t);
size_t bucket_table_count(const struct bucket_table *t);

/* Names a bucket: SipHash under the process's own key, so nobody outside can make two meet. */
uint64_t bucket_key(unsigned kind, const void *p, size_t n);

/* ms until `cost` tokens are there; 0: now. More than the bucket ever holds counts as all of it. */
uint64_t bucket_wait(const struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                     uint64_t cost, uint64_t now_ms);
/* Takes them if they are there. False: nothing was taken. */
bool bucket_take(struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                 uint64_t cost, uint64_t now_ms);
void bucket_give(struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                 uint64_t cost, uint64_t now_ms); /* back */
uint64_t bucket_used(const struct bucket_table *t, uint64_t key, const struct bucket_rate *rate,
                     uint64_t now_ms);                  /* tokens that are missing, rounded up */
void bucket_fill(struct bucket_table *t, uint64_t key); /* it is full again */
#endif
