/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Policy discovery, tree walk and alignment, by a table instead of the DNS: the examples of RFC
 * 9989 4.10 and appendix B, and what else a domain can publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filters/dmarc_eval.h"
#include <stdio.h>

struct entry {
    const char *name, *text, *other; /* other: a second record */
};
#define FAILED "failed" /* as text: no answer */

static const struct entry *zone;
static unsigned asked;
static char log_text[2000]; /* what was asked for, a space between */
static struct dmarc_request request;
static struct dmarc *dmarc;

static void answer(const struct dmarc_question *q)
{
    struct ph_dns_record records[2];
    const struct ph_dns_record *list[2] = {&records[0], &records[1]};
    struct ph_dns_answer a = {.size = sizeof a, .status = PH_DNS_NO_NAME, .records = list};
    size_t used = strlen(log_text);

    snprintf(log_text + used, sizeof log_text - used, "%s%s", used ? " " : "", q->name);
    asked++;
    for (const struct entry *e = zone; e->name; e++) {
        if (strcmp(e->name, q->name) != 0)
            continue;
        a.status = !e->text                  ? PH_DNS_NO_DATA
                   : strcmp(e->text, FAILED) ? PH_DNS_FOUND
                                             : PH_DNS_FAILED;
        const char *const texts[] = {e->text, e->other};
        for (size_t i = 0; a.status == PH_DNS_FOUND && i < 2 && texts[i]; i++)
            records[a.n++] =
                (struct ph_dns_record){.text = texts[i], .text_size = strlen(texts[i])};
    }
    dmarc_answer(dmarc, q, &a);
}

static void begin(const struct entry *z, const char *from)
{
    char head[600];

    zone = z;
    asked = 0;
    log_text[0] = '\0';
    request = (struct dmarc_request){0};
    snprintf(head, sizeof head, "From: %s\r\n\r\n", from);
    dmarc_authors_find(str_from(head), &request.authors);
}

static void add(bool dkim, bool pass, const char *domain)
{
    struct dmarc_identity *id = &request.ids[request.n_ids++];

    id->dkim = dkim;
    id->pass = pass;
    assert_true(dmarc_domain_fold(str_from(domain), &id->domain));
}

/* "RESULT POLICY DOMAIN spf dkim" */
static const char *end(void)
{
    static char line[400];
    struct dmarc_question q;

    dmarc = dmarc_new(&request);
    while (dmarc_question(dmarc, &q) == DMARC_NEXT_ASK) {
        assert_true(asked < 200);
        answer(&q);
    }
    const struct dmarc_verdict *v = dmarc_verdict(dmarc);
    snprintf(line, sizeof line, "%s %s %s%s%s", dmarc_result_name(v->result),
             dmarc_policy_name(v->policy), v->domain[0] ? v->domain : "-", v->spf ? " spf" : "",
             v->dkim ? " dkim" : "");
    dmarc_free(&dmarc);
    return line;
}

static const char *run(const struct entry *z, const char *from, const char *spf, const char *dkim)
{
    begin(z, from);
    if (spf)
        add(false, true, spf);
    if (dkim)
        add(true, true, dkim);
    return end();
}

/* ---- B.1: alignment. */

static void test_alignment(void **state)
{
    static const struct entry z[] = {{.name = "_dmarc.example.com", .text = "v=DMARC1; p=reject"},
                                     {.name = "_dmarc.example.net", .text = "v=DMARC1; p=none"},
                                     {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "s@example.com", "example.com", NULL),
                        "pass reject example.com spf");
    assert_string_equal(log_text, "_dmarc.example.com");
    assert_string_equal(run(z, "s@example.com", "child.example.com", NULL),
                        "pass reject example.com spf");
    assert_string_equal(run(z, "s@child.example.com", "example.net", NULL),
                        "fail reject example.com");
    assert_string_equal(run(z, "s@example.com", NULL, "example.com"),
                        "pass reject example.com dkim");
    assert_string_equal(run(z, "s@child.example.com", NULL, "example.com"),
                        "pass reject example.com dkim");
    assert_string_equal(run(z, "s@child.example.com", NULL, "example.net"),
                        "fail reject example.com");
    assert_string_equal(run(z, "s@news.example.com", "foo.example.com", "example.net"),
                        "pass reject example.com spf"); /* table 1 */
    assert_string_equal(run(z, "s@example.com", NULL, NULL), "fail reject example.com");
    assert_string_equal(run(z, "s@nothing.example", "nothing.example", NULL), "none none -");
    /* A name that merely ends alike */
    assert_string_equal(run(z, "s@example.com", "evilexample.com", NULL),
                        "fail reject example.com");
    assert_string_equal(run(z, "s@example.com", "com", "m"), "fail reject example.com");
}

static void test_strict(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.example.co.uk", .text = "v=DMARC1; p=reject; aspf=s"},
        {.name = "_dmarc.example.com", .text = "v=DMARC1; p=reject; adkim=s"},
        {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "a@example.co.uk", "bounce.example.co.uk", NULL),
                        "fail reject example.co.uk");
    assert_int_equal(asked, 1);
    assert_string_equal(run(z, "a@example.co.uk", "example.co.uk", NULL),
                        "pass reject example.co.uk spf");
    assert_string_equal(run(z, "a@example.co.uk", NULL, "bounce.example.co.uk"),
                        "pass reject example.co.uk dkim");
    assert_string_equal(run(z, "a@example.com", "b.example.com", "b.example.com"),
                        "pass reject example.com spf");
    assert_string_equal(run(z, "a@example.com", NULL, "b.example.com"), "fail reject example.com");
    /* Below the domain of the record both names must still be the same */
    assert_string_equal(run(z, "a@x.example.com", NULL, "example.com"), "fail reject example.com");
}

/* ---- 4.10 and B.4: the walk. */

static void test_simple_walk(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.example.com", .text = "v=DMARC1; p=quarantine"},
        {.name = "_dmarc.signing.example.com", .text = "v=DMARC1; p=reject"},
        {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "a@example.com", "example.com", "signing.example.com"),
                        "pass quarantine example.com spf dkim");
    assert_string_equal(log_text, "_dmarc.example.com _dmarc.com _dmarc.signing.example.com");
}

static void test_deep_walk(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.example.com", .text = "v=DMARC1; p=reject; sp=none; np=quarantine"},
        {.name = "_dmarc.signing.example.com", .text = "v=DMARC1; p=reject"},
        {.name = "a.b.c.d.e.f.g.h.i.j.k.example.com", .text = NULL},
        {.name = "_dmarc.a.deep.name.f.e.d.c.b.example.net", .text = "v=DMARC1; p=reject"},
        {.name = NULL}};

    (void)state;
    assert_string_equal(
        run(z, "a@a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com", "signing.example.com"),
        "pass none example.com spf dkim");
    assert_string_equal(log_text,
                        "_dmarc.a.b.c.d.e.f.g.h.i.j.k.example.com _dmarc.g.h.i.j.k.example.com "
                        "_dmarc.h.i.j.k.example.com _dmarc.i.j.k.example.com "
                        "_dmarc.j.k.example.com _dmarc.k.example.com _dmarc.example.com "
                        "_dmarc.com _dmarc.signing.example.com");
    assert_string_equal(run(z, "a@a.b.c.d.e.f.g.h.i.j.k.example.com", NULL, NULL),
                        "fail none example.com");
    assert_int_equal(asked, 9); /* eight, and whether it exists */
    assert_string_equal(run(z, "a@a.b.c.d.e.f.g.h.i.j.mail.example.com", NULL, NULL),
                        "fail quarantine example.com");
    /* Exactly eight labels: none is left out */
    assert_string_equal(run(z, "a@1.2.3.4.5.6.7.8", NULL, NULL), "none none -");
    assert_int_equal(asked, 8);
    /* A record among the labels that are skipped isn't looked for */
    assert_string_equal(run(z, "a@x.a.deep.name.f.e.d.c.b.example.net", NULL, NULL), "none none -");
}

static void test_psd(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.bank.example", .text = "v=DMARC1; p=reject; psd=y; np=quarantine"},
        {.name = "_dmarc.giant.bank.example", .text = "v=DMARC1; p=quarantine"},
        {.name = "mega.bank.example", .text = NULL},
        {.name = NULL}};

    (void)state;
    assert_string_equal(
        run(z, "a@giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example"),
        "pass quarantine giant.bank.example spf");
    assert_null(strstr(log_text, "_dmarc.example")); /* psd=y stops it */
    assert_string_equal(run(z, "a@giant.bank.example", NULL, "mail.mega.bank.example"),
                        "fail quarantine giant.bank.example");
    /* No policy of its own: the suffix's, for what is below it */
    assert_string_equal(run(z, "a@mega.bank.example", NULL, "mail.giant.bank.example"),
                        "fail reject bank.example");
    assert_string_equal(run(z, "a@absent.bank.example", NULL, NULL),
                        "fail quarantine bank.example");
    assert_string_equal(run(z, "a@mail.mega.bank.example", "other.mega.bank.example", NULL),
                        "pass reject bank.example spf");
    /* An organisation that has declined isn't passed over: 4.10.1, last note */
    assert_string_equal(run(z, "a@x.giant.bank.example", NULL, NULL),
                        "fail quarantine giant.bank.example");
    /* Mail of the suffix itself */
    assert_string_equal(run(z, "a@bank.example", "bank.example", NULL),
                        "pass reject bank.example spf");
    assert_string_equal(run(z, "a@bank.example", "mega.bank.example", NULL),
                        "fail reject bank.example");
}

static void test_organisations(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.example.com", .text = "v=DMARC1; p=reject"},
        {.name = "_dmarc.mail.example.com", .text = "v=DMARC1; p=none; sp=quarantine"},
        {.name = "_dmarc.uni.example.com", .text = "v=DMARC1; p=quarantine; sp=none; psd=n"},
        {.name = "_dmarc.top", .text = "v=DMARC1; p=none; psd=y"},
        {.name = NULL}};

    (void)state;
    /* The record with the fewest labels is the organisation's */
    assert_string_equal(run(z, "a@a.mail.example.com", "example.com", NULL),
                        "pass reject example.com spf");
    assert_string_equal(run(z, "a@a.mail.example.com", NULL, NULL), "fail reject example.com");
    assert_string_equal(run(z, "a@mail.example.com", "example.com", NULL),
                        "pass none mail.example.com spf");
    /* psd=n makes a department one of its own */
    assert_string_equal(run(z, "a@a.uni.example.com", "example.com", NULL),
                        "fail none uni.example.com");
    assert_string_equal(run(z, "a@example.com", "a.uni.example.com", NULL),
                        "fail reject example.com");
    assert_string_equal(run(z, "a@a.uni.example.com", "b.uni.example.com", NULL),
                        "pass none uni.example.com spf");
    /* Only the suffix has one */
    assert_string_equal(run(z, "a@a.mail.shop.top", "shop.top", NULL), "pass none top spf");
    assert_string_equal(run(z, "a@a.mail.shop.top", "other.top", NULL), "fail none top");
}

/* ---- Policies. */

static void test_policies(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.t.example", .text = "v=DMARC1; p=reject; sp=quarantine; np=none; t=y"},
        {.name = "here.t.example", .text = NULL},
        {.name = "_dmarc.np.example", .text = "v=DMARC1; p=none; np=reject"},
        {.name = "there.np.example", .text = FAILED},
        {.name = "is.np.example", .text = "1.2.3.4"},
        {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "a@t.example", NULL, NULL), "fail quarantine t.example");
    assert_string_equal(run(z, "a@here.t.example", NULL, NULL), "fail none t.example");
    assert_string_equal(run(z, "a@absent.t.example", NULL, NULL), "fail none t.example");
    assert_string_equal(run(z, "a@np.example", NULL, NULL), "fail none np.example");
    assert_string_equal(run(z, "a@is.np.example", NULL, NULL), "fail none np.example");
    assert_string_equal(run(z, "a@absent.np.example", NULL, NULL), "fail reject np.example");
    assert_string_equal(run(z, "a@there.np.example", NULL, NULL), "temperror none np.example");
    /* What passes isn't looked up again */
    assert_string_equal(run(z, "a@absent.np.example", "np.example", NULL),
                        "pass none np.example spf");
    assert_null(strstr(log_text, " absent.np.example"));
}

static void test_bad_records(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.two.example", .text = "v=DMARC1; p=reject", .other = "v=DMARC1; p=none"},
        {.name = "_dmarc.beside.example", .text = "v=spf1 -all", .other = "v=DMARC1; p=reject"},
        {.name = "_dmarc.nov.example", .text = "p=reject; v=DMARC1"},
        {.name = "_dmarc.nop.example", .text = "v=DMARC1; sp=reject"},
        {.name = "_dmarc.rua.example", .text = "v=DMARC1; p=x; rua=mailto:a@rua.example"},
        {.name = "_dmarc.late.example", .text = FAILED},
        {.name = "_dmarc.lame.bank.psd", .text = FAILED},
        {.name = "_dmarc.bank.psd", .text = "v=DMARC1; p=reject; sp=quarantine"},
        {.name = "_dmarc.psd", .text = "v=DMARC1; p=none; psd=y"},
        {.name = "_dmarc.lame.suffix", .text = FAILED},
        {.name = "_dmarc.suffix", .text = "v=DMARC1; p=reject; psd=y"},
        {.name = "_dmarc.sub.late2.example", .text = "v=DMARC1; p=reject"},
        {.name = "_dmarc.late2.example", .text = FAILED},
        {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "a@two.example", NULL, NULL), "none none -");
    assert_string_equal(run(z, "a@beside.example", NULL, NULL), "fail reject beside.example");
    assert_string_equal(run(z, "a@nov.example", NULL, NULL), "none none -");
    assert_string_equal(run(z, "a@nop.example", NULL, NULL), "permerror none nop.example");
    assert_string_equal(run(z, "a@rua.example", NULL, NULL), "fail none rua.example");
    assert_string_equal(run(z, "a@late.example", "late.example", NULL), "temperror none -");
    assert_string_equal(run(z, "a@x.late.example", NULL, NULL), "temperror none -");
    /* The policy above is known, though not whether it applies */
    assert_string_equal(run(z, "a@lame.bank.psd", "bank.psd", NULL),
                        "temperror quarantine bank.psd");
    assert_string_equal(run(z, "a@lame.suffix", NULL, NULL), "temperror reject suffix");
    assert_string_equal(run(z, "a@sub.late2.example", "sub.late2.example", NULL),
                        "pass reject sub.late2.example spf");
    assert_string_equal(run(z, "a@sub.late2.example", "late2.example", NULL),
                        "temperror reject sub.late2.example");
}

static void test_incomplete(void **state)
{
    static const struct entry z[] = {{.name = "_dmarc.example.com", .text = "v=DMARC1; p=reject"},
                                     {.name = NULL}};

    (void)state;
    begin(z, "a@example.com");
    add(true, false, "mail.example.com");
    assert_string_equal(end(), "temperror reject example.com");
    begin(z, "a@example.com");
    add(true, false, "elsewhere.net");
    assert_string_equal(end(), "fail reject example.com");
    begin(z, "a@example.com");
    add(true, false, "example.com");
    add(true, true, "example.com");
    assert_string_equal(end(), "pass reject example.com dkim");
    begin(z, "a@example.com");
    request.unchecked = "DKIM wasn't checked";
    assert_string_equal(end(), "temperror reject example.com");
    begin(z, "a@example.com");
    request.unchecked = "DKIM wasn't checked";
    add(false, true, "example.com");
    assert_string_equal(end(), "pass reject example.com spf");
}

static void test_several_authors(void **state)
{
    static const struct entry z[] = {
        {.name = "_dmarc.bank.example", .text = "v=DMARC1; p=reject"},
        {.name = "_dmarc.shop.example", .text = "v=DMARC1; p=quarantine"},
        {.name = "_dmarc.evil.example", .text = "v=DMARC1; p=none"},
        {.name = NULL}};

    (void)state;
    assert_string_equal(run(z, "a@evil.example, b@bank.example", "evil.example", "evil.example"),
                        "fail reject bank.example");
    assert_string_equal(run(z, "b@bank.example, a@evil.example", "evil.example", NULL),
                        "fail reject bank.example");
    assert_string_equal(run(z, "b@shop.example, g: b@bank.example;, a@evil.example", NULL, NULL),
                        "fail reject bank.example");
    assert_string_equal(run(z, "a@evil.example, b@bank.example", "evil.example", "bank.example"),
                        "pass none evil.example spf");
    assert_string_equal(run(z, "a@evil.example, b@nothing.example", "evil.example", NULL),
                        "none none -");
    /* Unreadable beside one that passes: not a pass */
    assert_string_equal(run(z, "a@evil.example, b@[192.0.2.1]", "evil.example", NULL),
                        "permerror none evil.example spf");
    assert_string_equal(run(z, "a@evil.example\r\nFrom: a@evil.example", "evil.example", NULL),
                        "permerror none evil.example spf");
    assert_string_equal(run(z, "root", "evil.example", NULL), "permerror none -");
    assert_int_equal(asked, 0);
}

/* Nobody's records are asked for after those of another: his name servers may be silent. */
static void test_all_authors_at_once(void **state)
{
    static const struct entry z[] = {{.name = "_dmarc.x.silent.example", .text = FAILED},
                                     {.name = "_dmarc.silent.example", .text = FAILED},
                                     {.name = "_dmarc.bank.example", .text = "v=DMARC1; p=reject"},
                                     {.name = NULL}};
    struct dmarc_question first, second, third;

    (void)state;
    begin(z, "a@x.silent.example, b@bank.example");
    dmarc = dmarc_new(&request);
    assert_int_equal(dmarc_question(dmarc, &first), DMARC_NEXT_ASK);
    assert_string_equal(first.name, "_dmarc.x.silent.example");
    assert_int_equal(dmarc_question(dmarc, &second), DMARC_NEXT_ASK);
    assert_string_equal(second.name, "_dmarc.bank.example");
    assert_int_equal(dmarc_question(dmarc, &third), DMARC_NEXT_WAIT);
    answer(&second);
    assert_int_equal(dmarc_question(dmarc, &third), DMARC_NEXT_WAIT);
    answer(&second); /* twice changes nothing */
    answer(&first);
    while (dmarc_question(dmarc, &third) == DMARC_NEXT_ASK)
        answer(&third);
    assert_int_equal(dmarc_verdict(dmarc)->result, DMARC_RESULT_FAIL);
    assert_string_equal(dmarc_verdict(dmarc)->author, "bank.example");
    dmarc_free(&dmarc);
    /* One question for what two want to know */
    begin(z, "a@bank.example, b@sub.bank.example");
    dmarc = dmarc_new(&request);
    assert_int_equal(dmarc_question(dmarc, &first), DMARC_NEXT_ASK);
    assert_int_equal(dmarc_question(dmarc, &second), DMARC_NEXT_ASK);
    answer(&second);
    assert_int_equal(dmarc_question(dmarc, &third), DMARC_NEXT_WAIT);
    answer(&first);
    dmarc_free(&dmarc);
    assert_string_equal(end(), "fail reject bank.example");
    /* One that can't be looked up beside one that passes */
    begin(z, "a@x.silent.example, b@nothing.example");
    assert_string_equal(end(), "temperror none -");
}

/* However much is asked for, there is an end. */
static void test_bounds(void **state)
{
    static const struct entry z[] = {{.name = "_dmarc.example", .text = "v=DMARC1; p=reject"},
                                     {.name = NULL}};
    char name[200];

    (void)state;
    begin(z, "a@a.b.c.d.e.f.g.example, a@b.c.d.e.f.g.h.example, a@c.d.e.f.g.h.i.example, "
             "a@d.e.f.g.h.i.j.example, a@e.example");
    for (int i = 0; i < DMARC_IDENTITIES; i++) {
        snprintf(name, sizeof name, "%d.%d.%d.%d.%d.%d.%d.example", i, i, i, i, i, i, i);
        add(true, false, name);
    }
    assert_non_null(strstr(end(), "temperror"));
    assert_int_equal(asked, DMARC_NAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_simple_walk),
        cmocka_unit_test(test_deep_walk),
        cmocka_unit_test(test_psd),
        cmocka_unit_test(test_organisations),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_several_authors),
        cmocka_unit_test(test_all_authors_at_once),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
