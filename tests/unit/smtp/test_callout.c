/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_callout.c - hosts are asked about addresses, and what their replies come to. */
#include "delivery_bed.h"

enum { PATIENT_MS = 3600000 };

struct asked {
    struct callout_query *query;
    unsigned answers;
    enum callout_result result;
    bool sender_refused;
    char text[800];
};

static void on_answer(void *ctx, const struct callout_answer *a)
{
    struct asked *q = ctx;
    q->query = NULL;
    q->answers++;
    q->result = a->result;
    q->sender_refused = a->sender_refused;
    snprintf(q->text, sizeof q->text, "%s", a->text);
}

static void ask(struct callout *c, struct asked *q, const char *address, const char *sender,
                uint64_t ms)
{
    *q = (struct asked){.answers = 0};
    q->query = callout_ask(c, str_from(address), str_from(sender), ms, on_answer, q);
    assert_non_null(q->query);
    assert_int_equal(q->answers, 0);
}

static enum callout_result result_of(struct bed *b, struct callout *c, struct asked *q,
                                     const char *address)
{
    ask(c, q, address, "", PATIENT_MS);
    UNTIL(b, q->answers);
    assert_int_equal(q->answers, 1);
    return q->result;
}

static struct callout *begin(struct bed *b)
{
    bed_start(b);
    return delivery_callout(b->delivery);
}

static void test_replies(void **state)
{
    static const struct {
        const char *reply;
        enum callout_result result;
    } cases[] = {{"250 2.1.5 fine", CALLOUT_TAKEN},
                 {"251 will forward", CALLOUT_TAKEN},
                 {"550 5.1.1 no such user", CALLOUT_REFUSED},
                 {"550 no such user", CALLOUT_REFUSED},
                 {"553 who?", CALLOUT_REFUSED},
                 {"550 5.2.1 it takes no mail", CALLOUT_REFUSED},
                 {"556 5.1.10 null MX", CALLOUT_REFUSED},
                 {"550 5.7.1 your network is listed", CALLOUT_UNKNOWN},
                 {"550 5.1.8 your sender", CALLOUT_UNKNOWN},
                 {"552 5.2.2 full", CALLOUT_UNKNOWN},
                 {"554 nothing from you", CALLOUT_UNKNOWN},
                 {"450 4.2.0 greylisted", CALLOUT_TEMPORARY},
                 {"421 4.3.2 going down", CALLOUT_TEMPORARY}};
    struct bed *b = *state;
    struct asked q;
    bed_domain("there.example");
    struct callout *c = begin(b);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        peer_forget(&b->peer);
        peer_rule(&b->peer, "RCPT a@there.example", cases[i].reply, 1);
        if (result_of(b, c, &q, "a@there.example") != cases[i].result)
            fail_msg("%s: %d, %s", cases[i].reply, q.result, q.text);
        assert_false(q.sender_refused);
        assert_true(!strncmp(cases[i].reply, "250", 3) || !strncmp(cases[i].reply, "251", 3) ||
                    strstr(q.text, strrchr(cases[i].reply, ' ') + 1));
    }
    assert_int_equal(b->peer.n_got, 0); /* never DATA */
    assert_int_equal(callout_connections(c), 0);
    callout_free(&c);
}

static void test_sender_refused(void **state)
{
    struct bed *b = *state;
    struct asked q;
    bed_domain("there.example");
    peer_rule(&b->peer, "MAIL", "550 5.7.1 no null sender", 1);
    peer_rule(&b->peer, "MAIL", "450 4.7.1 later", 1);
    struct callout *c = begin(b);
    assert_int_equal(result_of(b, c, &q, "a@there.example"), CALLOUT_UNKNOWN);
    assert_true(q.sender_refused);
    assert_int_equal(result_of(b, c, &q, "b@there.example"), CALLOUT_TEMPORARY);
    assert_false(q.sender_refused);
    callout_free(&c);
}

/* What needs nobody to be asked. */
static void test_nobody_asked(void **state)
{
    struct bed *b = *state;
    struct asked q;
    dns_mx("null.example", 0, ".", false);
    dns_mx("us.example", 10, "mail.example.com", false);
    dns_ip("mail.example.com", "127.0.0.1", false);
    dns_fail(RESOLVER_MX, "broken.example", RESOLVER_FAILED);
    struct callout *c = begin(b);
    assert_int_equal(result_of(b, c, &q, "xandros@example.com"), CALLOUT_TAKEN);
    assert_int_equal(result_of(b, c, &q, "away@example.com"), CALLOUT_TAKEN);
    assert_int_equal(result_of(b, c, &q, "nobody@example.com"), CALLOUT_REFUSED);
    assert_int_equal(result_of(b, c, &q, "a@null.example"), CALLOUT_REFUSED);
    assert_int_equal(result_of(b, c, &q, "a@nowhere.example"), CALLOUT_REFUSED);
    assert_int_equal(result_of(b, c, &q, "a@us.example"), CALLOUT_UNKNOWN);
    assert_int_equal(result_of(b, c, &q, "a@broken.example"), CALLOUT_TEMPORARY);
    assert_int_equal(b->peer.all, 0);
    callout_free(&c);
}

static void test_relay_host(void **state)
{
    struct bed *b = *state;
    struct asked q;
    struct err err;
    assert_int_equal(
        settings_set(relay_settings, &b->relay, STR("host"), STR("relay.example"), &err), 0);
    struct callout *c = begin(b);
    assert_int_equal(result_of(b, c, &q, "a@there.example"), CALLOUT_UNKNOWN);
    callout_free(&c);
}

/* The next host where one hangs up or says 421 before RCPT was answered. */
static void test_next_host(void **state)
{
    struct bed *b = *state;
    struct asked q;
    bed_domain("there.example");
    dns_mx("there.example", 20, "second.example", false);
    dns_ip("second.example", "127.0.0.1", false);
    peer_rule(&b->peer, "greeting", "554 not here", 1);
    struct callout *c = begin(b);
    assert_int_equal(result_of(b, c, &q, "a@there.example"), CALLOUT_TAKEN);
    assert_int_equal(b->peer.all, 2);
    peer_rule(&b->peer, "RCPT a@there.example", "!", 2);
    assert_int_equal(result_of(b, c, &q, "a@there.example"), CALLOUT_TEMPORARY);
    assert_int_equal(b->peer.all, 4);
    callout_free(&c);
}

static void test_shared(void **state)
{
    struct bed *b = *state;
    struct asked q[4];
    bed_domain("there.example");
    struct callout *c = begin(b);
    ask(c, &q[0], "a@there.example", "", PATIENT_MS);
    ask(c, &q[1], "a@there.example", "", PATIENT_MS);
    ask(c, &q[2], "a@there.example", "", PATIENT_MS);
    ask(c, &q[3], "a@there.example", "probe@example.com", PATIENT_MS);
    callout_cancel(&q[1].query);
    UNTIL(b, q[0].answers && q[2].answers && q[3].answers);
    assert_int_equal(q[1].answers, 0);
    assert_int_equal(b->peer.all, 2);
    callout_free(&c);
}

static void test_deadline(void **state)
{
    struct bed *b = *state;
    struct asked q, patient;
    bed_domain("there.example");
    peer_rule(&b->peer, "RCPT a@there.example", "", 2);
    struct callout *c = begin(b);
    ask(c, &q, "a@there.example", "", 60000);
    ask(c, &patient, "a@there.example", "", PATIENT_MS);
    UNTIL(b, b->peer.all == 1);
    bed_jump(61000);
    UNTIL(b, q.answers);
    assert_int_equal(q.result, CALLOUT_TEMPORARY);
    assert_int_equal(patient.answers, 0);
    assert_int_equal(callout_connections(c), 1);
    callout_cancel(&patient.query);
    assert_int_equal(callout_connections(c), 0);
    ask(c, &q, "a@there.example", "", PATIENT_MS); /* and gone while it is asked */
    UNTIL(b, b->peer.all == 2);
    callout_free(&c);
    assert_int_equal(q.answers, 0);
}

static void test_limits(void **state)
{
    enum { MANY = 61 };
    struct bed *b = *state;
    struct asked q[MANY];
    unsigned answers = 0, most = 0;
    char address[64];
    bed_domain("there.example");
    struct callout *c = begin(b);
    for (unsigned i = 0; i + 1 < MANY; i++) {
        snprintf(address, sizeof address, "a%u@there.example", i);
        ask(c, &q[i], address, "", PATIENT_MS);
    }
    assert_null(callout_ask(c, STR("z@there.example"), STR(""), 1000, on_answer, &q[MANY - 1]));
    b->patience_from = bed_real_ms();
    while (answers + 1 < MANY) {
        unsigned before = answers;
        answers = 0;
        for (unsigned i = 0; i + 1 < MANY; i++)
            answers += q[i].answers;
        if (callout_connections(c) > most)
            most = callout_connections(c);
        if (answers != before)
            b->patience_from = bed_real_ms();
        if (answers + 1 < MANY)
            bed_turn(b);
    }
    assert_in_range(most, 1, 2);
    assert_int_equal(b->peer.all, MANY - 1);
    bed_jump(60000);
    assert_int_equal(result_of(b, c, &q[0], "z@there.example"), CALLOUT_TAKEN);
    callout_free(&c);
}

/* Mail has the connections first. */
static void test_budget(void **state)
{
    struct bed *b = *state;
    struct asked q;
    bed_domain("there.example");
    b->relay.connections = 1;
    struct callout *c = begin(b);
    ask(c, &q, "a@there.example", "", 60000);
    b->patience_from = bed_real_ms();
    for (int i = 0; i < 50; i++)
        bed_turn(b);
    assert_int_equal(b->peer.all, 0);
    b->relay.connections = 2;
    UNTIL(b, q.answers);
    assert_int_equal(q.result, CALLOUT_TAKEN);
    callout_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_replies),    BED_TEST(test_sender_refused), BED_TEST(test_nobody_asked),
        BED_TEST(test_relay_host), BED_TEST(test_next_host),      BED_TEST(test_shared),
        BED_TEST(test_deadline),   BED_TEST(test_limits),         BED_TEST(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
