/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Reports about TLS: records that ask for them (RFC 8460 3), and the JSON of one (4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp/client/tls_report.h"
#include <jansson.h>

static void check_record(const char *txt, const char *want)
{
    struct str list;
    bool ok = tls_rua_record(str_from(txt), &list);

    if (ok != (want != NULL) || (ok && !str_eq(list, str_from(want))))
        fail_msg("%s: " STR_FMT, txt, STR_ARG(ok ? list : STR("none")));
}

static void records(void **state)
{
    struct str rest = STR(" mailto:a@b.example ,, https://c.example/x ,"), uri;

    (void)state;
    check_record("v=TLSRPTv1;rua=mailto:a@b.example", "mailto:a@b.example");
    check_record("v=TLSRPTv1; x=y; rua = mailto:a@b.example,https://c.example/ ; z",
                 "mailto:a@b.example,https://c.example/");
    check_record("v=TLSRPTv1; rua=one; rua=two", "one");
    check_record("v=TLSRPTv1", "");
    check_record("v=TLSRPTv1;", "");
    check_record("v=TLSRPTv2; rua=mailto:a@b.example", NULL);
    check_record("rua=mailto:a@b.example; v=TLSRPTv1", NULL);
    check_record("V=tlsrptv1; rua=mailto:a@b.example", NULL);
    check_record("", NULL);
    assert_true(tls_rua_next(&rest, &uri) && str_eq(uri, STR("mailto:a@b.example")));
    assert_true(tls_rua_next(&rest, &uri) && str_eq(uri, STR("https://c.example/x")));
    assert_false(tls_rua_next(&rest, &uri));
}

static const char *at(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void json(void **state)
{
    const struct str sts = STR("version: STSv1\nmode: enforce\nmx: a.example\nMX: *.b.example\n");
    const struct tls_result rows[] = {
        {.kind = TLS_POLICY_STS, .policy = sts, .mx = STR("a.example"), .count = 3},
        {.kind = TLS_POLICY_NONE, .mx = STR("a.example"), .count = 5},
        {.kind = TLS_POLICY_STS,
         .policy = sts,
         .mx = STR("x\"y\xff"),
         .type = TLS_RESULT_CERTIFICATE_EXPIRED,
         .count = 2},
        {.kind = TLS_POLICY_STS, .policy = sts, .type = TLS_RESULT_STS_WEBPKI_INVALID, .count = 1},
        {.kind = TLS_POLICY_TLSA, .policy = STR("3 1 1 ab\n"), .mx = STR("c.example"), .count = 1}};
    const struct tls_report r = {.org = STR("Us \"&\" them"),
                                 .contact = STR("us@example.com"),
                                 .id = STR("1@example.com"),
                                 .domain = STR("bank.example"),
                                 .day = 20000,
                                 .rows = rows,
                                 .n = 5};
    struct buf out, small;

    (void)state;
    buf_init(&out, 1 << 20);
    assert_int_equal(tls_report_write(&r, &out), 0);
    json_t *o = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, NULL), *p, *list;
    assert_non_null(o);
    assert_string_equal(at(o, "organization-name"), "Us \"&\" them");
    assert_string_equal(at(o, "report-id"), "1@example.com");
    assert_string_equal(at(json_object_get(o, "date-range"), "start-datetime"),
                        "2024-10-04T00:00:00Z");
    assert_string_equal(at(json_object_get(o, "date-range"), "end-datetime"),
                        "2024-10-04T23:59:59Z");
    list = json_object_get(o, "policies");
    assert_int_equal(json_array_size(list), 3);
    p = json_object_get(json_array_get(list, 0), "policy");
    assert_string_equal(at(p, "policy-type"), "sts");
    assert_string_equal(at(p, "policy-domain"), "bank.example");
    assert_int_equal(json_array_size(json_object_get(p, "policy-string")), 4);
    assert_int_equal(json_array_size(json_object_get(p, "mx-host")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(p, "mx-host"), 1)),
                        "*.b.example");
    p = json_object_get(json_array_get(list, 0), "summary");
    assert_int_equal(json_integer_value(json_object_get(p, "total-successful-session-count")), 3);
    assert_int_equal(json_integer_value(json_object_get(p, "total-failure-session-count")), 3);
    p = json_object_get(json_array_get(list, 0), "failure-details");
    assert_int_equal(json_array_size(p), 2);
    assert_string_equal(at(json_array_get(p, 0), "result-type"), "certificate-expired");
    assert_string_equal(at(json_array_get(p, 0), "receiving-mx-hostname"), "?");
    assert_null(json_object_get(json_array_get(p, 1), "receiving-mx-hostname"));
    p = json_array_get(list, 1);
    assert_string_equal(at(json_object_get(p, "policy"), "policy-type"), "no-policy-found");
    assert_null(json_object_get(json_object_get(p, "policy"), "policy-string"));
    assert_null(json_object_get(p, "failure-details"));
    p = json_object_get(json_array_get(list, 2), "policy");
    assert_string_equal(json_string_value(json_array_get(json_object_get(p, "policy-string"), 0)),
                        "3 1 1 ab");
    json_decref(o);
    buf_init(&small, 100);
    assert_int_equal(tls_report_write(&r, &small), -1);
    buf_fini(&small);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(records), cmocka_unit_test(json)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
