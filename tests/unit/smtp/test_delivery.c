/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_delivery.c - what an attempt leads to: sent, refused, tried again, given up, reported. */
#include "delivery_bed.h"

#define ME "xandros@example.com"

static void test_success(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_string_equal(b->peer.got[0].from, ME);
    assert_string_equal(b->peer.got[0].text, "X-Prefix: 1\r\nFrom: a@example.com\r\n"
                                             "Subject: hello\r\n\r\nThe text\r\n");
    assert_int_equal(bed_rows(b), 0);
    assert_int_equal(bed_stats(b).delivered, 1);
    assert_int_equal(bed_stats(b).tls[0], 1);
    assert_null(bed_inbox(b, ME, 0));
}

/* What was queued before the start, and large data from its file. */
static void test_found_at_start(void **state)
{
    struct bed *b = *state;
    struct buf text;
    bed_domain("there.example");
    buf_init(&text, 1 << 20);
    buf_add_z(&text, "Subject: large\r\n\r\n");
    for (int i = 0; i < 5000; i++)
        buf_add_z(&text, i % 3 ? "twenty-two characters\r\n" : ".dots are doubled\r\n");
    bed_queue(b,
              &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .text = buf_z(&text)});
    bed_start(b);
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_string_equal(b->peer.got[0].text + strlen("X-Prefix: 1\r\n"), buf_z(&text));
    assert_int_equal(bed_rows(b), 0);
    buf_fini(&text);
}

static void test_several_recipients(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_domain("else.example");
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME,
                                   .rcpts = {"a@there.example", "b@there.example", "x@else.example",
                                             "c@there.example"}});
    UNTIL(b, bed_tried(b, 4));
    assert_int_equal(b->peer.n_got, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct peer_mail *m = &b->peer.got[i];
        assert_int_equal(m->n_rcpts, strcmp(m->rcpts[0], "x@else.example") == 0 ? 1 : 3);
    }
    assert_int_equal(bed_rows(b), 0);
}

/* Copies with another sender of their own (SRS) don't share a transaction. */
static void test_senders(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->relay.recipients = 2;
    bed_start(b);
    bed_send(
        b, &(struct bed_mail){.sender = "o@elsewhere.example",
                              .srs = "srs0=x@example.com",
                              .rcpts = {"a@there.example", "b@there.example", "c@there.example"}});
    UNTIL(b, bed_tried(b, 3));
    assert_int_equal(b->peer.n_got, 2); /* at most two at once */
    assert_string_equal(b->peer.got[0].from, "srs0=x@example.com");
}

static void test_partial_refusal(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT bad@there.example", "550 5.1.1 no such user here", 9);
    peer_rule(&b->peer, "RCPT late@there.example", "451 4.7.1 come again", 1);
    bed_start(b);
    bed_send(b, &(struct bed_mail){
                    .sender = ME,
                    .rcpts = {"good@there.example", "bad@there.example", "late@there.example"}});
    UNTIL(b, bed_tried(b, 3));
    struct queue_to to;
    assert_int_equal(b->peer.n_got, 1);
    assert_int_equal(b->peer.got[0].n_rcpts, 1);
    assert_int_equal(bed_rows(b), 1);
    assert_true(bed_row(b, "late@there.example", &to));
    assert_int_equal(to.tries, 1);
    assert_has(to.last.p, "451 4.7.1 come again");
    int64_t wait = bed_wait(b, "late@there.example");
    assert_true(wait > 200000 && wait <= 330000);

    /* The one that failed for good is reported, the others aren't. */
    const char *report = bed_inbox(b, ME, 0);
    assert_has(report, "Return-Path: <>\r\nDelivered-To: " ME "\r\n");
    assert_has(report, "Content-Type: multipart/report; report-type=delivery-status");
    assert_has(report, "Reporting-MTA: dns; mail.example.com\r\n");
    assert_has(report, "Original-Envelope-Id: env-1\r\n");
    assert_has(report, "Final-Recipient: rfc822; bad@there.example\r\n");
    assert_has(report, "Action: failed\r\n");
    assert_has(report, "Status: 5.1.1\r\n");
    assert_has(report, "Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\n");
    assert_has(report, "Remote-MTA: dns; mx.peer.example\r\n");
    assert_has(report, "Subject: hello\r\n");
    assert_null(strstr(report, "good@there.example"));
    assert_null(strstr(report, "late@there.example"));
    assert_null(bed_inbox(b, ME, 1));

    bed_jump(wait + 1);
    UNTIL(b, bed_tried(b, 4));
    assert_int_equal(peer_count(&b->peer, "late@there.example"), 1);
    assert_int_equal(peer_count(&b->peer, "good@there.example"), 1);
    assert_int_equal(bed_rows(b), 0);
}

static void test_null_sender(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "MAIL", "550 5.7.1 go away", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = "", .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(bed_rows(b), 0);
    assert_int_equal(bed_stats(b).failed, 1);
    assert_int_equal(bed_stats(b).reports, 0);
}

static void test_never_notified(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT a@there.example", "550 5.1.1 no", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){
                    .sender = ME, .rcpts = {"a@there.example"}, .notify = QUEUE_NOTIFY_NEVER});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(bed_rows(b), 0);
    assert_null(bed_inbox(b, ME, 0));
}

/* The sender is elsewhere: the report is mail too, and isn't reported on when it fails. */
static void test_report_leaves(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_domain("origin.example");
    peer_rule(&b->peer, "RCPT a@there.example", "550 5.1.1 no", 9);
    peer_rule(&b->peer, "RCPT who@origin.example", "550 5.1.1 neither", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = "who@origin.example", .rcpts = {"a@there.example"}});
    bed_send(b, &(struct bed_mail){.sender = "me@origin.example", .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 4));
    assert_int_equal(bed_rows(b), 0);
    assert_int_equal(bed_stats(b).failed, 3);
    assert_int_equal(bed_stats(b).reports, 2);
    assert_int_equal(b->peer.n_got, 1);
    assert_string_equal(b->peer.got[0].rcpts[0], "me@origin.example");
    assert_string_equal(b->peer.got[0].from, "");
    assert_has(b->peer.got[0].text, "To: <me@origin.example>");
    assert_has(b->peer.got[0].text, "Final-Recipient: rfc822; a@there.example");
}

static void test_report_to_forwarder(void **state)
{
    struct bed *b = *state;
    struct str srs;
    bed_domain("there.example");
    bed_domain("origin.example");
    b->srs = (struct srs_conf){.secrets = {STR("secret")},
                               .n_secrets = 1,
                               .domain = STR("example.com"),
                               .max_age_days = 21,
                               .hash_length = 4};
    b->use_srs = true;
    assert_int_equal(
        srs_forward(&b->srs, b->arena, STR("o@origin.example"), clock_wall_ms(), &srs, &b->err), 0);
    peer_rule(&b->peer, "RCPT a@there.example", "550 5.1.1 no", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){
                    .sender = "o@origin.example", .srs = srs.p, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(b->peer.n_got, 1);
    assert_string_equal(b->peer.got[0].rcpts[0], "o@origin.example");
    /* A forged one: nobody to tell. */
    bed_send(b, &(struct bed_mail){.sender = "o@origin.example",
                                   .srs = "SRS0=AAAA=AA=origin.example=o@example.com",
                                   .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 3));
    assert_int_equal(bed_rows(b), 0);
    assert_int_equal(bed_stats(b).reports, 1);
}

static void test_success_reported(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    struct bed_mail m = {
        .sender = ME, .rcpts = {"a@there.example"}, .notify = QUEUE_NOTIFY_SUCCESS};
    bed_send(b, &m);
    UNTIL(b, bed_tried(b, 1));
    assert_has(bed_inbox(b, ME, 0), "Action: relayed\r\n");
    bed_stop(b, 1000);
    b->peer.offers = "PIPELINING\nDSN"; /* then it is the host's to report */
    bed_start(b);
    bed_send(b, &m);
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 2);
    assert_has(b->peer.got[1].mail, "ENVID=env-1");
    assert_null(bed_inbox(b, ME, 1));
}

/* Five days: the waits, one warning, the end. */
static void test_five_days(void **state)
{
    struct bed *b = *state;
    struct queue_to to;
    int64_t began = clock_wall_ms();
    uint64_t tries = 0;
    bool warned = false;
    int64_t at_least = 0; /* its age when it was tried, between this and what it is now */
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT a@there.example", "451 4.3.0 not now", UINT32_MAX);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    for (;;) {
        UNTIL(b, bed_tried(b, tries + 1));
        tries++;
        if (!bed_row(b, "a@there.example", &to))
            break;
        assert_int_equal(to.tries, tries);
        int64_t age = clock_wall_ms() - began, wait = bed_wait(b, "a@there.example");
        assert_true(wait <= 4400000);
        if (tries >= 5 && age + wait < 119 * HOUR_MS)
            assert_true(wait > 3500000);
        if (at_least >= 4 * HOUR_MS || age < 4 * HOUR_MS)
            assert_int_equal(to.warned, age >= 4 * HOUR_MS);
        if (to.warned && !warned) {
            warned = true;
            const char *report = bed_inbox(b, ME, 0);
            assert_has(report, "Action: delayed\r\n");
            assert_has(report, "Status: 4.3.0\r\n");
            assert_has(report, "Will-Retry-Until: ");
        }
        arena_clear(b->arena);
        dns_asked = 0; /* its log is short */
        bed_jump(wait + 1);
        at_least = clock_wall_ms() - began;
    }
    assert_true(clock_wall_ms() - began >= 120 * HOUR_MS);
    assert_true(tries > 100 && tries < 140);
    assert_int_equal(b->peer.n_got, 0);
    assert_int_equal(bed_stats(b).expired, 1);
    const char *report = bed_inbox(b, ME, 1);
    assert_has(report, "Action: failed\r\n");
    assert_has(report, "Status: 4.4.7\r\n");
    assert_has(report, "Diagnostic-Code: smtp; 451 4.3.0 not now\r\n");
    assert_null(bed_inbox(b, ME, 2));
    assert_int_equal(bed_rows(b), 0);
}

static void test_lifetime_zero(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT a@there.example", "451 4.3.0 not now", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .lifetime_ms = -1});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(bed_rows(b), 0);
    assert_has(bed_inbox(b, ME, 0), "Status: 4.4.7\r\n");
}

/* RET=FULL: all of it comes back, else its head alone. */
static void test_ret(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT a@there.example", "550 5.1.1 no", 9);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    bed_send(b,
             &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .ret = QUEUE_RET_FULL});
    UNTIL(b, bed_tried(b, 2));
    assert_has(bed_inbox(b, ME, 0), "Content-Type: text/rfc822-headers");
    assert_null(strstr(bed_inbox(b, ME, 0), "The text"));
    assert_has(bed_inbox(b, ME, 1), "Content-Type: message/rfc822");
    assert_has(bed_inbox(b, ME, 1), "The text");
}

/* RFC 7505, and names that don't exist: nothing is ever tried. */
static void test_no_host(void **state)
{
    struct bed *b = *state;
    dns_mx("none.example", 0, ".", false);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME,
                                   .rcpts = {"a@none.example", "b@nowhere.example", "c@bad_.x"}});
    UNTIL(b, bed_tried(b, 3));
    assert_int_equal(bed_rows(b), 0);
    assert_int_equal(bed_stats(b).failed, 3);
    assert_int_equal(bed_stats(b).connects, 0);
    unsigned seen = 0; /* in any order */
    for (size_t i = 0; i < 3; i++) {
        const char *report = bed_inbox(b, ME, i);
        assert_has(report, "Action: failed\r\n");
        seen |= strstr(report, "    the domain nowhere.example does not exist\r\n") ? 1u : 0;
        seen |= strstr(report, "rfc822; a@none.example\r\n") ? 2u : 0;
        seen |= strstr(report, "rfc822; c@bad_.x\r\n") ? 4u : 0;
    }
    assert_int_equal(seen, 7);
}

static void test_seven_bit(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->peer.offers = "PIPELINING";
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME,
                                   .rcpts = {"a@there.example"},
                                   .flags = QUEUE_8BIT,
                                   .text = "MIME-Version: 1.0\r\nContent-Type: text/plain; "
                                           "charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9f"
                                           "e\r\n"});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_has(b->peer.got[0].text, "Content-Transfer-Encoding: quoted-printable\r\n");
    assert_has(b->peer.got[0].text, "Gr=C3=BC=C3=9Fe\r\n");
    bed_send(b, &(struct bed_mail){.sender = ME,
                                   .rcpts = {"a@there.example"},
                                   .flags = QUEUE_8BIT,
                                   .text = "Subject: raw\r\n\r\nGr\xfc\xdf"
                                           "e\r\n"});
    UNTIL(b, bed_tried(b, 2));
    assert_int_equal(b->peer.n_got, 1);
    assert_has(bed_inbox(b, ME, 0), "Status: 5.6.3\r\n");
    assert_int_equal(bed_rows(b), 0);
}

/* RFC 8689: without a host whose name is vouched for it is returned. */
static void test_requiretls(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    bed_send(b, &(struct bed_mail){
                    .sender = ME, .rcpts = {"a@there.example"}, .flags = QUEUE_REQUIRETLS});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.all, 0);
    assert_int_equal(bed_rows(b), 0);
    assert_has(bed_inbox(b, ME, 0), "Status: 5.7.30\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_success),
        BED_TEST(test_found_at_start),
        BED_TEST(test_several_recipients),
        BED_TEST(test_senders),
        BED_TEST(test_partial_refusal),
        BED_TEST(test_null_sender),
        BED_TEST(test_never_notified),
        BED_TEST(test_report_leaves),
        BED_TEST(test_report_to_forwarder),
        BED_TEST(test_success_reported),
        BED_TEST(test_five_days),
        BED_TEST(test_lifetime_zero),
        BED_TEST(test_ret),
        BED_TEST(test_no_host),
        BED_TEST(test_seven_bit),
        BED_TEST(test_requiretls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
