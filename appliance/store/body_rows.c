/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_rows.c - bodies in the database: inserting them, counting references. Commit thread. */
#include "appliance/store/store_private.h"
#include <openssl/evp.h>

static int insert_blob(struct store_tx *tx, const char *text, uint64_t id, struct str blob,
                       struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_blob(st, 2, blob);
    return sql_run(st, err);
}

static int insert_dead(struct store_tx *tx, uint64_t id, int64_t place, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "INSERT INTO body_dead(since, id, place) VALUES (?, ?, ?)", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)store_new_id(tx->store)); /* unique, and tells the time */
    sql_bind_int(st, 2, (int64_t)id);
    sql_bind_int(st, 3, place);
    return sql_run(st, err);
}

int body_insert_tx(struct store_tx *tx, struct body_sink *b, uint64_t *id_out, struct err *err)
{
    CHECK(b->state == SINK_FLUSHED);
    if (b->committed || b->inserted_by) {
        *id_out = b->id;
        return 0;
    }
    if (b->id == 0)
        b->id = store_new_id(tx->store);
    if (!b->file)
        EVP_Digest(b->data.p ? b->data.p : "", b->data.n, b->sha256, NULL, EVP_sha256(), NULL);
    if (insert_blob(tx, "INSERT INTO body_meta(id, meta) VALUES (?, ?)", b->id, buf_str(&b->meta),
                    err) != 0 ||
        insert_blob(tx, "INSERT INTO body_head(id, head) VALUES (?, ?)", b->id, buf_str(&b->head),
                    err) != 0)
        return -1;
    if (!b->file && insert_blob(tx, "INSERT INTO body_data(id, data) VALUES (?, ?)", b->id,
                                buf_str(&b->data), err) != 0)
        return -1;
    b->inserted_by = tx->member;
    b->refs = 0;
    list_add(&tx->fresh, &b->tx_link);
    *id_out = b->id;
    return 0;
}

int body_sink_write_row(struct store_tx *tx, struct body_sink *b, struct err *err)
{
    int64_t place = b->file ? BODY_FILE : BODY_INLINE;
    struct sql_stmt *st;

    if (sql_prepare(
            tx->db,
            "INSERT INTO body(id, size, refs, place, sha256, data_size) VALUES (?, ?, ?, ?, ?, ?)",
            &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->id);
    sql_bind_int(st, 2, (int64_t)(b->head.n + b->data_size));
    sql_bind_int(st, 3, (int64_t)b->refs);
    sql_bind_int(st, 4, place);
    sql_bind_blob(st, 5, str_of(b->sha256, sizeof b->sha256));
    sql_bind_int(st, 6, (int64_t)b->data_size);
    if (sql_run(st, err) != 0)
        return -1;
    return b->refs == 0 ? insert_dead(tx, b->id, place, err) : 0;
}

/* A body whose row is written at the member's end, with its count. */
static struct body_sink *fresh_body(struct store_tx *tx, uint64_t id)
{
    LIST_EACH(&tx->fresh, it)
    {
        struct body_sink *b = LIST_ITEM(it, struct body_sink, tx_link);
        if (b->id == id)
            return b;
    }
    return NULL;
}

int body_size_tx(struct store_tx *tx, uint64_t id, uint64_t *out, struct err *err)
{
    struct body_sink *b = fresh_body(tx, id);
    struct sql_stmt *st;
    int rc;

    if (b) {
        *out = b->head.n + b->data_size;
        return 0;
    }
    if (sql_prepare(tx->db, "SELECT size FROM body WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the message's text is gone");
    return rc < 0 ? -1 : 0;
}

int body_ref_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct body_sink *b = fresh_body(tx, id);
    struct sql_stmt *st;

    if (b) {
        b->refs++;
        return 0;
    }
    if (sql_prepare(tx->db, "UPDATE body SET refs = refs + 1 WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    if (sql_run(st, err) != 0)
        return -1;
    if (sql_changes(tx->db) != 1)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the message's text is gone");
    return 0;
}

int body_unref_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct body_sink *b = fresh_body(tx, id);
    struct sql_stmt *st;
    int64_t refs = 0, place = 0;
    int rc;

    if (b) {
        CHECK(b->refs > 0);
        b->refs--;
        return 0;
    }
    if (sql_prepare(tx->db, "SELECT refs, place FROM body WHERE id = ? FOR UPDATE", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    rc = sql_step(st, err);
    if (rc == 1) {
        refs = sql_int(st, 0);
        place = sql_int(st, 1);
    }
    sql_reset(st);
    if (rc < 0)
        return -1;
    if (rc == 0 || refs <= 0) { /* damage; expunging must still work. `mailbox check` names it */
        log_warn(&store_log, "body-refs", L_ID("body", id), L_INT("refs", refs));
        return 0;
    }
    if (sql_prepare(tx->db, "UPDATE body SET refs = refs - 1 WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    if (sql_run(st, err) != 0)
        return -1;
    return refs == 1 ? insert_dead(tx, id, place, err) : 0;
}
