/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sessions against a real store and directory: what dialogs can't show. The dialogs are
 * tests/dialogs/smtp. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "tests/unit/disk_world.h"
#include "world.h"
#include <time.h>

static void delivered_once_committed(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_envelope(&c, "xandros@example.com");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 0);
    client_say(&c, "Subject: x\r\n\r\nx\r\n.\r\n");
    client_want(&c, "250 2.0.0");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    assert_int_equal(smtp_server_sessions(w.server), 1);
    client_close(&c);
    world_end(&w);
}

struct set_quota {
    struct store_op op;
    uint64_t bytes, messages;
};

static int run_set_quota(struct store_op *op, struct store_tx *tx)
{
    struct set_quota *q = CONTAINER_OF(op, struct set_quota, op);
    uint64_t id;
    if (account_open_tx(tx, STR("vivita@example.com"), &id, &op->err))
        return -1;
    return account_set_quota_tx(tx, id, true, q->bytes, q->messages, &op->err);
}

static void quota(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct set_quota q = {
        .op = {.run = run_set_quota, .cls = STORE_INTERACTIVE}, .bytes = 1000, .messages = 2};
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    assert_int_equal(store_submit_wait(w.store, &q.op), 0);
    client_hello(&c, &w);
    client_say(&c, "MAIL FROM:<a@there.example> SIZE=1001\r\nRCPT TO:<vivita@example.com>\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "552 5.2.2");
    client_say(&c, "RCPT TO:<xandros@example.com>\r\nRSET\r\n");
    client_want(&c, "250 2.1.5");
    client_want(&c, "250 2.0.0");
    for (int i = 0; i < 2; i++) {
        client_envelope(&c, "vivita@example.com");
        client_say(&c, ".\r\n");
        client_want(&c, "250 2.0.0");
    }
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<vivita@example.com>\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "452 4.2.2");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 2);
    client_close(&c);
    world_end(&w);
}

static void say_octets(struct client *c, size_t n)
{
    for (size_t i = 0; i < n; i += 10)
        client_say(c, "12345678\r\n");
    client_say(c, ".\r\n");
}

/* The size isn't known before the end: one mailbox is asked then, several may be overrun. */
static void quota_without_size(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct set_quota q = {.op = {.run = run_set_quota, .cls = STORE_INTERACTIVE}, .bytes = 2000};
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    assert_int_equal(store_submit_wait(w.store, &q.op), 0);
    client_hello(&c, &w);
    client_envelope(&c, "vivita@example.com");
    say_octets(&c, 3000);
    client_want(&c, "552 5.2.2");
    client_envelope(&c, "vivita@example.com");
    say_octets(&c, 1200);
    client_want(&c, "250 2.0.0");
    client_envelope(&c, "vivita@example.com");
    say_octets(&c, 1200);
    client_want(&c, "452 4.2.2");
    client_envelope(&c, "vivita@example.com");
    client_say(&c, "\r\nx\r\n.\r\n");
    client_want(&c, "250 2.0.0");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 2);
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<vivita@example.com>\r\n"
                   "RCPT TO:<xandros@example.com>\r\nDATA\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "250 2.1.5");
    client_want(&c, "250 2.1.5");
    client_want(&c, "354");
    say_octets(&c, 1200);
    client_want(&c, "250 2.0.0");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 3);
    client_close(&c);
    world_end(&w);
}

static void low_on_space(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    w.store_conf.min_free = UINT64_MAX / 2;
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_say(&c, "MAIL FROM:<a@there.example>\r\n");
    client_want(&c, "452 4.3.1");
    client_close(&c);
    world_end(&w);
}

/* The disk has room for most of it: it is refused, and nobody else. */
static void low_on_space_while_it_arrives(void **state)
{
    (void)state;
    struct world w;
    struct client big, small;
    world_prepare(&w);
    w.store_conf.min_free = 64 << 20;
    w.store_conf.disk = disk_world_of(w.dir, 66 << 20);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&big, &w);
    client_ask(&big, "MAIL FROM:<a@there.example> SIZE=3000000", "452 4.3.1");
    client_envelope(&big, "xandros@example.com");
    say_octets(&big, 3000000);
    client_want(&big, "452 4.3.1");
    assert_true(disk_world_free() >= 64 << 20);
    client_hello(&small, &w);
    client_envelope(&small, "xandros@example.com");
    client_say(&small, "A: b\r\n\r\nx\r\n.\r\n");
    client_want(&small, "250 2.0.0");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    client_close(&big);
    client_close(&small);
    world_end(&w);
}

/* Sent without an end, it keeps nobody out, and is refused when its end comes after all. */
static void a_stalled_message_gives_way(void **state)
{
    (void)state;
    struct world w;
    struct client stalled, other;
    world_prepare(&w);
    w.store_conf.min_free = 64 << 20;
    w.store_conf.disk = disk_world_of(w.dir, 66 << 20);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&stalled, &w);
    client_envelope(&stalled, "xandros@example.com");
    for (int i = 0; i < 140000; i++)
        client_say(&stalled, "12345678\r\n");
    while (disk_world_free() > (66 << 20) - 1300000)
        world_turn(&w);
    client_hello(&other, &w);
    client_envelope(&other, "xandros@example.com");
    say_octets(&other, 1200000);
    client_want(&other, "250 2.0.0");
    client_say(&stalled, ".\r\n");
    client_want(&stalled, "452 4.3.1");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    client_close(&stalled);
    client_close(&other);
    world_end(&w);
}

/* Room for one isn't given to two. */
static void announced_room_is_given_once(void **state)
{
    (void)state;
    struct world w;
    struct client first, second;
    world_prepare(&w);
    w.store_conf.min_free = 64 << 20;
    w.store_conf.disk = disk_world_of(w.dir, 66 << 20);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&first, &w);
    client_hello(&second, &w);
    client_ask(&first, "MAIL FROM:<a@there.example> SIZE=1500000", "250 2.1.0");
    client_ask(&second, "MAIL FROM:<a@there.example> SIZE=1500000", "250 2.1.0");
    client_ask(&first, "RCPT TO:<xandros@example.com>", "250 2.1.5");
    client_ask(&second, "RCPT TO:<xandros@example.com>", "250 2.1.5");
    client_ask(&first, "DATA", "354 ");
    client_ask(&second, "DATA", "452 4.3.1");
    client_ask(&second, "BDAT 3 LAST\r\nx", "452 4.3.1");
    client_ask(&second, "NOOP", "250 ");
    client_ask(&first, "Subject: less than it said\r\n\r\n.", "250 2.0.0");
    client_ask(&second, "MAIL FROM:<a@there.example> SIZE=1500000", "250 2.1.0");
    client_close(&first);
    client_close(&second);
    world_end(&w);
}

static void alias_to_another_host(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<away@example.com>\r\nRCPT "
                   "TO:<both@example.com>\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "550 5.7.1");
    client_want(&c, "550 5.7.1");
    client_close(&c);
    world_end(&w);

    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, "capture@example.com");
    client_hello(&c, &w);
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<away@example.com>\r\nRCPT "
                   "TO:<both@example.com>\r\n"
                   "RCPT TO:<friend@elsewhere.example>\r\nDATA\r\n.\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "250 2.1.5");
    client_want(&c, "250 2.1.5");
    client_want(&c, "550 5.7.1"); /* reception relays for nobody, captured or not */
    client_want(&c, "354 ");
    client_want(&c, "250 2.0.0");
    assert_int_equal(world_messages(&w, "capture@example.com"), 1);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    client_close(&c);
    world_end(&w);
}

static void nowhere_to_send(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_OPEN, NULL);
    client_hello(&c, &w);
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<friend@elsewhere.example>\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "550 5.7.1 Sending to other hosts isn't set up");
    client_close(&c);
    world_end(&w);
}

static void submission_without_tls_takes_nothing(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_SUBMISSION, NULL);
    client_hello(&c, &w);
    client_say(&c, "STARTTLS\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<xandros@example.com>\r\n");
    client_want(&c, "503 5.5.1"); /* something follows it */
    client_want(&c, "538 5.7.11");
    client_want(&c, "530 5.7.0");
    client_say(&c, "STARTTLS\r\n");
    client_want(&c, "502 5.5.1");
    client_close(&c);
    world_end(&w);
}

static void stopping_lets_a_message_finish(void **state)
{
    (void)state;
    struct world w;
    struct client idle, busy;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&idle, &w);
    client_hello(&busy, &w);
    client_envelope(&busy, "xandros@example.com");
    client_say(&busy, "Subject: x\r\n\r\n");
    world_stop(&w, PATIENCE_MS);
    client_want(&idle, "421 4.3.2");
    client_want_end(&idle);
    assert_false(w.stopped);
    assert_int_equal(smtp_server_sessions(w.server), 1);
    client_say(&busy, "x\r\n.\r\n");
    client_want(&busy, "250 2.0.0");
    client_want(&busy, "421 4.3.2");
    client_want_end(&busy);
    while (!w.stopped)
        world_turn(&w);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    client_close(&idle);
    client_close(&busy);
    world_end(&w);
}

static void stopping_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_envelope(&c, "xandros@example.com");
    world_stop(&w, 20);
    client_want(&c, "421 4.3.2");
    while (!w.stopped)
        world_turn(&w);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 0);
    client_close(&c);
    world_end(&w);
}

/* A byte now and then keeps the idle timer off; the whole is bounded all the same. */
static void trickled_message_ends(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    w.smtp.message_timeout = 50;
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_envelope(&c, "xandros@example.com");
    while (!c.ended && c.in.n == 0) {
        client_say(&c, "x");
        loop_turn(w.loop, false);
        client_take(&c);
    }
    client_want(&c, "421 4.4.2");
    client_close(&c);
    world_end(&w);
}

static _Atomic uint64_t skew_ms;

static uint64_t skewed(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + skew_ms;
}

/* The limit needs nobody to say one more octet. */
static void stalled_message_ends(void **state)
{
    static const struct clock_source source = {.mono_ms = skewed};
    enum { LIMIT = PATIENCE_MS / 2 };
    (void)state;
    struct world w;
    struct client c;
    clock_replace(&source);
    world_prepare(&w);
    w.smtp.message_timeout = LIMIT;
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    client_envelope(&c, "xandros@example.com");
    client_say(&c, "Subject: x\r\n");
    skew_ms += LIMIT;
    client_want(&c, "421 4.4.2 This message");
    client_want_end(&c);
    client_close(&c);

    client_hello(&c, &w); /* nor between two chunks */
    client_say(&c, "MAIL FROM:<a@there.example>\r\nRCPT TO:<xandros@example.com>\r\n"
                   "BDAT 2\r\n\r\n");
    client_want(&c, "250 2.1.0");
    client_want(&c, "250 2.1.5");
    client_want(&c, "250 2.0.0");
    skew_ms += LIMIT;
    client_want(&c, "421 4.4.2 This message");
    client_want_end(&c);
    client_close(&c);
    world_end(&w);
    clock_replace(NULL);
}

static void trickled_command_ends(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    w.smtp.command_timeout = 50;
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    for (unsigned i = 0; !c.ended && c.in.n == 0; i++) {
        if (i % 64 == 0) /* slowly enough not to be too long first */
            client_say(&c, "x");
        loop_turn(w.loop, false);
        client_take(&c);
        usleep(100);
    }
    client_want(&c, "421 4.4.2");
    client_close(&c);
    world_end(&w);
}

/* Whoever doesn't read his replies isn't read either. */
static void replies_not_read(void **state)
{
    (void)state;
    enum { COMMANDS = 6000000, LINE = 6, REPLY = 14, BLOCK = 6000 };
    struct world w;
    struct client c;
    char block[BLOCK];
    size_t sent = 0, idle = 0;
    world_prepare(&w);
    w.smtp.junk_commands = COMMANDS + 10;
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = "NOOP\r\n"[i % LINE];
    while (idle < 200 && sent < COMMANDS * LINE) {
        ssize_t n = send(c.fd, block + sent % BLOCK, BLOCK - sent % BLOCK, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(w.loop, false);
    }
    assert_true(sent < COMMANDS * LINE); /* the server stopped reading */
    for (size_t left = sent / LINE * REPLY; left; buf_clear(&c.in)) {
        client_take(&c);
        assert_true(c.in.n <= left);
        left -= c.in.n;
        if (!c.in.n)
            world_turn(&w);
    }
    client_close(&c);
    world_end(&w);
}

/* The client goes away while its message is being committed: it is kept, nothing leaks, nothing is
 * answered. */
static void gone_while_committing(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    for (int i = 0; i < 20; i++) {
        client_hello(&c, &w);
        client_envelope(&c, "xandros@example.com");
        client_say(&c, "Subject: x\r\n\r\nx\r\n.\r\n");
        for (int turns = 0; turns < i / 4; turns++)
            loop_turn(w.loop, false);
        struct linger now = {.l_onoff = 1};
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* RST */
        client_close(&c);
    }
    while (smtp_server_sessions(w.server))
        world_turn(&w);
    assert_true(world_messages(&w, "xandros@example.com") <= 20);
    world_end(&w);
}

static void large_message_whose_sender_leaves(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    char line[1002];
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    memset(line, 'x', 1000);
    memcpy(line + 1000, "\r\n", 2);
    client_hello(&c, &w);
    client_envelope(&c, "xandros@example.com");
    client_say(&c, "Subject: x\r\n\r\n");
    for (int i = 0; i < 8000; i++)
        client_send(&c, line, sizeof line);
    client_close(&c);
    while (smtp_server_sessions(w.server))
        world_turn(&w);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 0);
    world_end(&w);
}

static void garbage(void **state)
{
    (void)state;
    static const char *const words[] = {"EHLO x\r\n",
                                        "MAIL FROM:<a@b.example>\r\n",
                                        "RCPT TO:<xandros@example.com>\r\n",
                                        "DATA\r\n",
                                        "BDAT 20\r\n",
                                        "BDAT 7 LAST\r\n",
                                        "RSET\r\n",
                                        ".\r\n",
                                        "\n",
                                        "\r",
                                        "\0",
                                        "STARTTLS\r\n",
                                        "AUTH PLAIN\r\n",
                                        "\xff\xff",
                                        "RCPT TO:<",
                                        "NOOP\r\n",
                                        "\r\n.\r\n"};
    struct world w;
    uint32_t seed = 1;
    world_prepare(&w);
    w.smtp.hard_errors = 1000;
    w.smtp.soft_errors = 1000;
    world_start(&w, SMTP_OPEN, "capture@example.com");
    for (int i = 0; i < 200; i++) {
        struct client c;
        client_connect(&c, &w);
        for (int k = 0; k < 60; k++) {
            seed = seed * 1664525 + 1013904223;
            const char *word = words[(seed >> 16) % ARRAY_LEN(words)];
            client_send(&c, word, word[0] ? strlen(word) : 1);
            if (seed & 0x1000)
                loop_turn(w.loop, false);
            client_take(&c);
        }
        client_close(&c);
    }
    while (smtp_server_sessions(w.server))
        world_turn(&w);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivered_once_committed),
        cmocka_unit_test(quota),
        cmocka_unit_test(quota_without_size),
        cmocka_unit_test(low_on_space),
        cmocka_unit_test(low_on_space_while_it_arrives),
        cmocka_unit_test(a_stalled_message_gives_way),
        cmocka_unit_test(announced_room_is_given_once),
        cmocka_unit_test(alias_to_another_host),
        cmocka_unit_test(nowhere_to_send),
        cmocka_unit_test(submission_without_tls_takes_nothing),
        cmocka_unit_test(stopping_lets_a_message_finish),
        cmocka_unit_test(stopping_does_not_wait_for_ever),
        cmocka_unit_test(trickled_message_ends),
        cmocka_unit_test(trickled_command_ends),
        cmocka_unit_test(stalled_message_ends),
        cmocka_unit_test(replies_not_read),
        cmocka_unit_test(gone_while_committing),
        cmocka_unit_test(large_message_whose_sender_leaves),
        cmocka_unit_test(garbage),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
