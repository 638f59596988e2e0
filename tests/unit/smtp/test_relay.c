/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Mail for other hosts: who may send it, what is kept in the queue, who is told. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "smtp/session.h"
#include "world.h"

static const struct srs_conf srs = {.secrets = {{"secret", 6}},
                                    .n_secrets = 1,
                                    .domain = {"mail.example.com", 16},
                                    .max_age_days = 21,
                                    .hash_length = 4};

static struct world w;
static struct client c;

static void set(const char **setting, const char *value)
{
    mem_free((char *)(uintptr_t)*setting);
    *setting = str_dup_z(str_from(value));
}

static void prepare(void)
{
    world_prepare(&w);
    w.relays = true;
    w.srs = &srs;
    set(&w.smtp.hostname, "mail.example.com");
    w.smtp.hard_errors = 1000;
    w.smtp.soft_errors = 1000;
}

static void start(void)
{
    world_start(&w, SMTP_RECEPTION, NULL);
    client_hello(&c, &w);
}

static void trust(const char *networks)
{
    set(&w.relay.trusted_networks, networks);
}

/* As after AUTH. */
static void log_in(const char *account)
{
    struct smtp_session *s = LIST_ITEM(w.server->sessions.next, struct smtp_session, link);
    s->account = str_dup_z(str_from(account));
    s->submitting = true;
}

static void finish(void)
{
    client_close(&c);
    world_end(&w);
}

static void ask_mail(const char *line)
{
    client_ask(&c, line, "250 2.1.0");
}

static void want_recipient(const struct stored *s, size_t i, const char *rcpt, const char *site)
{
    assert_true(i < s->n_to);
    if (!str_eq(s->to[i].rcpt, str_from(rcpt)) || !str_eq(s->to[i].site, str_from(site)))
        fail_msg("%.*s at %.*s", STR_ARG(s->to[i].rcpt), STR_ARG(s->to[i].site));
}

#define assert_text(s, z) check_text((s), (z), __LINE__)
static void check_text(struct str s, const char *z, int line)
{
    if (!str_eq(s, str_from(z)))
        fail_msg("line %d: '%.*s' isn't '%s'", line, STR_ARG(s), z);
}
#define assert_has(s, z)                                                                           \
    do {                                                                                           \
        if (!str_find((s), STR(z), &(size_t){0}))                                                  \
            fail_msg("%s not in: %.*s", z, STR_ARG(s));                                            \
    } while (0)

/* ---- Who may */

static void nobody_else(void **state)
{
    (void)state;
    static const struct {
        const char *rcpt, *want;
    } rows[] = {{"x@elsewhere.example", "550 5.7.1"},
                {"X@ELSEWHERE.EXAMPLE", "550 5.7.1"},
                {"x@elsewhere.example.", "5"},
                {"x%elsewhere.example@example.com", "550 5.1.1"},
                {"x%elsewhere.example@mail.example.com", "550 5.7.1"},
                {"\"x@elsewhere.example\"@example.com", "550 5.1.1"},
                {"\"x@elsewhere.example\"", "501"},
                {"@example.com:x@elsewhere.example", "550 5.7.1"},
                {"@example.com,@example.com:x@elsewhere.example", "550 5.7.1"},
                {"elsewhere.example!x@example.com", "550 5.1.1"},
                {"x@[127.0.0.1]", "550 5.7.1"},
                {"x@[192.0.2.1]", "550 5.7.1"},
                {"x@[IPv6:::1]", "550 5.7.1"},
                {"x@sub.example.com", "550 5.7.1"},
                {"x@example.com.elsewhere.example", "550 5.7.1"},
                {"SRS0=abcd=JJ=elsewhere.example=x@mail.example.com", "550 5.1.1"},
                {"SRS1=abcd=elsewhere.example==a=b=c=d@mail.example.com", "550 5.1.1"},
                {"SRS0=abcd=JJ=elsewhere.example=x@example.com", "550 5.1.1"},
                {"SRS0=abcd=JJ=elsewhere.example=x@other.example", "550 5.7.1"}};
    static const char *const senders[] = {"<>", "<a@there.example>", "<xandros@example.com>",
                                          "<a@mail.example.com>"};
    char line[200];
    prepare();
    trust("192.0.2.0/24, 2001:db8::/32");
    start();
    for (size_t k = 0; k < ARRAY_LEN(senders); k++) {
        snprintf(line, sizeof line, "MAIL FROM:%s", senders[k]);
        ask_mail(line);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            snprintf(line, sizeof line, "RCPT TO:<%s>", rows[i].rcpt);
            client_ask(&c, line, rows[i].want);
        }
        client_ask(&c, "RSET", "250");
    }
    assert_int_equal(world_queued(&w), 0);
    finish();
}

static void sending_is_off(void **state)
{
    (void)state;
    prepare();
    w.relay.enabled = false;
    trust("127.0.0.0/8");
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "550 5.7.1 Relaying denied");
    client_ask(&c, "RCPT TO:<away@example.com>", "550 5.7.1 The address leads to another host");
    log_in("xandros@example.com");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>",
               "550 5.7.1 Sending to other hosts isn't set up");
    finish();
}

static void trusted_network(void **state)
{
    (void)state;
    struct stored s;
    int64_t before = clock_wall_ms();
    prepare();
    trust("192.0.2.0/24, 127.0.0.1");
    start();
    ask_mail("MAIL FROM:<printer@there.example>");
    client_ask(&c, "RCPT TO:<X@Elsewhere.Example>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<y@elsewhere.example>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<X@elsewhere.example>", "250 2.1.5"); /* the same again */
    client_ask(&c, "RCPT TO:<xandros@example.com>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<z@other.example>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<x@[127.0.0.1]>", "550 5.1.2");
    client_message(&c, "Return-Path: <forged@x.example>\r\nSubject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    assert_int_equal(w.queued, 2); /* once for each site */
    assert_string_equal(w.site, "other.example");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 4);
    want_recipient(&s, 0, "X@elsewhere.example", "elsewhere.example");
    want_recipient(&s, 1, "y@elsewhere.example", "elsewhere.example");
    want_recipient(&s, 2, "x@elsewhere.example", "elsewhere.example");
    want_recipient(&s, 3, "z@other.example", "other.example");
    assert_text(s.entry.sender, "printer@there.example");
    assert_null(s.to[0].sender.p); /* the client's own: nothing is rewritten */
    assert_true(s.entry.since_ms >= before && s.to[0].next_ms == s.entry.since_ms);
    assert_int_equal(s.to[0].expires_ms - s.entry.since_ms, (int64_t)w.relay.lifetime);
    assert_int_equal(s.out.flags, 0);
    assert_int_equal(s.out.prefix.n + s.out.account.n + s.out.envid.n, 0);
    stored_close(&s);
    finish();
}

static void what_is_known_of_it(void **state)
{
    (void)state;
    struct stored s;
    prepare();
    w.relay.lifetime = 0; /* one try */
    start();
    log_in("xandros@example.com");
    ask_mail("MAIL FROM:<xandros@example.com> RET=HDRS ENVID=a+2Bb BODY=8BITMIME");
    client_ask(&c,
               "RCPT TO:<x@elsewhere.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;y+2Bz@e.example",
               "250 2.1.5");
    client_ask(&c, "RCPT TO:<z@elsewhere.example> NOTIFY=NEVER", "250 2.1.5");
    client_message(&c, "From: xandros@example.com\r\n\r\ncaf\xc3\xa9\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 2);
    assert_int_equal(s.out.ret, QUEUE_RET_HDRS);
    assert_text(s.out.envid, "a+b");
    assert_text(s.out.account, "xandros@example.com");
    assert_int_equal(s.out.flags, QUEUE_8BIT);
    assert_int_equal(s.to[0].notify, QUEUE_NOTIFY_DELAY | QUEUE_NOTIFY_FAILURE);
    assert_text(s.to[0].orcpt, "rfc822;y+z@e.example");
    assert_int_equal(s.to[1].notify, QUEUE_NOTIFY_NEVER);
    assert_int_equal(s.to[1].orcpt.n, 0);
    assert_int_equal(s.to[0].expires_ms, s.entry.since_ms);
    stored_close(&s);

    /* SMTPUTF8 was said; it is needed only where something isn't ASCII. */
    ask_mail("MAIL FROM:<xandros@example.com> SMTPUTF8");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_message(&c, "From: xandros@example.com\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.out.flags, 0);
    stored_close(&s);
    ask_mail("MAIL FROM:<xandros@example.com> SMTPUTF8");
    client_ask(&c, "RCPT TO:<\xc3\xa9@elsewhere.example>", "250 2.1.5");
    client_message(&c, "From: xandros@example.com\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.out.flags, QUEUE_UTF8 | QUEUE_8BIT); /* it is named in Received */
    stored_close(&s);
    ask_mail("MAIL FROM:<xandros@example.com> SMTPUTF8");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_message(&c, "From: xandros@example.com\r\nSubject: \xc3\xa9\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.out.flags, QUEUE_UTF8 | QUEUE_8BIT);
    stored_close(&s);

    client_ask(&c, "MAIL FROM:<xandros@example.com> REQUIRETLS", "530 5.7.10");
    w.relay.bounce_lifetime = 12345;
    ask_mail("MAIL FROM:<>");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_message(&c, "From: xandros@example.com\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_true(s.out.flags & QUEUE_NULL_SENDER);
    assert_int_equal(s.to[0].expires_ms - s.entry.since_ms, 12345);
    stored_close(&s);
    finish();
}

/* ---- Forwarding */

static void forwarded(void **state)
{
    (void)state;
    struct stored s;
    char line[300], back[200];
    prepare();
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away@example.com> NOTIFY=FAILURE", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);
    want_recipient(&s, 0, "friend@elsewhere.example", "elsewhere.example");
    assert_text(s.entry.sender, "a@there.example");
    assert_true(str_starts(s.to[0].sender, STR("SRS0=")));
    assert_true(str_ends(s.to[0].sender, STR("=there.example=a@mail.example.com")));
    assert_text(s.out.prefix, "Delivered-To: away@example.com\r\n");
    assert_text(s.to[0].orcpt, "rfc822;away@example.com");
    assert_int_equal(s.to[0].notify, QUEUE_NOTIFY_FAILURE);
    assert_int_equal(s.out.account.n, 0);
    snprintf(back, sizeof back, STR_FMT, STR_ARG(s.to[0].sender));
    stored_close(&s);

    /* Its bounce comes back, and goes on to the sender. */
    ask_mail("MAIL FROM:<>");
    snprintf(line, sizeof line, "RCPT TO:<%s>", back);
    client_ask(&c, line, "250 2.1.5");
    client_message(&c, "Subject: bounce\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);
    want_recipient(&s, 0, "a@there.example", "there.example");
    assert_int_equal(s.entry.sender.n, 0);
    assert_null(s.to[0].sender.p);
    stored_close(&s);

    /* From anybody, and then with another sender once more. */
    ask_mail("MAIL FROM:<b@third.example>");
    client_ask(&c, line, "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_true(str_ends(s.to[0].sender, STR("=third.example=b@mail.example.com")));
    stored_close(&s);

    line[14] = line[14] == 'a' ? 'b' : 'a'; /* its hash */
    ask_mail("MAIL FROM:<>");
    client_ask(&c, line, "550 5.1.1");
    client_ask(&c, "RSET", "250");
    finish();
}

static void senders_that_stay(void **state)
{
    (void)state;
    struct stored s;
    static const char *const lines[] = {"MAIL FROM:<vivita@example.com>",
                                        "MAIL FROM:<unknown@example.com>", "MAIL FROM:<>"};
    prepare();
    start();
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        ask_mail(lines[i]);
        client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
        client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
        assert_true(stored_open(&s, &w));
        assert_null(s.to[0].sender.p);
        stored_close(&s);
    }
    finish();

    prepare();
    w.relay.srs = false;
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_null(s.to[0].sender.p);
    stored_close(&s);
    finish();
}

static void in_circles(void **state)
{
    (void)state;
    prepare();
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
    client_message(&c, "Delivered-To: x@y.example\r\nDelivered-To: Away@example.com\r\n\r\nx\r\n",
                   "554 5.4.6");
    assert_int_equal(world_queued(&w), 0);
    /* The copy that stays here does no harm. */
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<both@example.com>", "250 2.1.5");
    client_message(&c, "Delivered-To: both@example.com\r\n\r\nx\r\n", "250 2.0.0");
    assert_int_equal(world_queued(&w), 0);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<both@example.com>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
    client_message(&c, "Delivered-To: x@y.example\r\n\r\nx\r\n", "250 2.0.0");
    struct stored s;
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);         /* friend, once */
    assert_int_equal(s.out.prefix.n, 0); /* there are two addresses that forward it */
    assert_int_equal(world_messages(&w, "xandros@example.com"), 2);
    stored_close(&s);
    finish();
}

static const char *with_fields(struct buf *out, const char *field, size_t n, const char *more)
{
    buf_init(out, 4 << 20);
    for (size_t i = 0; i < n; i++)
        buf_add_z(out, field);
    buf_add_z(out, more);
    buf_add_z(out, "\r\nx\r\n");
    return buf_z(out);
}

/* Each recipient asks whether it was there before. */
static void many_marks(void **state)
{
    (void)state;
    struct buf text;
    char line[60];
    prepare();
    w.smtp.field_limit = 5000;
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    for (int i = 0; i < 8; i++) {
        snprintf(line, sizeof line, "RCPT TO:<away+%d@example.com>", i);
        client_ask(&c, line, "250 2.1.5");
    }
    client_message(&c,
                   with_fields(&text, "Delivered-To:\r\n", 4990,
                               "delivered-to: AWAY+3@example.com\r\nDelivered-To: x\r\n"),
                   "250 2.0.0");
    buf_fini(&text);
    assert_int_equal(world_queued(&w), 1);
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away+3@example.com>", "250 2.1.5");
    client_message(&c,
                   with_fields(&text, "Delivered-To:\r\n", 4990,
                               "delivered-to: AWAY+3@example.com\r\nDelivered-To: x\r\n"),
                   "554 5.4.6");
    buf_fini(&text);
    assert_int_equal(world_queued(&w), 1);
    finish();
}

static void too_many_fields(void **state)
{
    (void)state;
    struct buf text;
    prepare();
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
    client_message(&c, with_fields(&text, "Delivered-To:\r\n", 2001, ""), "554 5.6.0");
    buf_fini(&text);
    assert_int_equal(world_queued(&w), 0);
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<away@example.com>", "250 2.1.5");
    client_message(&c, with_fields(&text, "Delivered-To:\r\n", 2000, ""), "250 2.0.0");
    buf_fini(&text);
    assert_int_equal(world_queued(&w), 1);
    finish();
}

/* ---- Confirmations (RFC 3461) */

static void wait_for(const char *account, uint64_t n)
{
    timer_start(w.patience, PATIENCE_MS);
    while (world_messages(&w, account) < n)
        world_turn(&w);
}

static void delivered_is_confirmed(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    prepare();
    start();
    ask_mail("MAIL FROM:<xandros@example.com> ENVID=e+20v");
    client_ask(&c, "RCPT TO:<vivita@example.com> NOTIFY=SUCCESS ORCPT=rfc822;old@example.com",
               "250 2.1.5");
    client_ask(&c, "RCPT TO:<capture@example.com>", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    wait_for("xandros@example.com", 1);
    struct str text = world_newest(&w, a, "xandros@example.com");
    assert_true(str_starts(text, STR("Return-Path: <>\r\nDelivered-To: xandros@example.com\r\n")));
    assert_has(text, "Original-Envelope-Id: e v\r\n");
    assert_has(text, "Original-Recipient: rfc822; old@example.com\r\n"
                     "Final-Recipient: rfc822; vivita@example.com\r\nAction: delivered\r\n");
    assert_has(text, "Subject: x\r\n");
    assert_false(str_find(text, STR("capture@"), &(size_t){0}));
    assert_int_equal(world_queued(&w), 0);
    arena_free(&a);
    finish();
}

static void expanded_is_confirmed(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    struct stored s;
    prepare();
    start();
    ask_mail("MAIL FROM:<vivita@example.com>");
    client_ask(&c, "RCPT TO:<both@example.com> NOTIFY=SUCCESS", "250 2.1.5");
    client_ask(&c, "RCPT TO:<away@example.com> NOTIFY=SUCCESS,DELAY", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);
    /* RFC 3461 5.2.7.3 (c): behind an expanded address nobody confirms any more */
    assert_int_equal(s.to[0].notify, QUEUE_NOTIFY_NEVER);
    stored_close(&s);
    wait_for("vivita@example.com", 1);
    struct str text = world_newest(&w, a, "vivita@example.com");
    assert_has(text, "Final-Recipient: rfc822; both@example.com\r\nAction: expanded\r\n");
    assert_false(str_find(text, STR("rfc822; away@"), &(size_t){0})); /* who sends it reports */
    ask_mail("MAIL FROM:<vivita@example.com>");
    client_ask(&c, "RCPT TO:<away@example.com> NOTIFY=SUCCESS,DELAY", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.to[0].notify, QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY);
    stored_close(&s);
    arena_free(&a);
    finish();
}

/* To a sender elsewhere it goes by the queue, from the null sender; to the null sender never. */
static void confirmed_to_another_host(void **state)
{
    (void)state;
    struct stored s;
    prepare();
    start();
    ask_mail("MAIL FROM:<>");
    client_ask(&c, "RCPT TO:<vivita@example.com> NOTIFY=SUCCESS", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<vivita@example.com> NOTIFY=SUCCESS", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    timer_start(w.patience, PATIENCE_MS);
    while (!w.queued)
        world_turn(&w);
    assert_true(stored_open(&s, &w));
    assert_int_equal(world_queued(&w), 1);
    want_recipient(&s, 0, "a@there.example", "there.example");
    assert_true(s.out.flags & QUEUE_NULL_SENDER);
    assert_int_equal(s.entry.sender.n, 0);
    assert_string_equal(w.site, "there.example");
    stored_close(&s);
    finish();
}

/* ---- The rest */

static void not_announced_not_known(void **state)
{
    (void)state;
    prepare();
    w.relays = false;
    start();
    client_ask(&c, "MAIL FROM:<a@there.example> RET=FULL", "555");
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<vivita@example.com> NOTIFY=SUCCESS", "555");
    client_ask(&c, "RSET", "250");
    client_ask(&c, "ETRN example.com", "459");
    finish();
}

static void etrn(void **state)
{
    (void)state;
    prepare();
    start();
    client_ask(&c, "ETRN example.com", "459 4.7.1");
    assert_int_equal(w.etrns, 0);
    finish();
    prepare();
    trust("127.0.0.1");
    start();
    client_ask(&c, "ETRN Example.COM", "250 2.0.0");
    assert_string_equal(w.site, "example.com");
    client_ask(&c, "ETRN @three.example", "253 2.0.0 3 pending");
    client_ask(&c, "ETRN", "501 5.5.4");
    client_ask(&c, "ETRN #queue", "501 5.5.4");
    client_ask(&c, "ETRN a b", "501 5.5.4");
    client_ask(&c, "ETRN bad_-.example..", "501 5.5.4");
    assert_int_equal(w.etrns, 2);
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "ETRN example.com", "503 5.5.1");
    finish();
}

static void nobody_is_postmaster(void **state)
{
    (void)state;
    struct directory_admin *a;
    prepare();
    w.no_users = true;
    start();
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<postmaster>", "450 4.2.1");
    assert_int_equal(directory_admin_open_as(w.dir, &w.directory_conf, &a, &w.err), 0);
    assert_int_equal(directory_domain_add(a, STR("example.com"), &w.err), 0);
    client_ask(&c, "RCPT TO:<PostMaster@example.com>", "450 4.2.1");
    assert_int_equal(
        directory_user_add(a, STR("xandros@example.com"), STR(""), STR_NULL, 0, &w.err), 0);
    directory_admin_close(&a);
    client_ask(&c, "RCPT TO:<postmaster>", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    finish();
}

/* The way it would have gone. */
static void captured_with_its_route(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    prepare();
    world_start(&w, SMTP_OPEN, "capture@example.com");
    client_hello(&c, &w);
    ask_mail("MAIL FROM:<a@there.example>");
    client_ask(&c, "RCPT TO:<x@elsewhere.example> NOTIFY=NEVER", "250 2.1.5");
    client_ask(&c, "RCPT TO:<x@[127.0.0.1]>", "250 2.1.5");
    client_message(&c, "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    struct str text = world_newest(&w, a, "capture@example.com");
    assert_has(text, "X-Posthouse-Captured-For: x@elsewhere.example\r\n"
                     "X-Posthouse-Route: mx elsewhere.example\r\n"
                     "X-Posthouse-Captured-For: x@[127.0.0.1]\r\n"
                     "X-Posthouse-Route: none: ");
    assert_int_equal(world_queued(&w), 0);
    arena_free(&a);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_else),
        cmocka_unit_test(sending_is_off),
        cmocka_unit_test(trusted_network),
        cmocka_unit_test(what_is_known_of_it),
        cmocka_unit_test(forwarded),
        cmocka_unit_test(senders_that_stay),
        cmocka_unit_test(in_circles),
        cmocka_unit_test(many_marks),
        cmocka_unit_test(too_many_fields),
        cmocka_unit_test(delivered_is_confirmed),
        cmocka_unit_test(expanded_is_confirmed),
        cmocka_unit_test(confirmed_to_another_host),
        cmocka_unit_test(not_announced_not_known),
        cmocka_unit_test(etrn),
        cmocka_unit_test(nobody_is_postmaster),
        cmocka_unit_test(captured_with_its_route),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
