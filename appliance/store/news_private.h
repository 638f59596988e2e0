/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* news_private.h - what news.c and news_log.c share. */
#ifndef PH_STORE_NEWS_PRIVATE_H
#define PH_STORE_NEWS_PRIVATE_H
#include "appliance/store/news.h"
#include "appliance/store/store_private.h"

enum { NEWS_PAGE = 500 };

struct news_found {
    struct news_found *next;
    size_t source; /* index */
    struct str key;
    void *row; /* NULL: gone */
};
struct news_rows {
    struct arena *arena;
    struct news_found *first, **last;
    size_t n;
    size_t source; /* of what is being read */
};
struct news_source { /* a table, for the worker */
    const char *table;
    int (*read)(struct sql *db, const struct news_ask *ask, struct news_rows *out, struct err *err);
    bool whole;    /* a page of it is to be read */
    bool complete; /* out: that was the last page */
    struct str after;
};
enum news_end {
    NEWS_ALL,
    NEWS_MORE,   /* another page waits */
    NEWS_HIDDEN, /* a number is missing: its transaction isn't seen yet */
    NEWS_LOST,   /* rows that were not read are gone from row_change */
    NEWS_FAILED
};
struct news_look { /* one reading */
    struct news_rows rows;
    struct news_source *sources;
    size_t n_sources;
    int64_t at; /* the last number that was read */
    uint64_t self;
    enum news_end end;
    struct err err;
};
/* A worker of lane store. */
void news_log_read(struct news_look *look, struct sql *db);
/* The newest number. */
int news_log_last(struct sql *db, int64_t *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
