/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `dmarc` before a small name server, after a stage of the test's own that has found out
 * what SPF, DKIM and ARC would: what becomes of each result, what is told, what is counted. */
#include "filters/dmarc_results.h"
#include "tests/unit/filters/finder.h"
#include "tests/unit/filters/names.h"

#define TXT(length, text)                                                                          \
    {                                                                                              \
        16, NULL,                                                                                  \
        {                                                                                          \
            length text, sizeof(text)                                                              \
        }                                                                                          \
    }
// clang-format off
static struct stub_rule rules[] = {
    {"_dmarc.bank.test.", 16, STUB_ANSWER, {TXT("\x32", "v=DMARC1; p=reject; np=reject; rua=mailto:r@x.test")}},
    {"_dmarc.shop.test.", 16, STUB_ANSWER, {TXT("\x16", "v=DMARC1; p=quarantine")}},
    {"_dmarc.none.test.", 16, STUB_ANSWER, {TXT("\x25", "v=DMARC1; p=none; rua=mailto:r@x.test")}},
    {"_dmarc.try.test.", 16, STUB_ANSWER, {TXT("\x17", "v=DMARC1; p=reject; t=y")}},
    {"_dmarc.bad.test.", 16, STUB_ANSWER, {TXT("\x0d", "v=DMARC1; p=x")}},
    {"_dmarc.two.test.", 16, STUB_ANSWER, {TXT("\x12", "v=DMARC1; p=reject"), TXT("\x16", "v=DMARC1; p=quarantine")}},
    {"_dmarc.sub.bank.test.", 16, STUB_ANSWER, {{0}}},
    {"_dmarc.bank2.test.", 16, STUB_ANSWER, {TXT("\x1b", "v=DMARC1; p=none; np=reject")}},
    {"real.bank2.test.", 1, STUB_ANSWER, {{0}}},
    /* Lies: a loop of names, records that are garbage, another's name */
    {"_dmarc.loop.test.", 0, STUB_ANSWER, {{5, NULL, {"\6_dmarc\4loop\4test", 18}}}},
    {"_dmarc.garbage.test.", 16, STUB_ANSWER, {{16, NULL, {"\xff" "v=DMARC1; p=reject", 19}}}},
    {"_dmarc.late.test.", 0, STUB_SERVFAIL, {{0}}},
    {"_dmarc.lame.bank.test.", 0, STUB_SERVFAIL, {{0}}},
    {"_dmarc.silent.test.", 0, STUB_SILENT, {{0}}},
    {"_dmarc.xn--gren-1ra.test.", 16, STUB_ANSWER, {TXT("\x12", "v=DMARC1; p=reject")}},
    {.name = NULL}};
// clang-format on
static struct world w;
static struct chain *chain;
static struct ph_view view;
static char head[1000];
static unsigned long long ids;

/* A fact of the stages before. */
static void tell(const char *name, const char *value)
{
    size_t i = 0;

    while (finder.facts[i][0] && strcmp(finder.facts[i][0], name) != 0)
        i++;
    finder.facts[i][0] = name;
    finder.facts[i][1] = value;
}

static void open_world(const char *setting)
{
    world_set(&w, "dmarc.deadline=5min");
    world_set(&w, "dmarc.dns_time=5min");
    if (setting)
        world_set(&w, setting);
    names_resolver(&w, "test", 100);
    world_open(&w);
    chain = chain_new(w.filters, 1);
}

static void begin(const char *setting)
{
    world_init(&w);
    w.dmarc = true;
    finder_add(&w);
    open_world(setting);
    view = (struct ph_view){.client_ip = "192.0.2.7", .service = "reception", .mail_from = "a@b.c"};
    memset(finder.facts, 0, sizeof finder.facts);
    tell("spf.result", "none");
    tell("spf.domain", "other.test");
    tell("dkim.results", "");
}

static void shut(void)
{
    chain_free(&chain);
    filters_close(&w.filters);
    resolver_close(&w.resolver);
}

static void end(void)
{
    shut();
    world_fini(&w);
}

static enum chain_run begin_head(const char *text)
{
    const struct chain_message m = {.head = str_from(text), .data = STR("Hello\r\n"), .fd = -1};

    chain_transaction(chain, ++ids + 1);
    assert_int_equal(chain_run(chain, PH_MAIL, &view, NULL, NULL, world_on_answer, &w), CHAIN_DONE);
    return chain_run(chain, PH_MESSAGE, &view, &m, NULL, world_on_answer, &w);
}

static const struct chain_answer *run_head(const char *text)
{
    unsigned before = w.answers;

    if (begin_head(text) == CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    return chain_answer(chain);
}

static const struct chain_answer *run(const char *from)
{
    snprintf(head, sizeof head, "From: %s\r\nSubject: x\r\n\r\n", from);
    return run_head(head);
}

static const char *fact(const char *name)
{
    static char text[4][600];
    static unsigned turn;
    char *out = text[turn++ % 4];
    const struct chain_record *r = chain_records(chain, false);

    out[0] = '\0';
    for (; r; r = r->next)
        for (const struct chain_fact *f = r->facts; f; f = f->next)
            if (str_eq(f->name, str_from(name)))
                snprintf(out, sizeof text[0], STR_FMT, STR_ARG(f->value));
    return out;
}

static const char *reason(void)
{
    static char text[400];
    const struct chain_record *r = chain_records(chain, false);

    while (strcmp(r->stage, "dmarc") != 0)
        r = r->next;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(r->reason));
    return text;
}

static void test_pass(void **state)
{
    (void)state;
    begin(NULL);
    tell("spf.result", "pass");
    tell("spf.domain", "bank.test");
    assert_int_equal(run("Ann <ann@BANK.test>")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "pass");
    assert_string_equal(fact("dmarc.domain"), "bank.test");
    assert_string_equal(fact("dmarc.policy"), "reject");
    assert_string_equal(fact("dmarc.alignment"), "spf");
    assert_string_equal(
        fact("dmarc.authres"),
        "dmarc=pass (policy of bank.test: reject) header.from=bank.test policy.dmarc=reject");
    assert_string_equal(reason(), "pass for bank.test (policy of bank.test: reject)");
    tell("dkim.results",
         "fail bank.test s1 rsa-sha256 @bank.test abc 2048 body has been altered; "
         "pass shop.test s rsa-sha256 @shop.test def 2048; pass mail.bank.test s2 - - - -");
    assert_int_equal(run("ann@bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.alignment"), "spf,dkim");
    tell("spf.result", "fail");
    assert_int_equal(run("ann@news.bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.alignment"), "dkim");
    assert_string_equal(fact("dmarc.policy_domain"), "bank.test");
    assert_int_equal(run("ann@absent.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "none");
    assert_string_equal(fact("dmarc.authres"), "dmarc=none header.from=absent.test");
    assert_string_equal(fact("dmarc.policy"), "");
    end();
}

static void test_fail(void **state)
{
    const struct chain_answer *a;

    (void)state;
    begin(NULL);
    tell("spf.result", "pass");
    tell("dkim.results", "policy bank.test s rsa-sha256 - - 512 weak key");
    a = run("ann@bank.test");
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->status, "5.7.1");
    assert_string_equal(a->text, "DMARC: the policy of bank.test is to refuse mail from it that "
                                 "neither SPF nor DKIM confirms (p=reject)");
    assert_string_equal(fact("dmarc.result"), "fail");
    assert_string_equal(fact("dmarc.alignment"), "none");
    assert_int_equal(run("ann@shop.test")->verdict, PH_JUNK);
    assert_int_equal(run("ann@none.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "fail");
    assert_int_equal(run("ann@try.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.policy"), "quarantine");
    assert_string_equal(fact("dmarc.override"), "policy_test_mode");
    assert_int_equal(run("ann@two.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "none");
    assert_int_equal(run("ann@bad.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "permerror");
    assert_int_equal(run("ann@real.bank2.test")->verdict, PH_PASS);
    assert_int_equal(run("ann@absent.bank2.test")->verdict, PH_REJECT);
    assert_int_equal(run("a@gr\xc3\xbc"
                         "en.test")
                         ->verdict,
                     PH_REJECT);
    end();
}

static void test_actions(void **state)
{
    (void)state;
    begin("dmarc.action=junk");
    assert_int_equal(run("ann@bank.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.policy"), "reject");
    assert_string_equal(fact("dmarc.override"), "local_policy");
    assert_non_null(strstr(fact("dmarc.authres"), "applied: quarantine, local_policy"));
    assert_int_equal(run("ann@shop.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.override"), "");
    end();
    begin("dmarc.action=report");
    assert_int_equal(run("ann@bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "fail");
    assert_int_equal(run("ann@shop.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.override"), "local_policy");
    end();
}

static void test_no_author(void **state)
{
    (void)state;
    begin(NULL);
    assert_int_equal(run("root")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.authres"), "dmarc=permerror (From names no domain)");
    assert_int_equal(run("a@[192.0.2.1]")->verdict, PH_JUNK);
    assert_int_equal(run_head("Subject: x\r\n\r\n")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.authres"), "dmarc=permerror (no From)");
    assert_int_equal(run("")->verdict, PH_JUNK);
    assert_int_equal(run("undisclosed:;")->verdict, PH_JUNK);
    assert_int_equal(run("a@none.test, b@bank.test")->verdict, PH_REJECT);
    assert_string_equal(fact("dmarc.domain"), "bank.test");
    assert_int_equal(run("a@none.test, a@absent.test")->verdict, PH_PASS);
    tell("spf.result", "pass");
    tell("spf.domain", "none.test");
    assert_int_equal(run("a@none.test\r\nFrom: a@none.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.result"), "permerror");
    end();
    begin("dmarc.no_author=reject");
    const struct chain_answer *a = run("<>");
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->text, "DMARC: From names no domain");
    assert_int_equal(run_head("Subject: x\r\n\r\n")->verdict, PH_REJECT);
    end();
    begin("dmarc.no_author=pass");
    assert_int_equal(run_head("Subject: x\r\n\r\n")->verdict, PH_PASS);
    end();
}

static void test_trouble(void **state)
{
    const struct chain_answer *a;

    (void)state;
    begin(NULL);
    assert_int_equal(run("a@late.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "temperror");
    assert_int_equal(run("a@lame.bank.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.result"), "temperror");
    assert_int_equal(run("a@loop.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.policy"), "");
    assert_int_equal(run("a@garbage.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.policy"), "");
    tell("dkim.results", "temperror bank.test s");
    assert_int_equal(run("a@bank.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.result"), "temperror");
    tell("dkim.results", "temperror none.test s");
    assert_int_equal(run("a@bank.test")->verdict, PH_REJECT);
    end();
    begin("dmarc.temperror=defer");
    a = run("a@late.test");
    assert_true(a->verdict == PH_DEFER && a->code == 451);
    assert_string_equal(a->status, "4.7.1");
    assert_string_equal(a->text,
                        "DMARC: mail from late.test can't be checked now (no answer from the DNS)");
    end();
    begin("dmarc.dns_time=20ms");
    assert_int_equal(run("a@silent.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "temperror");
    end();
    begin("dmarc.deadline=20ms");
    assert_int_equal(run("a@silent.test")->verdict, PH_DEFER); /* on_error */
    end();
    begin("dmarc.dns_queries=1");
    assert_int_equal(run("a@sub.bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "temperror");
    end();
}

static _Atomic uint64_t turned_ms;

static uint64_t turned(void)
{
    return turned_ms;
}

/* The time is over when all others are answered. */
static void silence_ends(void)
{
    static const struct clock_source source = {.mono_ms = turned};
    struct resolver_stats stats;
    unsigned before, asked = stub_asked(&stub, "_dmarc.bank.test.");

    turned_ms = clock_mono_ms();
    clock_replace(&source);
    begin("dmarc.dns_time=20s");
    before = w.answers;
    assert_int_equal(begin_head("From: a@silent.test, b@bank.test\r\nSubject: x\r\n\r\n"),
                     CHAIN_WAIT);
    do {
        world_turn(&w);
        resolver_stats(w.resolver, &stats);
    } while (stub_asked(&stub, "_dmarc.bank.test.") == asked || stats.running + stats.waiting > 1);
    assert_int_equal(w.answers, before);
    turned_ms += 20000;
    while (w.answers == before)
        world_turn(&w);
    assert_int_equal(chain_answer(chain)->verdict, PH_REJECT);
    end();
    clock_replace(NULL);
}

/* Whom a forger puts beside a bank helps him nowhere: its name servers fail, are silent, or take
 * all the questions. */
static void test_silent_beside_bank(void **state)
{
    (void)state;
    begin(NULL);
    assert_int_equal(run("a@late.test, b@bank.test")->verdict, PH_REJECT);
    assert_int_equal(run("b@bank.test, a@late.test")->verdict, PH_REJECT);
    assert_int_equal(run("a@late.test, b@absent.test")->verdict, PH_JUNK);
    end();
    begin("dmarc.dns_queries=1");
    assert_int_equal(run("a@late.test, b@bank.test")->verdict, PH_JUNK);
    assert_string_equal(fact("dmarc.result"), "temperror");
    end();
    silence_ends();
    begin("dmarc.temperror=defer");
    assert_int_equal(run("a@late.test, b@absent.test")->verdict, PH_DEFER);
    end();
}

/* Where SPF or DKIM didn't look, nothing can have failed. */
static void test_unchecked(void **state)
{
    static const char signed_head[] = "DKIM-Signature: v=1\r\nFrom: a@bank.test\r\n\r\n";

    (void)state;
    begin("dmarc.temperror=defer");
    memset(finder.facts, 0, sizeof finder.facts);
    assert_int_equal(run("a@bank.test")->verdict, PH_PASS);
    assert_non_null(strstr(reason(), "SPF wasn't checked"));
    tell("spf.result", "fail");
    assert_int_equal(run("a@bank.test")->verdict, PH_REJECT);
    assert_int_equal(run_head(signed_head)->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "temperror");
    assert_non_null(strstr(reason(), "DKIM wasn't checked"));
    tell("dkim.results", "");
    assert_int_equal(run_head(signed_head)->verdict, PH_REJECT);
    end();
}

static void test_forwarders(void **state)
{
    (void)state;
    begin("dmarc.forwarders=192.0.2.0/28, Lists.example.org, 2001:db8::1");
    assert_int_equal(run("a@bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.result"), "fail");
    assert_string_equal(fact("dmarc.override"), "trusted_forwarder");
    view.client_ip = "192.0.2.77";
    assert_int_equal(run("a@bank.test")->verdict, PH_REJECT);
    tell("arc.result", "fail");
    tell("arc.sets", "1 lists.example.org holds fail none pass bank.test");
    assert_int_equal(run("a@bank.test")->verdict, PH_REJECT);
    tell("arc.result", "pass");
    assert_int_equal(run("a@bank.test")->verdict, PH_PASS);
    assert_string_equal(fact("dmarc.override"), "trusted_forwarder");
    assert_int_equal(run("a@shop.test")->verdict, PH_JUNK); /* another's pass */
    static const struct {
        const char *sets;
        bool vouched;
    } cases[] = {
        {"1 a.LISTS.example.org altered - - PASS BANK.test", true},
        {"1 lists.example.org holds - - pass -", true},
        {"1 lists.example.org holds pass pass fail bank.test", false},
        {"1 lists.example.org holds pass pass - -", false},
        {"1 evillists.example.org holds - - pass bank.test", false},
        {"1 example.org holds - - pass bank.test", false},
        /* A later one that isn't trusted may have altered it, or not. */
        {"2 evil.test holds - - pass bank.test; 1 lists.example.org altered - - pass bank.test",
         false},
        {"2 evil.test holds - - fail bank.test; 1 lists.example.org holds - - pass bank.test",
         true},
        {"2 lists.example.org holds - - fail bank.test; 1 b.lists.example.org altered - - pass "
         "bank.test",
         true},
        {"2 lists.example.org holds - - fail bank.test; 1 evil.test holds - - pass bank.test",
         false},
        {"", false},
        {"nonsense", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        tell("arc.sets", cases[i].sets);
        if ((run("a@bank.test")->verdict == PH_PASS) != cases[i].vouched)
            fail_msg("%s", cases[i].sets);
    }
    end();
}

static void is_skipped(const char *why)
{
    assert_int_equal(run("a@bank.test")->verdict, PH_PASS);
    assert_string_equal(reason(), why);
    assert_string_equal(fact("dmarc.result"), "");
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
    is_skipped("not checked: dmarc.skip");
    view.client_ip = "192.0.2.7";
    assert_int_equal(run("a@bank.test")->verdict, PH_REJECT);
    end();
}

static void test_cancelled(void **state)
{
    const struct chain_message m = {
        .head = STR("From: a@silent.test\r\n\r\n"), .data = STR("x\r\n"), .fd = -1};

    (void)state;
    begin(NULL);
    chain_transaction(chain, 2);
    assert_int_equal(chain_run(chain, PH_MESSAGE, &view, &m, NULL, world_on_answer, &w),
                     CHAIN_WAIT);
    world_turn(&w);
    chain_cancel(chain);
    end();
}

static void is_refused(const char *setting, const char *what)
{
    struct err err = {0};

    world_init(&w);
    w.dmarc = true;
    world_set(&w, setting);
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, what));
    world_fini(&w);
}

static void test_settings(void **state)
{
    (void)state;
    is_refused("dmarc.skip=192.0.2.1/24", "skip");
    is_refused("dmarc.forwarders=192.0.2.1/24", "forwarders");
    is_refused("dmarc.forwarders=a..b", "forwarders");
    is_refused("dmarc.forwarders=192.0.2", "forwarders");
}

/* ---- Counts. */

static struct dmarc_row *rows;
static size_t n_rows;

static void read_rows(struct arena *a)
{
    struct store_reader *r;
    struct err err = {0};

    assert_int_equal(store_reader_open(w.store, &r, &err), 0);
    if (dmarc_results_read(r, a, clock_wall_ms() / 86400000, 100, &rows, &n_rows, &err))
        fail_msg("%s", err.text);
    store_reader_close(&r);
}

static void test_counts(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    world_init(&w);
    world_store(&w);
    w.dmarc = true;
    finder_add(&w);
    open_world(NULL);
    view = (struct ph_view){.client_ip = "192.0.2.7", .service = "reception", .mail_from = "a@b.c"};
    memset(finder.facts, 0, sizeof finder.facts);
    tell("spf.result", "pass");
    tell("spf.domain", "none.test");
    tell("dkim.results", "fail none.test s1 rsa-sha256 - - 2048 altered");
    run("a@none.test");
    run("b@none.test");
    run("b@bank.test");
    run("b@shop.test"); /* wants no reports */
    run("b@absent.test");
    shut(); /* writes */
    read_rows(arena);
    assert_int_equal(n_rows, 2);
    assert_true(str_eq(rows[0].domain, STR("bank.test")) && rows[0].count == 1);
    assert_true(rows[0].disposition == DMARC_REJECT && !rows[0].spf && !rows[0].dkim);
    assert_true(str_eq(rows[1].author, STR("none.test")) && rows[1].count == 2);
    assert_true(rows[1].disposition == DMARC_NONE && rows[1].spf && !rows[1].dkim);
    assert_true(str_eq(rows[1].ip, STR("192.0.2.7")));
    assert_true(str_eq(rows[1].record, STR("v=DMARC1; p=none; rua=mailto:r@x.test")));
    assert_true(str_eq(rows[1].auth, STR("spf pass none.test\ndkim fail none.test s1\n")));
    open_world(NULL); /* adds to what is there */
    run("b@none.test");
    view.client_ip = "2001:db8::1";
    run("b@none.test");
    shut();
    read_rows(arena);
    assert_true(n_rows == 3 && rows[1].count == 3 && rows[2].count == 1);
    open_world("dmarc.aggregate=no");
    run("b@none.test");
    end();
    arena_free(&arena);
}

static int start(void **state)
{
    (void)state;
    return names_start(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_no_author),
        cmocka_unit_test(test_silent_beside_bank),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_unchecked),
        cmocka_unit_test(test_forwarders),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_counts),
    };

    return cmocka_run_group_tests(tests, start, names_stop);
}
