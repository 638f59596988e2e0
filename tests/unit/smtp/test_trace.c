/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "smtp/reply.h"
#include "smtp/trace.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf out;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 1 << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static const struct date noon = {.at = 1795176000, .zone = 60}; /* 2026-11-20 12:00 UTC */

static void received(void **state)
{
    (void)state;
    struct smtp_trace t = {.helo = STR("client.example"),
                           .ip = STR("192.0.2.1"),
                           .hostname = STR("mx.example"),
                           .tls = STR("TLSv1.3 X"),
                           .esmtp = true,
                           .id = 77,
                           .rcpt = STR("a@b.example"),
                           .now = noon};
    smtp_trace_received(&out, &t);
    assert_string_equal(buf_z(&out), "Received: from client.example ([192.0.2.1])\r\n"
                                     "\tby mx.example with ESMTPS (TLSv1.3 X)\r\n"
                                     "\tid 77\r\n"
                                     "\tfor <a@b.example>;\r\n"
                                     "\tFri, 20 Nov 2026 13:00:00 +0100\r\n");
    buf_clear(&out);
    t.name = STR("mail.client.example");
    smtp_trace_received(&out, &t);
    assert_true(str_starts(
        buf_str(&out),
        STR("Received: from client.example (mail.client.example [192.0.2.1])\r\n\tby ")));
    buf_clear(&out);
    t = (struct smtp_trace){
        .helo = STR("x"), .ip = STR("2001:db8::1"), .ip6 = true, .hostname = STR("h"), .now = noon};
    smtp_trace_received(&out, &t);
    assert_string_equal(buf_z(&out),
                        "Received: from x ([IPv6:2001:db8::1])\r\n\tby h with SMTP\r\n\tid 0;\r\n"
                        "\tFri, 20 Nov 2026 13:00:00 +0100\r\n");
}

/* RFC 3848, RFC 6531 4.3 */
static void protocols(void **state)
{
    (void)state;
    static const struct {
        bool esmtp, tls, auth, utf8;
        const char *name;
    } rows[] = {
        {false, false, false, false, "SMTP"},   {true, false, false, false, "ESMTP"},
        {true, true, false, false, "ESMTPS"},   {true, false, true, false, "ESMTPA"},
        {true, true, true, false, "ESMTPSA"},   {true, false, false, true, "UTF8SMTP"},
        {true, true, false, true, "UTF8SMTPS"}, {true, false, true, true, "UTF8SMTPA"},
        {true, true, true, true, "UTF8SMTPSA"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_trace t = {.esmtp = rows[i].esmtp,
                               .auth = rows[i].auth,
                               .utf8 = rows[i].utf8,
                               .tls = rows[i].tls ? STR("TLS") : STR("")};
        assert_string_equal(smtp_trace_protocol(&t), rows[i].name);
    }
}

static void prefix(void **state)
{
    (void)state;
    const struct str captured[] = {STR("x@there.example"), STR("y@there.example")};
    smtp_trace_prefix(&out, STR(""), STR("a@b.example"), captured, NULL, 2);
    assert_string_equal(buf_z(&out), "Return-Path: <>\r\nDelivered-To: a@b.example\r\n"
                                     "X-Posthouse-Captured-For: x@there.example\r\n"
                                     "X-Posthouse-Captured-For: y@there.example\r\n");
    const struct str routes[] = {STR("mx there.example"), STR("none: why")};
    buf_clear(&out);
    smtp_trace_prefix(&out, STR("x@y"), STR("a@b.example"), captured, routes, 2);
    assert_string_equal(buf_z(&out), "Return-Path: <x@y>\r\nDelivered-To: a@b.example\r\n"
                                     "X-Posthouse-Captured-For: x@there.example\r\n"
                                     "X-Posthouse-Route: mx there.example\r\n"
                                     "X-Posthouse-Captured-For: y@there.example\r\n"
                                     "X-Posthouse-Route: none: why\r\n");
}

static void from_a_local_user(void **state)
{
    (void)state;
    struct smtp_trace t = {.helo = STR("localhost"),
                           .hostname = STR("mx.example"),
                           .esmtp = true,
                           .local = true,
                           .uid = 1000,
                           .id = 7,
                           .now = noon};
    smtp_trace_received(&out, &t);
    assert_true(str_starts(buf_str(&out), STR("Received: from localhost (local user 1000)\r\n"
                                              "\tby mx.example with ESMTP\r\n\tid 7;")));
}

static void missing_fields(void **state)
{
    (void)state;
    smtp_trace_missing(&out, STR("from: a@b\r\ndate: x\r\nMESSAGE-ID: <y>\r\n\r\n"),
                       STR("u@h.example"), 5, STR("h.example"), noon);
    assert_int_equal(out.n, 0);
    smtp_trace_missing(&out, STR("Message-ID: <y>\r\n\r\n"), STR(""), 5, STR("h.example"), noon);
    assert_string_equal(buf_z(&out), "Date: Fri, 20 Nov 2026 13:00:00 +0100\r\n");
    buf_clear(&out);
    smtp_trace_missing(&out, STR("Date: x\r\n\r\n"), STR(""), 5, STR("h.example"), noon);
    assert_true(str_starts(buf_str(&out), STR("Message-ID: <5.")));
    assert_true(str_ends(buf_str(&out), STR("@h.example>\r\n")));
    buf_clear(&out);
    smtp_trace_missing(&out, STR("Date: x\r\nMessage-ID: <y>\r\n\r\n"), STR("u@h.example"), 5,
                       STR("h.example"), noon);
    assert_string_equal(buf_z(&out), "From: u@h.example\r\n");
}

static void replies(void **state)
{
    (void)state;
    smtp_reply_format(&out, 250, "2.1.0", STR("Sender ok"), false);
    smtp_reply_format(&out, 250, NULL, STR("host\nSIZE 5\nPIPELINING"), false);
    smtp_reply_format(&out, 334, NULL, STR(""), false);
    smtp_reply_format(&out, 550, "5.1.1", STR("a\r\xc3\xa9"), false);
    smtp_reply_format(&out, 550, "5.1.1", STR("\xc3\xa9"), true);
    smtp_reply_format(&out, 550, "5.1.1", STR("\xc3"), true);
    assert_string_equal(
        buf_z(&out), "250 2.1.0 Sender ok\r\n250-host\r\n250-SIZE 5\r\n250 PIPELINING\r\n334 \r\n"
                     "550 5.1.1 a???\r\n550 5.1.1 \xc3\xa9\r\n550 5.1.1 ?\r\n");
    char text[2000];
    memset(text, 'x', sizeof text);
    buf_clear(&out);
    smtp_reply_format(&out, 550, "5.1.1", str_of(text, sizeof text), false);
    assert_int_equal(out.n, 512); /* RFC 5321 4.5.3.1.5 */
    assert_true(str_ends(buf_str(&out), STR("x\r\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(received, set_up, tear_down),
        cmocka_unit_test(protocols),
        cmocka_unit_test_setup_teardown(prefix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(from_a_local_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replies, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
