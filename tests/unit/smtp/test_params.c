/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "smtp/params.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct smtp_mail_args mail_ok(const char *args)
{
    struct smtp_mail_args m;
    struct smtp_refusal why = {0};
    if (smtp_mail_parse(arena, str_from(args), &m, &why))
        fail_msg("%s: %u %s", args, why.code, why.text);
    return m;
}

#define assert_text(s, z) assert_true(str_eq((s), STR(z)))

static void mail_taken(void **state)
{
    (void)state;
    assert_text(mail_ok("FROM:<a@b.example>").sender, "a@b.example");
    assert_text(mail_ok("from: <a@B.Example> ").sender, "a@b.example");
    assert_text(mail_ok("FROM:<>").sender, "");
    assert_true(mail_ok("FROM:<>").path.null);
    assert_text(mail_ok("FROM:<\"a b\"@c.example>").sender, "\"a b\"@c.example");
    assert_text(mail_ok("FROM:<@relay.example:a@b.example>").sender, "a@b.example");
    struct smtp_mail_args m =
        mail_ok("FROM:<a@b.example> SIZE=1234 BODY=8bitmime SMTPUTF8 AUTH=<>");
    assert_int_equal(m.size, 1234);
    assert_true(m.body && m.body_8bit && m.utf8 && m.auth && m.params);
    assert_true(mail_ok("FROM:<a@b.example> AUTH=e+3Dmc2@example.com").auth);
    assert_int_equal(mail_ok("FROM:<a@b.example> SIZE=99999999999999999999").size, UINT64_MAX);
    assert_int_equal(mail_ok("FROM:<a@b.example>  SIZE=0").size, 0);
    assert_true(mail_ok("FROM:<\xc3\xa9@b.example> SMTPUTF8").path.utf8);
}

struct row {
    const char *args;
    unsigned code;
    const char *status;
};

static void mail_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", 501, "5.5.4"},
        {"TO:<a@b.example>", 501, "5.5.4"},
        {"FROM:a@b.example", 501, "5.1.7"},
        {"FROM:<a@b.example", 501, "5.1.7"},
        {"FROM:<a@b@c.example>", 501, "5.1.7"},
        {"FROM:<a>", 501, "5.1.7"},
        {"FROM:<postmaster>", 501, "5.1.7"},
        {"FROM:<a@b.example>SIZE=1", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE=", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE=-1", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE=1x", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE=100000000000000000000", 501, "5.5.4"},
        {"FROM:<a@b.example> SIZE=1 SIZE=1", 501, "5.5.4"},
        {"FROM:<a@b.example> BODY=BINARYMIME", 501, "5.5.4"},
        {"FROM:<a@b.example> BODY", 501, "5.5.4"},
        {"FROM:<a@b.example> SMTPUTF8=1", 501, "5.5.4"},
        {"FROM:<a@b.example> AUTH=", 501, "5.5.4"},
        {"FROM:<a@b.example> AUTH=a=b", 501, "5.5.4"},
        {"FROM:<a@b.example> AUTH=a+4", 501, "5.5.4"},
        {"FROM:<a@b.example> AUTH=a+4g", 501, "5.5.4"},
        {"FROM:<a@b.example> RETURN=HDRS", 555, "5.5.4"},
        {"FROM:<a@b.example> RET", 501, "5.5.4"},
        {"FROM:<a@b.example> RET=", 501, "5.5.4"},
        {"FROM:<a@b.example> RET=ALL", 501, "5.5.4"},
        {"FROM:<a@b.example> RET=FULL RET=FULL", 501, "5.5.4"},
        {"FROM:<a@b.example> ENVID=", 501, "5.5.4"},
        {"FROM:<a@b.example> ENVID=a+2", 501, "5.5.4"},
        {"FROM:<a@b.example> ENVID=a+0Ab", 501, "5.5.4"},
        {"FROM:<a@b.example> ENVID=a=b", 501, "5.5.4"},
        {"FROM:<a@b.example> REQUIRETLS=yes", 501, "5.5.4"},
        {"FROM:<a@b.example> =", 555, "5.5.4"},
        {"FROM:<\xc3\xa9@b.example>", 553, "5.6.7"},
        {"FROM:<a@\xc3\xa9.example>", 553, "5.6.7"},
        {"FROM:<\xff@b.example> SMTPUTF8", 501, "5.1.7"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_mail_args m;
        struct smtp_refusal why = {0};
        if (smtp_mail_parse(arena, str_from(rows[i].args), &m, &why) == 0)
            fail_msg("taken: %s", rows[i].args);
        if (why.code != rows[i].code || strcmp(why.status, rows[i].status) != 0)
            fail_msg("%s: %u %s %s", rows[i].args, why.code, why.status, why.text);
    }
}

static void rcpt(void **state)
{
    (void)state;
    struct smtp_rcpt_args r;
    struct smtp_refusal why = {0};
    assert_int_equal(smtp_rcpt_parse(arena, STR("TO:<postmaster>"), &r, &why), 0);
    assert_text(r.rcpt, "postmaster");
    assert_int_equal(smtp_rcpt_parse(arena, STR("TO:<u%h@Example.com>"), &r, &why), 0);
    assert_text(r.rcpt, "u%h@example.com");
    assert_int_equal(smtp_rcpt_parse(arena, STR("TO:<\"x@y\"@example.com>"), &r, &why), 0);
    assert_text(r.rcpt, "\"x@y\"@example.com");
    static const struct row rows[] = {
        {"TO:<>", 501, "5.1.3"},
        {"TO:a@b.example", 501, "5.1.3"},
        {"TO:<a@>", 501, "5.1.3"},
        {"TO:<@b.example>", 501, "5.1.3"},
        {"TO:<a@b..example>", 501, "5.1.3"},
        {"TO:<a@b.example> NOTIFY", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=NEVER,DELAY", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=DELAY,DELAY", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=DELAY,", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=ALWAYS", 501, "5.5.4"},
        {"TO:<a@b.example> NOTIFY=NEVER NOTIFY=NEVER", 501, "5.5.4"},
        {"TO:<a@b.example> ORCPT=a@b.example", 501, "5.5.4"},
        {"TO:<a@b.example> ORCPT=;a@b.example", 501, "5.5.4"},
        {"TO:<a@b.example> ORCPT=rfc822;", 501, "5.5.4"},
        {"TO:<a@b.example> ORCPT=rfc@822;a", 501, "5.5.4"},
        {"TO:<a@b.example> ORCPT=rfc822;a+7F", 501, "5.5.4"},
        {"TO:<a@b.example> SIZE=5", 555, "5.5.4"},
        {"TO:<a@b.example> x", 555, "5.5.4"},
        {"FROM:<a@b.example>", 501, "5.5.4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (smtp_rcpt_parse(arena, str_from(rows[i].args), &r, &why) == 0)
            fail_msg("taken: %s", rows[i].args);
        if (why.code != rows[i].code || strcmp(why.status, rows[i].status) != 0)
            fail_msg("%s: %u %s %s", rows[i].args, why.code, why.status, why.text);
    }
}

/* RFC 3461 4, RFC 8689 */
static void dsn_and_requiretls(void **state)
{
    (void)state;
    struct smtp_rcpt_args r;
    struct smtp_refusal why = {0};
    struct smtp_mail_args m = mail_ok("FROM:<a@b.example> ret=hdrs ENVID=QQ+2B3+3D requiretls");
    assert_true(m.dsn && m.requiretls && m.ret == SMTP_RET_HDRS);
    assert_text(m.envid, "QQ+3=");
    m = mail_ok("FROM:<> RET=FULL");
    assert_true(m.ret == SMTP_RET_FULL && !m.requiretls && !m.envid.n);
    m = mail_ok("FROM:<a@b.example> SIZE=1");
    assert_false(m.dsn || m.requiretls);
    assert_int_equal(smtp_rcpt_parse(arena, STR("TO:<a@b.example>"), &r, &why), 0);
    assert_false(r.dsn);
    assert_int_equal(smtp_rcpt_parse(arena,
                                     STR("TO:<a@b.example> NOTIFY=success,DELAY,Failure "
                                         "ORCPT=rfc822;joe+2Bx@c.example"),
                                     &r, &why),
                     0);
    assert_int_equal(r.notify, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY);
    assert_text(r.orcpt_type, "rfc822");
    assert_text(r.orcpt, "joe+x@c.example");
    assert_int_equal(smtp_rcpt_parse(arena, STR("TO:<a@b.example> NOTIFY=NEVER"), &r, &why), 0);
    assert_int_equal(r.notify, SMTP_NOTIFY_NEVER);
    char envid[160] = "FROM:<a@b.example> ENVID=";
    memset(envid + strlen(envid), 'x', 100);
    mail_ok(envid);
    strcat(envid, "x");
    assert_int_equal(smtp_mail_parse(arena, str_from(envid), &m, &why), -1);
}

static void bdat(void **state)
{
    (void)state;
    struct smtp_bdat_args b;
    assert_int_equal(smtp_bdat_parse(STR("10"), &b), 0);
    assert_true(b.size == 10 && !b.last);
    assert_int_equal(smtp_bdat_parse(STR(" 0  last "), &b), 0);
    assert_true(b.size == 0 && b.last);
    assert_int_equal(smtp_bdat_parse(STR("9223372036854775807 LAST"), &b), 0);
    static const char *const bad[] = {"",
                                      "LAST",
                                      "-1",
                                      "1x",
                                      "1 LAST 2",
                                      "1 2",
                                      "0x10",
                                      "1 LASTx",
                                      "+1",
                                      "9223372036854775808",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (smtp_bdat_parse(str_from(bad[i]), &b) == 0)
            fail_msg("taken: %s", bad[i]);
}

static void helo(void **state)
{
    (void)state;
    struct str name;
    assert_int_equal(smtp_helo_parse(arena, STR(" mail.example.org "), &name), 0);
    assert_text(name, "mail.example.org");
    assert_int_equal(smtp_helo_parse(arena, STR("[IPv6:::1]"), &name), 0);
    assert_text(name, "[IPv6:::1]");
    assert_int_equal(smtp_helo_parse(arena, STR("John's (PC)\xff;x"), &name), 0);
    assert_text(name, "John's??PC???x");
    assert_int_equal(smtp_helo_parse(arena, STR("  "), &name), -1);
    char long_name[256];
    memset(long_name, 'a', sizeof long_name);
    assert_int_equal(smtp_helo_parse(arena, str_of(long_name, 256), &name), -1);
    assert_int_equal(smtp_helo_parse(arena, str_of(long_name, 255), &name), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mail_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rcpt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dsn_and_requiretls, set_up, tear_down),
        cmocka_unit_test(bdat),
        cmocka_unit_test_setup_teardown(helo, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
