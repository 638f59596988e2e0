/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Held mail: into the queue, bounded, listed, released, removed; references always right. */
#include "appliance/store/queue.h"
#include "bed.h"

#define TEXT STR("From: a@b\r\nSubject: hi\r\n\r\nHello\r\n")

static int try_put(struct bed *b, uint64_t id, enum queue_held held, int64_t until, struct err *err)
{
    const struct message_recipient two[] = {
        {.account = STR("a@x"), .mailbox = STR("INBOX"), .prefix = STR("To: a\r\n")},
        {.account = STR("b@x"), .mailbox = STR("INBOX")}};
    struct queue_put q;

    queue_put_init(&q, NULL);
    q.sink = bed_sink(b, TEXT);
    q.rcpts = two;
    q.n_rcpts = 2;
    q.count_max = 3;
    q.bytes_max = 1 << 20;
    q.entry = (struct queue_entry){.id = id,
                                   .held = held,
                                   .since_ms = 1,
                                   .until_ms = until,
                                   .next_ms = 100,
                                   .sender = STR("s@there"),
                                   .stage = STR("virus"),
                                   .view = str_of("k\0v", 4)};
    int rc = bed_try(b, &q.op);
    *err = q.op.err;
    body_sink_free(&q.sink);
    return rc;
}

static void put(struct bed *b, uint64_t id, enum queue_held held, int64_t until)
{
    struct err err;

    if (try_put(b, id, held, until, &err))
        fail_msg("%s", err.text);
}

static size_t listed(struct bed *b, unsigned held, int64_t due, struct queue_entry **out)
{
    struct err err;
    size_t n;

    assert_int_equal(queue_list(b->reader, b->arena, held, due, 0, 100, out, &n, &err), 0);
    return n;
}

static struct queue_gone gone;

static int release_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    gone = (struct queue_gone){.n = 0};
    return queue_release_tx(tx, *(uint64_t *)ctx, NULL, &gone, err);
}

static int release_junk_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    gone = (struct queue_gone){.n = 0};
    return queue_release_tx(tx, *(uint64_t *)ctx, "Junk", &gone, err);
}

static int remove_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_remove_tx(tx, *(uint64_t *)ctx, err);
}

static int head_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_set_head_tx(tx, *(uint64_t *)ctx, STR("Subject: other\r\n\r\n"), err);
}

static int expire_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_expire_tx(tx, 1000, ctx, err);
}

static void in_and_out(void **state)
{
    struct bed *b = *state;
    struct queue_entry *list;
    struct message_recipient *rcpts;
    struct err err;
    uint64_t ids[] = {11, 12, 13};
    size_t n;

    for (int i = 0; i < 3; i++)
        put(b, ids[i], i ? QUEUE_QUARANTINE : QUEUE_HELD, 5000);
    assert_int_equal(listed(b, 0, 0, &list), 3);
    assert_int_equal(listed(b, QUEUE_HELD, 99, &list), 0);
    assert_int_equal(listed(b, QUEUE_HELD, 100, &list), 1);
    assert_int_equal(list[0].id, 11);
    assert_int_equal(list[0].n_rcpts, 2);
    assert_int_equal(list[0].size, TEXT.n);
    assert_true(str_eq(list[0].sender, STR("s@there")));
    assert_true(str_eq(list[0].view, str_of("k\0v", 4)));
    assert_int_equal(queue_rcpts(b->reader, b->arena, 12, &rcpts, &n, &err), 0);
    assert_int_equal(n, 2);
    bed_check(b);
    bed_call(b, head_fn, &ids[0]);
    bed_call(b, release_fn, &ids[0]);
    bed_call(b, release_junk_fn, &ids[1]);
    bed_call(b, remove_fn, &ids[2]);
    assert_int_equal(bed_try_call(b, remove_fn, &ids[2], &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(listed(b, 0, 0, &list), 0);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 1);
    assert_int_equal(bed_mailbox(b, bed_account(b, "b@x"), "Junk").messages, 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_rcpt"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body WHERE refs = 2"), 2);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body WHERE refs = 0"), 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_head WHERE LENGTH(head) = 18"), 1);
    bed_check(b);
}

/* Quarantine may be as full as it likes: there is room for held mail, and the other way round. */
static void each_has_its_room(void **state)
{
    struct bed *b = *state;
    struct queue_kept k;
    struct err err;

    for (unsigned held = QUEUE_HELD; held <= QUEUE_QUARANTINE; held++) {
        for (uint64_t i = 0; i < 3; i++)
            put(b, 10 * held + i, held, 5000);
        assert_int_equal(try_put(b, 10 * held + 4, held, 5000, &err), -1); /* count_max */
        assert_int_equal(err.why, ERR_WHY_LIMIT);
        assert_int_equal(err.kind, ERR_TEMP);
        assert_int_equal(queue_kept(b->reader, held, &k, &err), 0);
        assert_int_equal(k.messages, 3);
        assert_int_equal(k.bytes, 3 * TEXT.n);
    }
    bed_check(b);
}

static void survives_a_restart_and_expires(void **state)
{
    struct bed *b = *state;
    struct queue_entry *list;
    size_t n;

    put(b, 11, QUEUE_QUARANTINE, 999);
    put(b, 12, QUEUE_QUARANTINE, 5000);
    put(b, 13, QUEUE_HELD, 999); /* its time ends in the hands of its stage */
    bed_reopen(b);
    bed_call(b, expire_fn, &n);
    assert_int_equal(n, 1);
    assert_int_equal(listed(b, 0, 0, &list), 2);
    assert_int_equal(list[0].id, 12);
    bed_check(b);
}

/* ---- The account was removed meanwhile */

static int detach_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return account_detach_tx(tx, *(struct str *)ctx, err);
}

static int forget_ids_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    return sql_exec(tx->db, "UPDATE queue_rcpt SET account_id = 0", err);
}

static int open_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    uint64_t id;

    return account_open_tx(tx, *(struct str *)ctx, &id, err);
}

static void nobody_inherits(struct bed *b, bool old_rows)
{
    struct str a = STR("a@x");
    struct queue_entry *list;
    uint64_t id = 11;

    put(b, id, QUEUE_HELD, 5000);
    if (old_rows)
        bed_call(b, forget_ids_fn, NULL);
    bed_call(b, detach_fn, &a);
    bed_call(b, release_fn, &id);
    assert_int_equal(gone.n, 1);
    assert_int_equal(gone.id, id);
    assert_int_equal(bed_mailbox(b, bed_account(b, "b@x"), "INBOX").messages, 1);
    assert_int_equal(listed(b, QUEUE_QUARANTINE, 0, &list), 1);
    assert_int_equal(list[0].n_rcpts, 1);
    assert_true(str_starts(list[0].reason, STR("recipient is gone: a@x")));
    assert_true(list[0].until_ms > clock_wall_ms());
    bed_call(b, open_fn, &a); /* somebody new */
    bed_call(b, release_fn, &id);
    assert_int_equal(gone.n, 1);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 0);
    assert_int_equal(listed(b, 0, 0, &list), 1);
    bed_check(b);
    bed_call(b, remove_fn, &id);
    bed_check(b);
}

static void a_new_owner_of_the_name_gets_nothing(void **state)
{
    nobody_inherits(*state, false);
}

static void nor_of_what_older_versions_held(void **state)
{
    nobody_inherits(*state, true);
}

/* ---- With recipients here and elsewhere */

static void put_both(struct bed *b, uint64_t id, bool here)
{
    const struct message_recipient local = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    const struct queue_to to[] = {
        {.rcpt = STR("r@far"), .site = STR("far"), .next_ms = 1, .expires_ms = 1000},
        {.rcpt = STR("t@far"), .site = STR("far"), .next_ms = 1, .expires_ms = 2000}};
    const struct queue_new leaves = {
        .out = {.prefix = STR("ARC-Seal: 1\r\n")}, .to = to, .n_to = 2};
    struct queue_put q;

    queue_put_init(&q, NULL);
    q.sink = bed_sink(b, TEXT);
    q.rcpts = &local;
    q.n_rcpts = here;
    q.leaves = &leaves;
    q.count_max = 9;
    q.bytes_max = 1 << 20;
    q.entry = (struct queue_entry){.id = id,
                                   .held = QUEUE_QUARANTINE,
                                   .since_ms = clock_wall_ms() - 50000,
                                   .until_ms = 999,
                                   .sender = STR("s@there"),
                                   .stage = STR("virus"),
                                   .view = STR("much")};
    bed_run(b, &q.op);
    body_sink_free(&q.sink);
}

static size_t waiting(struct bed *b, int64_t at, struct queue_to **out)
{
    struct err err;
    size_t n;

    assert_int_equal(queue_due(b->reader, b->arena, STR("far"), at, 9, out, &n, &err), 0);
    return n;
}

static unsigned told;
static void count_told(struct store_watch *w)
{
    (void)w;
    told++;
}

static void what_leaves_does_so_when_the_others_are_gone(void **state)
{
    struct bed *b = *state;
    struct str a = STR("a@x");
    struct queue_entry *list;
    struct queue_to *to;
    uint64_t id = 11;

    put_both(b, id, true);
    bed_call(b, detach_fn, &a);
    bed_call(b, release_fn, &id);
    assert_int_equal(gone.n, 1);
    assert_int_not_equal(gone.id, id);
    assert_int_equal(waiting(b, INT64_MAX, &to), 2);
    assert_int_equal(to[0].id, id);
    assert_int_equal(listed(b, QUEUE_QUARANTINE, 0, &list), 1);
    assert_int_equal(list[0].id, gone.id);
    assert_int_equal(list[0].n_rcpts, 1);
    bed_check(b);
}

static void released_it_leaves(void **state)
{
    struct store_watch watch = {.on_change = count_told};
    struct bed *b = *state;
    struct queue_filter any = {.state = -1};
    struct message_recipient *rcpts;
    struct queue_entry *list, e;
    struct queue_site *sites;
    struct queue_out o;
    struct queue_to *to;
    struct err err;
    uint64_t id = 11;
    size_t n;

    put_both(b, id, true);
    put_both(b, 12, false);
    assert_int_equal(waiting(b, INT64_MAX, &to), 0); /* it is held: nobody may send it */
    assert_int_equal(queue_sites(b->reader, b->arena, STR(""), 9, &sites, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(queue_find(b->reader, b->arena, &any, 0, 0, 9, &to, NULL, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(queue_out_get(b->reader, b->arena, id, &e, &o, &err), -1);
    assert_int_equal(listed(b, 0, 0, &list), 2);
    assert_int_equal(list[0].n_rcpts, 3);
    assert_int_equal(queue_rcpts(b->reader, b->arena, id, &rcpts, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(queue_out_to(b->reader, b->arena, id, &to, &n, &err), 0);
    assert_true(n == 2 && to[0].state == QUEUE_WITHHELD);
    bed_check(b);
    told = 0;
    store_watch_add(b->store, STORE_WATCH_QUEUE, &watch);
    bed_call(b, release_fn, &id);
    while (!told) /* whoever sends is told */
        bed_turn(b);
    store_watch_del(b->store, &watch);
    assert_int_equal(listed(b, 0, 0, &list), 1);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 1);
    assert_int_equal(waiting(b, clock_wall_ms(), &to), 2);
    assert_true(to[0].next_ms > 1 && to[0].expires_ms >= 51000 && to[0].expires_ms < 1000000);
    assert_int_equal(queue_out_get(b->reader, b->arena, id, &e, &o, &err), 0);
    assert_true(e.held == QUEUE_LEAVES && str_eq(o.prefix, STR("ARC-Seal: 1\r\n")));
    assert_int_equal(e.view.n + e.stage.n, 0);
    assert_int_equal(bed_try_call(b, release_fn, &id, &err), -1); /* not held any more */
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(bed_int(b, "SELECT refs FROM body ORDER BY id LIMIT 1"), 2);
    bed_check(b);
    id = 12;
    bed_call(b, release_fn, &id);
    assert_int_equal(waiting(b, INT64_MAX, &to), 4);
    bed_check(b);
}

static void removed_with_all(void **state)
{
    struct bed *b = *state;
    uint64_t id = 11;
    size_t n;

    put_both(b, id, true);
    put_both(b, 12, true);
    bed_call(b, remove_fn, &id);
    bed_call(b, expire_fn, &n);
    assert_int_equal(n, 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_to"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_out"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 2);
    bed_check(b);
}

/* A store of a program that knew nothing of leaving mail. */
static void older_store(void **state)
{
    static const char *const back[] = {"DROP TABLE queue_to",
                                       "DROP TABLE queue_out",
                                       "DROP INDEX queue_held",
                                       "DROP TABLE node",
                                       "DROP TABLE row_change",
                                       "DROP TABLE stage",
                                       "ALTER TABLE queue DROP COLUMN owner",
                                       "ALTER TABLE queue_rcpt DROP COLUMN account_id",
                                       "DROP TABLE domain_quota",
                                       "DROP INDEX account_domain",
                                       "ALTER TABLE account DROP COLUMN domain",
                                       "UPDATE schema_version SET version = 3 WHERE what = 'store'",
                                       NULL};
    struct bed *b = *state;
    struct queue_entry *list;
    uint64_t id = 11;

    bed_needs_sqlite(b);
    put(b, id, QUEUE_HELD, 5000);
    put(b, 1ull << 61, QUEUE_QUARANTINE, 5000); /* younger than its accounts */
    bed_close(b);
    for (const char *const *text = back; *text; text++)
        bed_exec(b, *text);
    bed_open(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_rcpt r JOIN account a ON a.id = "
                                "r.account_id AND a.name = r.account"),
                     2);
    assert_int_equal(listed(b, QUEUE_HELD, 0, &list), 1);
    bed_call(b, release_fn, &id);
    put_both(b, 12, true);
    bed_check(b);
}

static void on_found(void *ctx, const char *text)
{
    (void)text;
    ++*(unsigned *)ctx;
}

static unsigned damage(struct bed *b, const char *sql)
{
    unsigned n = 0;
    struct err err;

    bed_exec(b, sql);
    assert_int_equal(store_check(b->reader, on_found, &n, &err), 0);
    return n;
}

static void check_finds(void **state)
{
    struct bed *b = *state;

    put_both(b, 11, true);
    put_both(b, 12, true);
    put_both(b, 13, false);
    assert_int_equal(damage(b, "UPDATE queue_to SET state = 0 WHERE queue = 11 AND n = 1"), 1);
    assert_int_equal(damage(b, "UPDATE queue_to SET state = 2 WHERE queue = 11 AND n = 1"), 0);
    assert_int_equal(damage(b, "DELETE FROM queue_to WHERE queue = 13"),
                     2); /* nobody; out is idle */
    assert_int_equal(damage(b, "DELETE FROM queue_out WHERE queue = 13"), 1);
    assert_int_equal(damage(b, "DELETE FROM queue_out WHERE queue = 12"), 2);
    assert_int_equal(damage(b, "UPDATE queue SET held = 0 WHERE id = 12"), 5);
    assert_int_equal(damage(b, "DELETE FROM queue WHERE id IN (12, 13)"),
                     2 + 1 + 1 + 2 + 0); /* refs, out is missing, rcpt, to */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(in_and_out),
        BED_TEST(each_has_its_room),
        BED_TEST(survives_a_restart_and_expires),
        BED_TEST(released_it_leaves),
        BED_TEST(removed_with_all),
        BED_TEST(a_new_owner_of_the_name_gets_nothing),
        BED_TEST(nor_of_what_older_versions_held),
        BED_TEST(what_leaves_does_so_when_the_others_are_gone),
        BED_TEST(older_store),
        BED_TEST(check_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
