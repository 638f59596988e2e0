/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailbox_rename.c - RENAME (RFC 3501 6.3.5): a mailbox and its inferiors, or the messages of
 * INBOX. */
#include "appliance/store/store_private.h"

struct renamed {
    uint64_t id;
    struct str name;
};

static int set_name(struct store_tx *tx, uint64_t id, struct str name, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE mailbox SET name = ? WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, name);
    sql_bind_int(st, 2, (int64_t)id);
    if (sql_run(st, err) != 0) {
        if (err->why == ERR_WHY_EXISTS)
            return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "a mailbox of the new name exists");
        return -1;
    }
    store_tx_changed(tx, id);
    return 0;
}

/* Inferiors of `from`: names that begin with "from/"; '0' follows '/'. */
static int inferiors(struct store_tx *tx, uint64_t account, struct str from, struct renamed **out,
                     size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    uint64_t max;
    size_t n = 0;
    int rc;

    if (mailbox_count_tx(tx, account, &max, err) != 0 ||
        sql_prepare(tx->db,
                    "SELECT id, name FROM mailbox WHERE account = ? AND name > ? AND name < ?", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_text(st, 2, arena_printf(tx->arena, STR_FMT "/", STR_ARG(from)));
    sql_bind_text(st, 3, arena_printf(tx->arena, STR_FMT "0", STR_ARG(from)));
    *out = ARENA_ARRAY(tx->arena, struct renamed, max + 1);
    while ((rc = sql_step(st, err)) == 1 && n < max) {
        (*out)[n].id = (uint64_t)sql_int(st, 0);
        (*out)[n++].name = arena_str(tx->arena, sql_text(st, 1));
    }
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

static int rename_inferiors(struct store_tx *tx, uint64_t account, struct str from, struct str to,
                            struct err *err)
{
    struct renamed *list;
    size_t n;

    if (inferiors(tx, account, from, &list, &n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct str checked, name = arena_printf(tx->arena, STR_FMT STR_FMT, STR_ARG(to),
                                                STR_ARG(str_skip(list[i].name, from.n)));
        if (mailbox_name_check(tx->arena, name, &checked, err) != 0 ||
            set_name(tx, list[i].id, checked, err) != 0)
            return -1;
    }
    return 0;
}

/* The messages of INBOX move to the new mailbox, INBOX stays, empty: the old mailbox gets the new
 * name with all it holds, and a new INBOX, with its own UIDVALIDITY, takes its place. Inferiors of
 * INBOX stay. */
static int rename_inbox(struct store_tx *tx, uint64_t account, uint64_t id, struct str to,
                        struct err *err)
{
    uint64_t inbox;

    if (set_name(tx, id, to, err) != 0)
        return -1;
    return mailbox_insert_tx(tx, account, STR("INBOX"), MAILBOX_NORMAL, &inbox, err);
}

int mailbox_rename_tx(struct store_tx *tx, uint64_t account, struct str from, struct str to,
                      struct err *err)
{
    struct tx_account *a;
    uint64_t id, other, n;

    if (tx_account_get(tx, account, &a, err) != 0 ||
        mailbox_name_check(tx->arena, from, &from, err) != 0 ||
        mailbox_name_check(tx->arena, to, &to, err) != 0 ||
        mailbox_find_tx(tx, account, from, &id, err) != 0 ||
        mailbox_lookup_tx(tx, account, to, &other, err) != 0 ||
        mailbox_count_tx(tx, account, &n, err) != 0)
        return -1;
    if (other != 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "a mailbox of the new name exists");
    if (n + MAILBOX_LEVELS > MAILBOXES_PER_ACCOUNT)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the account has as many mailboxes as it may");
    if (str_eq(from, STR("INBOX")))
        return mailbox_superiors_tx(tx, account, to, err) == 0
                   ? rename_inbox(tx, account, id, to, err)
                   : -1;
    if (str_starts(to, from) && to.n > from.n && to.p[from.n] == '/')
        return ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED, "a mailbox can't move below itself");
    if (mailbox_superiors_tx(tx, account, to, err) != 0 || set_name(tx, id, to, err) != 0)
        return -1;
    return rename_inferiors(tx, account, from, to, err);
}
