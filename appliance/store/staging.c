/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* staging.c - cleaning up after large COPY and MOVE operations (copy.c), whose rows lie above the
 * visible uids until they are published in one transaction. mailbox.stage_first != 0: not published
 * yet, and undone after a crash. Rows of `moving` whose target has no stage: published, and the
 * messages they name still have to leave their source. */
#include "appliance/store/node.h"

enum { CHUNK = 128 };

struct leaving {
    uint64_t source;
    uint32_t uid;
};

static int moving_rows(struct store_tx *tx, uint64_t target, struct leaving *out, size_t *n_out,
                       struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    if (sql_prepare(tx->db, "SELECT source, uid FROM moving WHERE target = ? LIMIT 128", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)target);
    while (*n_out < CHUNK && (rc = sql_step(st, err)) == 1)
        out[(*n_out)++] = (struct leaving){(uint64_t)sql_int(st, 0), (uint32_t)sql_int(st, 1)};
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int moving_delete(struct store_tx *tx, uint64_t target, const struct leaving *l,
                         struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM moving WHERE target = ? AND source = ? AND uid = ?", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)target);
    sql_bind_int(st, 2, (int64_t)l->source);
    sql_bind_int(st, 3, l->uid);
    return sql_run(st, err);
}

/* ---- Whose it is, when several nodes share the database. */

static int live_owner(struct store_tx *tx, const char *text, uint64_t mailbox, bool *out,
                      struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = false;
    if (!tx->store->node)
        return 0;
    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)node_self(tx->store));
    sql_bind_int(st, 3, node_db_ms(tx->store));
    rc = sql_step(st, err);
    sql_reset(st);
    *out = rc == 1;
    return rc < 0 ? -1 : 0;
}

int stage_of_other_tx(struct store_tx *tx, uint64_t mailbox, bool *out, struct err *err)
{
    return live_owner(tx,
                      "SELECT 1 FROM stage s JOIN node n ON n.owner = s.owner "
                      "WHERE s.mailbox = ? AND s.owner <> ? AND n.until > ?",
                      mailbox, out, err);
}

int stage_empties_other_tx(struct store_tx *tx, uint64_t source, bool *out, struct err *err)
{
    return live_owner(tx,
                      "SELECT 1 FROM stage s JOIN node n ON n.owner = s.owner "
                      "WHERE s.source = ? AND s.owner <> ? AND n.until > ? LIMIT 1",
                      source, out, err);
}

int stage_check_tx(struct store_tx *tx, uint64_t mailbox, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (!tx->store->node)
        return 0;
    if (sql_prepare(tx->db, "SELECT 1 FROM stage WHERE mailbox = ? AND owner = ? FOR UPDATE", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)node_self(tx->store));
    rc = sql_step(st, err);
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY, "another node undid the copy");
    return rc < 0 ? -1 : 0;
}

int stage_release_tx(struct store_tx *tx, uint64_t mailbox, struct err *err)
{
    struct sql_stmt *st;

    if (!tx->store->node)
        return 0;
    if (sql_prepare(tx->db, "DELETE FROM stage WHERE mailbox = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    return sql_run(st, err);
}

int stage_take_tx(struct store_tx *tx, uint64_t mailbox, uint64_t source, struct err *err)
{
    struct sql_stmt *st;

    if (!tx->store->node)
        return 0;
    if (stage_release_tx(tx, mailbox, err) != 0 || /* of a node that died */
        sql_prepare(tx->db, "INSERT INTO stage(mailbox, source, owner) VALUES (?, ?, ?)", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)source);
    sql_bind_int(st, 3, (int64_t)node_self(tx->store));
    return sql_run(st, err);
}

/* ---- Not published: all of it goes. */

static int forget_moving(struct store_tx *tx, uint64_t target, size_t *n_out, struct err *err)
{
    struct leaving list[CHUNK];

    if (moving_rows(tx, target, list, n_out, err) != 0)
        return -1;
    for (size_t i = 0; i < *n_out; i++) {
        if (moving_delete(tx, target, &list[i], err) != 0)
            return -1;
    }
    return 0;
}

/* The row, also of a deleted mailbox whose rows are still being removed; NULL: it is gone. */
static int get_also_deleted(struct store_tx *tx, uint64_t mailbox, struct tx_mailbox **out,
                            struct err *err)
{
    struct err gone;

    if (tx_mailbox_get(tx, mailbox, out, &gone) == 0)
        return 0;
    *out = tx_mailbox_cached(tx, mailbox);
    if (gone.why == ERR_WHY_NOT_FOUND)
        return 0;
    *err = gone;
    return -1;
}

int staging_exists_tx(struct store_tx *tx, uint64_t mailbox, bool *out, struct err *err)
{
    struct tx_mailbox *m;

    if (get_also_deleted(tx, mailbox, &m, err) != 0)
        return -1;
    *out = m && m->row.stage_first != 0;
    return 0;
}

/* Of a target that was deleted the sweeper removes the messages; but nothing may leave its source
 * for it. */
static int forget_all_moving(struct store_tx *tx, uint64_t target, bool *more_out, struct err *err)
{
    size_t n;

    do {
        if (forget_moving(tx, target, &n, err) != 0)
            return -1;
        if (n == 0)
            return 0;
    } while (!store_tx_slice_over(tx));
    *more_out = true;
    return 0;
}

int staging_remove_tx(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    struct tx_mailbox *m;
    size_t rows, moving;

    *more_out = false;
    if (get_also_deleted(tx, mailbox, &m, err) != 0)
        return -1;
    if (!m || m->row.stage_first == 0)
        return 0;
    if (m->row.account == 0)
        return forget_all_moving(tx, mailbox, more_out, err);
    do {
        if (message_delete_rows_tx(tx, mailbox, m->row.stage_first, CHUNK, &rows, err) != 0 ||
            forget_moving(tx, mailbox, &moving, err) != 0)
            return -1;
        if (rows == 0 && moving == 0) {
            tx_mailbox_edit(tx, m);
            m->row.stage_first = 0;
            return 0;
        }
    } while (!store_tx_slice_over(tx));
    *more_out = true;
    return 0;
}

/* ---- Published: what moved leaves its source. */

/* Each source gets one modseq a slice; kept while consecutive rows have the same source. */
struct leave_state {
    uint64_t source, modseq;
    struct tx_mailbox *m; /* NULL: the source is gone */
    struct tx_account *a;
};

static int leave_source(struct store_tx *tx, struct leave_state *s, uint64_t source,
                        struct err *err)
{
    struct err gone;

    if (s->source == source)
        return 0;
    *s = (struct leave_state){.source = source};
    if (tx_mailbox_get(tx, source, &s->m, &gone) != 0) {
        s->m = NULL;
        if (gone.why == ERR_WHY_NOT_FOUND)
            return 0;
        *err = gone;
        return -1;
    }
    return tx_account_get(tx, s->m->row.account, &s->a, err);
}

static int leave_one(struct store_tx *tx, struct leave_state *s, struct arena *a, uint32_t uid,
                     struct err *err)
{
    struct message_pick pick = {.mailbox = s->source, .first = uid, .last = uid, .max = 1};
    struct message_info *info;
    size_t n;

    if (!s->m)
        return 0;
    if (message_pick_tx(tx, a, &pick, &info, &n, err) != 0)
        return -1;
    if (n == 0) /* expunged by somebody meanwhile */
        return 0;
    if (s->modseq == 0) {
        tx_mailbox_edit(tx, s->m);
        s->modseq = ++s->m->row.modseq;
    }
    return message_expunge_one_tx(tx, s->m, s->a, info, s->modseq, err);
}

static int leave_rows(struct store_tx *tx, uint64_t target, const struct leaving *list, size_t n,
                      struct leave_state *s, struct err *err)
{
    struct arena *a = arena_new(0);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = leave_source(tx, s, list[i].source, err);
        if (rc == 0)
            rc = leave_one(tx, s, a, list[i].uid, err);
        if (rc == 0)
            rc = moving_delete(tx, target, &list[i], err);
    }
    arena_free(&a);
    return rc;
}

int staging_leave_tx(struct store_tx *tx, uint64_t target, bool *more_out, struct err *err)
{
    struct leaving list[CHUNK];
    struct leave_state state = {0};
    size_t n;

    *more_out = false;
    do {
        if (moving_rows(tx, target, list, &n, err) != 0 ||
            leave_rows(tx, target, list, n, &state, err) != 0)
            return -1;
        if (n < CHUNK)
            return 0;
    } while (!store_tx_slice_over(tx));
    *more_out = true;
    return 0;
}

static int clean_slice(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    bool elsewhere;

    *more_out = false;
    if (stage_of_other_tx(tx, mailbox, &elsewhere, err) != 0)
        return -1;
    if (elsewhere)
        return 0;
    if (staging_remove_tx(tx, mailbox, more_out, err) != 0 ||
        (!*more_out && staging_leave_tx(tx, mailbox, more_out, err) != 0))
        return -1;
    return *more_out ? 0 : stage_release_tx(tx, mailbox, err);
}

/* ---- Which mailboxes need it. */

static int stale_mailboxes(struct sql *db, struct buf *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db,
                    "SELECT id FROM mailbox WHERE stage_first <> 0 AND account <> 0 "
                    "UNION SELECT target FROM moving WHERE target NOT IN "
                    "(SELECT id FROM mailbox WHERE stage_first <> 0)",
                    &st, err) != 0)
        return -1;
    while ((rc = sql_step(st, err)) == 1) {
        int64_t id = sql_int(st, 0);
        buf_add(out, &id, sizeof id);
    }
    sql_reset(st);
    return rc;
}

/* ---- At start. */

static int recover_slice(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    int rc;

    if (sql_begin(tx->db, true, err) != 0)
        return -1;
    tx_member_begin(tx);
    rc = clean_slice(tx, mailbox, more_out, err);
    if (rc == 0)
        rc = tx_flush(tx, err);
    if (rc == 0)
        rc = sql_commit(tx->db, err);
    else
        sql_rollback(tx->db);
    tx_forget(tx);
    return rc;
}

int staging_recover(struct store *s, struct sql *db, struct err *err)
{
    struct store_tx tx;
    struct buf list;
    int rc;

    tx_init(&tx, s, db);
    buf_init(&list, SIZE_MAX / 2);
    rc = stale_mailboxes(db, &list, err);
    for (size_t i = 0; rc == 0 && i < list.n; i += sizeof(uint64_t)) {
        uint64_t mailbox;
        bool more = true;
        memcpy(&mailbox, list.p + i, sizeof mailbox);
        log_info(&store_log, "staging-recovered", L_ID("mailbox", mailbox));
        while (rc == 0 && more)
            rc = recover_slice(&tx, mailbox, &more, err);
    }
    buf_fini(&list);
    tx_fini(&tx);
    return rc;
}

/* ---- While running: after a COPY that failed between its slices. */

struct clean {
    struct store_op op;
    uint64_t mailbox;
};

static int clean_run(struct store_op *op, struct store_tx *tx)
{
    struct clean *c = CONTAINER_OF(op, struct clean, op);
    bool more;

    if (map_get_id(tx->store->staging, c->mailbox)) /* a new COPY began: it owns the stage */
        return STORE_DONE;
    if (clean_slice(tx, c->mailbox, &more, &op->err) != 0)
        return -1;
    return more ? STORE_AGAIN : STORE_DONE;
}

static void clean_done(struct store_op *op)
{
    if (op->failed) /* the sweeper tries again at its next round */
        log_warn(&store_log, "staging-not-cleaned", L_Z("why", op->err.text));
    mem_free(CONTAINER_OF(op, struct clean, op));
}

void staging_clean_later(struct store *s, uint64_t mailbox)
{
    struct clean *c = MEM_NEW(struct clean);

    c->op = (struct store_op){.run = clean_run, .done = clean_done, .cls = STORE_BULK};
    c->mailbox = mailbox;
    committer_add(s, &c->op);
}

int staging_clean_stale_tx(struct store_tx *tx, struct err *err)
{
    struct buf list;
    int rc;

    buf_init(&list, SIZE_MAX / 2);
    rc = stale_mailboxes(tx->db, &list, err);
    for (size_t i = 0; rc == 0 && i < list.n; i += sizeof(uint64_t)) {
        uint64_t mailbox;
        memcpy(&mailbox, list.p + i, sizeof mailbox);
        if (!map_get_id(tx->store->staging, mailbox))
            staging_clean_later(tx->store, mailbox);
    }
    buf_fini(&list);
    return rc;
}
