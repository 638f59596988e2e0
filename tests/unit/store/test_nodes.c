/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* wrap: sql_commit */
/* Several stores on one database, as several processes have it. */
#include "appliance/store/node.h"
#include "bed.h"

#define TEXT STR("From: a@b\r\nSubject: hi\r\n\r\nHello\r\n")
enum { FAR_AHEAD_MS = 3600000 };

struct nodes {
    struct bed *a, *b;
};

static int setup(void **state)
{
    struct nodes *n = MEM_NEW(struct nodes);

    n->a = bed_new_node(NULL);
    n->b = bed_new_node(n->a);
    *state = n;
    return 0;
}

static int teardown(void **state)
{
    struct nodes *n = *state;

    bed_free(&n->b);
    bed_free(&n->a);
    mem_free(n);
    return 0;
}

/* ---- Doing something to the rows of nodes, as another node or an administrator would. */

struct text {
    const char *sql;
    int64_t p[4];
    int n;
};

static int run_text(struct store_tx *tx, void *ctx, struct err *err)
{
    const struct text *t = ctx;
    struct sql_stmt *st;

    if (sql_prepare(store_tx_sql(tx), t->sql, &st, err))
        return -1;
    for (int i = 0; i < t->n; i++)
        sql_bind_int(st, i + 1, t->p[i]);
    return sql_run(st, err);
}

static void other_node(struct bed *b, int64_t n, int64_t owner, int64_t until)
{
    struct text t = {"INSERT INTO node(n, owner, until, reserved, mark, name) "
                     "VALUES (?, ?, ?, ?, 0, 'x')",
                     {n, owner, until, 0},
                     4};

    bed_call(b, run_text, &t);
}

static unsigned number_of(uint64_t id)
{
    return (unsigned)(id >> 16) & 0x3f;
}

/* ---- Numbers and ids. */

static void each_has_its_number(void **state)
{
    struct nodes *n = *state;
    uint64_t a = store_new_id(n->a->store), b = store_new_id(n->b->store);

    assert_int_equal(number_of(a), 1);
    assert_int_equal(number_of(b), 2);
    assert_int_equal(number_of(store_new_id(n->a->store)), 1);
    assert_true(store_new_id(n->a->store) > a);
    assert_true(store_shared(n->a->store));
    assert_int_not_equal(store_owner(n->a->store), 0);
    assert_int_not_equal(store_owner(n->a->store), store_owner(n->b->store));
}

static void a_number_given_back_is_taken_again(void **state)
{
    struct nodes *n = *state;
    uint64_t last = 0, again;

    for (int i = 0; i < 100000; i++) /* more than one millisecond has */
        last = store_new_id(n->b->store);
    bed_reopen(n->b);
    again = store_new_id(n->b->store);
    assert_int_equal(number_of(again), 2);
    assert_true(again > last);
}

static void a_dead_nodes_number_begins_above_its_ids(void **state)
{
    struct nodes *n = *state;
    uint64_t id, reserved = store_id_at(clock_wall_ms() + 5000);
    struct text t = {
        "INSERT INTO node(n, owner, until, reserved, mark, name) VALUES (3, 77, 1, ?, 0, 'x')",
        {(int64_t)reserved},
        1};
    struct bed *c;

    bed_call(n->a, run_text, &t);
    c = bed_new_node(n->a);
    id = store_new_id(c->store);
    assert_int_equal(number_of(id), 3);
    assert_true(id > reserved);
    bed_free(&c);
}

static void who_lost_its_number_gets_another(void **state)
{
    struct nodes *n = *state;
    uint64_t before = store_owner(n->a->store);
    struct text t = {
        "UPDATE node SET owner = 4711, until = ? WHERE n = 1", {clock_wall_ms() + FAR_AHEAD_MS}, 1};

    bed_account(n->a, "x@y");
    bed_call(n->b, run_text, &t);
    assert_int_equal(bed_deliver(n->a, "x@y", "INBOX", TEXT), 1); /* by its new number */
    assert_int_equal(number_of(store_new_id(n->a->store)), 3);
    assert_int_not_equal(store_owner(n->a->store), before);
    assert_int_equal(bed_int(n->b, "SELECT COUNT(*) FROM message"), 1);
    assert_int_equal(bed_int(n->b, "SELECT owner FROM node WHERE n = 1"), 4711);
}

static void without_a_number_nothing_is_written(void **state)
{
    struct nodes *n = *state;
    struct text all = {"UPDATE node SET owner = n + 1000, until = ? WHERE n <> 2",
                       {clock_wall_ms() + FAR_AHEAD_MS},
                       1};
    struct err err;
    uint32_t uid;

    bed_account(n->a, "x@y");
    for (int i = 3; i <= 63; i++)
        other_node(n->b, i, 100 + i, clock_wall_ms() + FAR_AHEAD_MS);
    bed_call(n->b, run_text, &all);
    assert_int_equal(bed_try_deliver(n->a, "x@y", "INBOX", TEXT, &uid, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(store_owner(n->a->store), 0);
    assert_int_equal(bed_int(n->b, "SELECT COUNT(*) FROM message"), 0);
}

/* ---- Both write. */

struct sender {
    struct message_delivery d;
    struct message_recipient r, pair[2];
    struct bed *bed;
};

static void sent(struct store_op *op)
{
    struct sender *s = CONTAINER_OF(op, struct sender, d.op);

    if (op->failed)
        fail_msg("delivery: %s", op->err.text);
    s->bed->pending--;
}

static void send_many(struct bed *b, struct sender *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        message_delivery_init(&list[i].d, sent);
        list[i].bed = b;
        list[i].r = (struct message_recipient){.account = STR("x@y"), .mailbox = STR("INBOX")};
        list[i].d.sink = bed_sink(b, TEXT);
        list[i].d.rcpts = &list[i].r;
        list[i].d.n_rcpts = 1;
        b->pending++;
        assert_int_equal(store_submit(b->store, &list[i].d.op), 0);
    }
}

static int by_uid(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void uids_are_given_once(void **state)
{
    enum { EACH = 150 };
    static struct sender a[EACH], b[EACH];
    uint32_t uids[2 * EACH];
    struct nodes *n = *state;

    send_many(n->a, a, EACH);
    send_many(n->b, b, EACH);
    while (n->a->pending || n->b->pending) {
        bed_turn(n->a);
        bed_turn(n->b);
    }
    for (size_t i = 0; i < EACH; i++) {
        uids[i] = a[i].r.uid;
        uids[EACH + i] = b[i].r.uid;
        if (i) { /* each node's own come in their order */
            assert_true(a[i].r.uid > a[i - 1].r.uid);
            assert_true(b[i].r.uid > b[i - 1].r.uid);
        }
        body_sink_free(&a[i].d.sink);
        body_sink_free(&b[i].d.sink);
    }
    qsort(uids, 2 * EACH, sizeof uids[0], by_uid);
    for (size_t i = 0; i < 2 * EACH; i++)
        assert_int_equal(uids[i], i + 1);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(DISTINCT modseq) FROM message"), 2 * EACH);
    bed_check(n->a);
}

/* Each node locks what the other one waits for. */
static void opposite_orders_lose_nothing(void **state)
{
    enum { EACH = 100 };
    static struct sender list[2][EACH];
    struct nodes *n = *state;
    struct bed *beds[2] = {n->a, n->b};

    for (size_t i = 0; i < EACH; i++)
        for (size_t k = 0; k < 2; k++) {
            struct sender *s = &list[k][i];
            message_delivery_init(&s->d, sent);
            s->bed = beds[k];
            s->pair[k] = (struct message_recipient){.account = STR("x@y")};
            s->pair[!k] = (struct message_recipient){.account = STR("z@y")};
            s->d.sink = bed_sink(beds[k], TEXT);
            s->d.rcpts = s->pair;
            s->d.n_rcpts = 2;
            beds[k]->pending++;
            assert_int_equal(store_submit(beds[k]->store, &s->d.op), 0);
        }
    while (n->a->pending || n->b->pending) {
        bed_turn(n->a);
        bed_turn(n->b);
    }
    for (size_t i = 0; i < EACH; i++)
        for (size_t k = 0; k < 2; k++)
            body_sink_free(&list[k][i].d.sink);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM message"), 4 * EACH);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM body"), 2 * EACH);
    bed_check(n->a);
}

/* ---- A COMMIT whose reply is lost. */

int __real_sql_commit(struct sql *db, struct err *err);
int __wrap_sql_commit(struct sql *db, struct err *err);
static enum { ANSWERED, LOST_AFTER, LOST_BEFORE, CONFLICT, LOST_AND_STOLEN } next_commit;
static struct sql *of_commit; /* whose */

int __wrap_sql_commit(struct sql *db, struct err *err)
{
    if (db != of_commit || next_commit == ANSWERED)
        return __real_sql_commit(db, err);
    int how = next_commit;
    next_commit = ANSWERED;
    if (how == LOST_AFTER)
        assert_int_equal(__real_sql_commit(db, err), 0);
    else
        sql_rollback(db);
    if (how == LOST_AND_STOLEN)
        assert_int_equal(sql_exec(db,
                                  "UPDATE node SET owner = 4711, until = 9000000000000 "
                                  "WHERE n = 1",
                                  err),
                         0);
    if (how == CONFLICT)
        return ERR(err, ERR_TEMP, "deadlock");
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_UNKNOWN, "the answer was lost");
}

static void lose(struct bed *b, int how)
{
    of_commit = b->store->committer.db;
    next_commit = (unsigned)how;
}

static void a_lost_answer_is_decided(void **state)
{
    struct nodes *n = *state;
    static const int how[] = {LOST_AFTER, LOST_BEFORE, CONFLICT};

    bed_account(n->a, "x@y");
    for (uint32_t i = 0; i < ARRAY_LEN(how); i++) {
        lose(n->a, how[i]);
        assert_int_equal(bed_deliver(n->a, "x@y", "INBOX", TEXT), i + 1);
        assert_int_equal(next_commit, ANSWERED);
        assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM message"), i + 1);
    }
    bed_check(n->a);
}

static void a_lost_batch_is_decided(void **state)
{
    enum { N = 20 };
    static struct sender list[N];
    struct nodes *n = *state;

    bed_account(n->a, "x@y");
    for (int how = LOST_AFTER; how <= CONFLICT; how++) {
        lose(n->a, how);
        send_many(n->a, list, N);
        while (n->a->pending)
            bed_turn(n->a);
        for (size_t i = 0; i < N; i++)
            body_sink_free(&list[i].d.sink);
    }
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM message"), 3 * N);
    assert_int_equal(bed_int(n->a, "SELECT MAX(uid) FROM message"), 3 * N);
    bed_check(n->a);
}

/* Nobody can say: the number is another's by now. The client is told to try again. */
static void a_lost_answer_may_stay_unknown(void **state)
{
    struct nodes *n = *state;
    struct err err;
    uint32_t uid;

    bed_account(n->a, "x@y");
    lose(n->a, LOST_AND_STOLEN);
    assert_int_equal(bed_try_deliver(n->a, "x@y", "INBOX", TEXT, &uid, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(bed_deliver(n->a, "x@y", "INBOX", TEXT), 1);
    assert_int_equal(number_of(store_new_id(n->a->store)), 3);
}

/* ---- What a node has taken. */

static void another_nodes_stage_stays(void **state)
{
    struct nodes *n = *state;
    uint64_t account = bed_account(n->a, "x@y");
    uint64_t box = bed_mailbox(n->a, account, "Archive").id;
    struct text stage = {"UPDATE mailbox SET stage_first = 5000 WHERE id = ?", {(int64_t)box}, 1};
    struct text whose = {
        "INSERT INTO stage(mailbox, source, owner) VALUES (?, 0, 999)", {(int64_t)box}, 1};
    struct text dies = {"UPDATE node SET until = 0 WHERE n = 9", {0}, 0};

    other_node(n->a, 9, 999, clock_wall_ms() + FAR_AHEAD_MS);
    bed_call(n->a, run_text, &stage);
    bed_call(n->a, run_text, &whose);
    bed_reopen(n->b); /* recovers what is left over */
    bed_sweep(n->a);
    assert_int_equal(bed_int(n->a, "SELECT MAX(stage_first) FROM mailbox"), 5000);
    bed_call(n->a, run_text, &dies); /* and somebody notices, and cleans up */
    while (bed_int(n->a, "SELECT MAX(stage_first) FROM mailbox") != 0) {
        bed_turn(n->a);
        bed_turn(n->b);
    }
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM stage"), 0);
}

static void large_copy(struct bed *b, uint64_t from, uint64_t to, bool move, uint64_t count)
{
    struct uid_range all = {1, UINT32_MAX};
    struct message_copy c;

    message_copy_init(&c, NULL);
    c.from = from;
    c.to = to;
    c.set = &all;
    c.n_set = 1;
    c.move = move;
    bed_run(b, &c.op);
    assert_int_equal(c.uids.n / (2 * sizeof(uint32_t)), count);
    buf_fini(&c.uids);
}

static void a_large_move_is_seen_by_all(void **state)
{
    enum { MANY = 700 };
    static struct sender list[MANY];
    struct nodes *n = *state;
    uint64_t account = bed_account(n->a, "x@y");
    uint64_t inbox = bed_mailbox(n->a, account, "INBOX").id;
    uint64_t archive = bed_mailbox(n->a, account, "Archive").id;

    send_many(n->a, list, MANY);
    while (n->a->pending)
        bed_turn(n->a);
    for (size_t i = 0; i < MANY; i++)
        body_sink_free(&list[i].d.sink);
    large_copy(n->a, inbox, archive, false, MANY);
    large_copy(n->b, inbox, archive, true, MANY);
    assert_int_equal(bed_mailbox(n->b, account, "INBOX").messages, 0);
    assert_int_equal(bed_mailbox(n->a, account, "Archive").messages, 2 * MANY);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM stage"), 0);
    bed_check(n->a);
}

static void one_sweeps_at_a_time(void **state)
{
    struct nodes *n = *state;
    struct text turn = {"INSERT INTO store_meta(name, value) VALUES ('sweeper', 999)", {0}, 0};
    struct text dies = {"UPDATE node SET until = 0 WHERE n = 9", {0}, 0};

    n->a->conf.dead_grace = n->b->conf.dead_grace = 0;
    other_node(n->a, 9, 999, clock_wall_ms() + FAR_AHEAD_MS);
    bed_call(n->a, run_text, &turn);
    bed_deliver(n->a, "x@y", "INBOX", TEXT);
    struct text dead = {"INSERT INTO body_dead(since, id, place) VALUES (1, 1, 0)", {0}, 0};
    bed_call(n->a, run_text, &dead);
    bed_sweep(n->a);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM body_dead"), 1);
    bed_call(n->a, run_text, &dies);
    bed_sweep(n->b);
    assert_int_equal(bed_int(n->a, "SELECT COUNT(*) FROM body_dead"), 0);
    assert_int_equal(bed_int(n->a, "SELECT value FROM store_meta WHERE name = 'sweeper'"), 0);
}

/* ---- Watching. */

struct watcher {
    struct store_watch w;
    unsigned told;
};

static void on_change(struct store_watch *w)
{
    CONTAINER_OF(w, struct watcher, w)->told++;
}

/* Turns both until the watcher is told once more. */
static void wait_told(struct nodes *n, struct watcher *w)
{
    unsigned before = w->told;

    while (w->told == before) {
        bed_turn(n->a);
        bed_turn(n->b);
    }
}

static void a_watcher_sees_the_others_changes(void **state)
{
    struct nodes *n = *state;
    uint64_t account = bed_account(n->a, "x@y");
    uint64_t inbox = bed_mailbox(n->a, account, "INBOX").id;
    struct watcher w = {.w = {.on_change = on_change}};
    struct uid_range all = {1, UINT32_MAX};
    struct message_store_flags f;
    struct message_expunge e;

    store_watch_add(n->a->store, inbox, &w.w);
    wait_told(n, &w); /* the first state */
    bed_deliver(n->b, "x@y", "INBOX", TEXT);
    wait_told(n, &w);
    message_store_flags_init(&f, NULL);
    f.mailbox = inbox;
    f.set = &all;
    f.n_set = 1;
    f.flags = MESSAGE_DELETED;
    f.how = MESSAGE_FLAGS_ADD;
    bed_run(n->b, &f.op);
    buf_fini(&f.modified);
    wait_told(n, &w);
    message_expunge_init(&e, NULL);
    e.mailbox = inbox;
    e.set = &all;
    e.n_set = 1;
    bed_run(n->b, &e.op);
    wait_told(n, &w);
    store_watch_del(n->a->store, &w.w);
}

static int change_table(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    store_tx_changed(tx, STORE_WATCH_TABLES + 2);
    return 0;
}

static void tables_of_other_rooms_are_watched(void **state)
{
    struct nodes *n = *state;
    struct watcher w = {.w = {.on_change = on_change}}, other = {.w = {.on_change = on_change}};

    store_watch_add(n->a->store, STORE_WATCH_TABLES + 2, &w.w);
    store_watch_add(n->a->store, STORE_WATCH_TABLES, &other.w);
    for (int i = 0; i < 3; i++) {
        bed_call(n->b, change_table, NULL);
        wait_told(n, &w);
    }
    assert_int_equal(other.told, 0);
    store_watch_del(n->a->store, &w.w);
    store_watch_del(n->a->store, &other.w);
}

static void wait_renewed(struct nodes *n)
{
    int64_t until = bed_int(n->b, "SELECT until FROM node WHERE n = 1");

    while (bed_int(n->b, "SELECT until FROM node WHERE n = 1") == until)
        bed_turn(n->a);
}

static void the_end_of_a_node_is_told(void **state)
{
    struct nodes *n = *state;
    struct watcher w = {.w = {.on_change = on_change}};
    struct text dies = {"UPDATE node SET until = 0 WHERE n = 9", {0}, 0};

    other_node(n->b, 9, 999, clock_wall_ms() + FAR_AHEAD_MS);
    wait_renewed(n);
    store_watch_add(n->a->store, STORE_WATCH_NODES, &w.w);
    bed_call(n->b, run_text, &dies);
    wait_told(n, &w);
    store_watch_del(n->a->store, &w.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(a_number_given_back_is_taken_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_nodes_number_begins_above_its_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(who_lost_its_number_gets_another, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_number_nothing_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(uids_are_given_once, setup, teardown),
        cmocka_unit_test_setup_teardown(opposite_orders_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_is_decided, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_batch_is_decided, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_may_stay_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(another_nodes_stage_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_move_is_seen_by_all, setup, teardown),
        cmocka_unit_test_setup_teardown(one_sweeps_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watcher_sees_the_others_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_node_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_of_other_rooms_are_watched, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
