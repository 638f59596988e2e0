/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* tx.c - what an operation sees of the writer: cached rows of mailbox and account, undo of one
 * member. A batch of deliveries into few mailboxes reads and writes each of their rows once. The
 * commit thread is this process's only writer, and the rows are locked against other processes, so
 * what is cached within a transaction can't be stale. Who holds a mailbox's row is alone with its
 * messages. */
#include "appliance/store/store_private.h"

enum {
    TX_ARENA = 16384,
    TOLD_MAX = 1 << 20,
    NEWS_MAX = 64 << 20,
    SLICE_MIN_US = 2000,
    SLICE_MAX_US = 8000,
    SLICE_CROWDED_US = 3000
};

void tx_init(struct store_tx *tx, struct store *s, struct sql *db)
{
    memset(tx, 0, sizeof *tx);
    tx->store = s;
    tx->db = db;
    tx->arena = arena_new(TX_ARENA);
    tx->mailboxes = map_new();
    tx->accounts = map_new();
    list_init(&tx->mailbox_list);
    list_init(&tx->account_list);
    list_init(&tx->fresh);
    list_init(&tx->sinks);
    buf_init(&tx->told, TOLD_MAX);
    buf_init(&tx->news, NEWS_MAX);
}

void tx_fini(struct store_tx *tx)
{
    tx_forget(tx);
    buf_fini(&tx->told);
    buf_fini(&tx->news);
    map_free(&tx->mailboxes);
    map_free(&tx->accounts);
    arena_free(&tx->arena);
}

struct sql *store_tx_sql(struct store_tx *tx)
{
    return tx->db;
}

struct store *store_tx_store(struct store_tx *tx)
{
    return tx->store;
}

bool store_tx_slice_over(struct store_tx *tx)
{
    uint64_t now = clock_mono_us();

    if (now >= tx->slice_end_us)
        return true;
    return now >= tx->slice_min_us &&
           atomic_load_explicit(&tx->store->committer.urgent, memory_order_relaxed) > 0;
}

void store_tx_changed(struct store_tx *tx, uint64_t mailbox)
{
    buf_add(&tx->told, &mailbox, sizeof mailbox);
}

/* ---- Rows. */

static struct tx_mailbox_row mailbox_row_read(struct sql_stmt *st)
{
    return (struct tx_mailbox_row){.account = (uint64_t)sql_int(st, 0),
                                   .uidvalidity = (uint32_t)sql_int(st, 1),
                                   .uidnext = (uint32_t)sql_int(st, 2),
                                   .modseq = (uint64_t)sql_int(st, 3),
                                   .qresync_floor = (uint64_t)sql_int(st, 4),
                                   .messages = (uint64_t)sql_int(st, 5),
                                   .bytes = (uint64_t)sql_int(st, 6),
                                   .unseen = (uint64_t)sql_int(st, 7),
                                   .recent_from = (uint32_t)sql_int(st, 8),
                                   .stage_first = (uint32_t)sql_int(st, 9)};
}

static int mailbox_load(struct store_tx *tx, uint64_t id, struct tx_mailbox **out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(
            tx->db,
            "SELECT account, uidvalidity, uidnext, modseq, qresync_floor, msgs, bytes, unseen, "
            "recent_from, stage_first FROM mailbox WHERE id = ? FOR UPDATE",
            &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1) {
        struct tx_mailbox *m = ARENA_NEW(tx->arena, struct tx_mailbox);
        m->id = id;
        m->row = mailbox_row_read(st);
        m->loaded_by = tx->member;
        list_add(&tx->mailbox_list, &m->link);
        map_set_id(tx->mailboxes, id, m);
        *out = m;
    }
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such mailbox");
    return rc < 0 ? -1 : 0;
}

int tx_mailbox_get(struct store_tx *tx, uint64_t id, struct tx_mailbox **out, struct err *err)
{
    struct tx_mailbox *m = map_get_id(tx->mailboxes, id);

    if (!m && mailbox_load(tx, id, &m, err) != 0)
        return -1;
    if (m->row.account == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "the mailbox was deleted");
    *out = m;
    return 0;
}

struct tx_mailbox *tx_mailbox_cached(struct store_tx *tx, uint64_t id)
{
    return map_get_id(tx->mailboxes, id);
}

void tx_mailbox_edit(struct store_tx *tx, struct tx_mailbox *m)
{
    if (m->edited_by != tx->member) {
        m->saved = m->row;
        m->edited_by = tx->member;
    }
    m->row.dirty = true;
    m->changed = true;
}

static int account_load(struct store_tx *tx, uint64_t id, struct tx_account **out, struct err *err)
{
    const struct store_conf *conf = tx->store->conf;
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(
            tx->db,
            "SELECT used_bytes, used_messages, quota_bytes, quota_messages, uidvalidity_next, "
            "domain, detached FROM account WHERE id = ? FOR UPDATE",
            &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1) {
        struct tx_account *a = ARENA_NEW(tx->arena, struct tx_account);
        a->id = id;
        a->row = (struct tx_account_row){
            .used_bytes = (uint64_t)sql_int(st, 0),
            .used_messages = (uint64_t)sql_int(st, 1),
            .quota_bytes = sql_is_null(st, 2) ? conf->quota_bytes : (uint64_t)sql_int(st, 2),
            .quota_messages =
                (uint64_t)(sql_is_null(st, 3) ? conf->quota_messages : sql_int(st, 3)),
            .uidvalidity_next = (uint64_t)sql_int(st, 4)};
        a->row.stored_bytes = a->row.used_bytes;
        a->domain = sql_int(st, 6) ? STR("") : arena_str(tx->arena, sql_text(st, 5));
        a->loaded_by = tx->member;
        list_add(&tx->account_list, &a->link);
        map_set_id(tx->accounts, id, a);
        *out = a;
    }
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such account");
    return rc < 0 ? -1 : 0;
}

int tx_account_get(struct store_tx *tx, uint64_t id, struct tx_account **out, struct err *err)
{
    struct tx_account *a = map_get_id(tx->accounts, id);

    if (!a && account_load(tx, id, &a, err) != 0)
        return -1;
    if (a->row.gone)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such account");
    *out = a;
    return 0;
}

void tx_account_edit(struct store_tx *tx, struct tx_account *a)
{
    if (a->edited_by != tx->member) {
        a->saved = a->row;
        a->edited_by = tx->member;
    }
    a->row.dirty = true;
}

static void account_drop(struct store_tx *tx, struct tx_account *a)
{
    list_del(&a->link);
    map_del_id(tx->accounts, a->id);
}

static void mailbox_drop(struct store_tx *tx, struct tx_mailbox *m)
{
    list_del(&m->link);
    map_del_id(tx->mailboxes, m->id);
}

/* ---- Members. */

void tx_member_begin(struct store_tx *tx)
{
    uint64_t now = clock_mono_us();

    tx->member++;
    tx->news_before = tx->news.n;
    tx->n_news_before = tx->n_news;
    tx->slice_min_us = now + SLICE_MIN_US;
    tx->slice_end_us = now + (list_empty(&tx->mailbox_list) ? SLICE_MAX_US : SLICE_CROWDED_US);
}

int tx_member_end(struct store_tx *tx, struct err *err)
{
    while (!list_empty(&tx->fresh)) {
        struct body_sink *b = LIST_ITEM(tx->fresh.next, struct body_sink, tx_link);
        if (body_sink_write_row(tx, b, err) != 0)
            return -1;
        list_del(&b->tx_link);
        list_add(&tx->sinks, &b->tx_link);
    }
    return 0;
}

static void sink_forget(struct body_sink *b)
{
    list_del(&b->tx_link);
    b->inserted_by = 0;
    b->refs = 0;
}

void tx_member_undo(struct store_tx *tx)
{
    buf_truncate(&tx->news, tx->news_before);
    tx->n_news = tx->n_news_before;
    LIST_EACH(&tx->mailbox_list, it)
    {
        struct tx_mailbox *m = LIST_ITEM(it, struct tx_mailbox, link);
        if (m->loaded_by == tx->member)
            mailbox_drop(tx, m);
        else if (m->edited_by == tx->member)
            m->row = m->saved;
    }
    LIST_EACH(&tx->account_list, it)
    {
        struct tx_account *a = LIST_ITEM(it, struct tx_account, link);
        if (a->loaded_by == tx->member)
            account_drop(tx, a);
        else if (a->edited_by == tx->member)
            a->row = a->saved;
    }
    LIST_EACH(&tx->fresh, it)
    {
        sink_forget(LIST_ITEM(it, struct body_sink, tx_link));
    }
    LIST_EACH(&tx->sinks, it) /* moved there by tx_member_end, which then failed */
    {
        struct body_sink *b = LIST_ITEM(it, struct body_sink, tx_link);
        if (b->inserted_by == tx->member)
            sink_forget(b);
    }
}

/* ---- End of the transaction. */

static int mailbox_write(struct store_tx *tx, struct tx_mailbox *m, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(
            tx->db,
            "UPDATE mailbox SET uidnext = ?, modseq = ?, qresync_floor = ?, msgs = ?, bytes = ?, "
            "unseen = ?, recent_from = ?, stage_first = ? WHERE id = ?",
            &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, m->row.uidnext);
    sql_bind_int(st, 2, (int64_t)m->row.modseq);
    sql_bind_int(st, 3, (int64_t)m->row.qresync_floor);
    sql_bind_int(st, 4, (int64_t)m->row.messages);
    sql_bind_int(st, 5, (int64_t)m->row.bytes);
    sql_bind_int(st, 6, (int64_t)m->row.unseen);
    sql_bind_int(st, 7, m->row.recent_from);
    sql_bind_int(st, 8, m->row.stage_first);
    sql_bind_int(st, 9, (int64_t)m->id);
    m->row.dirty = false;
    return sql_run(st, err);
}

static int account_write(struct store_tx *tx, struct tx_account *a, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE account SET used_bytes = ?, used_messages = ?, uidvalidity_next = ? "
                    "WHERE id = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)a->row.used_bytes);
    sql_bind_int(st, 2, (int64_t)a->row.used_messages);
    sql_bind_int(st, 3, (int64_t)a->row.uidvalidity_next);
    sql_bind_int(st, 4, (int64_t)a->id);
    a->row.stored_bytes = a->row.used_bytes;
    a->row.dirty = false;
    return sql_run(st, err);
}

int tx_flush(struct store_tx *tx, struct err *err)
{
    LIST_EACH(&tx->mailbox_list, it)
    {
        struct tx_mailbox *m = LIST_ITEM(it, struct tx_mailbox, link);
        if (m->row.dirty && mailbox_write(tx, m, err) != 0)
            return -1;
    }
    LIST_EACH(&tx->account_list, it)
    {
        struct tx_account *a = LIST_ITEM(it, struct tx_account, link);
        if (a->row.dirty && !a->row.gone && account_write(tx, a, err) != 0)
            return -1;
    }
    return 0;
}

void tx_committed(struct store_tx *tx)
{
    LIST_EACH(&tx->sinks, it)
    {
        LIST_ITEM(it, struct body_sink, tx_link)->committed = true;
    }
}

void tx_forget(struct store_tx *tx)
{
    LIST_EACH(&tx->mailbox_list, it)
    {
        mailbox_drop(tx, LIST_ITEM(it, struct tx_mailbox, link));
    }
    LIST_EACH(&tx->account_list, it)
    {
        account_drop(tx, LIST_ITEM(it, struct tx_account, link));
    }
    LIST_EACH(&tx->fresh, it)
    {
        sink_forget(LIST_ITEM(it, struct body_sink, tx_link));
    }
    LIST_EACH(&tx->sinks, it)
    {
        sink_forget(LIST_ITEM(it, struct body_sink, tx_link));
    }
    buf_clear(&tx->told);
    buf_clear(&tx->news);
    tx->n_news = 0;
    arena_clear(tx->arena);
}
