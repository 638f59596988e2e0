/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* kv_news.c - rows of stage_kv that other nodes have written, read on lane store; and what two
 * entries come to. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "filters/kv_private.h"
#include <stdio.h>

#define TABLE "stage_kv "
struct kv_row {
    struct str value;
    int64_t until;
};

void kv_news_table(const struct stage *s, char out[NEWS_TABLE_MAX + 1])
{
    CHECK(snprintf(out, NEWS_TABLE_MAX + 1, TABLE "%s", stage_def(s)->name) <= NEWS_TABLE_MAX);
}

static int read_rows(struct sql *db, const struct news_ask *ask, struct news_rows *out,
                     struct err *err)
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

/* Of a stage that has kv_merge. */
static struct kv_row merged(struct stage *s, struct str key, const struct kv_row *own,
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

/* ---- Taking over. */

/* Not to be written; `old` goes. NULL: there is no room. */
static struct entry *replace(struct kv *kv, struct entry *old, struct str key,
                             const struct kv_row *row)
{
    struct entry *e;

    if (!old && map_count(kv->map) >= KV_ENTRIES_MAX)
        kv_expire(kv, clock_wall_ms());
    if (!old && map_count(kv->map) >= KV_ENTRIES_MAX)
        return NULL;
    e = kv_entry_new(key, row->value, row->until);
    if (old)
        kv_entry_drop(kv, old);
    map_set(kv->map, e->key, e);
    return e;
}

static bool same(const struct kv_row *a, const struct kv_row *b)
{
    return a->until == b->until && str_eq(a->value, b->value);
}

static void merge(struct kv *kv, struct entry *old, struct str key, const struct kv_row *row)
{
    const struct kv_row own = {old->value, old->until};
    char room[KV_VALUE_MAX];
    const struct kv_row both = merged(kv->owner, key, &own, row, room);
    bool waits = !list_empty(&old->link);

    if (!same(&both, &own))
        old = replace(kv, old, key, &both);
    if (waits || !same(&both, row))
        kv_mark(kv, old);
}

static void take(void *ctx, struct str key, const void *data)
{
    const struct kv_row *row = data;
    struct kv *kv = ctx;
    int64_t now = clock_wall_ms();

    pthread_mutex_lock(&kv->lock);
    struct entry *old = map_get(kv->map, key);
    bool waits = old && !list_empty(&old->link);
    bool there = row && (row->until == 0 || row->until > now);
    if (there && kv_lives(old, now) && stage_def(kv->owner)->kv_merge && kv->owner->open)
        merge(kv, old, key, row);
    else if (there && !waits)
        replace(kv, old, key, row);
    else if (old && !waits)
        kv_entry_drop(kv, old);
    pthread_mutex_unlock(&kv->lock);
}

static void forget(void *ctx)
{
    struct kv *kv = ctx;
    struct str key;
    void *value;
    size_t at = 0;

    pthread_mutex_lock(&kv->lock);
    while (map_next(kv->map, &at, &key, &value)) {
        struct entry *e = value;
        if (list_empty(&e->link))
            kv_entry_drop(kv, e);
    }
    pthread_mutex_unlock(&kv->lock);
}

const struct news_kind kv_news = {
    .read = read_rows, .take = take, .forget = forget, .resume = kv_write};
