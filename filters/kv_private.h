/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* kv_private.h - what kv.c and kv_news.c share. */
#ifndef PH_FILTERS_KV_PRIVATE_H
#define PH_FILTERS_KV_PRIVATE_H
#include "appliance/store/news.h"
#include "filters/private.h"
#include <pthread.h>

enum { KV_ENTRIES_MAX = 100000, KV_VALUE_MAX = 4096 };

struct entry {
    struct list link; /* in kv.dirty, else empty */
    struct str key, value;
    int64_t until; /* wall ms; 0: for ever */
    bool deleted;  /* and not yet so in the database */
    char bytes[];
};
struct kv {
    struct filters *filters;
    struct stage *owner;
    const char *stage;
    pthread_mutex_t lock;
    struct map *map;   /* this and all below under lock */
    struct list dirty; /* to be written */
    unsigned n_dirty, n_deleted;
    bool posted, memory_only;
    struct loop_post post;
    /* loop */
    struct timer *timer;
    struct write *write; /* under way */
    struct news *news;
    bool closed;
};
/* ---- kv.c. Under the lock: */
struct entry *kv_entry_new(struct str key, struct str value, int64_t until);
void kv_entry_drop(struct kv *kv, struct entry *e);
bool kv_lives(const struct entry *e, int64_t now); /* e may be NULL */
void kv_expire(struct kv *kv, int64_t now);        /* what is over makes room */
void kv_mark(struct kv *kv, struct entry *e);      /* it is to be written */
/* Loop, without it. ctx: struct kv */
void kv_write(void *ctx);

/* ---- kv_news.c */
extern const struct news_kind kv_news;
void kv_news_table(const struct stage *s, char out[NEWS_TABLE_MAX + 1]);
#endif
