/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Packets of the milter protocol, endpoints, and what several milters make of one message. */
#include "filters/milter_client.h"
#include "filters/milter_mail.h"
#include "tests/unit/filters/world.h"

static struct err err;

#define BYTES(lit) STR(lit)

static void takes_packets(void **state)
{
    struct milter_packet p;
    size_t n = 0;
    (void)state;
    struct str in = BYTES("\0\0\0\1c\0\0\0\5ytext");
    assert_int_equal(milter_take(in, &p, &n), MILTER_PACKET);
    assert_int_equal(p.code, 'c');
    assert_int_equal(p.data.n, 0);
    assert_int_equal(n, 5);
    assert_int_equal(milter_take(str_skip(in, n), &p, &n), MILTER_PACKET);
    assert_int_equal(p.code, 'y');
    assert_true(str_eq(p.data, STR("text")));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(milter_take(str_take(in, i), &p, &n), MILTER_MORE);
    assert_int_equal(milter_take(BYTES("\0\0\0\0c"), &p, &n), MILTER_BROKEN);
    assert_int_equal(milter_take(BYTES("\xff\xff\xff\xff"), &p, &n), MILTER_BROKEN);
    assert_int_equal(milter_take(BYTES("\0\2\0\1"), &p, &n), MILTER_BROKEN); /* 128 KB + 1 */
    assert_int_equal(milter_take(BYTES("\0\2\0\0"), &p, &n), MILTER_MORE);
}

static void agrees_on_terms(void **state)
{
    static const struct {
        struct str data;
        int rc;
    } cases[] = {
        {BYTES("\0\0\0\6\0\0\1\xff\0\0\0\0"), 0},
        {BYTES("\0\0\0\2\0\0\0\x3f\0\0\0\x7f"), 0},
        {BYTES("\0\0\0\1\0\0\0\0\0\0\0\0"), -1},
        {BYTES("\0\0\0\7\0\0\0\0\0\0\0\0"), -1},
        {BYTES("\0\0\0\6\0\0\2\0\0\0\0\0"), -1},
        {BYTES("\0\0\0\6\0\0\0\0\0\0\x08\0"), -1}, /* refused recipients */
        {BYTES("\0\0\0\6\0\0\0\0\x10\0\0\0"), -1},
        {BYTES("\0\0\0\6\0\0\0\0\0\0\0"), -1},
        {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\1{x}"), -1}, /* not ended */
        {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\x09x\0"), -1},
        {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0"), -1},
    };
    struct milter_terms t;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(milter_read_terms((struct milter_packet){'O', cases[i].data}, &t, &err),
                         cases[i].rc);
    assert_int_equal(milter_read_terms(
                         (struct milter_packet){
                             'O', BYTES("\0\0\0\6\0\0\1\1\0\x10\0\0\0\0\0\2{a} b\0\0\0\0\5\0")},
                         &t, &err),
                     0);
    assert_int_equal(t.version, 6);
    assert_int_equal(t.actions, 0x101);
    assert_int_equal(t.steps, MILTER_LEADING_SPACE);
    assert_true(str_eq(t.macros[MILTER_AT_MAIL], STR("{a} b")));
    assert_null(t.macros[MILTER_AT_RCPT].p);
    assert_non_null(t.macros[MILTER_AT_BODY_END].p); /* none */
    assert_int_equal(t.macros[MILTER_AT_BODY_END].n, 0);
    assert_int_equal(milter_read_terms((struct milter_packet){'c', cases[0].data}, &t, &err), -1);
}

static int answer(char code, struct str data, struct milter_answer *a)
{
    return milter_read_answer((struct milter_packet){code, data}, MILTER_ACTIONS, a, &err);
}

static void reads_answers(void **state)
{
    struct milter_answer a;
    (void)state;
    assert_int_equal(answer('i', BYTES("\0\0\1\2X-A\0 b\0"), &a), 0);
    assert_int_equal(a.what, MILTER_HEADER_INSERT);
    assert_int_equal(a.index, 258);
    assert_string_equal(a.name.p, "X-A");
    assert_string_equal(a.text.p, " b");
    assert_int_equal(answer('h', BYTES("X-A\0\0"), &a), 0);
    assert_int_equal(answer('h', BYTES("X-A\0b"), &a), -1);
    assert_int_equal(answer('h', BYTES("X-A"), &a), -1);
    assert_int_equal(answer('m', BYTES("\0\0\0"), &a), -1);
    assert_int_equal(answer('2', BYTES("<a@b>\0NOTIFY=NEVER\0"), &a), 0);
    assert_int_equal(a.what, MILTER_RCPT_ADD);
    assert_string_equal(a.args.p, "NOTIFY=NEVER");
    assert_int_equal(answer('e', BYTES("<>\0"), &a), 0);
    assert_int_equal(a.args.n, 0);
    assert_int_equal(answer('b', BYTES("any\0thing"), &a), 0);
    assert_int_equal(a.text.n, 9);
    assert_int_equal(answer('c', BYTES("more"), &a), 0);
    assert_int_equal(answer('Z', STR_NULL, &a), -1);
    assert_int_equal(answer('\0', STR_NULL, &a), -1);
    /* what wasn't agreed on */
    assert_int_equal(milter_read_answer((struct milter_packet){'q', BYTES("x\0")},
                                        MILTER_ACTIONS & ~MILTER_MAY_QUARANTINE, &a, &err),
                     -1);
}

static void replies(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"550 5.7.1 No", "550 5.7.1 No"},
        {"451", "451"},
        {"451 100%% sure, 50% not", "451 100% sure, 50% not"},
        {"554-5.7.1 one\r\n554-5.7.1 two\r\n554 5.7.1 three", "554 5.7.1 one two three"},
        {"450-one\n450 1.2.3.4 two\n", "450 one 1.2.3.4 two"},
        {"550 a\rb\tc", "550 a b c"},
        {"250 fine", NULL},
        {"350 go on", NULL},
        {"5xx no", NULL},
        {"", NULL},
        {"5501 x", NULL},
        {"550-a\r\n551 b", NULL},
    };
    char line[64];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = milter_reply_line(str_from(cases[i].in), line, sizeof line);
        assert_int_equal(rc, cases[i].out ? 0 : -1);
        if (cases[i].out)
            assert_string_equal(line, cases[i].out);
    }
    assert_int_equal(milter_reply_line(STR("550 this is a text that is too long for the room "
                                           "that there is for it, by far"),
                                       line, sizeof line),
                     0);
    assert_int_equal(strlen(line), sizeof line - 1);
    assert_true(str_eq(milter_address(STR(" <a@b>")), STR("a@b")));
    assert_true(str_eq(milter_address(STR("a@b")), STR("a@b")));
    assert_true(str_eq(milter_address(STR("<>")), STR("")));
    assert_true(str_eq(milter_address(STR("<")), STR("<")));
}

static void writes_packets(void **state)
{
    struct buf out;
    const struct str texts[] = {STR("<a@b>"), STR("SIZE=1"), BYTES("x\0y")};
    const struct str pairs[] = {STR("j"), STR("host"), STR("{x}"), STR("")};
    (void)state;
    buf_init(&out, 1 << 20);
    milter_put_texts(&out, MILTER_MAIL, texts, 3);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\x10M<a@b>\0SIZE=1\0x\0")));
    buf_clear(&out);
    milter_put_macros(&out, MILTER_CONNECT, pairs, 4);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\x0e"
                                            "DCj\0host\0{x}\0\0")));
    buf_clear(&out);
    milter_put_connect(&out, STR("h"), STR("192.0.2.1"), 25);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\x10"
                                            "Ch\0"
                                            "4\0\x19"
                                            "192.0.2.1\0")));
    buf_clear(&out);
    milter_put_connect(&out, STR("h"), STR("::1"), 256);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\x0a"
                                            "Ch\0"
                                            "6\1\0::1\0")));
    buf_clear(&out);
    milter_put_connect(&out, STR("h"), STR(""), 0);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\4Ch\0U")));
    buf_clear(&out);
    milter_put_terms(&out);
    assert_true(str_eq(buf_str(&out), BYTES("\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xf7\xff")));
    buf_fini(&out);
}

/* libmilter ends the connection over a packet that is larger. */
static void cuts_what_is_too_long(void **state)
{
    struct buf out;
    struct milter_packet p;
    size_t n = 0;
    char *large = mem_alloc(200000);
    (void)state;
    memset(large, 'x', 200000);
    const struct str texts[] = {str_of(large, 200000), STR("value")};
    const struct str swapped[] = {STR("Name"), str_of(large, 200000)};
    buf_init(&out, 1 << 20);
    milter_put_texts(&out, MILTER_HEADER, texts, 2);
    assert_int_equal(milter_take(buf_str(&out), &p, &n), MILTER_PACKET);
    assert_int_equal(p.data.n, MILTER_DATA_MAX);
    assert_int_equal(p.data.p[p.data.n - 1], 0);
    assert_int_equal(p.data.p[p.data.n - 2], 0);
    buf_clear(&out);
    milter_put_texts(&out, MILTER_HEADER, swapped, 2);
    assert_int_equal(milter_take(buf_str(&out), &p, &n), MILTER_PACKET);
    assert_int_equal(p.data.n, MILTER_DATA_MAX);
    assert_memory_equal(p.data.p, "Name\0xxx", 8);
    buf_clear(&out);
    milter_put(&out, MILTER_BODY, str_of(large, 200000));
    assert_int_equal(milter_take(buf_str(&out), &p, &n), MILTER_PACKET);
    assert_int_equal(p.data.n, MILTER_DATA_MAX);
    buf_clear(&out);
    milter_put_connect(&out, str_of(large, 200000), STR("192.0.2.1"), 1);
    assert_int_equal(milter_take(buf_str(&out), &p, &n), MILTER_PACKET);
    assert_true(p.data.n <= MILTER_DATA_MAX);
    assert_true(str_ends(p.data, BYTES("192.0.2.1\0")));
    buf_fini(&out);
    mem_free(large);
}

static void endpoints(void **state)
{
    static const struct {
        const char *text, *host, *path;
        uint16_t port;
        bool numeric;
    } good[] = {
        {"inet:127.0.0.1:11332", "127.0.0.1", "", 11332, true},
        {"inet:[::1]:8891", "::1", "", 8891, true},
        {"inet6:8891@[2001:db8::1]", "2001:db8::1", "", 8891, true},
        {"inet:8891@localhost", "127.0.0.1", "", 8891, true},
        {"inet:rspamd:11332", "rspamd", "", 11332, false},
        {"unix:/run/opendkim.sock", "", "/run/opendkim.sock", 0, false},
        {"local:/run/x y", "", "/run/x y", 0, false},
    };
    static const char *const bad[] = {"",
                                      "inet:",
                                      "inet:127.0.0.1",
                                      "inet:127.0.0.1:0",
                                      "inet:127.0.0.1:65536",
                                      "inet:127.0.0.1:x",
                                      "inet::25",
                                      "inet:a b:25",
                                      "unix:run/x",
                                      "unix:",
                                      "/run/x",
                                      "tcp:127.0.0.1:25"};
    struct milter_endpoint e;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (milter_endpoint_parse(str_from(good[i].text), &e, &err))
            fail_msg("%s: %s", good[i].text, err.text);
        assert_string_equal(e.host, good[i].host);
        assert_string_equal(e.path, good[i].path);
        assert_int_equal(e.port, good[i].port);
        assert_int_equal(e.numeric, good[i].numeric);
        assert_string_equal(e.text, good[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(milter_endpoint_parse(str_from(bad[i]), &e, &err), -1);
}

/* ---- One message, several milters. Its actions are applied by the chain itself. */

static struct world w;
static struct milter_mail mail;
static const struct ph_host *host;
static unsigned refused;

static int open_stage(const struct ph_host *h, const void *conf, void **inst, struct ph_err *why)
{
    (void)conf;
    (void)inst;
    (void)why;
    host = h;
    return 0;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    (void)at;
    refused = milter_mail_tell(&mail, host, host->acts(host, turn));
    host->done(host, turn, PH_PASS, NULL, NULL);
}

static const char head[] = "Received: from a\r\n\tby b\r\nSubject:  x\r\nto: a\r\nTo: b\r\n\r\n";

static int begin(void **state)
{
    (void)state;
    milter_mail_init(&mail, STR_NULL, 64);
    milter_mail_fini(&mail);
    milter_mail_init(&mail, str_from(head), 64);
    return 0;
}

static int end(void **state)
{
    (void)state;
    milter_mail_fini(&mail);
    return 0;
}

static void assert_becomes(const char *wanted, unsigned wanted_refused)
{
    struct buf out;
    world_init(&w);
    world_add(&w, (struct ph_stage){.name = "teller",
                                    .points = PH_AT(PH_MESSAGE),
                                    .open = open_stage,
                                    .on_point = on_point});
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    world_run(&w, c, PH_MESSAGE);
    buf_init(&out, 1 << 16);
    if (!chain_edit_head(c, str_from(head), &out))
        buf_add_z(&out, head);
    assert_string_equal(buf_z(&out), wanted);
    assert_int_equal(refused, wanted_refused);
    buf_fini(&out);
    chain_free(&c);
    world_fini(&w);
}

#define ADD(n, v) assert_int_equal(milter_mail_add(&mail, STR(n), STR(v), false), 0)
#define INSERT(i, n, v) assert_int_equal(milter_mail_insert(&mail, i, STR(n), STR(v), false), 0)
#define CHANGE(i, n, v) assert_int_equal(milter_mail_change(&mail, i, STR(n), STR(v), false), 0)

static void fields_as_received(void **state)
{
    (void)state;
    assert_int_equal(mail.n, 4);
    assert_true(str_eq(mail.fields[0].value, STR(" from a\n\tby b")));
    assert_true(str_eq(mail.fields[1].value, STR("  x")));
    assert_int_equal(mail.fields[3].nth, 2);
    assert_becomes(head, 0);
}

static void each_sees_what_came_before(void **state)
{
    (void)state;
    /* the first */
    CHANGE(1, "TO", "");                  /* the first To goes */
    INSERT(0, "X-Top", "1");              /* on top */
    INSERT(1, "X-Top", "2");              /* above it again: 0 and 1 are the same here */
    INSERT(4, "X-Mid", "folded\n\there"); /* after Received */
    ADD("X-End", "1");
    milter_mail_commit(&mail);
    /* the second: one To is left, which is the second one as received */
    CHANGE(1, "to", "c");
    CHANGE(2, "To", "d"); /* there is none: added */
    CHANGE(3, "To", "");  /* nothing to delete */
    CHANGE(0, "x-end", "2");
    CHANGE(2, "X-Top", "");
    INSERT(99, "X-Last", "z");
    milter_mail_commit(&mail);
    assert_becomes("X-Top: 2\r\nReceived: from a\r\n\tby b\r\nX-Mid: folded\r\n\there\r\n"
                   "Subject:  x\r\nTo: c\r\nX-End: 2\r\nTo: d\r\nX-Last: z\r\n\r\n",
                   0);
}

static void spaces(void **state)
{
    (void)state;
    assert_int_equal(milter_mail_add(&mail, STR("X-A"), STR("  a"), true), 0);
    assert_int_equal(milter_mail_add(&mail, STR("X-B"), STR("b"), false), 0);
    assert_int_equal(milter_mail_change(&mail, 1, STR("Subject"), STR("\ty"), true), 0);
    assert_becomes("Received: from a\r\n\tby b\r\nSubject:\ty\r\nto: a\r\nTo: b\r\nX-A:  a\r\n"
                   "X-B: b\r\n\r\n",
                   0);
}

static void what_is_not_well_formed(void **state)
{
    (void)state;
    ADD("X-A", "a\nBcc: everybody");
    ADD("X B", "b");
    ADD("X-C", "c");
    assert_int_equal(milter_mail_envelope(&mail, MILTER_RCPT_ADD, STR("no address")), 0);
    assert_becomes("Received: from a\r\n\tby b\r\nSubject:  x\r\nto: a\r\nTo: b\r\nX-C: c\r\n\r\n",
                   3);
}

static void half_of_it_counts_for_nothing(void **state)
{
    (void)state;
    ADD("X-First", "1");
    assert_int_equal(milter_mail_envelope(&mail, MILTER_RCPT_DELETE, STR("a@example.com")), 0);
    milter_mail_commit(&mail);
    CHANGE(1, "Subject", "spoilt");
    CHANGE(1, "To", "");
    ADD("X-Second", "1");
    assert_int_equal(milter_mail_body(&mail, STR("half")), 0);
    assert_int_equal(milter_mail_envelope(&mail, MILTER_RCPT_DELETE, STR("b@example.com")), 0);
    milter_mail_rollback(&mail);
    assert_false(mail.body_new);
    assert_non_null(mail.envelope);
    assert_null(mail.envelope->next);
    INSERT(1, "X-Third", "1");
    assert_int_equal(milter_mail_body(&mail, STR("whole\r\n")), 0);
    milter_mail_commit(&mail);
    assert_true(str_eq(buf_str(&mail.body), STR("whole\r\n")));
    assert_becomes("X-Third: 1\r\nReceived: from a\r\n\tby b\r\nSubject:  x\r\nto: a\r\nTo: b\r\n"
                   "X-First: 1\r\n\r\n",
                   0);
}

static void bodies(void **state)
{
    static const struct {
        struct str in, out;
    } cases[] = {
        {STR("a\r\nb\r\n"), STR("a\r\nb\r\n")},
        {STR("a\nb"), STR("a\r\nb\r\n")},
        {STR("a\rb\r"), STR("a\r\nb\r\n")},
        {STR("\n\n\r\n"), STR("\r\n\r\n\r\n")},
        {STR("\r\r\n"), STR("\r\n\r\n")},
        {BYTES("a\0b\r\0\n"), STR("ab\r\n\r\n")},
        {STR(""), STR("")},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t step = 1; step <= 8; step++) {
            struct str rest = cases[i].in;
            do {
                assert_int_equal(milter_mail_body(&mail, str_take(rest, step)), 0);
                rest = str_skip(rest, step);
            } while (rest.n);
            milter_mail_commit(&mail);
            assert_true(mail.body_new);
            if (!str_eq(buf_str(&mail.body), cases[i].out))
                fail_msg("case %zu by %zu: " STR_FMT, i, step, STR_ARG(buf_str(&mail.body)));
        }
    /* over the limit: what was there stays */
    for (int i = 0; i < 6; i++)
        assert_int_equal(milter_mail_body(&mail, STR("0123456789")), 0);
    assert_int_equal(milter_mail_body(&mail, STR("0123456789")), -1);
    milter_mail_rollback(&mail);
    assert_int_equal(mail.body.n, 0);
}

static void no_more_than_there_is_room_for(void **state)
{
    char *large = mem_alloc(100000);
    (void)state;
    memset(large, 'x', 100000);
    const struct str value = str_of(large, 100000);
    assert_int_equal(milter_mail_add(&mail, STR("X"), value, false), 0);
    assert_int_equal(milter_mail_change(&mail, 1, STR("Subject"), value, false), 0);
    assert_int_equal(milter_mail_insert(&mail, 1, STR("X"), value, false), -1);
    assert_int_equal(milter_mail_envelope(&mail, MILTER_SENDER, value), -1);
    milter_mail_rollback(&mail);
    assert_becomes(head, 0);
    mem_free(large);
}

/* A head of very many fields costs no more than it is long. */
static void many_fields(void **state)
{
    struct milter_mail m;
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_add_z(&out, i % 2 ? "a:b\r\n" : "A: b\r\n");
    milter_mail_init(&m, buf_str(&out), 64);
    assert_int_equal(m.n, 100000);
    assert_int_equal(m.fields[99999].nth, 100000);
    assert_int_equal(milter_mail_add(&m, STR("X"), STR("y"), false), -1);
    milter_mail_fini(&m);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_packets),
        cmocka_unit_test(agrees_on_terms),
        cmocka_unit_test(reads_answers),
        cmocka_unit_test(replies),
        cmocka_unit_test(writes_packets),
        cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(endpoints),
        cmocka_unit_test_setup_teardown(fields_as_received, begin, end),
        cmocka_unit_test_setup_teardown(each_sees_what_came_before, begin, end),
        cmocka_unit_test_setup_teardown(spaces, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_well_formed, begin, end),
        cmocka_unit_test_setup_teardown(half_of_it_counts_for_nothing, begin, end),
        cmocka_unit_test_setup_teardown(bodies, begin, end),
        cmocka_unit_test_setup_teardown(no_more_than_there_is_room_for, begin, end),
        cmocka_unit_test(many_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
