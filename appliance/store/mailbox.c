/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailbox.c - finding, listing, creating and deleting mailboxes; subscriptions. */
#include "appliance/store/store_private.h"
#include <inttypes.h>
#include <stdio.h>

#define MAILBOX_COLUMNS                                                                            \
    "id, account, name, uidvalidity, uidnext, modseq, qresync_floor, msgs, bytes, unseen, "        \
    "recent_from, special"

static struct mailbox_info info_read(struct sql_stmt *st, struct arena *a)
{
    return (struct mailbox_info){.id = (uint64_t)sql_int(st, 0),
                                 .account = (uint64_t)sql_int(st, 1),
                                 .name = arena_str(a, sql_text(st, 2)),
                                 .uidvalidity = (uint32_t)sql_int(st, 3),
                                 .uidnext = (uint32_t)sql_int(st, 4),
                                 .modseq = (uint64_t)sql_int(st, 5),
                                 .qresync_floor = (uint64_t)sql_int(st, 6),
                                 .messages = (uint64_t)sql_int(st, 7),
                                 .bytes = (uint64_t)sql_int(st, 8),
                                 .unseen = (uint64_t)sql_int(st, 9),
                                 .recent_from = (uint32_t)sql_int(st, 10),
                                 .special = (enum mailbox_special)sql_int(st, 11)};
}

static int read_one(struct sql_stmt *st, struct arena *a, struct mailbox_info *out, struct err *err)
{
    int rc = sql_step(st, err);

    if (rc == 1)
        *out = info_read(st, a);
    sql_reset(st);
    if (rc == 0 || (rc == 1 && out->account == 0))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such mailbox");
    return rc < 0 ? -1 : 0;
}

int mailbox_find(struct store_reader *r, struct arena *a, uint64_t account, struct str name,
                 struct mailbox_info *out, struct err *err)
{
    struct sql_stmt *st;
    struct str checked;

    if (mailbox_name_check(a, name, &checked, err) != 0 ||
        sql_prepare(r->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE account = ? AND name = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_text(st, 2, checked);
    return read_one(st, a, out, err);
}

int mailbox_get(struct store_reader *r, struct arena *a, uint64_t id, struct mailbox_info *out,
                struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(r->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return read_one(st, a, out, err);
}

static int count(struct store_reader *r, const char *text, uint64_t account, size_t *out,
                 struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(r->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    rc = sql_step(st, err);
    *out = rc == 1 ? (size_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* Lists are counted first and then read: bounded by the count, should another commit add rows in
 * between. */
int mailbox_list(struct store_reader *r, struct arena *a, uint64_t account,
                 struct mailbox_info **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    size_t max, n = 0;
    int rc = 0;

    if (count(r, "SELECT COUNT(*) FROM mailbox WHERE account = ?", account, &max, err) != 0 ||
        sql_prepare(r->db,
                    "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE account = ? ORDER BY name", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    *out = ARENA_ARRAY(a, struct mailbox_info, max + 1);
    while (n < max && (rc = sql_step(st, err)) == 1)
        (*out)[n++] = info_read(st, a);
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

int mailbox_subscriptions(struct store_reader *r, struct arena *a, uint64_t account,
                          struct str **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    size_t max, n = 0;
    int rc = 0;

    if (count(r, "SELECT COUNT(*) FROM subscription WHERE account = ?", account, &max, err) != 0 ||
        sql_prepare(r->db, "SELECT name FROM subscription WHERE account = ? ORDER BY name", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    *out = ARENA_ARRAY(a, struct str, max + 1);
    while (n < max && (rc = sql_step(st, err)) == 1)
        (*out)[n++] = arena_str(a, sql_text(st, 0));
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

/* ---- Changes. */

int mailbox_create_tx(struct store_tx *tx, uint64_t account, struct str name,
                      enum mailbox_special special, uint64_t *id_out, struct err *err)
{
    struct tx_account *a;
    struct str checked;
    uint64_t n, id;

    /* Who holds the account's row is alone with its mailboxes. */
    if (mailbox_name_check(tx->arena, name, &checked, err) != 0 ||
        tx_account_get(tx, account, &a, err) != 0 ||
        mailbox_lookup_tx(tx, account, checked, &id, err) != 0 ||
        mailbox_count_tx(tx, account, &n, err) != 0)
        return -1;
    if (id != 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "the mailbox exists already");
    if (n + MAILBOX_LEVELS > MAILBOXES_PER_ACCOUNT)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the account has as many mailboxes as it may");
    if (mailbox_superiors_tx(tx, account, checked, err) != 0)
        return -1;
    return mailbox_insert_tx(tx, account, checked, special, id_out, err);
}

int mailbox_doom_tx(struct store_tx *tx, uint64_t id, struct err *err)
{
    struct tx_mailbox *m;
    struct tx_account *a;
    struct sql_stmt *st;
    char name[24];

    if (tx_mailbox_get(tx, id, &m, err) != 0 || tx_account_get(tx, m->row.account, &a, err) != 0)
        return -1;
    tx_mailbox_edit(tx, m);
    tx_account_edit(tx, a);
    a->row.used_bytes -= m->row.bytes < a->row.used_bytes ? m->row.bytes : a->row.used_bytes;
    a->row.used_messages -=
        m->row.messages < a->row.used_messages ? m->row.messages : a->row.used_messages;
    m->row.account = 0;
    if (sql_prepare(tx->db, "UPDATE mailbox SET account = 0, name = ? WHERE id = ?", &st, err) != 0)
        return -1;
    snprintf(name, sizeof name, "%" PRIu64, id);
    sql_bind_text(st, 1, str_from(name));
    sql_bind_int(st, 2, (int64_t)id);
    if (sql_run(st, err) != 0)
        return -1;
    sweeper_soon(tx->store);
    return 0;
}

int mailbox_delete_tx(struct store_tx *tx, uint64_t account, struct str name, bool *more_out,
                      struct err *err)
{
    struct str checked;
    uint64_t id;

    *more_out = false; /* the sweeper does the long part */
    if (mailbox_name_check(tx->arena, name, &checked, err) != 0)
        return -1;
    if (str_eq(checked, STR("INBOX")))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED, "INBOX can't be deleted");
    if (mailbox_find_tx(tx, account, checked, &id, err) != 0)
        return -1;
    return mailbox_doom_tx(tx, id, err);
}

static int check_subscriptions(struct store_tx *tx, uint64_t account, struct err *err)
{
    struct sql_stmt *st;
    int64_t n = 0;
    int rc;

    if (sql_prepare(tx->db, "SELECT COUNT(*) FROM subscription WHERE account = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    rc = sql_step(st, err);
    if (rc == 1)
        n = sql_int(st, 0);
    sql_reset(st);
    if (rc == 1 && n >= SUBSCRIPTIONS_PER_ACCOUNT)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT,
                       "the account has as many subscriptions as it may");
    return rc < 0 ? -1 : 0;
}

int mailbox_subscribe_tx(struct store_tx *tx, uint64_t account, struct str name, bool on,
                         struct err *err)
{
    struct sql_stmt *st;
    struct str checked;

    if (mailbox_name_check(tx->arena, name, &checked, err) != 0 ||
        sql_prepare(tx->db, "DELETE FROM subscription WHERE account = ? AND name = ?", &st, err) !=
            0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_text(st, 2, checked);
    if (sql_run(st, err) != 0)
        return -1;
    if (!on)
        return 0;
    if (check_subscriptions(tx, account, err) != 0 ||
        sql_prepare(tx->db, "INSERT INTO subscription(account, name) VALUES (?, ?)", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_text(st, 2, checked);
    if (sql_run(st, err) == 0)
        return 0;
    return err->why == ERR_WHY_EXISTS ? 0 : -1; /* another node did it in this very moment */
}

int mailbox_take_recent_tx(struct store_tx *tx, uint64_t id, uint32_t *recent_from_out,
                           struct err *err)
{
    struct tx_mailbox *m;

    if (tx_mailbox_get(tx, id, &m, err) != 0)
        return -1;
    *recent_from_out = m->row.recent_from;
    if (m->row.recent_from == m->row.uidnext)
        return 0;
    bool changed = m->changed;
    tx_mailbox_edit(tx, m);
    m->changed = changed; /* nothing that others see */
    m->row.recent_from = m->row.uidnext;
    return 0;
}
