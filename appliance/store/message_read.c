/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* message_read.c - messages as readers see them: only those with uid < uidnext exist, a large copy
 * stages its rows above. */
#include "appliance/store/store_private.h"
#include <stdlib.h>

enum { RANGE_FIRST_ROOM = 64, UIDS_BYTES_MAX = 1 << 30, UNSEEN_STRIDE = 512 };

static int read_uidnext(struct store_reader *r, uint64_t mailbox, uint32_t *uidnext,
                        uint64_t *unseen, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(r->db, "SELECT uidnext, unseen FROM mailbox WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    rc = sql_step(st, err);
    *uidnext = rc == 1 ? (uint32_t)sql_int(st, 0) : 0;
    *unseen = rc == 1 ? (uint64_t)sql_int(st, 1) : 0;
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such mailbox");
    return rc < 0 ? -1 : 0;
}

void message_row_read(struct sql_stmt *st, struct arena *a, bool want_prefix,
                      struct message_info *m)
{
    m->uid = (uint32_t)sql_int(st, 0);
    m->modseq = (uint64_t)sql_int(st, 1);
    m->flags = (uint64_t)sql_int(st, 2);
    m->internal_ms = sql_int(st, 3);
    m->size = (uint64_t)sql_int(st, 4);
    m->body = (uint64_t)sql_int(st, 5);
    m->prefix = want_prefix ? arena_str(a, sql_blob(st, 6)) : STR_NULL;
}

/* The prefix makes the rows' columns long: not asked for, it isn't read. */
#define ROW_COLUMNS "SELECT uid, modseq, flags, idate, size, body"
#define ROW_WHERE                                                                                  \
    " FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ? AND modseq > ? ORDER BY uid"

int message_get(struct store_reader *r, struct arena *a, uint64_t mailbox, uint32_t uid,
                struct message_info *out, struct err *err)
{
    struct message_query q = {.first = uid, .last = uid, .max = 1, .want_prefix = true};
    struct message_info *list;
    size_t n;

    if (message_range(r, a, mailbox, &q, &list, &n, err) != 0)
        return -1;
    if (n == 0)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND, "no such message");
    *out = list[0];
    return 0;
}

static struct message_info *more_room(struct arena *a, struct message_info *old, size_t n,
                                      size_t room)
{
    struct message_info *list = ARENA_ARRAY(a, struct message_info, room);

    if (n)
        memcpy(list, old, n * sizeof *list);
    return list;
}

int message_range(struct store_reader *r, struct arena *a, uint64_t mailbox,
                  const struct message_query *q, struct message_info **out, size_t *n_out,
                  struct err *err)
{
    size_t n = 0, room = q->max < RANGE_FIRST_ROOM ? q->max : RANGE_FIRST_ROOM;
    struct message_info *list = more_room(a, NULL, 0, room);
    struct sql_stmt *st;
    uint64_t unseen;
    uint32_t uidnext;
    int rc = 0;

    if (read_uidnext(r, mailbox, &uidnext, &unseen, err) != 0 ||
        sql_prepare(r->db,
                    q->want_prefix ? ROW_COLUMNS ", prefix" ROW_WHERE : ROW_COLUMNS ROW_WHERE, &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, q->first);
    sql_bind_int(st, 3, q->last < uidnext ? (int64_t)q->last : (int64_t)uidnext - 1);
    sql_bind_int(st, 4, (int64_t)q->since);
    while (n < q->max && (rc = sql_step(st, err)) == 1) {
        if (n == room) {
            room = room * 2 < q->max ? room * 2 : q->max;
            list = more_room(a, list, n, room);
        }
        message_row_read(st, a, q->want_prefix, &list[n++]);
    }
    sql_reset(st);
    *out = list;
    *n_out = n;
    return rc < 0 ? -1 : 0;
}

/* Steps through a statement of uids into a heap array. */
static int collect_uids(struct sql_stmt *st, uint32_t **out, size_t *n_out, struct err *err)
{
    struct buf b;
    int rc;

    buf_init(&b, UIDS_BYTES_MAX);
    while ((rc = sql_step(st, err)) == 1) {
        uint32_t uid = (uint32_t)sql_int(st, 0);
        buf_add(&b, &uid, sizeof uid);
    }
    sql_reset(st);
    if (rc == 0 && !buf_ok(&b))
        rc = ERR_WHY(err, ERR_TEMP, ERR_WHY_LIMIT, "too many messages");
    if (rc < 0) {
        buf_fini(&b);
        return -1;
    }
    *n_out = b.n / sizeof(uint32_t);
    *out = (uint32_t *)(void *)b.p; /* the caller's from here on */
    return 0;
}

int message_uids(struct store_reader *r, uint64_t mailbox, uint32_t uidnext, uint32_t **out,
                 size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(r->db, "SELECT uid FROM message WHERE mailbox = ? AND uid < ? ORDER BY uid",
                    &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, uidnext);
    return collect_uids(st, out, n_out, err);
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int message_expunged(struct store_reader *r, uint64_t mailbox, uint64_t since, uint32_t **out,
                     size_t *n_out, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(r->db, "SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ?", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, (int64_t)since);
    if (collect_uids(st, out, n_out, err) != 0)
        return -1;
    if (*n_out)
        qsort(*out, *n_out, sizeof(uint32_t), compare_uids);
    return 0;
}

/* ---- The first unseen message, without an index: mostly it is near one of the ends. Both are
 * searched in turns, from below for the first without \Seen, from above until all that the counter
 * knows are found. */

struct unseen_search {
    struct sql_stmt *up, *down;
    uint64_t expected, found;
    uint32_t lowest_found, first;
    bool done;
};

static int step_up(struct unseen_search *s, struct err *err)
{
    for (int i = 0; i < UNSEEN_STRIDE && !s->done; i++) {
        int rc = sql_step(s->up, err);
        if (rc < 0)
            return -1;
        s->done = rc == 0 || !(sql_int(s->up, 1) & MESSAGE_SEEN);
        s->first = rc == 0 ? 0 : (uint32_t)sql_int(s->up, 0);
    }
    return 0;
}

static int step_down(struct unseen_search *s, struct err *err)
{
    for (int i = 0; i < UNSEEN_STRIDE && !s->done; i++) {
        int rc = sql_step(s->down, err);
        if (rc < 0)
            return -1;
        if (rc == 1 && !(sql_int(s->down, 1) & MESSAGE_SEEN)) {
            s->lowest_found = (uint32_t)sql_int(s->down, 0);
            s->found++;
        }
        s->done = rc == 0 || s->found == s->expected;
        s->first = s->lowest_found;
    }
    return 0;
}

int message_first_unseen(struct store_reader *r, uint64_t mailbox, uint32_t *uid_out,
                         struct err *err)
{
    struct unseen_search s = {0};
    uint32_t uidnext;
    int rc = 0;

    *uid_out = 0;
    if (read_uidnext(r, mailbox, &uidnext, &s.expected, err) != 0)
        return -1;
    if (s.expected == 0)
        return 0;
    if (sql_prepare(r->db,
                    "SELECT uid, flags FROM message WHERE mailbox = ? AND uid < ? ORDER BY uid",
                    &s.up, err) != 0 ||
        sql_prepare(
            r->db, "SELECT uid, flags FROM message WHERE mailbox = ? AND uid < ? ORDER BY uid DESC",
            &s.down, err) != 0)
        return -1;
    sql_bind_int(s.up, 1, (int64_t)mailbox);
    sql_bind_int(s.up, 2, uidnext);
    sql_bind_int(s.down, 1, (int64_t)mailbox);
    sql_bind_int(s.down, 2, uidnext);
    while (rc == 0 && !s.done) {
        rc = step_up(&s, err);
        if (rc == 0 && !s.done)
            rc = step_down(&s, err);
    }
    sql_reset(s.up);
    sql_reset(s.down);
    *uid_out = s.first;
    return rc;
}
