/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The pure parts of the SMTP client: replies, EHLO, faults, xtext, dot-stuffing. */
#include "smtp/client/client_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// cmocka wants the four above first
#include <cmocka.h>

static struct smtp_answer answer;

static int setup(void **state)
{
    (void)state;
    smtp_answer_init(&answer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    smtp_answer_fini(&answer);
    return 0;
}

/* All of it in pieces of n; what is left after the first reply. */
static enum smtp_answer_got take(struct str in, size_t piece, struct str *rest)
{
    enum smtp_answer_got got = SMTP_ANSWER_MORE;
    smtp_answer_reset(&answer);
    while (in.n && got == SMTP_ANSWER_MORE) {
        size_t used;
        got = smtp_answer_take(&answer, str_take(in, piece), &used);
        in = str_skip(in, used);
    }
    *rest = in;
    return got;
}

static void whole(struct str in, unsigned code, const char *status, const char *text)
{
    static const size_t pieces[] = {1, 2, 3, 1000};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct str rest;
        assert_int_equal(take(in, pieces[i], &rest), SMTP_ANSWER_WHOLE);
        assert_int_equal(rest.n, 0);
        assert_int_equal(answer.code, code);
        assert_string_equal(answer.status, status);
        assert_string_equal(buf_z(&answer.text), text);
    }
}

static void bad(struct str in)
{
    struct str rest;
    size_t used;
    assert_int_equal(take(in, 1, &rest), SMTP_ANSWER_BAD);
    assert_non_null(answer.bad);
    assert_int_equal(smtp_answer_take(&answer, STR("250 ok\r\n"), &used), SMTP_ANSWER_BAD);
}

static void replies(void **state)
{
    (void)state;
    whole(STR("220 mx.example ESMTP\r\n"), 220, "", "mx.example ESMTP");
    whole(STR("250\r\n"), 250, "", "");
    whole(STR("250 \n"), 250, "", "");
    whole(STR("550 5.1.1 no such user\r\n"), 550, "5.1.1", "no such user");
    whole(STR("550-5.7.26 one\r\n550-5.7.26 two\r\n550 5.7.26\r\n"), 550, "5.7.26", "one\ntwo\n");
    whole(STR("250-first\r\n250 2.0.0 later\r\n"), 250, "2.0.0", "first\nlater");
    whole(STR("334 VXNlcm5hbWU6\r\n"), 334, "", "VXNlcm5hbWU6");
}

static void statuses(void **state)
{
    (void)state;
    whole(STR("250 4.2.1 of another class\r\n"), 250, "", "4.2.1 of another class");
    whole(STR("450 4.123.999 x\r\n"), 450, "4.123.999", "x");
    whole(STR("450 4.1234.1 x\r\n"), 450, "", "4.1234.1 x");
    whole(STR("450 4.1.1x y\r\n"), 450, "", "4.1.1x y");
    whole(STR("450 4..1 y\r\n"), 450, "", "4..1 y");
    whole(STR("354 3.0.0 go\r\n"), 354, "", "3.0.0 go");
}

static void printable(void **state)
{
    (void)state;
    whole(STR("250 a\tb\0c\rd\x7f\r\n"), 250, "", "a?b?c?d?");
    whole(STR("250 \xc3\xa4\xff\xc3\r\n"), 250, "", "\xc3\xa4??");
    whole(STR("250 \xc2\x9b[31m\r\n"), 250, "", "?[31m");
}

static void not_replies(void **state)
{
    (void)state;
    bad(STR("\r\n"));
    bad(STR("HTTP/1.1 400 Bad Request\r\n"));
    bad(STR("25 x\r\n"));
    bad(STR("150 x\r\n"));
    bad(STR("600 x\r\n"));
    bad(STR("250x\r\n"));
    bad(STR("250-a\r\n251 b\r\n"));
    bad(STR("250-a\r\n\r\n"));
}

static void one_after_another(void **state)
{
    (void)state;
    struct str rest;
    size_t used;
    assert_int_equal(take(STR("250 a\r\n550 5.0.0 b\r\n"), 1000, &rest), SMTP_ANSWER_WHOLE);
    assert_int_equal(rest.n, 13);
    assert_int_equal(smtp_answer_take(&answer, rest, &used), SMTP_ANSWER_WHOLE);
    assert_int_equal(used, 13);
    assert_int_equal(answer.code, 550);
    assert_int_equal(answer.lines, 1);
    assert_string_equal(buf_z(&answer.text), "b");
}

static void bounds(void **state)
{
    (void)state;
    struct buf in;
    struct str rest;
    buf_init(&in, 1 << 20);
    buf_add_z(&in, "250 ");
    for (size_t i = in.n; i < SMTP_ANSWER_LINE_MAX; i++)
        buf_add_char(&in, 'x');
    buf_add_z(&in, "\n");
    assert_int_equal(take(buf_str(&in), 999, &rest), SMTP_ANSWER_WHOLE);
    assert_int_equal(answer.text.n, SMTP_ANSWER_LINE - 4);
    buf_truncate(&in, in.n - 1);
    buf_add_z(&in, "x\n");
    bad(buf_str(&in));
    buf_clear(&in);
    for (unsigned i = 0; i < SMTP_ANSWER_LINES - 1; i++)
        buf_printf(&in, "250-%0990d\r\n", 0);
    buf_add_z(&in, "250 end\r\n");
    assert_int_equal(take(buf_str(&in), 4096, &rest), SMTP_ANSWER_WHOLE);
    assert_int_equal(answer.lines, SMTP_ANSWER_LINES);
    assert_true(answer.text.n <= SMTP_ANSWER_TEXT);
    buf_clear(&in);
    for (unsigned i = 0; i < SMTP_ANSWER_LINES; i++)
        buf_add_z(&in, "250-x\r\n");
    buf_add_z(&in, "250 end\r\n");
    bad(buf_str(&in));
    buf_fini(&in);
}

static void ehlo(void **state)
{
    (void)state;
    struct smtp_ehlo e;
    smtp_ehlo_parse(STR("DSN PIPELINING\npipelining\nSize 1000\n8BITMIME\nSTARTTLS\nX-OTHER a\n"
                        "AUTH PLAIN  login\nAUTH=LOGIN SCRAM-SHA-256\nLIMITS MAILMAX=5 RCPTMAX=20 "
                        "RCPTDOMAINMAX=1\nENHANCEDSTATUSCODES"),
                    &e);
    assert_int_equal(e.can, SMTP_CAN_PIPELINING | SMTP_CAN_SIZE | SMTP_CAN_8BITMIME |
                                SMTP_CAN_STARTTLS | SMTP_CAN_AUTH | SMTP_CAN_ENHANCED);
    assert_int_equal(e.size, 1000);
    assert_int_equal(e.rcpt_max, 20);
    assert_int_equal(e.mail_max, 5);
    assert_string_equal(e.auth, "PLAIN login SCRAM-SHA-256");
    assert_true(smtp_ehlo_has_auth(&e, STR("LOGIN")));
    assert_false(smtp_ehlo_has_auth(&e, STR("SCRAM-SHA-1")));
    smtp_ehlo_parse(STR("x\nSIZE\nCHUNKING\nDSN\nSMTPUTF8\nREQUIRETLS\nLIMITS RCPTMAX=0 x="), &e);
    assert_int_equal(e.can, SMTP_CAN_SIZE | SMTP_CAN_CHUNKING | SMTP_CAN_DSN | SMTP_CAN_SMTPUTF8 |
                                SMTP_CAN_REQUIRETLS);
    assert_int_equal(e.size, 0);
    assert_int_equal(e.rcpt_max, 0);
    smtp_ehlo_parse(STR("x\nSIZE 99999999999999999999999"), &e);
    assert_int_equal(e.size, 0);
    smtp_ehlo_parse(STR("PIPELINING"), &e); /* it is called so */
    assert_int_equal(e.can, 0);
}

static void ehlo_long_auth(void **state)
{
    (void)state;
    struct smtp_ehlo e;
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_add_z(&text, "x\nAUTH");
    for (int i = 0; i < 200; i++)
        buf_printf(&text, " MECHANISM-%d", i);
    buf_add_z(&text, " P");
    smtp_ehlo_parse(buf_str(&text), &e);
    assert_true(smtp_ehlo_has_auth(&e, STR("MECHANISM-0")));
    assert_false(smtp_ehlo_has_auth(&e, STR("MECHANISM-199")));
    assert_true(strlen(e.auth) < sizeof e.auth);
    buf_fini(&text);
}

static void faults(void **state)
{
    (void)state;
    struct smtp_fault f;
    struct str rest;
    char text[200], small[8];
    take(STR("550-5.1.1 no such\r\n550 5.1.1 user\r\n"), 100, &rest);
    client_fault_of(&f, SMTP_FAULT_PERM, &answer, "RCPT");
    smtp_fault_text(&f, "mx.example", text, sizeof text);
    assert_string_equal(text, "mx.example said: 550 5.1.1 no such user (RCPT)");
    smtp_fault_reply(&f, text, sizeof text);
    assert_string_equal(text, "550 5.1.1 no such user");
    assert_true(f.remote);
    take(STR("450 try later\r\n"), 100, &rest);
    client_fault_of(&f, SMTP_FAULT_TEMP, &answer, "RCPT");
    assert_string_equal(f.status, "4.2.0");
    take(STR("571 go away\r\n"), 100, &rest);
    client_fault_of(&f, SMTP_FAULT_PERM, &answer, "RCPT");
    assert_string_equal(f.status, "5.0.0");
    client_fault(&f, SMTP_FAULT_HOST, "4.4.2", "DATA", "closed the %s", "connection");
    smtp_fault_text(&f, "mx.example", text, sizeof text);
    assert_string_equal(text, "mx.example: closed the connection (DATA)");
    smtp_text_copy(small, sizeof small, STR("a\nbcde\xc3\xa4x"));
    assert_string_equal(small, "a bcde");
    smtp_text_copy(small, sizeof small, STR("a\nbcd\xc3\xa4x"));
    assert_string_equal(small, "a bcd\xc3\xa4");
}

static void xtext(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    client_xtext(STR("a+b=c d\x01~"), &b);
    assert_string_equal(buf_z(&b), "a+2Bb+3Dc+20d+01~");
    buf_clear(&b);
    client_orcpt(STR("rfc822;a+b@example.org"), &b);
    assert_string_equal(buf_z(&b), "rfc822;a+2Bb@example.org");
    buf_clear(&b);
    client_orcpt(STR("rfc822;\xc3\xa4+\\@example.org"), &b);
    assert_string_equal(buf_z(&b), "utf-8;\\x{E4}\\x{2B}\\x{5C}@example.org");
    buf_clear(&b);
    client_orcpt(STR("utf-8;\xf0\x9f\x93\xae=\xff"), &b);
    assert_string_equal(buf_z(&b), "utf-8;\\x{1F4EE}\\x{3D}\\x{3F}");
    buf_clear(&b);
    client_orcpt(STR("without a type"), &b);
    client_orcpt(STR("rfc822 NOTIFY=NEVER;a@b"), &b);
    client_orcpt(STR(";a@b"), &b);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

static void put(void *ctx, struct str s)
{
    buf_add_str(ctx, s);
}

static void stuffed(struct str in, const char *want, const char *end)
{
    for (size_t piece = 1; piece <= in.n + 1; piece++) {
        struct smtp_stuffer s = {0};
        struct buf out;
        buf_init(&out, 1000);
        for (struct str rest = in; rest.n; rest = str_skip(rest, piece))
            client_stuff(&s, str_take(rest, piece), put, &out);
        assert_string_equal(buf_z(&out), want);
        assert_true(str_eq(client_line_end(&s), str_from(end)));
        buf_fini(&out);
    }
}

static void stuffing(void **state)
{
    (void)state;
    stuffed(STR(""), "", "");
    stuffed(STR("."), "..", "\r\n");
    stuffed(STR(".\r\n"), "..\r\n", "");
    stuffed(STR("a.b\r\n.c\r\n..\r\n"), "a.b\r\n..c\r\n...\r\n", "");
    stuffed(STR("a\r\n.\r\nb\r"), "a\r\n..\r\nb\r", "\n");
    stuffed(STR("a\n.\nb\n"), "a\n..\nb\n", "\r\n");
    stuffed(STR("\r\n\r\n.x"), "\r\n\r\n..x", "\r\n");
    stuffed(STR("\n"), "\n", "\r\n");
}

static void who_may_login(void **state)
{
    (void)state;
    assert_true(client_may_login("192.0.2.1", true));
    assert_false(client_may_login("192.0.2.1", false));
    assert_true(client_may_login("127.0.0.1", false));
    assert_true(client_may_login("127.9.9.9", false));
    assert_false(client_may_login("128.0.0.1", false));
    assert_true(client_may_login("::1", false));
    assert_false(client_may_login("2001:db8::1", false));
    assert_false(client_may_login("::ffff:192.0.2.1", false));
    assert_false(client_may_login("localhost", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replies, setup, teardown),
        cmocka_unit_test_setup_teardown(statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(printable, setup, teardown),
        cmocka_unit_test_setup_teardown(not_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(one_after_another, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
        cmocka_unit_test(ehlo),
        cmocka_unit_test(ehlo_long_auth),
        cmocka_unit_test_setup_teardown(faults, setup, teardown),
        cmocka_unit_test(xtext),
        cmocka_unit_test(stuffing),
        cmocka_unit_test(who_may_login),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
