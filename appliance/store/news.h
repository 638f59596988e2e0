/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* news.h - rows of other rooms that are kept in memory, read at the start and written behind: what
 * one node writes, the others hear within a second or so. The transaction that writes a row names
 * its key in table `row_change`; the others read those keys in their order, then the rows, and hand
 * them on. While rows are read this node writes none of its own, so what arrives is newer than all
 * it has written, and older than what waits to be written. A node that joins, was given up for
 * dead, or was away for longer than `row_change` goes back reads the tables again, a page at a
 * time.
 * Alone none of this runs: with SQLite there is no struct news, and no key is named as long as no
 * other node lives.
 * Floor 3 (store). Threads: loop, except as said. */
#ifndef PH_STORE_NEWS_H
#define PH_STORE_NEWS_H
#include "appliance/base/arena.h"
#include "appliance/store/store.h"

enum { NEWS_TABLE_MAX = 63, NEWS_KEY_MAX = 700 };

struct news_ask {
    const char *table; /* as given to news_open() */
    struct str key;
    size_t max; /* 0: the row of `key`. Else so many, those that come next after it; "" at first */
};
struct news_rows; /* what was found */
struct news_kind {
    /* A worker of lane store: news_row() for each. It may be run when the struct news has gone. */
    int (*read)(struct sql *db, const struct news_ask *ask, struct news_rows *out, struct err *err);
    /* row: as read; NULL: there is none any more. What waits to be written here stays: it is newer,
     * unless the room knows how to make one of both. */
    void (*take)(void *ctx, struct str key, const void *row);
    /* All that doesn't wait to be written: changes were missed, all is read again. NULL: rows are
     * replaced only. */
    void (*forget)(void *ctx);
    void (*resume)(void *ctx); /* what news_write_begin() refused may be written now */
};
struct news;
/* Before the room reads its rows. NULL: the store is alone; fine in all calls below. */
struct news *news_open(struct store *s, const char *table, const struct news_kind *kind, void *ctx);
void news_close(struct news **n);

/* Around an operation that writes rows. False: rows of others are being read, resume() follows. */
bool news_write_begin(struct news *n);
void news_write_end(struct news *n);
/* Commit thread, within the operation that wrote or deleted the row. */
void news_tell(struct store_tx *tx, const char *table, struct str key);

/* ---- Within read(). */
void *news_row(struct news_rows *out, struct str key, size_t size); /* zero; for the room's own */
struct arena *news_arena(struct news_rows *out);
#endif
