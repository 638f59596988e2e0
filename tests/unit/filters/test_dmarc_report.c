/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Aggregate reports as XML (RFC 9990 3.1.1): what each row says, names that would break it, room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/buf.h"
#include "filters/dmarc_report.h"

#define RECORD "v=DMARC1; p=reject; sp=none; adkim=s; t=y; fo=1"

static struct buf out;

static int start(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static struct dmarc_report report(const struct dmarc_row *rows, size_t n)
{
    return (struct dmarc_report){.org = STR("Us"),
                                 .email = STR("us@example.com"),
                                 .id = STR("77"),
                                 .domain = STR("bank.test"),
                                 .day = 20000,
                                 .rows = rows,
                                 .n = n};
}

static void has(const char *what)
{
    if (!strstr(buf_z(&out), what))
        fail_msg("%s is not in %s", what, buf_z(&out));
}

static size_t count(const char *what)
{
    size_t n = 0;

    for (const char *p = buf_z(&out); (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void test_rows(void **state)
{
    const struct dmarc_row rows[] = {
        {.record = STR(RECORD),
         .author = STR("bank.test"),
         .ip = STR("192.0.2.1"),
         .auth = STR("spf pass bank.test\ndkim pass bank.test s1\ndkim fail x.test s2\n"),
         .spf = true,
         .dkim = true,
         .count = 12},
        {.record = STR(RECORD),
         .author = STR("bank.test"),
         .ip = STR("2001:db8::1"),
         .disposition = DMARC_QUARANTINE,
         .override = DMARC_OVERRIDE_TEST,
         .count = 1}};
    struct dmarc_report r = report(rows, 2);
    size_t told;

    (void)state;
    assert_int_equal(dmarc_report_write(&r, &out, &told), 0);
    assert_int_equal(told, 2);
    has("<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">");
    has("<date_range><begin>1728000000</begin><end>1728086399</end></date_range>");
    has("<domain>bank.test</domain><adkim>s</adkim><aspf>r</aspf><p>reject</p><sp>none</sp>"
        "<np>none</np><fo>1</fo><testing>y</testing>");
    has("<row><source_ip>192.0.2.1</source_ip><count>12</count><policy_evaluated><disposition>pass"
        "</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>");
    has("<auth_results><dkim><domain>bank.test</domain><selector>s1</selector><result>pass</result>"
        "</dkim><dkim><domain>x.test</domain><selector>s2</selector><result>fail</result></dkim>"
        "<spf><domain>bank.test</domain><scope>mfrom</scope><result>pass</result></spf>"
        "</auth_results>");
    has("<disposition>quarantine</disposition><dkim>fail</dkim><spf>fail</spf><reason><type>"
        "policy_test_mode</type></reason>");
    has("<auth_results></auth_results></record>\n</feedback>\n");
    assert_int_equal(count("<extra_contact_info>"), 0);
}

static void test_hostile(void **state)
{
    const struct dmarc_row row = {.record = STR("v=DMARC1; p=none; fo=</fo>&"),
                                  .author = STR("a</header_from><x>&\xff\0\""),
                                  .ip = STR("<ip>"),
                                  .auth = STR("spf <r> </domain>\ndkim & ]]> '\n"),
                                  .count = 1};
    struct dmarc_report r = report(&row, 1);
    size_t told;

    (void)state;
    r.org = STR("<org> & \x1b");
    r.contact = STR("\"c\"");
    assert_int_equal(dmarc_report_write(&r, &out, &told), 0);
    has("<org_name>&lt;org&gt; &amp; ?</org_name>");
    has("<extra_contact_info>&quot;c&quot;</extra_contact_info>");
    has("<fo>&lt;/fo&gt;&amp;</fo>");
    has("<header_from>a&lt;/header_from&gt;&lt;x&gt;&amp;??&quot;</header_from>");
    has("<source_ip>&lt;ip&gt;</source_ip>");
    has("<envelope_from>&lt;/domain&gt;</envelope_from>");
    has("<dkim><domain>]]&gt;</domain><selector>&apos;</selector><result>&amp;</result></dkim>");
    for (size_t i = 0; i < out.n; i++)
        assert_true((unsigned char)out.p[i] >= ' ' || out.p[i] == '\n');
    assert_int_equal(count("<"), count(">"));
}

static void test_room(void **state)
{
    struct dmarc_row rows[100] = {0};
    struct dmarc_report r = report(rows, 100);
    size_t told;

    (void)state;
    for (size_t i = 0; i < 100; i++)
        rows[i] = (struct dmarc_row){
            .record = STR(RECORD), .author = STR("bank.test"), .ip = STR("192.0.2.1"), .count = 1};
    buf_fini(&out);
    buf_init(&out, 5000);
    assert_int_equal(dmarc_report_write(&r, &out, &told), 0);
    assert_true(told > 5 && told < 50);
    assert_int_equal(count("<record>"), told);
    assert_int_equal(count("</record>"), told);
    has("</record>\n</feedback>\n");
    buf_fini(&out);
    buf_init(&out, 500);
    assert_int_equal(dmarc_report_write(&r, &out, &told), -1);
    buf_fini(&out);
    buf_init(&out, 10);
    assert_int_equal(dmarc_report_write(&r, &out, &told), -1);
}

/* A report tells of one policy: that of most messages. */
static void test_policy(void **state)
{
    const struct dmarc_row rows[] = {{.record = STR("v=DMARC1; p=none"), .count = 5},
                                     {.record = STR(RECORD), .count = 4},
                                     {.record = STR(RECORD), .count = 3}};

    (void)state;
    assert_true(str_eq(dmarc_report_record(rows, 3), STR(RECORD)));
    assert_true(str_eq(dmarc_report_record(rows, 2), STR("v=DMARC1; p=none")));
    assert_int_equal(dmarc_report_record(rows, 0).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_rows, start, finish),
                                       cmocka_unit_test_setup_teardown(test_hostile, start, finish),
                                       cmocka_unit_test_setup_teardown(test_room, start, finish),
                                       cmocka_unit_test(test_policy)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
