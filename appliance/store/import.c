/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import.c - what is known of imported mail; a mailbox opened for it, and its end. */
#include "appliance/store/import.h"
#include "appliance/base/text.h"
#include "appliance/store/store_private.h"
#include <openssl/evp.h>

enum { UIDVALIDITY_ROOM = 1 << 20, FORGET_CHUNK = 256 };

static const char *const version_1[] = {
    "CREATE TABLE imported(mailbox BIGINT NOT NULL, source VARCHAR(190) NOT NULL, skey "
    "VARBINARY(255) NOT NULL, uid BIGINT NOT NULL, state BIGINT NOT NULL, "
    "PRIMARY KEY(mailbox, source, skey)) %CLUSTERED%",
    /* UIDVALIDITY values taken over; digest: of account and mailbox, by name */
    "CREATE TABLE imported_validity(digest VARCHAR(64) NOT NULL, uidvalidity BIGINT NOT NULL, "
    "PRIMARY KEY(digest, uidvalidity)) %CLUSTERED%",
    NULL};
static const struct sql_migration migrations[] = {{"what was imported", version_1}};

int import_schema(struct sql *db, bool as_is, struct err *err)
{
    if (as_is)
        return sql_check_schema(db, "import", ARRAY_LEN(migrations), err);
    return sql_migrate(db, "import", migrations, ARRAY_LEN(migrations), err);
}

int import_known(struct store_reader *r, struct arena *a, uint64_t mailbox, struct str source,
                 struct str after, size_t max, struct import_known **out, size_t *n_out,
                 struct err *err)
{
    struct sql_stmt *st;
    size_t n = 0;
    int rc = 0;

    if (sql_prepare(r->db,
                    "SELECT skey, uid, state FROM imported WHERE mailbox = ? AND source = ? AND "
                    "skey > ? ORDER BY skey LIMIT ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_text(st, 2, source);
    sql_bind_blob(st, 3, after.p ? after : STR(""));
    sql_bind_int(st, 4, (int64_t)max);
    *out = ARENA_ARRAY(a, struct import_known, max);
    while (n < max && (rc = sql_step(st, err)) == 1) {
        (*out)[n].key = arena_str(a, sql_blob(st, 0));
        (*out)[n].uid = (uint32_t)sql_int(st, 1);
        (*out)[n++].state = sql_int(st, 2);
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

int import_forget_tx(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
{
    struct sql_stmt *st;
    struct str source, key;
    int rc;

    for (*more_out = true; !store_tx_slice_over(tx);) {
        if (sql_prepare(tx->db, "SELECT source, skey FROM imported WHERE mailbox = ? LIMIT 1", &st,
                        err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        rc = sql_step(st, err);
        if (rc == 1) {
            source = arena_str(tx->arena, sql_text(st, 0));
            key = arena_str(tx->arena, sql_blob(st, 1));
        }
        sql_reset(st);
        *more_out = rc == 1;
        if (rc != 1)
            return rc;
        if (sql_prepare(tx->db,
                        "DELETE FROM imported WHERE mailbox = ? AND source = ? AND skey = ?", &st,
                        err) != 0)
            return -1;
        sql_bind_int(st, 1, (int64_t)mailbox);
        sql_bind_text(st, 2, source);
        sql_bind_blob(st, 3, key);
        if (sql_run(st, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- A mailbox, opened. */

static int special_is_free(struct store_tx *tx, uint64_t account, enum mailbox_special special,
                           bool *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = special == MAILBOX_NORMAL;
    if (*out)
        return 0;
    if (sql_prepare(tx->db, "SELECT id FROM mailbox WHERE account = ? AND special = ?", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_int(st, 2, special);
    rc = sql_step(st, err);
    sql_reset(st);
    *out = rc == 0;
    return rc < 0 ? -1 : 0;
}

static int make(struct store_tx *tx, struct import_mailbox *p, struct str name, struct err *err)
{
    bool is_free;

    if (special_is_free(tx, p->account_id, p->special, &is_free, err) != 0 ||
        mailbox_create_tx(tx, p->account_id, name, is_free ? p->special : MAILBOX_NORMAL, &p->id,
                          err) != 0)
        return -1;
    p->made = true;
    return p->subscribe ? mailbox_subscribe_tx(tx, p->account_id, name, true, err) : 0;
}

/* True: this mailbox's name has never had that value. */
static int first_time(struct store_tx *tx, const struct import_mailbox *p, struct str name,
                      bool *out, struct err *err)
{
    uint8_t digest[32];
    struct sql_stmt *st;
    struct buf b;
    int rc;

    buf_init(&b, 4096);
    buf_add_str(&b, p->account);
    buf_add_char(&b, '\n');
    buf_add_str(&b, name);
    EVP_Digest(b.p, b.n, digest, NULL, EVP_sha256(), NULL);
    buf_clear(&b);
    text_hex_encode(digest, sizeof digest, &b);
    rc = sql_prepare(tx->db, "INSERT INTO imported_validity(digest, uidvalidity) VALUES (?, ?)",
                     &st, err);
    if (rc == 0) {
        sql_bind_text(st, 1, buf_str(&b));
        sql_bind_int(st, 2, p->uidvalidity);
        rc = sql_run(st, err);
    }
    buf_fini(&b);
    *out = rc == 0;
    if (rc != 0 && err->why == ERR_WHY_EXISTS) {
        err_clear(err);
        return 0;
    }
    return rc;
}

static int write_uidvalidity(struct store_tx *tx, struct tx_mailbox *m, uint32_t value,
                             struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE mailbox SET uidvalidity = ? WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, value);
    sql_bind_int(st, 2, (int64_t)m->id);
    if (sql_run(st, err) != 0)
        return -1;
    tx_mailbox_edit(tx, m);
    m->row.uidvalidity = value;
    return 0;
}

/* Takes over the source's UIDVALIDITY where no UID was ever given out: whatever a client knows of
 * the mailbox is of the source. The account's counter goes above it. */
static int take_uidvalidity(struct store_tx *tx, const struct import_mailbox *p, struct str name,
                            struct tx_mailbox *m, struct err *err)
{
    struct tx_account *a;
    bool first;

    if (p->uidvalidity == 0 || p->uidvalidity >= UINT32_MAX - UIDVALIDITY_ROOM ||
        m->row.uidvalidity == p->uidvalidity || m->row.uidnext != 1 || m->row.stage_first)
        return 0;
    if (first_time(tx, p, name, &first, err) != 0)
        return -1;
    if (!first)
        return 0;
    if (tx_account_get(tx, m->row.account, &a, err) != 0)
        return -1;
    if (a->row.uidvalidity_next <= p->uidvalidity) {
        tx_account_edit(tx, a);
        a->row.uidvalidity_next = (uint64_t)p->uidvalidity + 1;
    }
    return write_uidvalidity(tx, m, p->uidvalidity, err);
}

int import_renew_uidvalidity_tx(struct store_tx *tx, struct tx_mailbox *m, struct err *err)
{
    struct tx_account *a;

    if (tx_account_get(tx, m->row.account, &a, err) != 0)
        return -1;
    if (a->row.uidvalidity_next >= UINT32_MAX)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "no UIDVALIDITY values are left");
    tx_account_edit(tx, a);
    return write_uidvalidity(tx, m, (uint32_t)a->row.uidvalidity_next++, err);
}

static int mailbox_run(struct store_op *op, struct store_tx *tx)
{
    struct import_mailbox *p = CONTAINER_OF(op, struct import_mailbox, op);
    struct err *err = &op->err;
    struct tx_mailbox *m;
    struct str name;

    p->made = false;
    if (mailbox_name_check(tx->arena, p->mailbox, &name, err) != 0 ||
        account_open_tx(tx, p->account, &p->account_id, err) != 0 ||
        mailbox_lookup_tx(tx, p->account_id, name, &p->id, err) != 0 ||
        (p->id == 0 && make(tx, p, name, err) != 0) || tx_mailbox_get(tx, p->id, &m, err) != 0 ||
        take_uidvalidity(tx, p, name, m, err) != 0)
        return -1;
    p->uidvalidity_now = m->row.uidvalidity;
    return STORE_DONE;
}

void import_mailbox_init(struct import_mailbox *m, void (*done)(struct store_op *))
{
    *m = (struct import_mailbox){.op = {.run = mailbox_run, .done = done, .cls = STORE_BULK}};
}

/* ---- Its end. */

static int write_mark(struct store_tx *tx, const struct import_end *p, struct err *err)
{
    struct sql_stmt *st;

    if (p->mark.n == 0)
        return 0;
    if (sql_prepare(tx->db, "DELETE FROM imported WHERE mailbox = ? AND source = ? AND skey = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)p->mailbox);
    sql_bind_text(st, 2, p->source);
    sql_bind_blob(st, 3, p->mark);
    if (sql_run(st, err) != 0 ||
        sql_prepare(
            tx->db,
            "INSERT INTO imported(mailbox, source, skey, uid, state) VALUES (?, ?, ?, 0, ?)", &st,
            err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)p->mailbox);
    sql_bind_text(st, 2, p->source);
    sql_bind_blob(st, 3, p->mark);
    sql_bind_int(st, 4, p->mark_state);
    return sql_run(st, err);
}

static int end_run(struct store_op *op, struct store_tx *tx)
{
    struct import_end *p = CONTAINER_OF(op, struct import_end, op);
    struct tx_mailbox *m;

    if (tx_mailbox_get(tx, p->mailbox, &m, &op->err) != 0 || write_mark(tx, p, &op->err) != 0)
        return -1;
    if (p->uidvalidity == 0 || m->row.uidvalidity != p->uidvalidity ||
        m->row.uidnext >= p->uidnext || m->row.stage_first)
        return STORE_DONE;
    tx_mailbox_edit(tx, m);
    if (m->row.recent_from == m->row.uidnext)
        m->row.recent_from = p->uidnext;
    m->row.uidnext = p->uidnext;
    return STORE_DONE;
}

void import_end_init(struct import_end *e, void (*done)(struct store_op *))
{
    *e = (struct import_end){.op = {.run = end_run, .done = done, .cls = STORE_BULK}};
}
