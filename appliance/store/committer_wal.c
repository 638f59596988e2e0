/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer_wal.c - between batches: SQLite's log goes into its database when it has grown. */
#include "appliance/store/committer.h"

enum { WAL_WARN = 64 << 20, WAL_WARN_EVERY_MS = 60000 };

static void warn_of_wal(struct store *s, int64_t bytes)
{
    uint64_t now = clock_mono_ms(), oldest = now;

    if (s->committer.wal_warned_ms && now - s->committer.wal_warned_ms < WAL_WARN_EVERY_MS)
        return;
    s->committer.wal_warned_ms = now;
    pthread_mutex_lock(&s->readers_lock);
    LIST_EACH(&s->readers, it)
    {
        uint64_t since = atomic_load(&LIST_ITEM(it, struct store_reader, link)->since);
        if (since && since < oldest)
            oldest = since;
    }
    pthread_mutex_unlock(&s->readers_lock);
    log_warn(&store_log, "wal-large", L_INT("bytes", bytes),
             L_UINT("oldest_reader_ms", now - oldest));
}

void committer_tend_wal(struct store *s, struct sql *db)
{
    struct committer *c = &s->committer;
    struct err err;
    int64_t bytes;

    if (sql_wal_checkpoint(db, atomic_load(&c->urgent) == 0, &err) != 0)
        log_warn(&store_log, "checkpoint-failed", L_Z("why", err.text));
    bytes = sql_wal_bytes(db);
    if (bytes > WAL_WARN) {
        warn_of_wal(s, bytes);
        if (atomic_load(&c->urgent) == 0 && sql_wal_truncate(db, &err) != 0)
            log_warn(&store_log, "checkpoint-failed", L_Z("why", err.text));
    }
    if (atomic_load(&s->tight))
        atomic_store(&s->spare, sql_free_bytes(db));
    pthread_mutex_lock(&c->lock);
    c->stats.wal_bytes = bytes;
    pthread_mutex_unlock(&c->lock);
}
