/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* kv_news.c - rows of stage_kv that other nodes have written, read on lane store; and what two
 * entries come to. */
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "filters/private.h"
#include <stdio.h>

#define TABLE "stage_kv "

void kv_news_table(const struct stage *s, char out[NEWS_TABLE_MAX + 1])
{
    CHECK(snprintf(out, NEWS_TABLE_MAX + 1, TABLE "%s", stage_def(s)->name) <= NEWS_TABLE_MAX);
}

int kv_news_read(struct sql *db, const struct news_ask *ask, struct news_rows *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    ask->max ? "SELECT k, v, until FROM stage_kv WHERE stage = ? AND k > ? "
                               "ORDER BY k LIMIT ?"
                             : "SELECT k, v, until FROM stage_kv WHERE stage = ? AND k = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, str_from(ask->table + sizeof TABLE - 1));
    sql_bind_blob(st, 2, ask->key);
    if (ask->max)
        sql_bind_int(st, 3, (int64_t)ask->max);
    while ((rc = sql_step(st, err)) == 1) {
        struct kv_row *row = news_row(out, sql_blob(st, 0), sizeof *row);
        row->value = arena_str(news_arena(out), sql_blob(st, 1));
        row->until = sql_int(st, 2);
    }
    sql_reset(st);
    return rc;
}

struct kv_row kv_news_merge(struct stage *s, struct str key, const struct kv_row *own,
                            const struct kv_row *other, char room[KV_VALUE_MAX])
{
    const struct ph_stage *def = stage_def(s);
    struct kv_row both = {.value = other->value};
    size_t n;

    stage_enter(s);
    n = def->kv_merge(s->inst, key.p, key.n, own->value.p, own->value.n, other->value.p,
                      other->value.n, room);
    stage_leave(s);
    if (n <= KV_VALUE_MAX)
        both.value = str_of(room, n);
    if (own->until && other->until)
        both.until = own->until > other->until ? own->until : other->until;
    return both;
}
