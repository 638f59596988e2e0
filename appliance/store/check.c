/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* check.c - does what the store says of itself agree with what it holds: counters, references,
 * uids, rows and files. For commands: scans all, holds one snapshot meanwhile. Each problem is one
 * line. */
#include "appliance/store/store_private.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

struct check {
    struct store_reader *r;
    void (*on_problem)(void *ctx, const char *text);
    void *ctx;
    struct err *err;
    uint64_t mailbox; /* 0: all */
};

static void problem(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct check *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->on_problem(c->ctx, text);
}

/* ---- Questions to the database: each row found is a problem. */

struct question {
    const char *sql, *text; /* text: up to four integers in order */
};

static const struct question store_questions[] = {
    {"SELECT b.id, b.refs, COALESCE(m.n, 0) FROM body b LEFT JOIN (SELECT body, COUNT(*) AS n FROM "
     "(SELECT body FROM message UNION ALL SELECT body FROM queue) AS all_refs "
     "GROUP BY body) m ON m.body = b.id WHERE b.refs <> COALESCE(m.n, 0)",
     "body %" PRId64 ": refs is %" PRId64 ", messages and queue rows that refer to it: %" PRId64},
    {"SELECT m.mailbox, m.uid, m.body FROM message m WHERE NOT EXISTS (SELECT 1 FROM body b WHERE "
     "b.id = m.body)",
     "mailbox %" PRId64 " uid %" PRId64 ": body %" PRId64 " is missing"},
    {"SELECT id FROM body WHERE refs = 0 AND id NOT IN (SELECT id FROM body_dead)",
     "body %" PRId64 ": without references, but not on the list of the dead"},
    {"SELECT b.id FROM body b WHERE NOT EXISTS (SELECT 1 FROM body_head h WHERE h.id = b.id)",
     "body %" PRId64 ": its head is missing"},
    {"SELECT b.id FROM body b WHERE NOT EXISTS (SELECT 1 FROM body_meta h WHERE h.id = b.id)",
     "body %" PRId64 ": its meta is missing"},
    {"SELECT b.id, b.data_size, COALESCE((SELECT LENGTH(d.data) FROM body_data d WHERE d.id = "
     "b.id), -1) "
     "FROM body b WHERE b.place = 0 AND b.data_size <> COALESCE((SELECT LENGTH(d.data) FROM "
     "body_data d "
     "WHERE d.id = b.id), -1)",
     "body %" PRId64 ": data_size is %" PRId64 ", its data has %" PRId64},
    {"SELECT b.id, b.size, b.data_size + LENGTH(h.head) FROM body b JOIN body_head h ON h.id = "
     "b.id "
     "WHERE b.size <> b.data_size + LENGTH(h.head)",
     "body %" PRId64 ": size is %" PRId64 ", head and data have %" PRId64},
    {"SELECT a.id, a.used_messages, COALESCE(m.n, 0), a.used_bytes - COALESCE(m.bytes, 0) "
     "FROM account a LEFT JOIN (SELECT account, SUM(msgs) AS n, SUM(bytes) AS bytes FROM mailbox "
     "GROUP BY account) m ON m.account = a.id WHERE a.used_messages <> COALESCE(m.n, 0) OR "
     "a.used_bytes <> COALESCE(m.bytes, 0)",
     "account %" PRId64 ": counts %" PRId64 " messages, its mailboxes %" PRId64
     "; bytes differ by %" PRId64},
    {"SELECT m.mailbox, m.uid FROM message m WHERE m.mailbox NOT IN (SELECT id FROM mailbox)",
     "mailbox %" PRId64 " uid %" PRId64 ": a message of no mailbox"},
    {"SELECT m.id, m.account FROM mailbox m WHERE m.account <> 0 AND m.account NOT IN (SELECT id "
     "FROM account)",
     "mailbox %" PRId64 ": its account %" PRId64 " is missing"},
    {"SELECT q.id, q.body FROM queue q WHERE q.body NOT IN (SELECT id FROM body)",
     "queue %" PRId64 ": its body %" PRId64 " is missing"},
    {"SELECT q.id FROM queue q WHERE NOT EXISTS (SELECT 1 FROM queue_to t WHERE t.queue = q.id) "
     "AND (q.held = 0 OR NOT EXISTS (SELECT 1 FROM queue_rcpt r WHERE r.queue = q.id))",
     "queue %" PRId64 ": a message without recipients"},
    {"SELECT q.id FROM queue q WHERE q.held = 0 AND EXISTS (SELECT 1 FROM queue_rcpt r WHERE "
     "r.queue = q.id)",
     "queue %" PRId64 ": it leaves, but has recipients here"},
    {"SELECT DISTINCT t.queue FROM queue_to t WHERE t.queue NOT IN (SELECT queue FROM queue_out)",
     "queue %" PRId64 ": what its recipients at other hosts share is missing"},
    {"SELECT t.queue, t.n FROM queue_to t WHERE t.queue NOT IN (SELECT id FROM queue)",
     "queue %" PRId64 " recipient %" PRId64 " at another host: of no message"},
    {"SELECT r.queue, r.n FROM queue_rcpt r WHERE r.queue NOT IN (SELECT id FROM queue)",
     "queue %" PRId64 " recipient %" PRId64 ": of no message"},
    {"SELECT o.queue FROM queue_out o WHERE o.queue NOT IN (SELECT queue FROM queue_to)",
     "queue %" PRId64 ": kept for recipients at other hosts, of whom there are none"},
    {"SELECT t.queue, t.n, t.state, q.held FROM queue_to t JOIN queue q ON q.id = t.queue "
     "WHERE (t.state = 2) <> (q.held <> 0)",
     "queue %" PRId64 " recipient %" PRId64 ": state %" PRId64 ", while its message has %" PRId64},
};

/* ?1: a mailbox, or 0 for all. */
static const struct question mailbox_questions[] = {
    {"SELECT b.id, b.msgs, COUNT(m.uid) FROM mailbox b LEFT JOIN message m ON m.mailbox = b.id AND "
     "m.uid < b.uidnext "
     "WHERE b.account <> 0 AND (?1 = 0 OR b.id = ?1) GROUP BY b.id HAVING b.msgs <> COUNT(m.uid)",
     "mailbox %" PRId64 ": counts %" PRId64 " messages, has %" PRId64},
    {"SELECT b.id, b.bytes, COALESCE(SUM(m.size), 0) FROM mailbox b LEFT JOIN message m ON "
     "m.mailbox = b.id AND "
     "m.uid < b.uidnext WHERE b.account <> 0 AND (?1 = 0 OR b.id = ?1) GROUP BY b.id HAVING "
     "b.bytes <> "
     "COALESCE(SUM(m.size), 0)",
     "mailbox %" PRId64 ": counts %" PRId64 " bytes, has %" PRId64},
    {"SELECT b.id, b.unseen, COALESCE(SUM(m.flags & 1 = 0), 0) FROM mailbox b LEFT JOIN message m "
     "ON "
     "m.mailbox = b.id AND m.uid < b.uidnext WHERE b.account <> 0 AND (?1 = 0 OR b.id = ?1) GROUP "
     "BY b.id HAVING "
     "b.unseen <> COALESCE(SUM(m.flags & 1 = 0), 0)",
     "mailbox %" PRId64 ": counts %" PRId64 " unseen, has %" PRId64},
    {"SELECT b.id, m.uid, m.modseq, b.modseq FROM mailbox b JOIN message m ON m.mailbox = b.id AND "
     "m.uid < b.uidnext "
     "WHERE b.account <> 0 AND (?1 = 0 OR b.id = ?1) AND m.modseq > b.modseq",
     "mailbox %" PRId64 " uid %" PRId64 ": modseq %" PRId64 " is above the mailbox's, %" PRId64},
    {"SELECT b.id, m.uid, b.uidnext FROM mailbox b JOIN message m ON m.mailbox = b.id AND m.uid >= "
     "b.uidnext "
     "WHERE b.account <> 0 AND (?1 = 0 OR b.id = ?1) AND (b.stage_first = 0 OR m.uid < "
     "b.stage_first)",
     "mailbox %" PRId64 " uid %" PRId64 ": at or above uidnext, %" PRId64},
    {"SELECT m.mailbox, m.uid, m.size, b.size + LENGTH(m.prefix) FROM message m JOIN body b ON "
     "b.id = m.body "
     "WHERE (?1 = 0 OR m.mailbox = ?1) AND m.size <> b.size + LENGTH(m.prefix)",
     "mailbox %" PRId64 " uid %" PRId64 ": size %" PRId64 ", its text has %" PRId64},
    {"SELECT e.mailbox, e.uid FROM expunged e JOIN message m ON m.mailbox = e.mailbox AND m.uid = "
     "e.uid "
     "WHERE (?1 = 0 OR e.mailbox = ?1)",
     "mailbox %" PRId64 " uid %" PRId64 ": expunged, but present"},
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the texts of the tables above */
static int ask(struct check *c, const struct question *q, bool by_mailbox)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(c->r->db, q->sql, &st, c->err) != 0)
        return -1;
    if (by_mailbox)
        sql_bind_int(st, 1, (int64_t)c->mailbox);
    while ((rc = sql_step(st, c->err)) == 1)
        problem(c, q->text, sql_int(st, 0), sql_int(st, 1), sql_int(st, 2), sql_int(st, 3));
    sql_reset(st);
    return rc;
}
#pragma GCC diagnostic pop

/* ---- Files. */

static void check_file(struct check *c, uint64_t id, uint64_t size)
{
    char path[BODY_PATH_MAX];
    struct stat st;

    body_path(id, path);
    if (fstatat(c->r->store->bodies_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        problem(c, "body %" PRIu64 ": its file bodies/%s is missing", id, path);
    else if ((uint64_t)st.st_size != size)
        problem(c, "body %" PRIu64 ": its file bodies/%s has %" PRIu64 " bytes instead of %" PRIu64,
                id, path, (uint64_t)st.st_size, size);
}

static int check_files(struct check *c)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(c->r->db,
                    "SELECT id, data_size FROM body WHERE place = 1 AND (?1 = 0 OR id IN (SELECT "
                    "body FROM message "
                    "WHERE mailbox = ?1))",
                    &st, c->err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)c->mailbox);
    while ((rc = sql_step(st, c->err)) == 1)
        check_file(c, (uint64_t)sql_int(st, 0), (uint64_t)sql_int(st, 1));
    sql_reset(st);
    return rc;
}

/* ---- */

static int run(struct check *c)
{
    for (size_t i = 0; i < ARRAY_LEN(mailbox_questions); i++) {
        if (ask(c, &mailbox_questions[i], true) != 0)
            return -1;
    }
    for (size_t i = 0; c->mailbox == 0 && i < ARRAY_LEN(store_questions); i++) {
        if (ask(c, &store_questions[i], false) != 0)
            return -1;
    }
    return check_files(c);
}

static int check(struct check *c)
{
    int rc;

    if (store_read_begin(c->r, c->err) != 0)
        return -1;
    rc = run(c);
    store_read_end(c->r);
    return rc;
}

int store_check(struct store_reader *r, void (*on_problem)(void *ctx, const char *text), void *ctx,
                struct err *err)
{
    struct check c = {.r = r, .on_problem = on_problem, .ctx = ctx, .err = err};

    return check(&c);
}

int mailbox_check(struct store_reader *r, struct arena *a, uint64_t id,
                  void (*on_problem)(void *ctx, const char *text), void *ctx, struct err *err)
{
    struct check c = {.r = r, .on_problem = on_problem, .ctx = ctx, .err = err, .mailbox = id};
    struct mailbox_info info;

    return mailbox_get(r, a, id, &info, err) == 0 ? check(&c) : -1;
}
