/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Dates of headers and of IMAP. */
#include "appliance/mail/date.h"
#include "mail_test.h"

static void headers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        int64_t at;
        int zone;
    } t[] = {
        {"Fri, 20 Nov 2026 06:29:08 +0000", 1795156148, 0},
        {"Fri, 20 Nov 2026 07:29:08 +0100", 1795156148, 60},
        {"20 Nov 2026 01:29:08 -0500", 1795156148, -300},
        {"Fri, 20 Nov 2026 06:29 +0000", 1795156140, 0},
        {"Fri, 20 Nov 2026 06:29:08 -0000", 1795156148, 0},
        {"Fri, 20 Nov 2026 06:29:08 +0000 (UTC)", 1795156148, 0},
        {" Fri,\r\n 20 Nov 2026\t06:29:08 (c) +0000", 1795156148, 0},
        /* RFC 5322 4.3, A.6.2, A.6.3 */
        {"21 Nov 97 09:55:06 GMT", 880106106, 0},
        {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360},
        {"20 Nov 26 06:29:08 UT", 1795156148, 0},
        {"20 Nov 126 06:29:08 Z", 1795156148, 0},
        {"Fri, 20 Nov 2026 01:29:08 EST", 1795156148, -300},
        {"Fri, 20 Nov 2026 06:29:08 A", 1795156148, 0},
        /* as written in the wild */
        {"Fri, 20 Nov 2026 06:29:08", 1795156148, 0},
        {"Fri,20 Nov 2026 6:29:08 +0000", 1795156148, 0},
        {"fri, 20 NOV 2026 06.29.08 +00:00", 1795156148, 0},
        {"Freitag, 20 November 2026 06:29:08 GMT", 1795156148, 0},
        {"Fri, 20-Nov-2026 06:29:08 GMT", 1795156148, 0},
        {"Fri Nov 20 06:29:08 2026", 1795156148, 0},
        {"Fri Nov 20 07:29:08 CET 2026", 1795156148, 60},
        {"Sat, 31 Dec 2016 23:59:60 +0000", 1483228800, 0}, /* leap second */
        {"Thu, 29 Feb 2024 12:00:00 +0530", 1709188200, 330},
        {"Thu, 1 Jan 1970 00:00:00 +0000", 0, 0},
        {"1 Jan 1960 00:00:00 +0000", -315619200, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct str in = exact(str_from(t[i].in));
        struct date d;
        if (date_parse(in, &d) < 0 || d.at != t[i].at || d.zone != t[i].zone)
            fail_msg("%s: %lld %d", t[i].in, (long long)d.at, d.zone);
        exact_free(in);
    }
}

static void headers_refused(void **state)
{
    (void)state;
    static const char *const t[] = {"",
                                    "yesterday",
                                    "Fri, 32 Nov 2026 06:29:08 +0000",
                                    "31 Nov 2026 06:29:08 +0000",
                                    "29 Feb 2026 06:29:08 +0000",
                                    "29 Feb 1900 06:29:08 +0000",
                                    "20 Foo 2026 06:29:08 +0000",
                                    "20 Nov 6 06:29:08 +0000",
                                    "20 Nov 2026 24:29:08 +0000",
                                    "20 Nov 2026 06:60:08 +0000",
                                    "20 Nov 2026 06:29:61 +0000",
                                    "20 Nov 2026 06:29:08 +9999",
                                    "20 Nov 2026",
                                    "0 Nov 2026 06:29:08 +0000",
                                    "Fri, (unclosed 20 Nov 2026 06:29:08 +0000"};
    struct date d;
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        if (date_parse(str_from(t[i]), &d) == 0)
            fail_msg("%s was taken", t[i]);
}

static void format(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    date_format((struct date){1795156148, 0}, &b);
    assert_str(buf_str(&b), "Fri, 20 Nov 2026 06:29:08 +0000");
    buf_clear(&b);
    date_format((struct date){951782400, -570}, &b); /* 2000-02-29 00:00 UTC */
    assert_str(buf_str(&b), "Mon, 28 Feb 2000 14:30:00 -0930");
    buf_clear(&b);
    date_imap_format((struct date){760168345, -480}, &b);
    assert_str(buf_str(&b), " 1-Feb-1994 21:52:25 -0800");
    buf_clear(&b);
    date_imap_format((struct date){-1, 0}, &b);
    assert_str(buf_str(&b), "31-Dec-1969 23:59:59 +0000");
    buf_clear(&b);
    date_format((struct date){INT64_MAX, INT32_MAX}, &b); /* something of the right form */
    assert_int_equal(b.n, 31);
    buf_clear(&b);
    date_imap_format((struct date){INT64_MIN, INT32_MIN}, &b);
    assert_int_equal(b.n, 26);
    buf_fini(&b);
}

/* Every day of 800 years, and there and back again. */
static void calendar(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    for (int64_t day = -135140; day < 157000; day++) {
        struct date d = {day * 86400 + 43199, 0}, back, imap;
        buf_clear(&b);
        date_format(d, &b);
        assert_int_equal(date_parse(buf_str(&b), &back), 0);
        assert_int_equal(back.at, d.at);
        if (day % 97)
            continue;
        buf_clear(&b);
        d.zone = (int)(day % 1400);
        date_imap_format(d, &b);
        assert_int_equal(date_imap_parse(buf_str(&b), &imap), 0);
        assert_int_equal(imap.at, d.at);
        assert_int_equal(imap.zone, d.zone);
    }
    buf_fini(&b);
}

static void imap(void **state)
{
    (void)state;
    struct date d;
    int64_t day;
    assert_int_equal(date_imap_parse(STR(" 1-Feb-1994 21:52:25 -0800"), &d), 0);
    assert_int_equal(d.at, 760168345);
    assert_int_equal(d.zone, -480);
    assert_int_equal(date_imap_parse(STR("17-jul-1996 02:44:25 -0700"), &d), 0);
    assert_int_equal(d.at, 837596665);
    static const char *const bad[] = {"",
                                      "17-Jul-1996",
                                      "17-Jul-1996 02:44:25",
                                      "17-Jul-1996 2:44:25 -0700",
                                      "17-July-1996 02:44:25 -0700",
                                      "17-Jul-96 02:44:25 -0700",
                                      "17-Jul-1996 02:44:25 -07000",
                                      "17-Jul-1996 02:44:25 -07:0",
                                      "17-Jul-1996 02:44:25 GMT",
                                      "17-Jul-1996 02:44:25 -0700 ",
                                      "30-Feb-1996 02:44:25 -0700"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(date_imap_parse(str_from(bad[i]), &d), -1);
    assert_int_equal(date_imap_day_parse(STR("1-Feb-1994"), &day), 0);
    assert_int_equal(day, 8797);
    assert_int_equal(date_imap_day_parse(STR("01-FEB-1994"), &day), 0);
    assert_int_equal(day, 8797);
    assert_int_equal(date_imap_day_parse(STR("1-Feb-94"), &day), -1);
    assert_int_equal(date_imap_day_parse(STR("1-Feb-1994 "), &day), -1);
    /* the day as written, wherever it was written */
    assert_int_equal(date_parse(STR("1 Feb 1994 23:52:25 -0800"), &d), 0);
    assert_int_equal(date_day(d), 8797);
    assert_int_equal(date_parse(STR("1 Feb 1994 00:10:00 +1300"), &d), 0);
    assert_int_equal(date_day(d), 8797);
    assert_int_equal(date_day((struct date){-1, 0}), -1);
    date_day((struct date){INT64_MIN, INT32_MIN});
    date_day((struct date){INT64_MAX, INT32_MAX});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers), cmocka_unit_test(headers_refused),
        cmocka_unit_test(format),  cmocka_unit_test(calendar),
        cmocka_unit_test(imap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
