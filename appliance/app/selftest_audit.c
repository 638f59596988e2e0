/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_audit.c - what a store holds against what was acknowledged: each message that was, once
 * for each recipient and whole; each that was not, for all recipients or none; and what the store
 * and the database say of themselves. */
#include "appliance/app/selftest.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/message.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { AT_ONCE = 200, MESSAGE_MAX = 1 << 20 };

struct reading {
    struct selftest_audit *a;
    struct store_reader *r;
    struct arena *arena;
    uint8_t *counts[SELFTEST_ACCOUNTS]; /* by number */
    struct buf data, want;
};

static void problem(struct selftest_audit *a, uint64_t *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void problem(struct selftest_audit *a, uint64_t *count, const char *fmt, ...)
{
    va_list ap;

    ++*count;
    if (a->problem[0])
        return;
    va_start(ap, fmt);
    vsnprintf(a->problem, sizeof a->problem, fmt, ap);
    va_end(ap);
}

/* ---- One message. */

static bool take(struct str *rest, struct str part)
{
    if (!str_starts(*rest, part))
        return false;
    *rest = str_skip(*rest, part.n);
    return true;
}

static uint64_t number_of(struct str head)
{
    struct str line, rest;
    uint64_t number;
    size_t at;

    if (!str_find(head, STR("Subject: number "), &at))
        return 0;
    str_cut(str_skip(head, at + 16), '\r', &line, &rest);
    return str_to_u64(line, UINT64_MAX, &number) == 0 ? number : 0;
}

static bool is_whole(struct reading *g, uint64_t number, unsigned account, struct str prefix,
                     struct str head, struct str data)
{
    char address[64], want_prefix[96];
    struct str want;

    selftest_address(account, address);
    snprintf(want_prefix, sizeof want_prefix, "Delivered-To: %s\r\n", address);
    selftest_message(number, &g->want);
    want = buf_str(&g->want);
    return str_eq(prefix, str_from(want_prefix)) && take(&want, head) && str_eq(want, data);
}

static int read_message(struct reading *g, unsigned account, const struct message_info *m,
                        struct err *err)
{
    struct selftest_audit *a = g->a;
    struct body_reader body;
    struct str data = STR("");
    uint64_t number;

    if (body_open(g->r, g->arena, m->body, BODY_WANT_HEAD | BODY_WANT_DATA, &body, err) != 0)
        return -1;
    number = number_of(body.head);
    buf_clear(&g->data);
    if (body.data_size > MESSAGE_MAX || body_read(&body, 0, body.data_size, &g->data, &data, err)) {
        problem(a, &a->damaged, "the text of number %" PRIu64 " can't be read", number);
    } else if (number == 0 || number >= a->end) {
        problem(a, &a->damaged, "user%u has a message nobody sent (uid %u)", account, m->uid);
    } else if (!is_whole(g, number, account, m->prefix, body.head, data)) {
        problem(a, &a->damaged, "the text of number %" PRIu64 " is not what was sent", number);
    }
    if (number && number < a->end && g->counts[account][number] < UINT8_MAX)
        g->counts[account][number]++;
    a->present++;
    body_close(&body);
    return 0;
}

static int read_account(struct reading *g, unsigned account, struct err *err)
{
    struct account_info info;
    struct mailbox_info box;
    struct message_info *list;
    struct message_query q = {.first = 1, .last = UINT32_MAX, .max = AT_ONCE, .want_prefix = true};
    char address[64];
    size_t n;

    selftest_address(account, address);
    if (account_find(g->r, g->arena, str_from(address), &info, err) != 0 ||
        mailbox_find(g->r, g->arena, info.id, STR("INBOX"), &box, err) != 0)
        return err->why == ERR_WHY_NOT_FOUND ? 0 : -1;
    do {
        arena_clear(g->arena);
        if (message_range(g->r, g->arena, box.id, &q, &list, &n, err) != 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (read_message(g, account, &list[i], err) != 0)
                return -1;
        }
        q.first = n ? list[n - 1].uid + 1 : 0;
    } while (n == q.max);
    return 0;
}

/* ---- All together. */

static void compare(struct reading *g)
{
    struct selftest_audit *a = g->a;

    for (uint64_t number = 1; number < a->end; number++) {
        unsigned to[SELFTEST_RECIPIENTS];
        size_t n = selftest_recipients(number, to), got = 0;
        for (size_t i = 0; i < n; i++) {
            unsigned count = g->counts[to[i]][number];
            got += count > 0;
            if (count > 1)
                problem(a, &a->doubled, "user%u has number %" PRIu64 " %u times", to[i], number,
                        count);
        }
        if (a->accepted[number] && got < n)
            problem(a, &a->lost, "number %" PRIu64 " was acknowledged and is lost", number);
        else if (got && got < n)
            problem(a, &a->halved, "number %" PRIu64 " reached some of its recipients only",
                    number);
    }
}

static void on_unsound(void *ctx, const char *text)
{
    struct selftest_audit *a = ctx;

    problem(a, &a->unsound, "the store's own check says: %s", text);
}

static int check_database(struct reading *g, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(store_reader_sql(g->r), "PRAGMA integrity_check(3)", &st, err) != 0)
        return -1;
    while ((rc = sql_step(st, err)) == 1) {
        struct str line = sql_text(st, 0);
        if (!str_eq(line, STR("ok")))
            problem(g->a, &g->a->unsound, "the database says: " STR_FMT, STR_ARG(line));
    }
    sql_reset(st);
    return rc;
}

static int read_store(struct reading *g, struct err *err)
{
    if (check_database(g, err) != 0 || store_check(g->r, on_unsound, g->a, err) != 0)
        return -1;
    for (unsigned i = 0; i < SELFTEST_ACCOUNTS; i++) {
        if (read_account(g, i, err) != 0)
            return -1;
    }
    compare(g);
    return 0;
}

static int audit_open_store(struct store *s, struct selftest_audit *a, struct err *err)
{
    struct reading g = {.a = a};
    int rc;

    if (store_reader_open(s, &g.r, err) != 0)
        return -1;
    g.arena = arena_new(0);
    buf_init(&g.data, MESSAGE_MAX);
    buf_init(&g.want, MESSAGE_MAX);
    for (unsigned i = 0; i < SELFTEST_ACCOUNTS; i++)
        g.counts[i] = mem_alloc(a->end + 1);
    rc = read_store(&g, err);
    for (unsigned i = 0; i < SELFTEST_ACCOUNTS; i++)
        mem_free(g.counts[i]);
    buf_fini(&g.data);
    buf_fini(&g.want);
    arena_free(&g.arena);
    store_reader_close(&g.r);
    return rc;
}

bool selftest_audit(const char *folder, const struct store_conf *conf, struct selftest_audit *a)
{
    struct err err = {0};
    struct loop *l;
    struct store *s;

    a->present = a->lost = a->doubled = a->damaged = a->halved = a->unsound = 0;
    a->problem[0] = '\0';
    if (selftest_open(folder, conf, &l, &s, &err) != 0) {
        problem(a, &a->unsound, "the store can't be opened: %s", err.text);
        return false;
    }
    if (audit_open_store(s, a, &err) != 0)
        problem(a, &a->unsound, "the store can't be read: %s", err.text);
    selftest_close(&l, &s);
    return selftest_audit_problems(a) == 0;
}

uint64_t selftest_audit_problems(const struct selftest_audit *a)
{
    return a->lost + a->doubled + a->damaged + a->halved + a->unsound;
}

void selftest_audit_add(struct selftest_audit *sum, const struct selftest_audit *one,
                        const char *when)
{
    sum->present += one->present;
    sum->lost += one->lost;
    sum->doubled += one->doubled;
    sum->damaged += one->damaged;
    sum->halved += one->halved;
    sum->unsound += one->unsound;
    if (one->problem[0] && !sum->problem[0])
        snprintf(sum->problem, sizeof sum->problem, "%.90s: %.220s", when, one->problem);
}
