/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sts_private.h - what sts.c and sts_rows.c share. */
#ifndef PH_SMTP_STS_PRIVATE_H
#define PH_SMTP_STS_PRIVATE_H
#include "smtp/client/sts.h"

struct sts_row { /* as the store has it; times: wall ms */
    struct str domain, id, text;
    int64_t fetched, expires;
};
/* ---- sts_rows.c: table `sts_policy`, read at the start, written behind. What is lost in a crash
 * is fetched again. */
struct sts_rows;
struct sts_rows *sts_rows_new(struct loop *l, struct store *store);
/* r NULL is fine in these. */
/* on_news: one that another node has written, later. */
void sts_rows_load(struct sts_rows *r, void (*on_row)(void *ctx, const struct sts_row *row),
                   void (*on_news)(void *ctx, const struct sts_row *row), void *ctx);
void sts_rows_put(struct sts_rows *r, const struct sts_row *row);
void sts_rows_drop(struct sts_rows *r, struct str domain);
void sts_rows_close(struct sts_rows **r); /* writes what waits; blocks for one commit */
#endif
