/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_delivery_stop.c - what a crash, a stop and a broken store leave behind. */
#include "delivery_bed.h"

#define ME "xandros@example.com"

static void test_crash_before_settling(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->peer.hold = true;
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, b->peer.held == 1);
    bed_stop(b, 0); /* the host has it, we don't know */
    assert_int_equal(bed_rows(b), 1);
    b->peer.hold = false;
    bed_start(b);
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 2);
    assert_int_equal(bed_rows(b), 0);
    bed_stop(b, 0);
    bed_start(b); /* and never again */
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"b@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 3);
}

static void test_drain(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->relay.site_connections_first = 1;
    b->peer.hold = true;
    bed_start(b);
    bed_send_many(b, "there.example", 3);
    UNTIL(b, b->peer.held == 1);
    delivery_stop(b->delivery, 600000, bed_on_stopped, b);
    delivery_wake(b->delivery, STR("there.example"));
    bed_turn(b);
    assert_false(b->stopped);
    peer_release(&b->peer);
    UNTIL(b, b->stopped);
    delivery_free(&b->delivery);
    assert_int_equal(b->peer.n_got, 1); /* what was under way, and nothing new */
    assert_int_equal(bed_rows(b), 2);
}

static void test_drain_ends(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->peer.hold = true;
    bed_start(b);
    bed_send_many(b, "there.example", 2);
    UNTIL(b, b->peer.held == 2);
    delivery_stop(b->delivery, 5000, bed_on_stopped, b);
    bed_turn(b);
    assert_false(b->stopped);
    bed_jump(5001);
    UNTIL(b, b->stopped);
    delivery_free(&b->delivery);
    assert_int_equal(bed_rows(b), 2);
}

/* No row goes any more, until the trigger does. */
static void break_queue(struct bed *b)
{
    bed_by_hand(b, b->store_conf.server
                       ? "CREATE TRIGGER broken BEFORE DELETE ON queue_to FOR EACH ROW "
                         "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'broken'"
                       : "CREATE TRIGGER broken BEFORE DELETE ON queue_to "
                         "BEGIN SELECT RAISE(ABORT, 'broken'); END");
}

/* What was delivered but can't be recorded isn't sent again, and is recorded when it can be. */
static void test_unrecorded(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT bad@there.example", "550 5.1.1 no", 1);
    bed_start(b);
    break_queue(b);
    bed_send(b,
             &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example", "bad@there.example"}});
    UNTIL(b, bed_stats(b).attempts == 2);
    for (int i = 0; i < 5; i++) {
        bed_jump(3600000);
        delivery_wake(b->delivery, STR("there.example"));
        bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"other@there.example"}});
        UNTIL(b, peer_count(&b->peer, "other@there.example") == (size_t)i + 1);
    }
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
    assert_int_equal(bed_rows(b), 7);
    assert_null(bed_inbox(b, ME, 0));
    bed_by_hand(b, "DROP TRIGGER broken");
    bed_jump(3600000);
    UNTIL(b, bed_rows(b) == 0 && bed_stats(b).in_flight == 0);
    assert_int_equal(b->peer.n_got, 6);
    assert_has(bed_inbox(b, ME, 0), "Final-Recipient: rfc822; bad@there.example\r\n");
    assert_null(bed_inbox(b, ME, 1));
}

static void test_unrecorded_at_the_end(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    break_queue(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_stats(b).attempts == 1);
    delivery_stop(b->delivery, 5000, bed_on_stopped, b);
    bed_turn(b);
    bed_jump(5001);
    UNTIL(b, b->stopped);
    delivery_free(&b->delivery);
    bed_by_hand(b, "DROP TRIGGER broken");
    assert_int_equal(bed_rows(b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_crash_before_settling),
        BED_TEST(test_drain),
        BED_TEST(test_drain_ends),
        BED_TEST(test_unrecorded),
        BED_TEST(test_unrecorded_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
