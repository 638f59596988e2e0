/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What libspf2 mustn't be given, and that it needn't block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filters/spf_libspf2.h"
#include <stdio.h>
#include <string.h>

static struct spf_libspf2 *s;

static void begin_as(const char *ip, struct str helo, struct str sender)
{
    const struct spf_request request = {
        .ip = ip, .helo = helo, .sender = sender, .receiver = STR("mx.example.org"), .now = 1};

    s = spf_libspf2_new(&request);
}

static void begin(const char *sender)
{
    begin_as("192.0.2.7", STR("mail.example.org"), str_from(sender));
}

static void is_asked(enum ph_dns_type type, const char *name)
{
    struct spf_question q;

    assert_true(spf_libspf2_question(s, &q));
    assert_null(spf_libspf2_verdict(s));
    assert_int_equal(q.type, type);
    assert_string_equal(q.name, name);
}

static void answer(enum ph_dns_status status, const char *value, size_t n)
{
    const struct ph_dns_record record = {.ip = value, .name = value, .text = value, .text_size = n};
    const struct ph_dns_record *list[] = {&record};
    const struct ph_dns_answer a = {.size = sizeof a,
                                    .status = status,
                                    .name = "",
                                    .why = "",
                                    .n = status == PH_DNS_FOUND,
                                    .records = list};

    spf_libspf2_answer(s, &a);
}

static void found(const char *value)
{
    answer(PH_DNS_FOUND, value, strlen(value));
}

/* Its verdict; what it says besides: the problem, or the explanation. */
static void is(enum spf_result result, const char *said)
{
    const struct spf_verdict *v = spf_libspf2_verdict(s);

    assert_non_null(v);
    assert_string_equal(spf_result_name(v->result), spf_result_name(result));
    assert_string_equal(v->problem.n       ? v->problem.p
                        : v->explanation.n ? v->explanation.p
                                           : "",
                        said);
    spf_libspf2_free(&s);
}

/* Text: `times` repetitions between two others. */
static const char *long_text(const char *before, const char *part, unsigned times,
                             const char *after)
{
    static char text[16384];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", before);

    while (times--)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", part);
    snprintf(text + n, sizeof text - n, "%s", after);
    return text;
}

static void test_questions(void **state)
{
    (void)state;
    begin("a@example.com");
    is_asked(PH_DNS_TXT, "example.com");
    found("v=spf1 include:%{l}.one.example a:two.example -all");
    is_asked(PH_DNS_TXT, "a.one.example");
    found("v=spf1 mx -all");
    is_asked(PH_DNS_MX, "a.one.example");
    found("mx.example");
    is_asked(PH_DNS_A, "mx.example");
    found("192.0.2.1");
    is_asked(PH_DNS_A, "two.example");
    found("192.0.2.7");
    is(SPF_PASS, "");
    begin("a@example.com");
    answer(PH_DNS_NO_NAME, "", 0);
    is(SPF_NONE, "");
    begin("a@nodots");
    is(SPF_NONE, "");
}

static void test_no_answers(void **state)
{
    (void)state;
    begin("a@example.com");
    answer(PH_DNS_FAILED, "", 0);
    is(SPF_TEMPERROR, "no answer from the DNS for: example.com");
    begin("a@example.com");
    found("v=spf1 a:x.example -all");
    answer(PH_DNS_OVER_BUDGET, "", 0);
    is(SPF_PERMERROR, "too many questions to the DNS: x.example");
}

static void test_explanations(void **state)
{
    static const char record[] = "v=spf1 -all exp=why.example";

    (void)state;
    begin("a@example.com");
    found(record);
    is_asked(PH_DNS_TXT, "why.example");
    found("%{i} isn't one of %{d}, %{R} says");
    is(SPF_FAIL, "192.0.2.7 isn't one of example.com, mx.example.org says");
    begin("a@example.com");
    found(record);
    found(long_text("", "a%{i}", 40, "")); /* would be compiled past the end of a buffer */
    is(SPF_FAIL, "");
    begin("a@example.com");
    found(record);
    found("odd %{z}");
    is(SPF_FAIL, "");
    begin("a@example.com");
    found(record);
    answer(PH_DNS_FOUND, "a\0b", 3);
    is(SPF_FAIL, "");
    begin("a@example.com"); /* not asked for where nobody fails */
    found("v=spf1 ~all exp=why.example");
    is(SPF_SOFTFAIL, "");
}

/* CVE-2023-42118 and its like: terms that don't fit are refused before it sees them. */
static void test_long_records(void **state)
{
    (void)state;
    begin("a@example.com");
    found(long_text("v=spf1 exists:", "%{i}", 30, ".example -all"));
    assert_int_equal(spf_libspf2_verdict(s)->result, SPF_PERMERROR);
    assert_non_null(strstr(spf_libspf2_verdict(s)->problem.p, "too long for libspf2"));
    spf_libspf2_free(&s);
    begin("a@example.com");
    found(long_text("v=spf1 a:", "x", 256, ".example -all"));
    assert_int_equal(spf_libspf2_verdict(s)->result, SPF_PERMERROR);
    spf_libspf2_free(&s);
    begin("a@example.com");
    found(long_text("v=spf1 odd=", "%{i}a%-", 60, " -all"));
    assert_int_equal(spf_libspf2_verdict(s)->result, SPF_PERMERROR);
    spf_libspf2_free(&s);
    begin("a@example.com");
    found(long_text("v=spf1", " ip4:10.0.0.1", 300, " -all"));
    assert_int_equal(spf_libspf2_verdict(s)->result, SPF_PERMERROR);
    spf_libspf2_free(&s);
    begin("a@example.com");
    answer(PH_DNS_FOUND, "v=spf1 a:x\0.example -all", 24);
    is(SPF_PERMERROR, "malformed term: a:x");
}

/* Octets above 127 are signed for it when it encodes them for an URL. */
static void test_odd_names(void **state)
{
    (void)state;
    begin_as("2001:db8::7", STR("\xff\xfe%\x01"), STR("j\xc3\xb6rg @example.com"));
    found("v=spf1 exists:%{L}.%{H}.%{lr}.example -all exp=why.example");
    while (!spf_libspf2_verdict(s))
        found("%{S} %{L} %{H} %{hr2}");
    assert_int_equal(spf_libspf2_verdict(s)->result, SPF_FAIL);
    spf_libspf2_free(&s);
    begin_as("", STR(""), STR(""));
    is(SPF_NONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),    cmocka_unit_test(test_no_answers),
        cmocka_unit_test(test_explanations), cmocka_unit_test(test_long_records),
        cmocka_unit_test(test_odd_names),
    };

    if (!spf_libspf2_is_there()) {
        printf("skipped: built without libspf2\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
