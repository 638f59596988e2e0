/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `spf` before a small name server: who is checked, what becomes of each result, what is
 * said to the client and written into the message. */
#include "filters/spf_libspf2.h"
#include "tests/unit/filters/names.h"

// clang-format off
#define RECORD(length, text) {{16, NULL, {length text, sizeof(text)}}}
// clang-format on
static struct stub_rule rules[] = {
    {"good.test.", 16, STUB_ANSWER, RECORD("\x1c", "v=spf1 ip4:192.0.2.0/24 -all")},
    {"no.test.", 16, STUB_ANSWER, RECORD("\x18", "v=spf1 -all exp=why.test")},
    {"why.test.", 16, STUB_ANSWER, RECORD("\x13", "Go away, %{i}; (ok)")},
    {"soft.test.", 16, STUB_ANSWER, RECORD("\x0b", "v=spf1 ~all")},
    {"bad.test.", 16, STUB_ANSWER, RECORD("\x0c", "v=spf1 (no!)")},
    {"late.test.", 0, STUB_SERVFAIL, {{0}}},
    {"silent.test.", 0, STUB_SILENT, {{0}}},
    {"xn--gren-1ra.test.", 16, STUB_ANSWER, RECORD("\x0b", "v=spf1 ?all")},
    {"mail.good.test.", 16, STUB_ANSWER, RECORD("\x0b", "v=spf1 -all")},
    {.name = NULL}};
static struct world w;
static struct chain *chain;
static struct ph_view view;

static void begin(const char *setting)
{
    world_init(&w);
    w.spf = true;
    world_set(&w, "spf.deadline=5min");
    world_set(&w, "spf.dns_time=5min");
    if (setting)
        world_set(&w, setting);
    names_resolver(&w, "test", 100);
    world_open(&w);
    chain = chain_new(w.filters, 1);
    view = (struct ph_view){.client_ip = "192.0.2.7",
                            .service = "reception",
                            .helo = "mail.good.test",
                            .host = "mx.example.org",
                            .mail_from = "a@good.test"};
}

static void end(void)
{
    chain_free(&chain);
    filters_close(&w.filters);
    resolver_close(&w.resolver);
    world_fini(&w);
}

static const struct chain_answer *run(void)
{
    unsigned before = w.answers;

    chain_transaction(chain, 2);
    if (chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w) == CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    return chain_answer(chain);
}

static const struct chain_answer *run_from(const char *sender)
{
    view.mail_from = sender;
    return run();
}

static const char *fact(const char *name)
{
    static char text[400];
    const struct chain_record *r = chain_records(chain, false);

    for (; r; r = r->next)
        for (const struct chain_fact *f = r->facts; f; f = f->next)
            if (str_eq(f->name, str_from(name))) {
                snprintf(text, sizeof text, STR_FMT, STR_ARG(f->value));
                return text;
            }
    return "";
}

static const char *reason(void)
{
    static char text[400];

    snprintf(text, sizeof text, STR_FMT, STR_ARG(chain_records(chain, false)->reason));
    return text;
}

/* The head with what the stage has added. */
static const char *head(void)
{
    static char text[4000];
    struct buf out;

    buf_init(&out, sizeof text - 1);
    snprintf(text, sizeof text, "%s",
             chain_edit_head(chain, STR("Subject: x\r\n\r\n"), &out) ? buf_z(&out) : "");
    buf_fini(&out);
    return text;
}

static void test_results(void **state)
{
    (void)state;
    begin(NULL);
    assert_int_equal(run()->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "pass");
    assert_string_equal(fact("spf.domain"), "good.test");
    assert_string_equal(fact("spf.identity"), "mailfrom");
    assert_string_equal(fact("spf.mechanism"), "ip4:192.0.2.0/24");
    assert_string_equal(fact("spf.authres"), "spf=pass smtp.mailfrom=a@good.test");
    assert_string_equal(reason(), "pass for good.test (ip4:192.0.2.0/24)");
    assert_int_equal(run_from("a@no.test")->verdict, PH_JUNK);
    assert_string_equal(fact("spf.result"), "fail");
    assert_string_equal(fact("spf.explanation"), "Go away, 192.0.2.7; (ok)");
    assert_int_equal(run_from("a@soft.test")->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "softfail");
    assert_int_equal(run_from("a@bad.test")->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "permerror");
    assert_int_equal(run_from("a@absent.test")->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "none");
    assert_int_equal(run_from("a@late.test")->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "temperror");
    assert_int_equal(run_from("a@gr\xc3\xbc"
                              "en.test")
                         ->verdict,
                     PH_PASS);
    assert_string_equal(fact("spf.result"), "neutral");
    end();
}

static void test_null_sender(void **state)
{
    (void)state;
    begin(NULL);
    assert_int_equal(run_from("")->verdict, PH_JUNK);
    assert_string_equal(fact("spf.identity"), "helo");
    assert_string_equal(fact("spf.domain"), "mail.good.test");
    assert_string_equal(fact("spf.authres"), "spf=fail smtp.helo=mail.good.test");
    view.helo = "[192.0.2.7]";
    assert_int_equal(run()->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "none");
    end();
}

static void test_refusals(void **state)
{
    (void)state;
    begin("spf.fail=reject");
    const struct chain_answer *a = run_from("a@no.test");
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->status, "5.7.23");
    assert_string_equal(a->text, "SPF: 192.0.2.7 may not send for no.test, which says: "
                                 "Go away, 192.0.2.7; (ok)");
    end();
    begin("spf.permerror=reject");
    a = run_from("a@bad.test");
    assert_string_equal(a->status, "5.7.24");
    assert_string_equal(a->text,
                        "SPF: the record of bad.test can't be used (malformed term: (no!))");
    end();
    begin("spf.softfail=quarantine");
    assert_int_equal(run_from("a@soft.test")->verdict, PH_QUARANTINE);
    end();
    begin("spf.temperror=defer");
    a = run_from("a@late.test");
    assert_true(a->verdict == PH_DEFER && a->code == 451);
    assert_string_equal(a->status, "4.7.24");
    end();
}

static void test_header(void **state)
{
    (void)state;
    begin(NULL);
    run();
    assert_string_equal(
        head(), "Received-SPF: pass\r\n"
                "\t(mx.example.org: domain of good.test designates this client as permitted "
                "sender)\r\n"
                "\tclient-ip=192.0.2.7; envelope-from=\"a@good.test\"; helo=mail.good.test;\r\n"
                "\tidentity=mailfrom; mechanism=\"ip4:192.0.2.0/24\"; receiver=mx.example.org;\r\n"
                "Subject: x\r\n\r\n");
    /* What a sender says can't end a field, or a comment. */
    view.helo = "a\r\nX: y) \"\\\xff";
    run_from("\"(\"@a(b)c\r\n.good.test");
    assert_null(strstr(head(), "\nX:"));
    assert_non_null(strstr(head(), "domain of a?b?c??.good.test doesn't say"));
    assert_non_null(strstr(head(), "helo=\"a??X: y) \\\"\\\\?\";"));
    end();
    begin("spf.header=no");
    run();
    assert_string_equal(head(), "");
    assert_string_equal(fact("spf.result"), "pass");
    end();
}

static void is_skipped(const char *why)
{
    assert_int_equal(run_from("a@no.test")->verdict, PH_PASS);
    assert_string_equal(reason(), why);
    assert_string_equal(fact("spf.result"), "");
    assert_string_equal(head(), "");
}

static void test_skipped(void **state)
{
    (void)state;
    begin(NULL);
    view.auth_user = "a@example.com";
    is_skipped("not checked: logged in");
    view.auth_user = "";
    view.trusted = true;
    is_skipped("not checked: guard.trusted");
    view.trusted = false;
    view.service = "open";
    is_skipped("not checked: no mail from outside");
    view.service = "reception";
    view.client_ip = "10.1.2.3";
    is_skipped("not checked: spf.skip");
    view.client_ip = "::1";
    is_skipped("not checked: spf.skip");
    end();
    begin("spf.skip=192.0.2.0/28");
    is_skipped("not checked: spf.skip");
    view.client_ip = "192.0.2.77";
    assert_int_equal(run()->verdict, PH_JUNK);
    end();
}

/* A turn that ends while it waits. */
static void test_cancelled(void **state)
{
    (void)state;
    begin(NULL);
    view.mail_from = "a@silent.test";
    chain_transaction(chain, 2);
    assert_int_equal(chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    world_turn(&w);
    chain_cancel(chain);
    end();
    begin("spf.deadline=20ms");
    assert_int_equal(run_from("a@silent.test")->verdict, PH_DEFER); /* on_error */
    end();
    begin("spf.dns_time=20ms");
    assert_int_equal(run_from("a@silent.test")->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "temperror");
    end();
    begin("spf.dns_queries=1");
    assert_int_equal(run_from("a@no.test")->verdict, PH_JUNK);
    assert_string_equal(fact("spf.explanation"), "");
    end();
}

/* The second engine: the same facts, fields and words. */
static void test_libspf2(void **state)
{
    (void)state;
    if (!spf_libspf2_is_there())
        skip();
    begin("spf.engine=libspf2");
    assert_int_equal(run()->verdict, PH_PASS);
    assert_string_equal(fact("spf.result"), "pass");
    assert_non_null(strstr(head(), "Received-SPF: pass"));
    assert_int_equal(run_from("a@no.test")->verdict, PH_JUNK);
    assert_string_equal(fact("spf.explanation"), "Go away, 192.0.2.7; (ok)");
    run_from("a@bad.test");
    assert_string_equal(reason(), "permerror for bad.test (malformed term: (no!))");
    run_from("a@late.test");
    assert_string_equal(reason(),
                        "temperror for late.test (no answer from the DNS for: late.test)");
    run_from("");
    assert_string_equal(fact("spf.result"), "fail");
    assert_string_equal(fact("spf.identity"), "helo");
    end();
    begin("spf.engine=libspf2");
    view.mail_from = "a@silent.test";
    chain_transaction(chain, 2);
    assert_int_equal(chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    world_turn(&w);
    chain_cancel(chain);
    end();
}

static void test_settings(void **state)
{
    struct err err = {0};

    (void)state;
    if (!spf_libspf2_is_there()) {
        world_init(&w);
        w.spf = true;
        world_set(&w, "spf.engine=libspf2");
        assert_int_equal(world_try_open(&w, &err), -1);
        assert_non_null(strstr(err.text, "built without libspf2"));
        world_fini(&w);
    }
    world_init(&w);
    w.spf = true;
    world_set(&w, "spf.skip=192.0.2.1/24");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "spf"));
    assert_non_null(strstr(err.text, "skip"));
    world_fini(&w);
}

static int start(void **state)
{
    (void)state;
    return names_start(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),  cmocka_unit_test(test_null_sender),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_header),
        cmocka_unit_test(test_skipped),  cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_libspf2),
    };

    return cmocka_run_group_tests(tests, start, names_stop);
}
