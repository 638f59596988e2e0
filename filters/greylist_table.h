/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* greylist_table.h - what greylisting remembers: in the stage's kv, so that it outlives a restart
 * and is written behind; bounded, pruned here (kv would leave rows of what is over until the next
 * start). Names are kept as hashes.
 * Floor 4 (filters). Threads: loop. Time is an argument: wall clock, ms. */
#ifndef PH_FILTERS_GREYLIST_TABLE_H
#define PH_FILTERS_GREYLIST_TABLE_H
#include "filters/stage.h"

struct greylist_rules {
    uint64_t delay_ms, window_ms, /* of a triplet: waits so long, is awaited so long */
        keep_ms,                  /* what has proved itself, since it was last seen */
        pair_ms;                  /* whom an account has written to, since it last did */
    uint64_t successes;           /* triplets until a network is known; 0: never */
    uint64_t entries;             /* most of them */
};
struct greylist_table;
struct greylist_table *greylist_table_new(const struct ph_host *host);
void greylist_table_free(struct greylist_table **t);
size_t greylist_table_count(const struct greylist_table *t);

enum greylist_answer {
    GREYLIST_NEW,     /* never seen, or too long ago: remembered from now on */
    GREYLIST_WAITING, /* too early */
    GREYLIST_PASSED,  /* it came again, now or before */
    GREYLIST_FULL,    /* there is no room to remember it */
    GREYLIST_ANSWERS
};
/* client: a network as text; wait_ms_out: how long yet. A triplet that passes for the first time
 * counts for its network. */
enum greylist_answer greylist_ask(struct greylist_table *t, const struct greylist_rules *r,
                                  const char *client, const char *sender, const char *rcpt,
                                  int64_t now, uint64_t *wait_ms_out);
/* A network of so many successes. */
bool greylist_client_known(struct greylist_table *t, const struct greylist_rules *r,
                           const char *client, int64_t now);
/* Domains whose mail has passed and was theirs (SPF). */
void greylist_domain_add(struct greylist_table *t, const struct greylist_rules *r,
                         const char *domain, int64_t now);
bool greylist_domain_known(struct greylist_table *t, const struct greylist_rules *r,
                           const char *domain, int64_t now);
/* Whom somebody here has written to. */
void greylist_pair_add(struct greylist_table *t, const struct greylist_rules *r, const char *here,
                       const char *there, int64_t now);
bool greylist_pair_known(struct greylist_table *t, const struct greylist_rules *r, const char *here,
                         const char *there, int64_t now);
/* ph_stage.kv_merge: the earlier beginning, the later last time, the larger count. */
size_t greylist_merge(const struct greylist_rules *r, const void *key, size_t key_n,
                      const void *own, size_t own_n, const void *other, size_t other_n, void *out,
                      int64_t now);
/* Removes what is over, up to a few thousand; true: there is more. */
bool greylist_prune(struct greylist_table *t, const struct greylist_rules *r, int64_t now);
#endif
