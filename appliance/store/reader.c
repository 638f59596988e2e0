/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* reader.c - read connections: one for each worker of lane store. */
#include "appliance/store/store_private.h"

enum { READER_CACHE_KB = 1000, READER_BUSY_MS = 5000 };

int store_reader_open(struct store *s, struct store_reader **out, struct err *err)
{
    struct sql_conf conf = {.server = s->conf->server,
                            .path = s->db_path,
                            .read_only = true,
                            .busy_ms = READER_BUSY_MS,
                            .cache_kb = READER_CACHE_KB,
                            .vfs = s->disk->vfs};
    struct sql *db;

    if (sql_open(&conf, &db, err) != 0)
        return -1;
    struct store_reader *r = MEM_NEW(struct store_reader);
    r->store = s;
    r->db = db;
    pthread_mutex_lock(&s->readers_lock);
    list_add(&s->readers, &r->link);
    pthread_mutex_unlock(&s->readers_lock);
    *out = r;
    return 0;
}

void store_reader_close(struct store_reader **rp)
{
    struct store_reader *r = *rp;

    if (!r)
        return;
    *rp = NULL;
    pthread_mutex_lock(&r->store->readers_lock);
    list_del(&r->link);
    pthread_mutex_unlock(&r->store->readers_lock);
    sql_close(&r->db);
    mem_free(r);
}

struct sql *store_reader_sql(struct store_reader *r)
{
    return r->db;
}

int store_read_begin(struct store_reader *r, struct err *err)
{
    if (sql_begin(r->db, false, err) != 0)
        return -1;
    atomic_store(&r->since, clock_mono_ms());
    return 0;
}

void store_read_end(struct store_reader *r)
{
    struct err ignored;

    if (sql_in_transaction(r->db) && sql_commit(r->db, &ignored) != 0)
        sql_rollback(r->db);
    atomic_store(&r->since, 0);
}
