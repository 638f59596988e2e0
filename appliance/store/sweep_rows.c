/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sweep_rows.c - the rows that a round of the sweeper removes, in steps and slices: of deleted
 * mailboxes, of stages left over, bodies without references, old expunges. Of several nodes one
 * sweeps at a time. */
#include "appliance/store/import.h"
#include "appliance/store/node.h"
#include "appliance/store/sweep.h"

enum {
    CHUNK = 64,
    MAILBOX_CHUNK = 200,
    FILES_PER_ROUND = 65536,
    EXPUNGED_DAYS = 30,
    DAY_MS = 86400000,
    GRACE_TIGHT_MS = 10000
};

/* ---- Deleted mailboxes. */

static int one_int(struct store_tx *tx, const char *text, uint64_t key, bool *found, uint64_t *out,
                   struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)key);
    rc = sql_step(st, err);
    *found = rc == 1;
    *out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int run_by_id(struct store_tx *tx, const char *text, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return sql_run(st, err);
}

/* By modseq, of which one has the messages of a slice of EXPUNGE at most. */
static int remove_expunged(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    struct sql_stmt *st;
    uint64_t modseq;

    for (*more_out = true; !store_tx_slice_over(tx);) {
        if (one_int(tx, "SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1",
                    mailbox, more_out, &modseq, err) != 0)
            return -1;
        if (!*more_out)
            return 0;
        if (sql_prepare(tx->db, "DELETE FROM expunged WHERE mailbox = ? AND modseq = ?", &st,
                        err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        sql_bind_int(st, 2, (int64_t)modseq);
        if (sql_run(st, err) != 0)
            return -1;
    }
    return 0;
}

int mailbox_remove_rows_tx(struct store_tx *tx, uint64_t id, bool *more_out, struct err *err)
{
    bool staged;
    size_t n;

    *more_out = true;
    do {
        if (message_delete_rows_tx(tx, id, 0, CHUNK, &n, err) != 0)
            return -1;
        if (store_tx_slice_over(tx))
            return 0;
    } while (n == CHUNK);
    if (remove_expunged(tx, id, more_out, err) != 0)
        return -1;
    if (*more_out)
        return 0;
    if (import_forget_tx(tx, id, more_out, err) != 0)
        return -1;
    if (*more_out)
        return 0;
    if (staging_exists_tx(tx, id, &staged, err) != 0 ||
        (staged && run_by_id(tx, "DELETE FROM moving WHERE target = ?", id, err) != 0) ||
        run_by_id(tx, "DELETE FROM keyword WHERE mailbox = ?", id, err) != 0)
        return -1;
    return run_by_id(tx, "DELETE FROM mailbox WHERE id = ?", id, err);
}

/* Each step does a part of its work: 0 step finished, 1 more of it, -1. */
static int sweep_mailboxes(struct sweep *w, struct store_tx *tx, struct err *err)
{
    uint64_t id;
    bool found, more;

    (void)w;
    if (one_int(tx, "SELECT id FROM mailbox WHERE account = ? LIMIT 1", 0, &found, &id, err) != 0)
        return -1;
    if (!found)
        return 0;
    return mailbox_remove_rows_tx(tx, id, &more, err) == 0 ? 1 : -1;
}

static int sweep_stages(struct sweep *w, struct store_tx *tx, struct err *err)
{
    (void)w;
    return staging_clean_stale_tx(tx, err);
}

/* ---- Bodies without references. */

struct dead {
    uint64_t since, id;
    bool in_file;
};

static int dead_list(struct store_tx *tx, uint64_t until, struct dead *out, size_t *n_out,
                     struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    if (sql_prepare(
            tx->db,
            "SELECT since, id, place FROM body_dead WHERE since < ? ORDER BY since LIMIT 64", &st,
            err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)until);
    while (*n_out < CHUNK && (rc = sql_step(st, err)) == 1)
        out[(*n_out)++] = (struct dead){(uint64_t)sql_int(st, 0), (uint64_t)sql_int(st, 1),
                                        sql_int(st, 2) == BODY_FILE};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int remove_body(struct sweep *w, struct store_tx *tx, const struct dead *d, struct err *err)
{
    static const char *const tables[] = {
        "DELETE FROM body_data WHERE id = ?", "DELETE FROM body_head WHERE id = ?",
        "DELETE FROM body_meta WHERE id = ?", "DELETE FROM body WHERE id = ?"};

    for (size_t i = d->in_file; i < ARRAY_LEN(tables); i++) {
        if (run_by_id(tx, tables[i], d->id, err) != 0)
            return -1;
    }
    if (d->in_file) {
        buf_add(&w->files, &d->id, sizeof d->id);
        w->at.n_files++;
    }
    return 0;
}

static int bury(struct sweep *w, struct store_tx *tx, const struct dead *d, struct err *err)
{
    struct sql_stmt *st;
    uint64_t refs;
    bool found;

    if (sql_prepare(tx->db, "DELETE FROM body_dead WHERE since = ? AND id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)d->since);
    sql_bind_int(st, 2, (int64_t)d->id);
    if (sql_run(st, err) != 0 || one_int(tx, "SELECT refs FROM body WHERE id = ? FOR UPDATE", d->id,
                                         &found, &refs, err) != 0)
        return -1;
    /* It may have come to life again by a second insert of the same sink. */
    return found && refs == 0 ? remove_body(w, tx, d, err) : 0;
}

/* When space is short, only what a reader may have open right now is spared. */
int64_t sweep_grace_ms(struct store *s)
{
    uint64_t grace = s->conf->dead_grace;

    return (int64_t)(atomic_load(&s->tight) && grace > GRACE_TIGHT_MS ? GRACE_TIGHT_MS : grace);
}

static int sweep_bodies(struct sweep *w, struct store_tx *tx, struct err *err)
{
    uint64_t until = ids_first_at(clock_wall_ms() - sweep_grace_ms(tx->store));
    struct dead list[CHUNK];
    size_t n;

    if (w->at.n_files >= FILES_PER_ROUND)
        return 0;
    if (dead_list(tx, until, list, &n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (bury(w, tx, &list[i], err) != 0)
            return -1;
    }
    return n == CHUNK;
}

/* ---- Old expunges: QRESYNC and CONDSTORE clients older than the floor synchronise in full. */

static int forget_expunged(struct store_tx *tx, uint64_t mailbox, uint64_t modseq, struct err *err)
{
    struct tx_mailbox *m;
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)modseq);
    if (sql_run(st, err) != 0)
        return -1;
    if (tx_mailbox_get(tx, mailbox, &m, err) != 0)
        return err->why == ERR_WHY_NOT_FOUND ? 0 : -1;
    bool changed = m->changed;
    tx_mailbox_edit(tx, m);
    m->changed = changed; /* nothing that a session shows */
    if (modseq > m->row.qresync_floor)
        m->row.qresync_floor = modseq;
    return 0;
}

/* The oldest expunge of a mailbox decides; in order of modseq they are in order of time. */
static int sweep_expunged_of(struct store_tx *tx, uint64_t mailbox, struct err *err)
{
    int64_t until = clock_wall_ms() / DAY_MS - EXPUNGED_DAYS;
    struct sql_stmt *st;
    int64_t modseq = 0;
    int rc;

    do {
        if (sql_prepare(
                tx->db,
                "SELECT modseq, day FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1", &st,
                err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        rc = sql_step(st, err);
        bool old = rc == 1 && sql_int(st, 1) < until;
        modseq = old ? sql_int(st, 0) : 0;
        sql_reset(st);
        if (rc < 0 || (old && forget_expunged(tx, mailbox, (uint64_t)modseq, err) != 0))
            return -1;
    } while (modseq != 0 && !store_tx_slice_over(tx));
    return modseq != 0;
}

static int sweep_expunged(struct sweep *w, struct store_tx *tx, struct err *err)
{
    for (int i = 0; i < MAILBOX_CHUNK; i++) {
        uint64_t id;
        bool found;
        if (one_int(tx, "SELECT id FROM mailbox WHERE id > ? ORDER BY id LIMIT 1", w->at.mailbox,
                    &found, &id, err) != 0)
            return -1;
        if (!found)
            return 0;
        int rc = sweep_expunged_of(tx, id, err);
        if (rc != 0)
            return rc;
        w->at.mailbox = id;
    }
    return 1;
}

/* ---- Whose turn it is: the owner of the round under way is in store_meta. */

static int read_turn(struct store_tx *tx, uint64_t *owner_out, bool *found, struct err *err)
{
    return one_int(tx,
                   "SELECT value FROM store_meta WHERE name = 'sweeper' AND value >= ? FOR UPDATE",
                   0, found, owner_out, err);
}

static int set_turn(struct store_tx *tx, bool found, uint64_t owner, struct err *err)
{
    return run_by_id(tx,
                     found ? "UPDATE store_meta SET value = ? WHERE name = 'sweeper'"
                           : "INSERT INTO store_meta(name, value) VALUES ('sweeper', ?)",
                     owner, err);
}

static int take_turn(struct store_tx *tx, bool *mine, struct err *err)
{
    uint64_t self = node_self(tx->store), owner = 0;
    bool found, other = false;

    *mine = true;
    if (!tx->store->node)
        return 0;
    if (read_turn(tx, &owner, &found, err) != 0)
        return -1;
    if (owner == self && found)
        return 0;
    if (node_elsewhere_tx(tx, owner, &other, err) != 0)
        return -1;
    *mine = !other;
    return other ? 0 : set_turn(tx, found, self, err);
}

static int end_turn(struct store_tx *tx, struct err *err)
{
    return tx->store->node ? set_turn(tx, true, 0, err) : 0;
}

/* ---- A slice. */

typedef int (*sweep_step)(struct sweep *w, struct store_tx *tx, struct err *err);
static const sweep_step steps[] = {sweep_mailboxes, sweep_stages, sweep_bodies, sweep_expunged};

int sweep_slice_tx(struct sweep *w, struct store_tx *tx, bool rerun, struct err *err)
{
    bool mine;

    if (rerun)
        w->at = w->slice_began;
    w->slice_began = w->at;
    buf_truncate(&w->files, w->at.n_files * sizeof(uint64_t));
    if (take_turn(tx, &mine, err) != 0)
        return -1;
    w->elsewhere = !mine;
    if (!mine)
        return STORE_DONE;
    while (w->at.step < (int)ARRAY_LEN(steps)) {
        int rc = steps[w->at.step](w, tx, err);
        if (rc < 0)
            return -1;
        w->at.step += rc == 0;
        if (store_tx_slice_over(tx))
            return committer_stopping(tx->store) ? STORE_DONE : STORE_AGAIN;
    }
    return end_turn(tx, err) == 0 ? STORE_DONE : -1;
}
