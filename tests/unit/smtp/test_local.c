/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The local socket (SMTP_LOCAL), through which sendmail sends. */
#include "appliance/base/log.h"
#include "world.h"

static struct world w;
static struct client c;
static struct arena *arena;

static void start(const char *origin)
{
    world_prepare(&w);
    arena = arena_new(0);
    w.relays = w.unix_socket = true;
    w.origin = origin;
    w.smtp.mail_limit = 1;
    w.smtp.greet_delay = 60000;
    world_start(&w, SMTP_LOCAL, NULL);
    client_hello(&c, &w);
}

static void finish(void)
{
    client_close(&c);
    world_end(&w);
    arena_free(&arena);
}

#define assert_has(s, z)                                                                           \
    do {                                                                                           \
        if (!str_find((s), STR(z), &(size_t){0}))                                                  \
            fail_msg("%s not in: %.*s", z, STR_ARG(s));                                            \
    } while (0)

/* Any sender, anybody, without a login. */
static void sends(void **state)
{
    (void)state;
    struct stored s;
    char line[100];
    start("example.com");
    client_ask(&c, "MAIL FROM:<root@anything.example>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<xandros>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<nobody>", "550 5.1.1");
    client_message(&c, "Subject: x\r\nBcc: x@elsewhere.example\r\n\r\nx\r\n", "250 2.0.0");
    struct str text = world_newest(&w, arena, "xandros@example.com");
    snprintf(line, sizeof line, "Received: from client.example (local user %u)\r\n\tby ",
             (unsigned)getuid());
    assert_true(str_find(text, str_from(line), &(size_t){0}));
    assert_false(str_find(text, STR("Bcc"), &(size_t){0}));
    assert_has(text, "\r\nDate: ");
    assert_has(text, "\r\nMessage-ID: <");
    assert_has(text, "\r\nFrom: root@anything.example\r\n");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);
    assert_true(str_eq(s.entry.sender, STR("root@anything.example")));
    assert_int_equal(s.out.account.n, 0);
    stored_close(&s);
    /* Nothing of what keeps strangers in check. */
    client_ask(&c, "MAIL FROM:<a@b.example>", "250 2.1.0");
    finish();
}

static void addresses_get_a_domain(void **state)
{
    (void)state;
    static const struct {
        const char *from, *sender;
    } rows[] = {{"root", "root@example.com"},
                {"Karl", "Karl@example.com"},
                {"\"a b\"", "\"a b\"@example.com"},
                {"\"a@b\"", "\"a@b\"@example.com"},
                {"\"a>b\"", "\"a>b\"@example.com"},
                {"\"a\\\"@>b\"", "\"a\\\"@>b\"@example.com"},
                {"a@b.example", "a@b.example"},
                {"@x.example:a@b.example", "a@b.example"},
                {"", ""}};
    struct stored s;
    char line[200];
    start("example.com");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(line, sizeof line, "MAIL FROM:<%s> SIZE=10", rows[i].from);
        client_ask(&c, line, "250 2.1.0");
        client_ask(&c, "RCPT TO:<x@elsewhere.example> NOTIFY=NEVER", "250 2.1.5");
        client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
        assert_true(stored_open(&s, &w));
        if (!str_eq(s.entry.sender, str_from(rows[i].sender)))
            fail_msg("%s: %.*s", rows[i].from, STR_ARG(s.entry.sender));
        stored_close(&s);
    }
    static const char *const bad[] = {"MAIL FROM:<", "MAIL FROM:<a b>", "MAIL FROM:<\"a>",
                                      "MAIL FROM:a", "MAIL FROM:<a\\>"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        client_ask(&c, bad[i], "501 5.1.7");
    client_ask(&c, "MAIL FROM:<postmaster>", "501 5.1.7");
    finish();
}

/* Without main.origin: the host's name. */
static void no_origin(void **state)
{
    (void)state;
    struct stored s;
    start(NULL);
    client_ask(&c, "MAIL FROM:<root>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_true(str_starts(s.entry.sender, STR("root@")) && s.entry.sender.n > 5);
    stored_close(&s);
    finish();
}

static void what_it_offers(void **state)
{
    (void)state;
    start("example.com");
    client_ask(&c, "STARTTLS", "502");
    client_ask(&c, "AUTH PLAIN", "538");
    client_ask(&c, "MAIL FROM:<a@b.example> REQUIRETLS", "250 2.1.0"); /* nobody is on the way */
    client_ask(&c, "RSET", "250");
    client_ask(&c, "ETRN three.example", "253");
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends),
        cmocka_unit_test(addresses_get_a_domain),
        cmocka_unit_test(no_origin),
        cmocka_unit_test(what_it_offers),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
