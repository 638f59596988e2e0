/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Records and From fields: what they say, and what is wrong in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filters/dmarc_author.h"
#include "filters/dmarc_record.h"
#include <stdio.h>

/* What a record asks for, as a line: p of itself, of what is below, of what isn't there; flags. */
static const char *read(const char *text)
{
    static char line[200];
    struct dmarc_record r;

    if (!dmarc_record_parse(str_from(text), &r))
        return "no record";
    snprintf(line, sizeof line, "%s%s %s %s%s%s%s%s", r.usable ? "" : "unusable ",
             dmarc_policy_name(dmarc_record_policy(&r, false, true)),
             dmarc_policy_name(dmarc_record_policy(&r, true, true)),
             dmarc_policy_name(dmarc_record_policy(&r, true, false)), r.test ? " t" : "",
             r.strict_spf ? " aspf" : "", r.strict_dkim ? " adkim" : "",
             r.psd == DMARC_PSD_YES  ? " psd"
             : r.psd == DMARC_PSD_NO ? " nopsd"
                                     : "");
    return line;
}

static void test_records(void **state)
{
    static const char *const cases[][2] = {
        {"v=DMARC1; p=reject", "reject reject reject"},
        {"v=DMARC1;p=none;sp=quarantine;np=reject;", "none quarantine reject"},
        {"v=DMARC1; p=reject; sp=none", "reject none none"},
        {"v=DMARC1; p=quarantine; np=none", "quarantine quarantine none"},
        {"v = DMARC1 ;\tp\t= Reject ; ADKIM=S;aspf = s", "reject reject reject aspf adkim"},
        {"v=DMARC1; p=reject; adkim=r; aspf=r; t=n; psd=u", "reject reject reject"},
        {"v=DMARC1; p=reject; psd=y; t=y", "reject reject reject t psd"},
        {"v=DMARC1; psd=n; p=none", "none none none nopsd"},
        /* what is gone, unknown, or wrong */
        {"v=DMARC1; p=reject; pct=0; rf=afrf; ri=86400", "reject reject reject t"},
        {"v=DMARC1; p=reject; pct=0; t=n", "reject reject reject"},
        {"v=DMARC1; p=reject; pct=50", "reject reject reject"},
        {"v=DMARC1; p=reject; x=y; foo; =; =a; a=; p2=none", "reject reject reject"},
        {"v=DMARC1; p=reject; adkim=strict; aspf=; t=yes; psd=no", "reject reject reject"},
        {"v=DMARC1; p=none; p=reject", "none none none"},
        {"v=DMARC1;;; ;p=reject", "reject reject reject"},
        {"v=DMARC1; p=reject; rua=a\x01", "reject reject reject"},
        /* 4.10.1 */
        {"v=DMARC1", "unusable none none none"},
        {"v=DMARC1; sp=reject", "unusable none none none"},
        {"v=DMARC1; p=all; rua=nowhere", "unusable none none none"},
        {"v=DMARC1; p=all; rua=mailto:a@example.com", "none none none"},
        {"v=DMARC1; rua=x, mailto:a@example.com!10m", "none none none"},
        {"v=DMARC1; p=reject; sp=bad; rua=mailto:a@example.com", "none none none"},
        {"v=DMARC1; p=reject; np=bad", "unusable none none none"},
        /* not one */
        {"p=reject", "no record"},
        {"p=reject; v=DMARC1", "no record"},
        {"", "no record"},
        {"; v=DMARC1; p=reject", "no record"},
        {" v=DMARC1; p=reject", "no record"},
        {"v=dmarc1; p=reject", "no record"},
        {"v=DMARC2; p=reject", "no record"},
        {"v=DMARC1 p=reject", "no record"},
        {"v=DMARC; p=reject", "no record"},
        {"v=DMARC1.; p=reject", "no record"},
        {"vv=DMARC1; p=reject", "no record"},
        {"v=spf1 -all", "no record"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(read(cases[i][0]), cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], read(cases[i][0]));
}

static void test_uris(void **state)
{
    struct str rest = STR("mailto:a@example.com!50k , nothing,https://x.example/?a=b, mailto:"
                          "bad space@x, 1x:y, :z,mailto:,MAILTO:b@example.com"),
               uri;

    (void)state;
    assert_true(dmarc_uri_next(&rest, &uri) && str_eq(uri, STR("mailto:a@example.com")));
    assert_true(dmarc_uri_next(&rest, &uri) && str_eq(uri, STR("https://x.example/?a=b")));
    assert_true(dmarc_uri_next(&rest, &uri) && str_eq(uri, STR("MAILTO:b@example.com")));
    assert_false(dmarc_uri_next(&rest, &uri));
}

/* ---- From. */

static struct dmarc_authors authors(const char *head)
{
    struct dmarc_authors a;

    dmarc_authors_find(str_from(head), &a);
    return a;
}

static void is_author(const char *from, const char *domain)
{
    char head[2000];

    snprintf(head, sizeof head, "Subject: x\r\nFrom: %s\r\n\r\n", from);
    struct dmarc_authors a = authors(head);
    if (a.n != 1 || a.more || a.unclear || strcmp(a.at[0].z, domain) != 0)
        fail_msg("%s: %zu %s", from, a.n, a.at[0].z);
}

static void test_author(void **state)
{
    (void)state;
    is_author("ann@Example.COM", "example.com");
    is_author("\"ceo@bank.example\" <x@evil.example>", "evil.example");
    is_author("a@bank.example <x@evil.example>", "evil.example");
    is_author("Ann\r\n <ann@example.com>\r\n (home)", "example.com");
    is_author("(a@b.example) ann @ example . com", "example.com");
    is_author("=?utf-8?q?a=40bank=2Eexample?= <x@evil.example>", "evil.example");
    is_author("Smith, Ann <ann@example.com>", "example.com");
    is_author("Team: a@example.com, b@EXAMPLE.com;", "example.com");
    is_author("\"a@b.example,\"@example.com", "example.com");
    is_author("<@relay.example:a@example.com>", "example.com");
    is_author("a@gr\xc3\xbc"
              "en.example",
              "xn--gren-1ra.example");
    is_author("a@my_host.example.com", "my_host.example.com");
    is_author("a@example.com.", "example.com");
}

static void test_no_author(void **state)
{
    static const char *const unclear[] = {"a@[192.0.2.1]",  "a@ex ample.com",
                                          "a@-.,b@x..y",    "Boss boss@bank.example",
                                          "a@\xff.example", "a@b$c.example"};
    struct dmarc_authors a;
    char head[400];

    (void)state;
    a = authors("Subject: x\r\n\r\n");
    assert_true(a.n == 0 && a.fields == 0 && !a.unclear);
    a = authors("From: root\r\n\r\n");
    assert_true(a.n == 0 && a.fields == 1 && !a.unclear);
    a = authors("From: undisclosed:;\r\n\r\n");
    assert_true(a.n == 0 && a.fields == 1 && !a.unclear);
    a = authors("From: <>\r\n\r\n");
    assert_true(a.n == 0 && a.fields == 1);
    for (size_t i = 0; i < sizeof unclear / sizeof unclear[0]; i++) {
        snprintf(head, sizeof head, "From: %s\r\n\r\n", unclear[i]);
        a = authors(head);
        if (!a.unclear)
            fail_msg("%s", unclear[i]);
    }
}

static void test_authors(void **state)
{
    struct dmarc_authors a =
        authors("From: a@x.example, g: b@y.example; \r\nFrom: c@X.example\r\n\r\n");

    (void)state;
    assert_true(a.n == 2 && a.fields == 2 && !a.more);
    assert_string_equal(a.at[0].z, "x.example");
    assert_string_equal(a.at[1].z, "y.example");
    a = authors("From: a@a.b, a@b.b, a@c.b, a@d.b, a@a.b\r\n\r\n");
    assert_true(a.n == 4 && !a.more);
    a = authors("From: a@a.b, a@b.b, a@c.b, a@d.b, a@e.b\r\n\r\n");
    assert_true(a.n == 4 && a.more);
    a = authors("From: a@a.b\r\nfrom: a@a.b\r\nFROM: a@a.b\r\nFrom: a@a.b\r\nFrom: a@e.b\r\n\r\n");
    assert_true(a.n == 1 && a.more && a.fields == 5);
}

static void test_domains(void **state)
{
    struct dmarc_domain d;
    char name[300];

    (void)state;
    memset(name, 'a', sizeof name);
    for (size_t i = 63; i < sizeof name; i += 64)
        name[i] = '.';
    assert_true(dmarc_domain_fold(str_of(name, 253), &d));
    assert_true(strlen(d.z) == 253);
    assert_false(dmarc_domain_fold(str_of(name, 254), &d));
    name[63] = 'a';
    assert_false(dmarc_domain_fold(str_of(name, 100), &d));
    assert_false(dmarc_domain_fold(STR(""), &d));
    assert_false(dmarc_domain_fold(STR("."), &d));
    assert_false(dmarc_domain_fold(STR(".a"), &d));
    assert_false(dmarc_domain_fold(STR("a\0b"), &d));
    assert_true(dmarc_domain_fold(STR("COM"), &d));
    assert_string_equal(d.z, "com");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_uris),
        cmocka_unit_test(test_author),  cmocka_unit_test(test_no_author),
        cmocka_unit_test(test_authors), cmocka_unit_test(test_domains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
