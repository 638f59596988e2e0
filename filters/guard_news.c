/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard_news.c - bans and known networks that other nodes put and drop (appliance/store/news.h). */
#include "appliance/base/arena.h"
#include "appliance/sql/sql.h"
#include "appliance/store/news.h"
#include "filters/guard_private.h"

struct read_row {
    struct guard_ban ban;
    int64_t last; /* of a pair */
};

/* ---- Keys: 'b' and the network; 'p', the network, a space and the account. */

struct str guard_row_key(struct arena *a, const char *net, struct str account)
{
    return account.p ? arena_printf(a, "p%s " STR_FMT, net, STR_ARG(account))
                     : arena_printf(a, "b%s", net);
}

static void key_split(struct str key, struct str *net, struct str *account)
{
    size_t at;

    *account = STR_NULL;
    *net = str_skip(key, 1);
    if (str_chr(*net, ' ', &at)) {
        *account = str_skip(*net, at + 1);
        *net = str_take(*net, at);
    }
}

/* ---- Reading. */

static void found_ban(struct sql_stmt *st, struct news_rows *out)
{
    struct arena *a = news_arena(out);
    struct str key = arena_printf(a, "b" STR_FMT, STR_ARG(sql_text(st, 0)));
    struct read_row *row = news_row(out, key, sizeof *row);

    if (!rows_read_ban(st, a, &row->ban))
        row->ban.reason = NULL; /* the key says nothing either */
}

static void found_pair(struct sql_stmt *st, struct news_rows *out)
{
    struct arena *a = news_arena(out);
    struct str key = arena_printf(a, "p" STR_FMT " " STR_FMT, STR_ARG(sql_text(st, 0)),
                                  STR_ARG(sql_text(st, 1)));
    struct read_row *row = news_row(out, key, sizeof *row);

    row->last = sql_int(st, 2);
}

static int read_all(struct sql_stmt *st, void (*found)(struct sql_stmt *, struct news_rows *),
                    struct news_rows *out, size_t *n, struct err *err)
{
    int rc;

    for (; (rc = sql_step(st, err)) == 1; ++*n)
        found(st, out);
    sql_reset(st);
    return rc;
}

static int read_bans(struct sql *db, struct str net, size_t max, struct news_rows *out, size_t *n,
                     struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    max ? "SELECT net, since, until, times, manual, reason FROM ban WHERE net > ? "
                          "ORDER BY net LIMIT ?"
                        : "SELECT net, since, until, times, manual, reason FROM ban WHERE net = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, net);
    if (max)
        sql_bind_int(st, 2, (int64_t)max);
    return read_all(st, found_ban, out, n, err);
}

static int read_pairs(struct sql *db, struct str net, struct str account, size_t max,
                      struct news_rows *out, size_t *n, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db,
                    max ? "SELECT net, account, last FROM login_seen WHERE net > ? OR (net = ? AND "
                          "account > ?) ORDER BY net, account LIMIT ?"
                        : "SELECT net, account, last FROM login_seen WHERE net = ? AND account = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, net);
    sql_bind_text(st, 2, max ? net : account);
    if (max) {
        sql_bind_text(st, 3, account);
        sql_bind_int(st, 4, (int64_t)max);
    }
    return read_all(st, found_pair, out, n, err);
}

static int read_rows(struct sql *db, const struct news_ask *ask, struct news_rows *out,
                     struct err *err)
{
    bool pairs = ask->key.n && ask->key.p[0] == 'p';
    struct str net = STR(""), account = STR("");
    size_t n = 0;

    if (ask->key.n)
        key_split(ask->key, &net, &account);
    if (pairs)
        return read_pairs(db, net, account, ask->max, out, &n, err);
    if (read_bans(db, net, ask->max, out, &n, err))
        return -1;
    return n < ask->max ? read_pairs(db, STR(""), STR(""), ask->max - n, out, &n, err) : 0;
}

/* ---- Taking over. */

static void take(void *ctx, struct str key, const void *data)
{
    struct guard *g = ctx;
    const struct read_row *row = data;
    struct rows *rows = g->rows;
    struct str net_text, account;
    struct cidr net;
    struct err ignored;

    if (!key.n)
        return;
    key_split(key, &net_text, &account);
    if (client_net_parse(net_text, &net, &ignored))
        return;
    g->rows = NULL; /* whatever goes to make room is in the table for the others */
    if (key.p[0] == 'p')
        pairs_take(g, account, &net, row ? &row->last : NULL);
    else if (!row || row->ban.reason)
        bans_take(g, &net, row ? &row->ban : NULL);
    g->rows = rows;
}

const struct news_kind guard_news = {.read = read_rows, .take = take};
