/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* account.c - accounts: opened on first use, detached, attached again, removed; quota. */
#include "appliance/store/store_private.h"

#define ACCOUNT_COLUMNS "id, name, detached, quota_bytes, quota_messages, used_bytes, used_messages"
enum { ACCOUNT_NAME_MAX = 320, ACCOUNT_GONE = -1 /* no account has that id */ };

static struct account_info info_read(const struct store_conf *conf, struct sql_stmt *st,
                                     struct arena *a)
{
    return (struct account_info){
        .id = (uint64_t)sql_int(st, 0),
        .name = arena_str(a, sql_text(st, 1)),
        .detached = sql_int(st, 2) != 0,
        .quota_bytes = sql_is_null(st, 3) ? conf->quota_bytes : (uint64_t)sql_int(st, 3),
        .quota_messages = (uint64_t)(sql_is_null(st, 4) ? conf->quota_messages : sql_int(st, 4)),
        .used_bytes = (uint64_t)sql_int(st, 5),
        .used_messages = (uint64_t)sql_int(st, 6)};
}

static struct str domain_of(struct str name)
{
    size_t at;

    return str_rchr(name, '@', &at) ? str_skip(name, at + 1) : STR("");
}

static int domain_quota(struct sql *db, struct str domain, uint64_t *quota_out, uint64_t *used_out,
                        struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *quota_out = *used_out = 0;
    if (sql_prepare(
            db,
            "SELECT q.bytes, (SELECT COALESCE(SUM(a.used_bytes), 0) FROM account a WHERE "
            "a.domain = q.domain AND a.detached = 0) FROM domain_quota q WHERE q.domain = ?",
            &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, domain);
    rc = sql_step(st, err);
    if (rc == 1) {
        *quota_out = (uint64_t)sql_int(st, 0);
        *used_out = (uint64_t)sql_int(st, 1);
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int account_domain_quota(struct store_reader *r, struct str domain, uint64_t *quota_out,
                         uint64_t *used_out, struct err *err)
{
    return domain_quota(r->db, domain, quota_out, used_out, err);
}

int account_find(struct store_reader *r, struct arena *a, struct str name, struct account_info *out,
                 struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(r->db,
                    "SELECT " ACCOUNT_COLUMNS " FROM account WHERE name = ? AND detached = 0", &st,
                    err) != 0)
        return -1;
    sql_bind_text(st, 1, name);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = info_read(r->store->conf, st, a);
    else
        *out = (struct account_info){.name = name,
                                     .quota_bytes = r->store->conf->quota_bytes,
                                     .quota_messages = (uint64_t)r->store->conf->quota_messages};
    sql_reset(st);
    if (rc < 0 ||
        domain_quota(r->db, domain_of(name), &out->domain_quota, &out->domain_used, err) != 0)
        return -1;
    return rc == 1 ? 0 : ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such account");
}

static int count_accounts(struct store_reader *r, size_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(r->db, "SELECT COUNT(*) FROM account", &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    *out = rc == 1 ? (size_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int account_list(struct store_reader *r, struct arena *a, struct account_info **out, size_t *n_out,
                 struct err *err)
{
    struct sql_stmt *st;
    size_t max, n = 0;
    int rc = 0;

    if (count_accounts(r, &max, err) != 0 ||
        sql_prepare(r->db, "SELECT " ACCOUNT_COLUMNS " FROM account ORDER BY name, detached", &st,
                    err) != 0)
        return -1;
    *out = ARENA_ARRAY(a, struct account_info, max + 1);
    while (n < max && (rc = sql_step(st, err)) == 1)
        (*out)[n++] = info_read(r->store->conf, st, a);
    sql_reset(st);
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

/* ---- Opening. */

static int lookup(struct store_tx *tx, struct str name, uint64_t *id_out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *id_out = 0;
    if (sql_prepare(tx->db, "SELECT id FROM account WHERE name = ? AND detached = 0", &st, err) !=
        0)
        return -1;
    sql_bind_text(st, 1, name);
    rc = sql_step(st, err);
    if (rc == 1)
        *id_out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int uidvalidity_start(struct store_tx *tx, int64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    /* Locked: another node may give up this very name, and raise it. */
    if (sql_prepare(tx->db, "SELECT value FROM store_meta WHERE name = 'uidvalidity' FOR UPDATE",
                    &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    *out = rc == 1 ? sql_int(st, 0) : 1;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* A name that leaves an account may come back to a new one: that starts above all the old one gave
 * out. */
static int raise_uidvalidity(struct store_tx *tx, uint64_t used_up_to, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE store_meta SET value = ? WHERE name = 'uidvalidity' AND value < ?", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)used_up_to);
    sql_bind_int(st, 2, (int64_t)used_up_to);
    return sql_run(st, err);
}

static int make_folders(struct store_tx *tx, uint64_t account, struct err *err)
{
    static const struct {
        struct str name;
        enum mailbox_special special;
    } folders[] = {
        {{"INBOX", 5}, MAILBOX_NORMAL},  {{"Sent", 4}, MAILBOX_SENT},
        {{"Drafts", 6}, MAILBOX_DRAFTS}, {{"Junk", 4}, MAILBOX_JUNK},
        {{"Trash", 5}, MAILBOX_TRASH},   {{"Archive", 7}, MAILBOX_ARCHIVE},
    };

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        uint64_t id;
        if (mailbox_insert_tx(tx, account, folders[i].name, folders[i].special, &id, err) != 0)
            return -1;
        if (mailbox_subscribe_tx(tx, account, folders[i].name, true, err) != 0)
            return -1;
    }
    return 0;
}

static int make_account(struct store_tx *tx, struct str name, uint64_t *id_out, struct err *err)
{
    uint64_t id = store_new_id(tx->store);
    struct sql_stmt *st;
    int64_t start;

    if (name.n == 0 || name.n > ACCOUNT_NAME_MAX)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "account name: 1 to %d bytes",
                       ACCOUNT_NAME_MAX);
    if (uidvalidity_start(tx, &start, err) != 0 ||
        sql_prepare(
            tx->db,
            "INSERT INTO account(id, name, detached, used_bytes, used_messages, uidvalidity_next, "
            "domain) VALUES (?, ?, 0, 0, 0, ?, ?)",
            &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_text(st, 2, name);
    sql_bind_int(st, 3, start);
    sql_bind_text(st, 4, domain_of(name));
    if (sql_run(st, err) != 0)
        return -1;
    *id_out = id;
    return make_folders(tx, id, err);
}

int account_open_tx(struct store_tx *tx, struct str name, uint64_t *id_out, struct err *err)
{
    if (lookup(tx, name, id_out, err) != 0)
        return -1;
    if (*id_out)
        return 0;
    if (make_account(tx, name, id_out, err) == 0)
        return 0;
    if (err->why != ERR_WHY_EXISTS) /* else another node opened it in this very moment */
        return -1;
    return lookup(tx, name, id_out, err) == 0 && *id_out
               ? 0
               : ERR(err, ERR_TEMP, "the account was opened and removed meanwhile");
}

/* ---- Quota. */

static void bind_quota(struct sql_stmt *st, int i, bool own, uint64_t v)
{
    if (own)
        sql_bind_int(st, i, (int64_t)(v > INT64_MAX ? INT64_MAX : v));
    else
        sql_bind_null(st, i);
}

int account_set_quota_tx(struct store_tx *tx, uint64_t id, bool own, uint64_t bytes,
                         uint64_t messages, struct err *err)
{
    struct tx_account *a;
    struct sql_stmt *st;

    if (tx_account_get(tx, id, &a, err) != 0 ||
        sql_prepare(tx->db, "UPDATE account SET quota_bytes = ?, quota_messages = ? WHERE id = ?",
                    &st, err) != 0)
        return -1;
    bind_quota(st, 1, own, bytes);
    bind_quota(st, 2, own, messages);
    sql_bind_int(st, 3, (int64_t)id);
    tx_account_edit(tx, a);
    a->row.quota_bytes = own ? bytes : tx->store->conf->quota_bytes;
    a->row.quota_messages = own ? messages : (uint64_t)tx->store->conf->quota_messages;
    return sql_run(st, err);
}

int account_set_domain_quota_tx(struct store_tx *tx, struct str domain, uint64_t bytes,
                                struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "DELETE FROM domain_quota WHERE domain = ?", &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, domain);
    if (sql_run(st, err) != 0)
        return -1;
    if (bytes == 0)
        return 0;
    if (sql_prepare(tx->db, "INSERT INTO domain_quota(domain, bytes) VALUES (?, ?)", &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, domain);
    sql_bind_int(st, 2, (int64_t)bytes);
    return sql_run(st, err);
}

/* Empty: it has no limit. */
static int limited_domain(struct store_tx *tx, uint64_t account, struct str *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = STR("");
    if (sql_prepare(tx->db,
                    "SELECT q.domain FROM account a JOIN domain_quota q ON q.domain = a.domain "
                    "WHERE a.id = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = arena_str(tx->arena, sql_text(st, 0));
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int check_domain(uint64_t quota, uint64_t used, uint64_t more, struct err *err)
{
    if (quota && (used >= quota || more > quota - used))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_QUOTA, "the domain is over its quota of bytes");
    return 0;
}

/* With what operations of this transaction added, which the table doesn't have yet. */
static int domain_quota_tx(struct store_tx *tx, uint64_t account, uint64_t *quota_out,
                           uint64_t *used_out, struct err *err)
{
    struct str domain;

    *quota_out = *used_out = 0;
    if (limited_domain(tx, account, &domain, err) != 0)
        return -1;
    if (!domain.n)
        return 0;
    if (domain_quota(tx->db, domain, quota_out, used_out, err) != 0)
        return -1;
    LIST_EACH(&tx->account_list, it)
    {
        const struct tx_account *a = LIST_ITEM(it, struct tx_account, link);
        if (!a->row.gone && str_eq(a->domain, domain))
            *used_out += a->row.used_bytes - a->row.stored_bytes;
    }
    return 0;
}

int account_domain_room_tx(struct store_tx *tx, uint64_t account, uint64_t more_bytes,
                           struct err *err)
{
    uint64_t quota, used;

    if (domain_quota_tx(tx, account, &quota, &used, err) != 0)
        return -1;
    return check_domain(quota, used, more_bytes, err);
}

int account_over_tx(struct store_tx *tx, uint64_t account, uint64_t added, enum account_over *out,
                    struct err *err)
{
    struct tx_account *a;
    uint64_t quota, used;

    if (tx_account_get(tx, account, &a, err) != 0 ||
        domain_quota_tx(tx, account, &quota, &used, err) != 0)
        return -1;
    const struct tx_account_row *row = &a->row;
    if ((row->quota_bytes && added > row->quota_bytes) || (quota && added > quota))
        *out = ACCOUNT_OVER_FOR_GOOD;
    else if ((row->quota_bytes && row->used_bytes > row->quota_bytes) ||
             (row->quota_messages && row->used_messages > row->quota_messages) ||
             (quota && used > quota))
        *out = ACCOUNT_OVER;
    else
        *out = ACCOUNT_WITHIN;
    return 0;
}

int account_check_quota(const struct account_info *info, uint64_t more_bytes, struct err *err)
{
    if (info->quota_bytes && (info->used_bytes >= info->quota_bytes ||
                              more_bytes > info->quota_bytes - info->used_bytes))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_QUOTA, "the account is over its quota of bytes");
    if (info->quota_messages && info->used_messages >= info->quota_messages)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_QUOTA, "the account is over its quota of messages");
    return check_domain(info->domain_quota, info->domain_used, more_bytes, err);
}

/* ---- Detach, attach, remove. */

static int set_detached(struct store_tx *tx, uint64_t id, struct str name, uint64_t detached,
                        struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "UPDATE account SET name = ?, detached = ?, domain = ? WHERE id = ?",
                    &st, err) != 0)
        return -1;
    sql_bind_text(st, 1, name);
    sql_bind_int(st, 2, (int64_t)detached);
    sql_bind_text(st, 3, domain_of(name));
    sql_bind_int(st, 4, (int64_t)id);
    if (sql_run(st, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "an account of that name exists");
    return -1;
}

/* What is held for the name without an account was for who has it until now. */
static int leave_held(struct store_tx *tx, struct str name, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE queue_rcpt SET account_id = ? WHERE account = ? AND account_id = 0",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, id ? (int64_t)id : ACCOUNT_GONE);
    sql_bind_text(st, 2, name);
    return sql_run(st, err);
}

int account_detach_tx(struct store_tx *tx, struct str name, struct err *err)
{
    struct tx_account *a;
    uint64_t id;

    if (lookup(tx, name, &id, err) != 0 || leave_held(tx, name, id, err) != 0)
        return -1;
    if (id == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such account");
    if (tx_account_get(tx, id, &a, err) != 0 ||
        raise_uidvalidity(tx, a->row.uidvalidity_next, err) != 0)
        return -1;
    return set_detached(tx, id, name, store_new_id(tx->store), err);
}

int account_attach_tx(struct store_tx *tx, uint64_t id, struct str name, struct err *err)
{
    struct tx_account *a;

    if (tx_account_get(tx, id, &a, err) != 0)
        return -1;
    return set_detached(tx, id, name, 0, err);
}

static int run_by_account(struct store_tx *tx, const char *text, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return sql_run(st, err);
}

/* A mailbox of it, or 0. */
static int any_mailbox(struct store_tx *tx, uint64_t account, uint64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(tx->db, "SELECT id FROM mailbox WHERE account = ? LIMIT 1", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    rc = sql_step(st, err);
    *out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int account_remove_tx(struct store_tx *tx, uint64_t id, bool *more_out, struct err *err)
{
    struct tx_account *a;
    uint64_t mailbox;

    *more_out = false;
    if (tx_account_get(tx, id, &a, err) != 0 ||
        raise_uidvalidity(tx, a->row.uidvalidity_next, err) != 0)
        return -1;
    for (;;) {
        if (any_mailbox(tx, id, &mailbox, err) != 0)
            return -1;
        if (mailbox == 0)
            break;
        if (mailbox_doom_tx(tx, mailbox, err) != 0)
            return -1;
        *more_out = store_tx_slice_over(tx);
        if (*more_out)
            return 0;
    }
    tx_account_edit(tx, a);
    a->row.gone = true;
    if (run_by_account(tx, "DELETE FROM subscription WHERE account = ?", id, err) != 0)
        return -1;
    return run_by_account(tx, "DELETE FROM account WHERE id = ?", id, err);
}
