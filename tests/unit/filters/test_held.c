/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Held mail: several messages are judged at once, few for the same stage, so that one that hangs
 * keeps nobody else's. */
#include "held_world.h"

enum { OF_SLOW = 11, OF_QUICK = 5, AT_ONCE_MAX = 20 };

/* The stages of this test: one that answers when the test says so, one that does at once. */
static struct {
    const struct ph_host *host;
    ph_turn turns[AT_ONCE_MAX];
    size_t n, all;
} slow;

static int open_slow(const struct ph_host *host, const void *conf, void **inst, struct ph_err *e)
{
    (void)conf;
    (void)e;
    *inst = NULL;
    slow.host = host;
    return 0;
}

static void on_slow(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    assert_int_equal(at, PH_MESSAGE);
    assert_true(slow.n < AT_ONCE_MAX);
    slow.turns[slow.n++] = turn;
    slow.all++;
}

static void work_quick(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                       struct ph_result *r)
{
    (void)inst;
    (void)conf;
    (void)at;
    (void)v;
    (void)r;
}

static void start(void)
{
    memset(&slow, 0, sizeof slow);
    world_init(&w);
    world_add(&w, (struct ph_stage){.name = "slow",
                                    .points = PH_AT(PH_MESSAGE),
                                    .open = open_slow,
                                    .on_point = on_slow});
    world_add(&w,
              (struct ph_stage){.name = "quick", .points = PH_AT(PH_MESSAGE), .work = work_quick});
    world_set(&w, "slow.on_error=hold");
    world_set(&w, "slow.deadline=30min");
    held_world_open();
}

static void put(uint64_t id, const char *stage)
{
    const struct message_recipient rcpt = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    const int64_t now = clock_wall_ms();
    struct queue_put q;

    queue_put_init(&q, NULL);
    q.sink = held_text();
    q.rcpts = &rcpt;
    q.n_rcpts = 1;
    q.count_max = 100;
    q.bytes_max = 1 << 20;
    q.entry = (struct queue_entry){.id = id,
                                   .held = QUEUE_HELD,
                                   .since_ms = now,
                                   .until_ms = now + 1000000,
                                   .next_ms = now,
                                   .sender = STR("s@there"),
                                   .stage = str_from(stage),
                                   .view = str_of("session\0007\0", 10)};
    assert_int_equal(store_submit_wait(w.store, &q.op), 0);
    assert_false(q.op.failed);
    body_sink_free(&q.sink);
}

static size_t waiting_for(const char *stage)
{
    struct queue_entry *list;
    struct err err;
    size_t n, found = 0;

    assert_int_equal(queue_list(reader, arena, QUEUE_HELD, 0, 0, 100, &list, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        found += str_eq(list[i].stage, str_from(stage));
    arena_clear(arena);
    return found;
}

static void put_all(void)
{
    for (uint64_t i = 0; i < OF_SLOW; i++)
        put(1 + i, "slow");
    for (uint64_t i = 0; i < OF_QUICK; i++)
        put(100 + i, "quick");
}

static void one_that_hangs_keeps_nobody_else(void **state)
{
    (void)state;
    start();
    put_all();
    filters_look_at_held(w.filters);
    while (waiting_for("quick"))
        world_turn(&w);
    assert_int_equal(slow.n, 2); /* of one stage, at once */
    assert_int_equal(waiting_for("slow"), OF_SLOW);
    finish();
}

static void answer_oldest(bool can)
{
    ph_turn turn = slow.turns[0];

    memmove(slow.turns, slow.turns + 1, --slow.n * sizeof *slow.turns);
    if (can)
        slow.host->done(slow.host, turn, PH_PASS, NULL, NULL);
    else
        slow.host->failed(slow.host, turn, PH_PASS, NULL, "it can't");
}

static void each_has_its_turn(void **state)
{
    (void)state;
    start();
    put_all();
    filters_look_at_held(w.filters);
    for (size_t done = 0; done < OF_SLOW; done++) {
        while (slow.n == 0)
            world_turn(&w);
        answer_oldest(done % 2);
        assert_true(slow.n <= 2);
    }
    while (waiting_for("slow") > (OF_SLOW + 1) / 2 || waiting_for("quick"))
        world_turn(&w);
    assert_int_equal(slow.all, OF_SLOW); /* who failed is asked again after hold_retry */
    finish();
}

/* While stages are at it: nothing of it is lost or done later. */
static void closed_meanwhile(void **state)
{
    (void)state;
    start();
    put_all();
    filters_look_at_held(w.filters);
    while (slow.n < 2)
        world_turn(&w);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_hangs_keeps_nobody_else),
        cmocka_unit_test(each_has_its_turn),
        cmocka_unit_test(closed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
