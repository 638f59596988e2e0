/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailbox_name.c - which names a mailbox may have, and inserting one. */
#include "appliance/base/text.h"
#include "appliance/store/store_private.h"

static int bad(struct err *err, enum err_why why, const char *text)
{
    return ERR_WHY(err, ERR_PERM, why, "mailbox name: %s", text);
}

static bool has_control(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < name.n && (unsigned char)name.p[i + 1] < 0xa0)
            return true; /* U+0080..U+009F */
    }
    return false;
}

static int check_levels(struct str name, struct err *err)
{
    unsigned levels = 0;
    struct str level, rest = name;
    bool more = true;

    while (more) {
        more = str_cut(rest, '/', &level, &rest);
        if (level.n == 0)
            return bad(err, ERR_WHY_OTHER, "a level is empty");
        if (level.n > MAILBOX_LEVEL_MAX)
            return bad(err, ERR_WHY_LIMIT, "a level is longer than 255 bytes");
        if (++levels > MAILBOX_LEVELS)
            return bad(err, ERR_WHY_LIMIT, "more than 16 levels");
    }
    return 0;
}

int mailbox_name_check(struct arena *a, struct str name, struct str *out, struct err *err)
{
    if (name.n == 0)
        return bad(err, ERR_WHY_OTHER, "it is empty");
    if (name.n > MAILBOX_NAME_MAX)
        return bad(err, ERR_WHY_LIMIT, "longer than 1000 bytes");
    if (!text_utf8_valid(name) || has_control(name))
        return bad(err, ERR_WHY_OTHER, "it has control characters or is not UTF-8");
    if (check_levels(name, err) != 0)
        return -1;
    *out = name;
    /* RFC 3501 5.1: INBOX in any case; so also as the first level of a longer name. */
    if (str_istarts(name, STR("INBOX")) && !str_starts(name, STR("INBOX")) &&
        (name.n == 5 || name.p[5] == '/'))
        *out = arena_printf(a, "INBOX" STR_FMT, STR_ARG(str_skip(name, 5)));
    return 0;
}

int mailbox_lookup_tx(struct store_tx *tx, uint64_t account, struct str name, uint64_t *id_out,
                      struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *id_out = 0;
    if (sql_prepare(tx->db, "SELECT id FROM mailbox WHERE account = ? AND name = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    sql_bind_text(st, 2, name);
    rc = sql_step(st, err);
    if (rc == 1)
        *id_out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int mailbox_find_tx(struct store_tx *tx, uint64_t account, struct str name, uint64_t *id_out,
                    struct err *err)
{
    struct str checked;

    if (mailbox_name_check(tx->arena, name, &checked, err) != 0 ||
        mailbox_lookup_tx(tx, account, checked, id_out, err) != 0)
        return -1;
    if (*id_out == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such mailbox");
    return 0;
}

/* UIDVALIDITY: never the same twice in an account, so never for a name that is made again (RFC
 * 3501 2.3.1.1). */
static int next_uidvalidity(struct store_tx *tx, uint64_t account, uint32_t *out, struct err *err)
{
    struct tx_account *a;

    if (tx_account_get(tx, account, &a, err) != 0)
        return -1;
    if (a->row.uidvalidity_next >= UINT32_MAX)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "no UIDVALIDITY values are left");
    tx_account_edit(tx, a);
    *out = (uint32_t)a->row.uidvalidity_next++;
    return 0;
}

int mailbox_insert_tx(struct store_tx *tx, uint64_t account, struct str name,
                      enum mailbox_special special, uint64_t *id_out, struct err *err)
{
    struct sql_stmt *st;
    uint32_t uidvalidity;
    uint64_t id = store_new_id(tx->store);

    if (next_uidvalidity(tx, account, &uidvalidity, err) != 0 ||
        sql_prepare(tx->db,
                    "INSERT INTO mailbox(id, account, name, uidvalidity, uidnext, modseq, "
                    "qresync_floor, msgs, "
                    "bytes, unseen, recent_from, special, stage_first) VALUES (?, ?, ?, ?, 1, 1, "
                    "1, 0, 0, 0, 1, ?, 0)",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_int(st, 2, (int64_t)account);
    sql_bind_text(st, 3, name);
    sql_bind_int(st, 4, uidvalidity);
    sql_bind_int(st, 5, special);
    if (sql_run(st, err) != 0) {
        if (err->why == ERR_WHY_EXISTS)
            return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "the mailbox exists already");
        return -1;
    }
    *id_out = id;
    return 0;
}

int mailbox_count_tx(struct store_tx *tx, uint64_t account, uint64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(tx->db, "SELECT COUNT(*) FROM mailbox WHERE account = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)account);
    rc = sql_step(st, err);
    *out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int mailbox_superiors_tx(struct store_tx *tx, uint64_t account, struct str name, struct err *err)
{
    for (size_t at = 0; at < name.n; at++) {
        uint64_t id;
        if (name.p[at] != '/')
            continue;
        if (mailbox_lookup_tx(tx, account, str_take(name, at), &id, err) != 0)
            return -1;
        if (id == 0 &&
            mailbox_insert_tx(tx, account, str_take(name, at), MAILBOX_NORMAL, &id, err) != 0)
            return -1;
    }
    return 0;
}
