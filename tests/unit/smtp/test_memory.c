/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What messages that are arriving hold in memory: of one stranger, and of all together. */
#include "appliance/base/log.h"
#include "smtp/session.h"
#include "world.h"

enum { LINE = 1000 };

static struct world w;

static void start(void)
{
    world_prepare(&w);
    w.smtp.soft_errors = w.smtp.hard_errors = 1000;
    w.relays = true;
    world_start(&w, SMTP_RECEPTION, NULL);
    w.server->memory.limit = 400 << 10;
}

static struct smtp_session *session_of(const struct client *c) /* the newest one */
{
    (void)c;
    return LIST_ITEM(w.server->sessions.prev, struct smtp_session, link);
}

static void log_in(struct smtp_session *s)
{
    s->account = str_dup_z(STR("xandros@example.com"));
    s->submitting = true;
}

/* n lines of a head, taken in by the server. */
static void say_head(struct client *c, const struct smtp_session *s, int n)
{
    char line[LINE + 1];
    uint64_t want = (s->tx.sink ? body_sink_head(s->tx.sink).n : 0) + (uint64_t)n * LINE;
    memset(line, 'y', LINE);
    memcpy(line, "X: ", 3);
    memcpy(line + LINE - 2, "\r\n", 3);
    for (int i = 0; i < n; i++)
        client_say(c, line);
    timer_start(w.patience, PATIENCE_MS);
    while (s->tx.sink && body_sink_head(s->tx.sink).n < want)
        world_turn(&w);
}

static void head_of_strangers(void **state)
{
    (void)state;
    struct client c;
    start();
    w.server->memory.limit = 64 << 20;
    client_hello(&c, &w);
    client_envelope(&c, "vivita@example.com");
    say_head(&c, session_of(&c), 255); /* less than 256 K */
    client_say(&c, "\r\nx\r\n");
    client_ask(&c, ".", "250 2.0.0");
    client_envelope(&c, "vivita@example.com");
    say_head(&c, session_of(&c), 263);
    assert_null(session_of(&c)->tx.sink); /* at once, not at its end */
    client_ask(&c, "\r\nx\r\n.", "552 5.3.4");
    client_envelope(&c, "vivita@example.com");
    client_say(&c, "Subject: x\r\n\r\n"); /* the text isn't meant */
    say_head(&c, session_of(&c), 0);
    for (int i = 0; i < 400 << 10; i += 1024)
        client_say(&c, "12345678901234567890123456789012345678901234567890123456789012\r\n"
                       "12345678901234567890123456789012345678901234567890123456789012\r\n"
                       "12345678901234567890123456789012345678901234567890123456789012\r\n"
                       "12345678901234567890123456789012345678901234567890123456789012\r\n");
    client_ask(&c, ".", "250 2.0.0");
    log_in(session_of(&c));
    client_ask(&c, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_ask(&c, "DATA", "354 ");
    say_head(&c, session_of(&c), 600);
    client_ask(&c, "From: xandros@example.com\r\n\r\nx\r\n.", "250 2.0.0");
    client_close(&c);
    world_end(&w);
}

/* Over the limit of all together the largest gives way, and others are served. */
static void the_largest_gives_way(void **state)
{
    (void)state;
    struct client hog, other, third;
    start();
    client_hello(&hog, &w);
    client_envelope(&hog, "vivita@example.com");
    const struct smtp_session *of_hog = session_of(&hog);
    say_head(&hog, of_hog, 250);
    client_hello(&other, &w);
    client_envelope(&other, "vivita@example.com");
    const struct smtp_session *of_other = session_of(&other);
    say_head(&other, of_other, 60);
    assert_non_null(of_hog->tx.sink);
    assert_true(w.server->memory.held >= 310000 && w.server->memory.held <= w.server->memory.limit);
    client_hello(&third, &w);
    client_envelope(&third, "vivita@example.com");
    say_head(&third, session_of(&third), 150);
    assert_null(of_hog->tx.sink);
    assert_non_null(of_other->tx.sink);
    assert_true(w.server->memory.held <= w.server->memory.limit);
    client_ask(&third, "\r\nx\r\n.", "250 2.0.0");
    client_ask(&other, "\r\nx\r\n.", "250 2.0.0");
    client_ask(&hog, "\r\nx\r\n.", "452 4.3.1");
    assert_int_equal(w.server->memory.held, 0);
    assert_int_equal(world_messages(&w, "vivita@example.com"), 2);
    /* Between two chunks, too. */
    client_ask(&hog, "MAIL FROM:<a@there.example>", "250 2.1.0");
    client_ask(&hog, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_say(&hog, "BDAT 250000\r\n");
    say_head(&hog, of_hog, 250);
    client_want(&hog, "250 2.0.0");
    client_envelope(&other, "vivita@example.com");
    say_head(&other, of_other, 200);
    assert_null(of_hog->tx.sink);
    client_ask(&other, "\r\nx\r\n.", "250 2.0.0");
    client_ask(&hog, "BDAT 2 LAST\r\n", "452 4.3.1");
    client_close(&hog);
    client_close(&other);
    client_close(&third);
    world_end(&w);
}

/* Who has logged in isn't refused; strangers are, before they begin. */
static void known_clients_go_first(void **state)
{
    (void)state;
    struct client user, stranger;
    start();
    w.server->memory.limit = 100 << 10;
    client_hello(&user, &w);
    struct smtp_session *of_user = session_of(&user);
    log_in(of_user);
    client_ask(&user, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&user, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_ask(&user, "DATA", "354 ");
    say_head(&user, of_user, 150);
    client_hello(&stranger, &w);
    client_ask(&stranger, "MAIL FROM:<a@there.example>", "250 2.1.0");
    client_ask(&stranger, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_ask(&stranger, "DATA", "452 4.3.1");
    client_ask(&stranger, "BDAT 6\r\nA: b", "452 4.3.1");
    client_ask(&user, "From: xandros@example.com\r\n\r\nx\r\n.", "250 2.0.0");
    client_envelope(&stranger, "vivita@example.com");
    client_ask(&stranger, "\r\nx\r\n.", "250 2.0.0");
    client_close(&user);
    client_close(&stranger);
    world_end(&w);
}

/* Nearly full: who says nothing within DATA is waited for as long as between commands. */
static void patience_within_data(void **state)
{
    (void)state;
    struct client silent, other;
    start();
    client_hello(&silent, &w);
    const struct smtp_session *of_silent = session_of(&silent);
    client_envelope(&silent, "vivita@example.com");
    say_head(&silent, of_silent, 100);
    assert_int_equal(of_silent->timeout_ms, w.smtp.data_timeout);
    client_hello(&other, &w);
    struct smtp_session *of_other = session_of(&other);
    log_in(of_other);
    client_ask(&other, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&other, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_ask(&other, "DATA", "354 ");
    say_head(&other, of_other, 220);
    assert_true(w.server->memory.pressed);
    assert_int_equal(of_silent->timeout_ms, 10000);
    assert_int_equal(of_other->timeout_ms, w.smtp.data_timeout);
    client_ask(&other, "From: xandros@example.com\r\n\r\nx\r\n.", "250 2.0.0");
    assert_false(w.server->memory.pressed);
    assert_int_equal(of_silent->timeout_ms, w.smtp.data_timeout);
    /* A client that is lost gives back what it held. */
    client_close(&silent);
    timer_start(w.patience, PATIENCE_MS);
    while (smtp_server_sessions(w.server) > 1)
        world_turn(&w);
    assert_int_equal(w.server->memory.held, 0);
    client_close(&other);
    world_end(&w);
}

static void a_share_of_the_machine(void **state)
{
    (void)state;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    assert_true(w.server->memory.limit >= 1 << 20);
    assert_true(w.server->memory.limit <=
                (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_of_strangers),      cmocka_unit_test(the_largest_gives_way),
        cmocka_unit_test(known_clients_go_first), cmocka_unit_test(patience_within_data),
        cmocka_unit_test(a_share_of_the_machine),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
