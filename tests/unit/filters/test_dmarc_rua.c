/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Who gets aggregate reports, by a table instead of the DNS: addresses in URIs, destinations of the
 * same organisation and of others (RFC 9990 4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filters/dmarc_rua.h"
#include <stdio.h>

/* ---- URIs */

static void check_uri(const char *uri, const char *want)
{
    struct arena *a = arena_new(0);
    struct mailto to;
    bool ok = mailto_parse(a, str_from(uri), &to);

    if (ok != (want != NULL) || (ok && !str_eq(to.address, str_from(want))))
        fail_msg("%s: " STR_FMT, uri, STR_ARG(ok ? to.address : STR("none")));
    arena_free(&a);
}

static void test_uris(void **state)
{
    char long_one[500] = "mailto:";

    (void)state;
    check_uri("mailto:a@b.example", "a@b.example");
    check_uri("MailTo:A.b+c@B.Example", "A.b+c@b.example");
    check_uri("mailto:a%2Bb@c.example?subject=x&to=evil@d.example", "a+b@c.example");
    check_uri("mailto:a%21b@c.example", "a!b@c.example");
    check_uri("https://b.example/", NULL);
    check_uri("mailto:", NULL);
    check_uri("mailto:?to=a@b.example", NULL);
    check_uri("mailto:a", NULL);
    check_uri("mailto:@b.example", NULL);
    check_uri("mailto:a@", NULL);
    check_uri("mailto:a@b.example%0d%0aBcc:x@y.example", NULL);
    check_uri("mailto:a@b.example%3e%20SIZE=1", NULL);
    check_uri("mailto:a%2cb@c.example", NULL);
    check_uri("mailto:a@b.example%2cc@d.example", NULL);
    check_uri("mailto:%22a%20b%22@c.example", NULL);
    check_uri("mailto:a.@c.example", NULL);
    check_uri("mailto:a@[192.0.2.1]", NULL);
    check_uri("mailto:a%@b.example", NULL);
    check_uri("mailto:a%zz@b.example", NULL);
    check_uri("mailto:%00@b.example", NULL);
    check_uri("mailto:\xc3\xbc@b.example", NULL);
    check_uri("mailto:@relay.example:a@b.example", NULL);
    memset(long_one + 7, 'x', 450);
    check_uri(long_one, NULL);
}

/* ---- Destinations */

struct entry {
    const char *name, *text, *other;
};
#define FAILED "failed"

static char asked[1000], got[1000];

static void answer(struct dmarc_rua *r, const struct entry *zone, const struct dmarc_question *q)
{
    struct ph_dns_record records[2];
    const struct ph_dns_record *list[2] = {&records[0], &records[1]};
    struct ph_dns_answer a = {.size = sizeof a, .status = PH_DNS_NO_NAME, .records = list};

    assert_int_equal(q->type, PH_DNS_TXT);
    for (const struct entry *e = zone; e->name; e++) {
        if (strcmp(e->name, q->name) != 0)
            continue;
        a.status = strcmp(e->text, FAILED) ? PH_DNS_FOUND : PH_DNS_FAILED;
        const char *const texts[] = {e->text, e->other};
        for (size_t i = 0; i < 2 && texts[i]; i++)
            records[a.n++] =
                (struct ph_dns_record){.text = texts[i], .text_size = strlen(texts[i])};
    }
    dmarc_rua_answer(r, &a);
}

/* What it comes to: "+a@b", "-a@b" (refused), "?a@b" (unknown). */
static void look(const struct entry *zone, const char *domain, const char *list, const char *want)
{
    static const char marks[] = {'o', '+', '-', '?'};
    struct dmarc_rua *r = dmarc_rua_new(domain, str_from(list));
    const struct dmarc_rua_to *to;
    struct dmarc_question q;
    unsigned questions = 0;
    size_t n;

    asked[0] = got[0] = '\0';
    while (dmarc_rua_question(r, &q)) {
        assert_true(questions++ < 100);
        size_t used = strlen(asked);
        if (strstr(q.name, "._report."))
            snprintf(asked + used, sizeof asked - used, "%s ", q.name);
        answer(r, zone, &q);
    }
    to = dmarc_rua_list(r, &n);
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%c" STR_FMT, used ? " " : "", marks[to[i].state],
                 STR_ARG(to[i].to.address));
    }
    assert_string_equal(got, want);
    dmarc_rua_free(&r);
}

static void test_same_organisation(void **state)
{
    static const struct entry zone[] = {{"_dmarc.bank.example", "v=DMARC1; p=none", NULL},
                                        {"_dmarc.example", "v=DMARC1; p=none; psd=y", NULL},
                                        {NULL, NULL, NULL}};

    (void)state;
    look(zone, "bank.example", "mailto:a@bank.example", "+a@bank.example");
    look(zone, "bank.example", "mailto:a@in.bank.example!10m , mailto:b@bank.example!1",
         "+a@in.bank.example +b@bank.example");
    look(zone, "news.bank.example", "mailto:a@bank.example,mailto:b@mail.bank.example",
         "+a@bank.example +b@mail.bank.example");
    assert_string_equal(asked, "");
    look(zone, "bank.example", "mailto:a@shop.example", "-a@shop.example");
    assert_string_equal(asked, "bank.example._report._dmarc.shop.example ");
    look(zone, "bank.example", "mailto:a@notbank.example", "-a@notbank.example");
}

static void test_elsewhere(void **state)
{
    static const struct entry zone[] = {
        {"a.test._report._dmarc.yes.example", "v=DMARC1", NULL},
        {"a.test._report._dmarc.second.example", "something", "v=DMARC1;"},
        {"a.test._report._dmarc.wrong.example", "v=DMARC2", "DMARC1"},
        {"a.test._report._dmarc.moved.example", "v=DMARC1; rua=mailto:here@moved.example", NULL},
        {"a.test._report._dmarc.thief.example", "v=DMARC1; rua=mailto:x@victim.example", NULL},
        {"a.test._report._dmarc.down.example", FAILED, NULL},
        {NULL, NULL, NULL}};

    (void)state;
    look(zone, "a.test", "mailto:a@yes.example,mailto:b@no.example",
         "+a@yes.example -b@no.example");
    look(zone, "a.test", "mailto:a@second.example,mailto:b@wrong.example",
         "+a@second.example -b@wrong.example");
    look(zone, "a.test", "mailto:a@moved.example", "+here@moved.example");
    look(zone, "a.test", "mailto:a@thief.example", "-a@thief.example");
    look(zone, "a.test", "mailto:a@down.example,mailto:a@yes.example",
         "?a@down.example +a@yes.example");
}

static void test_bounds(void **state)
{
    static const struct entry none[] = {{NULL, NULL, NULL}};
    char domain[254];

    (void)state;
    look(none, "a.test", "", "");
    look(none, "a.test", "https://a.test/,junk,,mailto:x", "");
    look(none, "not a domain", "mailto:a@b.test", "");
    look(none, "a.test", "mailto:a@a.test,mailto:A@a.test", "+a@a.test");
    look(none, "a.test",
         "mailto:1@a.test,mailto:2@a.test,mailto:3@a.test,mailto:4@a.test,mailto:5@a.test,"
         "mailto:6@a.test",
         "+1@a.test +2@a.test +3@a.test +4@a.test +5@a.test");
    memset(domain, 'x', sizeof domain); /* a question that would be longer than a name can be */
    for (size_t i = 60; i < 250; i += 61)
        domain[i] = '.';
    memcpy(domain + 245, ".test", 6);
    look(none, domain, "mailto:a@elsewhere.example", "-a@elsewhere.example");
    assert_string_equal(asked, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uris), cmocka_unit_test(test_same_organisation),
        cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
