/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/options.h"

enum { DAY_S = 86400, TOLD_KEPT_DAYS = 400 };

bool options_away(const struct directory_options *o, int64_t now_s)
{
    return o->away && now_s >= o->away_from && (o->away_until == 0 || now_s < o->away_until);
}

static bool is_default(const struct directory_options *o)
{
    return o->sends && o->receives && o->keeps && !o->forward.n && !o->away && !o->away_from &&
           !o->away_until;
}

int options_read(struct sql *own, struct arena *m, struct str account,
                 struct directory_options *out, struct err *err)
{
    struct sql_stmt *st;
    *out = (struct directory_options){
        .sends = true, .receives = true, .keeps = true, .forward = STR("")};
    if (sql_prepare(own,
                    "SELECT sends, receives, keeps, forward, away, away_from, away_until"
                    " FROM account_option WHERE account = ?",
                    &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    int r = sql_step(st, err);
    if (r == 1)
        *out = (struct directory_options){.sends = sql_int(st, 0) != 0,
                                          .receives = sql_int(st, 1) != 0,
                                          .keeps = sql_int(st, 2) != 0,
                                          .forward = arena_str(m, sql_text(st, 3)),
                                          .away = sql_int(st, 4) != 0,
                                          .away_from = sql_int(st, 5),
                                          .away_until = sql_int(st, 6)};
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int run_with(struct sql *own, const char *text, struct str account, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(own, text, &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    return sql_run(st, err);
}

static int insert(struct sql *own, struct str account, const struct directory_options *o,
                  struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(own,
                    "INSERT INTO account_option (account, sends, receives, keeps, forward, away,"
                    " away_from, away_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    sql_bind_int(st, 2, o->sends);
    sql_bind_int(st, 3, o->receives);
    sql_bind_int(st, 4, o->keeps);
    sql_bind_text(st, 5, o->forward);
    sql_bind_int(st, 6, o->away);
    sql_bind_int(st, 7, o->away_from);
    sql_bind_int(st, 8, o->away_until);
    return sql_run(st, err);
}

/* Ends a transaction that went well or not. */
static int finish(struct sql *own, int rc, struct err *err)
{
    if (rc == 0)
        return sql_commit(own, err);
    sql_rollback(own);
    return -1;
}

int options_write(struct sql *own, struct str account, const struct directory_options *o,
                  struct err *err)
{
    if (sql_begin(own, true, err) < 0)
        return -1;
    int rc = run_with(own, "DELETE FROM account_option WHERE account = ?", account, err);
    if (rc == 0 && !is_default(o))
        rc = insert(own, account, o, err);
    return finish(own, rc, err);
}

int options_remove(struct sql *own, struct str account, struct err *err)
{
    if (sql_begin(own, true, err) < 0)
        return -1;
    int rc = run_with(own, "DELETE FROM account_option WHERE account = ?", account, err) < 0 ||
                     run_with(own, "DELETE FROM vacation WHERE account = ?", account, err) < 0 ||
                     run_with(own, "DELETE FROM vacation_sent WHERE account = ?", account, err) < 0
                 ? -1
                 : 0;
    return finish(own, rc, err);
}

/* ---- The notice */

int options_notice(struct sql *own, struct arena *m, struct str account,
                   struct directory_notice *out, struct err *err)
{
    struct sql_stmt *st;
    *out = (struct directory_notice){.text = STR_NULL};
    if (sql_prepare(own, "SELECT days, subject, text FROM vacation WHERE account = ?", &st, err) <
        0)
        return -1;
    sql_bind_text(st, 1, account);
    int r = sql_step(st, err);
    if (r == 1)
        *out = (struct directory_notice){.days = sql_int(st, 0),
                                         .subject = arena_str(m, sql_text(st, 1)),
                                         .text = arena_str(m, sql_blob(st, 2))};
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int insert_notice(struct sql *own, struct str account, const struct directory_notice *n,
                         struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(own, "INSERT INTO vacation (account, days, subject, text) VALUES (?, ?, ?, ?)",
                    &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    sql_bind_int(st, 2, n->days);
    sql_bind_text(st, 3, n->subject.p ? n->subject : STR(""));
    sql_bind_blob(st, 4, n->text);
    return sql_run(st, err);
}

/* Who was told the old text is told the new one. */
int options_set_notice(struct sql *own, struct str account, const struct directory_notice *n,
                       struct err *err)
{
    if (sql_begin(own, true, err) < 0)
        return -1;
    int rc = run_with(own, "DELETE FROM vacation WHERE account = ?", account, err);
    if (rc == 0)
        rc = run_with(own, "DELETE FROM vacation_sent WHERE account = ?", account, err);
    if (rc == 0)
        rc = insert_notice(own, account, n, err);
    return finish(own, rc, err);
}

static int last_told(struct sql *own, struct str account, struct str sender, int64_t *out,
                     struct err *err)
{
    struct sql_stmt *st;
    *out = INT64_MIN;
    if (sql_prepare(own, "SELECT at FROM vacation_sent WHERE account = ? AND sender = ?", &st,
                    err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    sql_bind_text(st, 2, sender);
    int r = sql_step(st, err);
    if (r == 1)
        *out = sql_int(st, 0);
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int note_told(struct sql *own, const char *text, struct str account, struct str sender,
                     int64_t at, struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(own, text, &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, account);
    sql_bind_text(st, 2, sender);
    sql_bind_int(st, 3, at);
    return sql_run(st, err);
}

static int tell(struct sql *own, struct str account, struct str sender, int64_t days, int64_t now,
                bool *told_out, struct err *err)
{
    int64_t last;
    if (last_told(own, account, sender, &last, err) < 0)
        return -1;
    /* One that lies in the future was written by a clock that was wrong. */
    *told_out = last > INT64_MIN && last <= now && now - last < days * DAY_S;
    if (*told_out)
        return 0;
    if (note_told(own, "DELETE FROM vacation_sent WHERE account = ? AND (sender = ? OR at < ?)",
                  account, sender, now - (int64_t)TOLD_KEPT_DAYS * DAY_S, err) < 0)
        return -1;
    return note_told(own, "INSERT INTO vacation_sent (account, sender, at) VALUES (?, ?, ?)",
                     account, sender, now, err);
}

int options_tell(struct sql *own, struct str account, struct str sender, int64_t days,
                 int64_t now_s, bool *told_out, struct err *err)
{
    if (sql_begin(own, true, err) < 0)
        return -1;
    return finish(own, tell(own, account, sender, days, now_s, told_out, err), err);
}
