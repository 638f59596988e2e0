/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_delivery_nodes.c - two nodes empty one queue: each message is sent once. */
#include "delivery_bed.h"

#define ME "xandros@example.com"
enum { MANY = 60 };

/* The second one: a store and a delivery in the loop of the first. */
struct other {
    struct store *store;
    struct delivery *delivery;
    bool stopped;
};

static void other_open(struct bed *b, struct other *o)
{
    if (store_open(b->dir, &b->store_conf, b->loop, &o->store, &b->err))
        fail_msg("%s", b->err.text);
}

static void other_start(struct bed *b, struct other *o)
{
    const struct delivery_conf conf = {.relay = &b->relay,
                                       .hostname = "mail.example.com",
                                       .origin = "example.com",
                                       .loop = b->loop,
                                       .store = o->store,
                                       .directory = b->directory};
    if (delivery_new(&conf, &o->delivery, &b->err))
        fail_msg("%s", b->err.text);
}

static void other_on_stopped(void *ctx)
{
    ((struct other *)ctx)->stopped = true;
}

static void other_stop(struct bed *b, struct other *o)
{
    o->stopped = false;
    delivery_stop(o->delivery, 0, other_on_stopped, o);
    UNTIL(b, o->stopped);
    delivery_free(&o->delivery);
}

static uint64_t attempts(const struct other *o)
{
    struct delivery_stats s;

    delivery_stats(o->delivery, &s);
    return s.attempts;
}

static void test_each_is_sent_once(void **state)
{
    struct bed *b = *state;
    struct other o;

    bed_domain("there.example");
    b->relay.site_connections_first = 2;
    for (unsigned i = 0; i < MANY; i++) {
        struct str rcpt = arena_printf(b->arena, "u%u@there.example", i);
        bed_queue(b, &(struct bed_mail){.sender = ME, .rcpts = {rcpt.p}});
    }
    other_open(b, &o);
    other_start(b, &o);
    bed_start(b);
    UNTIL(b, bed_rows(b) == 0);
    UNTIL(b, bed_stats(b).in_flight == 0);
    assert_int_equal(b->peer.n_got, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(peer_count(&b->peer, arena_printf(b->arena, "u%u@there.example", i).p), 1);
    assert_int_equal(bed_stats(b).attempts + attempts(&o), MANY);
    other_stop(b, &o);
    store_close(&o.store);
}

/* What the other one has under way stays its own; when it has ended, it is free. */
static void test_an_end_is_noticed(void **state)
{
    struct bed *b = *state;
    struct other o;

    bed_domain("there.example");
    bed_queue(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    other_open(b, &o);
    b->peer.hold = true;
    other_start(b, &o);
    UNTIL(b, b->peer.held == 1);
    bed_start(b);
    for (int i = 0; i < 50; i++)
        bed_turn(b);
    assert_int_equal(b->peer.held, 1);
    assert_int_equal(bed_stats(b).attempts, 0);
    other_stop(b, &o); /* in the middle: the row stays */
    store_close(&o.store);
    b->peer.hold = false;
    UNTIL(b, bed_tried(b, 1)); /* told of the end, without being asked */
    assert_int_equal(bed_rows(b), 0);
}

/* Taken for dead while the other host has the message: nobody took the row, so the reply counts. */
static void test_taken_for_dead(void **state)
{
    struct bed *b = *state;

    bed_domain("there.example");
    b->peer.hold = true;
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, b->peer.held == 1);
    uint64_t owner = store_owner(b->store);
    bed_by_hand(b, "UPDATE node SET owner = 4711");
    UNTIL(b, store_owner(b->store) != owner);
    for (int i = 0; i < 50; i++)
        bed_turn(b);
    b->peer.hold = false;
    peer_release(&b->peer);
    UNTIL(b, bed_rows(b) == 0);
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
}

static int set_up_shared(void **state)
{
    struct bed *b;

    bed_shared = true;
    b = bed_new();
    bed_shared = false;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    bed_free((struct bed **)state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_sent_once, set_up_shared, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_is_noticed, set_up_shared, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_for_dead, set_up_shared, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
