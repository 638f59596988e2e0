/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_delivery_sites.c - who is sent to when, and over which connections. */
#include "delivery_bed.h"

#define ME "xandros@example.com"

static bool got_domain(const struct peer *p, size_t i, const char *domain)
{
    return strcmp(strchr(p->got[i].rcpts[0], '@') + 1, domain) == 0;
}

struct seek {
    const char *name;
    struct delivery_site site;
    bool found;
};
static void on_site(void *ctx, const struct delivery_site *s)
{
    struct seek *k = ctx;
    if (str_eq(s->name, str_from(k->name))) {
        k->site = *s;
        k->found = true;
    }
}
static struct seek seek(struct bed *b, const char *name)
{
    struct seek k = {.name = name};
    delivery_each(b->delivery, on_site, &k);
    return k;
}

/* ---- Connections. */

static bool at_most(struct bed *b, unsigned n)
{
    assert_true(bed_stats(b).connections <= n);
    return true;
}

static void test_reuse(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->relay.site_connections = b->relay.site_connections_first = 1;
    b->relay.messages = 3;
    bed_start(b);
    bed_send_many(b, "there.example", 7);
    UNTIL(b, bed_tried(b, 7));
    assert_int_equal(b->peer.n_got, 7);
    assert_int_equal(b->peer.all, 3); /* 3 + 3 + 1 */
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(b->peer.got[i].conn, i / 3 + 1);
    /* Kept for a while, then closed; and then nothing of the site is left. */
    assert_int_equal(bed_stats(b).idle, 1);
    bed_jump((int64_t)b->relay.idle + 1);
    UNTIL(b, bed_stats(b).connections == 0 && bed_stats(b).sites == 0);
}

/* The host ended what was idle just when it was to be used: once more, at once. */
static void test_idle_gone(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    bed_send_many(b, "there.example", 1);
    UNTIL(b, bed_tried(b, 1));
    peer_rule(&b->peer, "MAIL", "!", 1);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"again@there.example"}});
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(peer_count(&b->peer, "again@there.example"), 1);
    assert_int_equal(b->peer.all, 2);
    assert_int_equal(bed_stats(b).delivered, 2);
}

static void test_concurrency(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->relay.site_connections_first = 2;
    b->relay.site_connections = 6;
    b->peer.hold = true;
    bed_start(b);
    bed_send_many(b, "there.example", 20);
    UNTIL(b, b->peer.held == 2);
    assert_int_equal(seek(b, "there.example").site.limit, 2);
    assert_int_equal(bed_stats(b).connections, 2);
    peer_release(&b->peer);
    UNTIL(b, at_most(b, 6) && bed_tried(b, 20));
    assert_true(b->peer.all > 2 && b->peer.all <= 6);
    struct seek k = seek(b, "there.example");
    assert_int_equal(k.site.limit, 6);
    /* 421 to what is on its way: half as many. */
    peer_rule(&b->peer, "MAIL", "421 4.3.2 too busy", 1);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"again@there.example"}});
    UNTIL(b, bed_tried(b, 21));
    k = seek(b, "there.example");
    assert_int_equal(k.site.limit, 4); /* 3, and one for the message that went then */
    assert_int_equal(peer_count(&b->peer, "again@there.example"), 1);
}

static void test_wake_while_busy(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->peer.hold = true;
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, b->peer.held == 1);
    for (int i = 0; i < 5; i++)
        delivery_wake(b->delivery, STR("there.example"));
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"b@there.example"}});
    UNTIL(b, b->peer.held == 2);
    delivery_wake(b->delivery, STR(""));
    peer_release(&b->peer);
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(b->peer.n_got, 2);
    assert_int_equal(bed_rows(b), 0);
}

/* A host that takes fewer connections than we open is no dead host: what it takes goes on. */
static void test_fewer_connections(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->relay.site_connections_first = 2;
    b->peer.hold = true;
    peer_rule(&b->peer, "greeting", "220 welcome", 1);
    peer_rule(&b->peer, "greeting", "421 4.7.0 too many connections", 1);
    bed_start(b);
    bed_send_many(b, "there.example", 1);
    UNTIL(b, b->peer.held == 1);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"x@there.example"}});
    UNTIL(b, bed_stats(b).connect_failures == 1);
    assert_int_equal(seek(b, "there.example").site.limit, 1);
    assert_int_equal(bed_stats(b).attempts, 0);
    peer_release(&b->peer);
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(bed_stats(b).delivered, 2);
    assert_int_equal(b->peer.all, 2);
}

/* One connection in all: each domain gets its turn, and none waits for all of another's. */
static void test_turns(void **state)
{
    struct bed *b = *state;
    bed_domain("many.example");
    bed_domain("few.example");
    b->relay.connections = 1;
    b->peer.hold = true;
    bed_start(b);
    bed_send_many(b, "many.example", 150);
    UNTIL(b, b->peer.held == 1);
    bed_send_many(b, "few.example", 2);
    peer_release(&b->peer);
    UNTIL(b, at_most(b, 1) && bed_tried(b, 152));
    size_t last_few = 0;
    for (size_t i = 0; i < b->peer.n_got; i++)
        if (got_domain(&b->peer, i, "few.example"))
            last_few = i;
    assert_true(last_few < 130);
    assert_int_equal(bed_rows(b), 0);
}

/* Several connections of one domain make room for others. */
static void test_room(void **state)
{
    struct bed *b = *state;
    bed_domain("many.example");
    bed_domain("one.example");
    bed_domain("two.example");
    b->relay.connections = 4;
    b->relay.site_connections_first = 4;
    b->peer.hold = true;
    bed_start(b);
    bed_send_many(b, "many.example", 40);
    UNTIL(b, b->peer.held == 4);
    bed_send_many(b, "one.example", 1);
    bed_send_many(b, "two.example", 1);
    bed_turn(b);
    peer_answer(&b->peer); /* the four; what follows waits again */
    UNTIL(b, at_most(b, 4) && peer_count(&b->peer, "u0@one.example") == 1 &&
                 peer_count(&b->peer, "u0@two.example") == 1);
    assert_true(b->peer.n_got <= 8);
    peer_release(&b->peer);
    UNTIL(b, at_most(b, 4) && bed_tried(b, 42));
}

/* ---- Hosts that fail. */

static void test_dead_host(void **state)
{
    struct bed *b = *state;
    dns_mx("two.example", 10, "dead.example", false);
    dns_mx("two.example", 20, "alive.example", false);
    dns_ip("dead.example", "127.0.0.2", false); /* nobody listens there */
    dns_ip("alive.example", "127.0.0.1", false);
    b->relay.messages = 1;
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@two.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(bed_stats(b).connect_failures, 1);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"b@two.example"}});
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(b->peer.n_got, 2);
    assert_int_equal(bed_stats(b).connect_failures, 1); /* it rests */
    bed_jump(60001);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"c@two.example"}});
    UNTIL(b, bed_tried(b, 3));
    assert_int_equal(b->peer.n_got, 3);
    assert_int_equal(bed_stats(b).connect_failures, 2);
    bed_jump(60001); /* two minutes this time */
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"d@two.example"}});
    UNTIL(b, bed_tried(b, 4));
    assert_int_equal(bed_stats(b).connect_failures, 2);
}

static void test_all_dead(void **state)
{
    struct bed *b = *state;
    struct queue_to to;
    dns_mx("dead.example", 10, "host.dead.example", false);
    dns_ip("host.dead.example", "127.0.0.2", false);
    bed_start(b);
    bed_send_many(b, "dead.example", 5);
    UNTIL(b, bed_tried(b, 5));
    assert_int_equal(bed_rows(b), 5);
    assert_true(bed_stats(b).connect_failures <= 4); /* as many as it begins with */
    assert_true(bed_row(b, "u4@dead.example", &to));
    assert_has(to.last.p, "host.dead.example");
    assert_int_equal(seek(b, "dead.example").site.connections, 0);
    assert_has(seek(b, "dead.example").site.last, "host.dead.example");
    /* What has one try only gets it, although the host rests. */
    uint64_t before = bed_stats(b).connect_failures;
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"x@dead.example"}, .lifetime_ms = -1});
    UNTIL(b, bed_tried(b, 6));
    assert_int_equal(bed_stats(b).connect_failures, before + 1);
    assert_int_equal(bed_stats(b).expired, 1);
    assert_has(bed_inbox(b, ME, 0), "Status: 4.4.7\r\n");
}

static void test_greeting_421(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "greeting", "421 4.3.2 not today", 1);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 0);
    assert_int_equal(bed_stats(b).deferred, 1);
    assert_int_equal(seek(b, "there.example").site.limit, b->relay.site_connections_first / 2);
    /* Its back-off is forgotten. */
    delivery_flush(b->delivery, STR("there.example"));
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(b->peer.n_got, 1);
}

/* Lost after the final dot: it may have been taken. Not again at once. */
static void test_lost_after_dot(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "END", "!", 1);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.all, 1);
    assert_int_equal(bed_stats(b).deferred, 1);
    bed_jump(bed_wait(b, "a@there.example") + 1);
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
}

/* RFC 5321 4.5.3.1.10 */
static void test_too_many_recipients(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT c@there.example", "452 4.5.3 too many", 1);
    bed_start(b);
    bed_send(
        b, &(struct bed_mail){.sender = ME,
                              .rcpts = {"a@there.example", "b@there.example", "c@there.example"}});
    UNTIL(b, bed_tried(b, 4));
    assert_int_equal(b->peer.n_got, 2);
    assert_int_equal(peer_count(&b->peer, "c@there.example"), 1);
    assert_int_equal(bed_rows(b), 0);
}

/* ---- The queue changes. */

static void test_flush(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_domain("sub.there.example");
    bed_domain("other.example");
    peer_rule(&b->peer, "MAIL", "451 4.3.0 not now", 3);
    bed_start(b);
    bed_send(b, &(struct bed_mail){
                    .sender = ME,
                    .rcpts = {"a@there.example", "b@sub.there.example", "c@other.example"}});
    UNTIL(b, bed_tried(b, 3));
    delivery_flush(b->delivery, STR("there.example"));
    UNTIL(b, bed_tried(b, 5));
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
    assert_int_equal(peer_count(&b->peer, "b@sub.there.example"), 1);
    assert_int_equal(bed_rows(b), 1);
    delivery_flush(b->delivery, STR(""));
    UNTIL(b, bed_tried(b, 6));
    assert_int_equal(peer_count(&b->peer, "c@other.example"), 1);
}

static void change(struct bed *b, enum queue_change_what what, const char *site)
{
    struct queue_change_op op;
    queue_change_init(&op, NULL);
    op.what = what;
    op.site = str_from(site);
    op.filter = (struct queue_filter){.domain = STR("there.example"), .state = -1};
    bed_run(b, &op.op);
}

static void test_hold(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_domain("other.example");
    bed_queue(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    change(b, QUEUE_HOLD, NULL);
    bed_start(b);
    delivery_wake(b->delivery, STR(""));
    delivery_wake(b->delivery, STR("there.example"));
    UNTIL(b, bed_stats(b).sites == 0);
    assert_int_equal(bed_stats(b).attempts, 0);
    change(b, QUEUE_RELEASE, NULL);
    delivery_wake(b->delivery, STR(""));
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
}

/* An administrator's word holds, whatever the routes say; else the routes of today do. */
static void test_resite(void **state)
{
    struct bed *b = *state;
    struct queue_to to;
    char site[64];
    bed_domain("there.example");
    bed_domain("gone.example");
    peer_rule(&b->peer, "RCPT b@there.example", "451 4.3.0 not now", 1);
    bed_start(b);
    bed_send(
        b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .site = "gone.example"});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
    bed_send(b, &(struct bed_mail){
                    .sender = ME, .rcpts = {"b@there.example"}, .site = "relay:nobody:25/gone"});
    UNTIL(b, bed_tried(b, 2));
    assert_true(bed_row(b, "b@there.example", &to));
    assert_true(str_eq(to.site, STR("there.example")));
    /* There is no such host in DNS, but the peer. */
    snprintf(site, sizeof site, "relay:127.0.0.1:%u", b->peer.port);
    dns_n = 0;
    change(b, QUEUE_REROUTE, site);
    delivery_wake(b->delivery, str_from(site));
    UNTIL(b, bed_tried(b, 3));
    assert_int_equal(peer_count(&b->peer, "b@there.example"), 1);
    assert_int_equal(bed_rows(b), 0);
}

static void test_new_settings(void **state)
{
    struct bed *b = *state;
    struct relay_conf other = b->relay;
    peer_rule(&b->peer, "RCPT a@there.example", "451 4.3.0 not now", 1);
    bed_domain("there.example");
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    dns_n = 0;
    other.host = "127.0.0.1";
    other.port = b->peer.port;
    delivery_set_conf(b->delivery, &other, NULL);
    bed_jump(bed_wait(b, "a@there.example") + 1);
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(peer_count(&b->peer, "a@there.example"), 1);
    assert_int_equal(bed_rows(b), 0);
    bed_stop(b, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_reuse),
        BED_TEST(test_idle_gone),
        BED_TEST(test_concurrency),
        BED_TEST(test_wake_while_busy),
        BED_TEST(test_fewer_connections),
        BED_TEST(test_turns),
        BED_TEST(test_room),
        BED_TEST(test_dead_host),
        BED_TEST(test_all_dead),
        BED_TEST(test_greeting_421),
        BED_TEST(test_lost_after_dot),
        BED_TEST(test_too_many_recipients),
        BED_TEST(test_flush),
        BED_TEST(test_hold),
        BED_TEST(test_resite),
        BED_TEST(test_new_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
