/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_private.h - what guard.c, guard_bans.c, guard_pairs.c and guard_rows.c share.
 * Floor 4 (filters). Threads: loop only. */
#ifndef PH_FILTERS_GUARD_PRIVATE_H
#define PH_FILTERS_GUARD_PRIVATE_H
#include "appliance/base/list.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "filters/bucket.h"
#include "filters/client.h"
#include "filters/guard.h"

enum {
    BANS_MAX = 10000,
    PAIRS_MAX = 50000,
    BUCKETS_MAX = 32768,
    ACCOUNT_MAX = 320,
    REASON_MAX = 120,
    ALL_BITS = 128
};

struct guard {
    struct guard_env env;
    struct cidr_set trusted;
    struct map *counts; /* struct count by host or network, of those connected */
    uint64_t open;
    struct bucket_table *buckets;
    struct map *bans;              /* struct ban by network */
    unsigned n_bits[ALL_BITS + 1]; /* bans of each length */
    struct map *pairs, *networks;  /* struct pair by account and network; how many a network has */
    struct list pairs_by_age;      /* that not used for the longest first */
    struct list watches;
    struct loop_defer told;
    struct rows *rows;
    struct guard_stats stats;
};
extern const struct log_ctx guard_log;

static inline struct str guard_net_key(const struct cidr *net, uint8_t room[17])
{
    memcpy(room, net->address, 16);
    room[16] = (uint8_t)net->bits;
    return str_of(room, 17);
}

/* ---- guard_bans.c */
enum ban_kind { BAN_NONE, BAN_AUTOMATIC, BAN_MANUAL };
enum ban_kind bans_find(const struct guard *g, const uint8_t ip[16], int64_t *until_out);
void bans_punish(struct guard *g, const uint8_t ip[16], const char *reason);
void bans_load(struct guard *g, const struct guard_ban *b); /* from its row */
/* As another node has written it; NULL: it is no ban any more. Nothing is written. */
void bans_take(struct guard *g, const struct cidr *net, const struct guard_ban *b);
void bans_free(struct guard *g);

/* ---- guard_pairs.c: which account has logged in from which network */
bool pairs_known(const struct guard *g, struct str account, const uint8_t ip[16]);
bool pairs_network(const struct guard *g, const uint8_t ip[16]); /* any account */
void pairs_seen(struct guard *g, struct str account, const uint8_t ip[16]);
void pairs_load(struct guard *g, struct str account, const struct cidr *net, int64_t last);
/* As another node has written it; NULL: it is gone. Nothing is written. */
void pairs_take(struct guard *g, struct str account, const struct cidr *net, const int64_t *last);
void pairs_free(struct guard *g);

/* ---- guard_rows.c: the tables, written behind */
struct rows;
struct sql_stmt;
struct arena;
struct news_kind;
int guard_rows_open(struct guard *g, struct err *err)
    __attribute__((warn_unused_result)); /* reads all */
void guard_rows_close(struct rows **r);
void rows_put_ban(struct rows *r, const struct guard_ban *b);
void rows_drop_ban(struct rows *r, const struct cidr *net);
void rows_put_pair(struct rows *r, struct str account, const struct cidr *net, int64_t last);
void rows_drop_pair(struct rows *r, struct str account, const struct cidr *net);
/* Column 0 on as in "SELECT net, since, until, times, manual, reason". False: no network. */
bool rows_read_ban(struct sql_stmt *st, struct arena *a, struct guard_ban *out);

/* ---- guard_news.c: what other nodes put and drop */
extern const struct news_kind guard_news;
/* account.p NULL: of a ban. */
struct str guard_row_key(struct arena *a, const char *net, struct str account);
#endif
