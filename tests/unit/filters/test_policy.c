/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `policy` in a chain with a store: rules take effect as they change, ACCEPT and REJECT
 * of recipients, authors that must sign. */
#include "filters/policy_rows.h"
#include "tests/unit/filters/world.h"

/* Comes before or after it, finds what it is told to. */
static struct {
    const struct ph_host *host;
    enum ph_verdict at_mail;
    const char *spf, *dkim, *rdns;
    enum ph_verdict at_message;
    unsigned begun_at_rcpt;
} other;
/* Judges who sends: at that point. */
static struct {
    const struct ph_host *host;
    enum ph_point at;
    enum ph_verdict verdict;
    unsigned begun;
} about;
static struct world w;
static struct chain *chain;
static struct ph_view view;

static void other_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct ph_acts *acts = other.host->acts(other.host, turn);

    (void)inst;
    (void)conf;
    if (at == PH_MAIL && other.spf)
        other.host->fact_set(acts, "spf.result", other.spf);
    if (at == PH_MAIL && other.dkim)
        other.host->fact_set(acts, "dkim.results", other.dkim);
    if (at == PH_MAIL && other.spf)
        other.host->fact_set(acts, "spf.identity", "mailfrom");
    if (at == PH_MAIL && other.rdns)
        other.host->fact_set(acts, "rdns.name", other.rdns);
    other.begun_at_rcpt += at == PH_RCPT;
    other.host->done(other.host, turn,
                     at == PH_MAIL      ? other.at_mail
                     : at == PH_MESSAGE ? other.at_message
                                        : PH_PASS,
                     NULL, NULL);
}

static void about_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    about.begun++;
    about.host->done(about.host, turn, at == about.at ? about.verdict : PH_PASS,
                     "550 5.7.9 Not you", "not you");
}

static int about_open(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)inst;
    (void)err;
    about.host = host;
    return 0;
}

static int other_open(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)inst;
    (void)err;
    other.host = host;
    return 0;
}

static void begin(const char *setting)
{
    memset(&other, 0, sizeof other);
    memset(&about, 0, sizeof about);
    world_init(&w);
    w.policy = true;
    world_store(&w);
    world_add(&w, (struct ph_stage){.name = "other",
                                    .points = PH_AT(PH_MAIL) | PH_AT(PH_RCPT) | PH_AT(PH_MESSAGE),
                                    .flags = PH_UNLESS_ACCEPTED,
                                    .after = "policy",
                                    .open = other_open,
                                    .on_point = other_point});
    world_add(&w, (struct ph_stage){.name = "about",
                                    .points = PH_AT(PH_MAIL) | PH_AT(PH_RCPT) | PH_AT(PH_MESSAGE),
                                    .flags = PH_ABOUT_SENDER,
                                    .open = about_open,
                                    .on_point = about_point});
    if (setting)
        world_set(&w, setting);
    world_open(&w);
    chain = chain_new(w.filters, 1);
    view = (struct ph_view){.client_ip = "192.0.2.1",
                            .helo = "there.example",
                            .service = "reception",
                            .mail_from = "a@example.net",
                            .rcpt = "b@example.com"};
}

static void end(void)
{
    chain_free(&chain);
    world_fini(&w);
}

static void on_changed(struct store_op *op)
{
    *(bool *)op->ctx = true;
}

static void change(enum policy_action action, enum policy_kind kind, const char *value,
                   const char *scope, bool remove)
{
    const struct policy_rule r = {.action = action,
                                  .kind = kind,
                                  .value = str_from(value),
                                  .scope = str_from(scope),
                                  .reason = action == POLICY_DENY ? STR("Go away.") : STR("")};
    struct policy_change_op op;
    bool done = false;

    policy_change_init(&op, &r, remove);
    op.op.done = on_changed;
    op.op.ctx = &done;
    assert_int_equal(store_submit(w.store, &op.op), 0);
    while (!done)
        world_turn(&w);
    assert_false(op.op.failed);
}

static const struct chain_answer *run(enum ph_point at)
{
    unsigned before = w.answers;
    const struct chain_message m = {
        .head = STR("From: a@signs.example\r\n\r\n"), .data = STR("Hello\r\n"), .fd = -1};

    if (chain_run(chain, at, &view, at == PH_MESSAGE ? &m : NULL, NULL, world_on_answer, &w) ==
        CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    return chain_answer(chain);
}

/* Until the change that was made is in force. */
static const struct chain_answer *run_until(enum ph_point at, enum ph_verdict v)
{
    const struct chain_answer *a = run(at);

    while (a->verdict != v) {
        world_turn(&w);
        chain_transaction(chain, 2);
        a = run(at);
    }
    return a;
}

static void deny_and_allow(void **state)
{
    (void)state;
    begin(NULL);
    chain_transaction(chain, 2);
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    change(POLICY_DENY, POLICY_SENDER, "@example.net", "", false);
    const struct chain_answer *a = run_until(PH_RCPT, PH_REJECT);
    assert_int_equal(a->code, 550);
    assert_string_equal(a->status, "5.7.1");
    assert_string_equal(a->text, "Go away.");
    assert_string_equal(a->reason, "deny sender @example.net: Go away.");
    /* Somebody wants it */
    change(POLICY_ALLOW, POLICY_SENDER, "@example.net", "b@example.com", false);
    other.at_mail = PH_QUARANTINE;
    run_until(PH_RCPT, PH_ACCEPT);
    unsigned before = other.begun_at_rcpt;
    chain_transaction(chain, 3);
    assert_int_equal(run(PH_MAIL)->verdict, PH_QUARANTINE);
    assert_int_equal(run(PH_RCPT)->verdict, PH_ACCEPT);
    assert_int_equal(other.begun_at_rcpt, before);
    assert_int_equal(run(PH_MESSAGE)->verdict, PH_ACCEPT);
    /* ... and somebody else doesn't */
    chain_transaction(chain, 4);
    view.rcpt = "c@example.com";
    assert_int_equal(run(PH_RCPT)->verdict, PH_REJECT);
    view.service = "submission";
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    view.service = "reception";
    view.auth_user = "c@example.com";
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    view.auth_user = NULL;
    change(POLICY_DENY, POLICY_SENDER, "@example.net", "", true);
    run_until(PH_RCPT, PH_PASS);
    end();
}

static void networks_from_the_beginning(void **state)
{
    (void)state;
    begin(NULL);
    change(POLICY_DENY, POLICY_NETWORK, "192.0.2.0/24", "", false);
    chain_transaction(chain, 2);
    run_until(PH_RCPT, PH_REJECT);
    chain_transaction(chain, 0);
    assert_int_equal(run(PH_CONNECT)->verdict, PH_PASS); /* the recipient may want it */
    change(POLICY_ALLOW, POLICY_NETWORK, "192.0.2.0/24", "", false);
    chain_transaction(chain, 2);
    run_until(PH_RCPT, PH_ACCEPT);
    chain_transaction(chain, 0);
    assert_int_equal(run(PH_CONNECT)->verdict, PH_ACCEPT);
    other.at_mail = PH_REJECT;
    chain_transaction(chain, 3);
    assert_int_equal(run(PH_MAIL)->verdict, PH_ACCEPT); /* the other isn't even asked */
    end();
}

static void forged_senders(void **state)
{
    static const struct {
        const char *spf, *setting;
        enum ph_verdict result;
    } cases[] = {{"pass", NULL, PH_ACCEPT},
                 {"none", NULL, PH_ACCEPT},
                 {"fail", NULL, PH_JUNK},
                 {"softfail", NULL, PH_JUNK},
                 {"fail", "policy.allow_forged=yes", PH_ACCEPT}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(cases[i].setting);
        change(POLICY_ALLOW, POLICY_SENDER, "@example.net", "", false);
        chain_transaction(chain, 2);
        run_until(PH_RCPT, PH_ACCEPT);
        other.spf = cases[i].spf;
        other.at_mail = PH_JUNK;
        chain_transaction(chain, 3);
        run(PH_MAIL);
        assert_int_equal(run(PH_RCPT)->verdict, cases[i].result);
        end();
    }
}

static void signatures(void **state)
{
    static const struct {
        const char *dkim, *setting;
        enum ph_verdict result;
    } cases[] = {{"pass signs.example s", NULL, PH_PASS},
                 {"none", NULL, PH_REJECT},
                 {"temperror signs.example s", NULL, PH_DEFER},
                 {NULL, NULL, PH_PASS},
                 {"none", "policy.dkim_missing=junk", PH_JUNK},
                 {"none", "policy.dkim_missing=quarantine", PH_QUARANTINE},
                 {"none", "policy.dkim_required=", PH_PASS}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin("policy.dkim_required=signs.example");
        chain_free(&chain);
        filters_close(&w.filters);
        if (cases[i].setting)
            world_set(&w, cases[i].setting);
        world_open(&w);
        chain = chain_new(w.filters, 1);
        other.dkim = cases[i].dkim;
        chain_transaction(chain, 2);
        run(PH_MAIL);
        assert_int_equal(run(PH_MESSAGE)->verdict, cases[i].result);
        end();
    }
    struct err err = {0};
    world_init(&w);
    w.policy = true;
    world_set(&w, "policy.dkim_required=not a domain");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "dkim_required"));
    world_fini(&w);
}

/* ---- Against refusals */

static enum ph_verdict whole(void)
{
    static uint64_t ids = 100;
    enum ph_verdict v;

    chain_transaction(chain, ++ids);
    v = run(PH_MAIL)->verdict;
    if (v < PH_DISCARD)
        v = run(PH_RCPT)->verdict;
    return v < PH_DISCARD ? run(PH_MESSAGE)->verdict : v;
}

static void against_refusals(void **state)
{
    static const struct {
        enum policy_kind kind;
        const char *value, *scope, *spf, *dkim, *rdns, *setting;
        enum ph_verdict at_mail, at_message; /* what becomes of mail that is refused there */
    } cases[] = {
        {POLICY_NETWORK, "192.0.2.0/24", "", NULL, NULL, NULL, NULL, PH_ACCEPT, PH_ACCEPT},
        {POLICY_NETWORK, "192.0.2.1", "@example.com", NULL, NULL, NULL, NULL, PH_ACCEPT, PH_ACCEPT},
        {POLICY_NETWORK, "192.0.2.1", "b@example.com", NULL, NULL, NULL, NULL, PH_ACCEPT,
         PH_ACCEPT},
        {POLICY_NETWORK, "192.0.2.1", "d@example.com", NULL, NULL, NULL, NULL, PH_REJECT,
         PH_REJECT},
        {POLICY_RECIPIENT, "b@example.com", "", NULL, NULL, NULL, NULL, PH_ACCEPT, PH_ACCEPT},
        /* A sender must be proven */
        {POLICY_SENDER, "a@example.net", "", "pass", NULL, NULL, NULL, PH_ACCEPT, PH_ACCEPT},
        {POLICY_SENDER, "@example.net", "b@example.com", "pass", NULL, NULL, NULL, PH_ACCEPT,
         PH_ACCEPT},
        {POLICY_SENDER, "@example.net", "", "none", NULL, NULL, NULL, PH_REJECT, PH_REJECT},
        {POLICY_SENDER, "@example.net", "", NULL, NULL, NULL, NULL, PH_REJECT, PH_REJECT},
        {POLICY_SENDER, "@example.net", "", "fail", NULL, NULL, NULL, PH_REJECT, PH_REJECT},
        {POLICY_SENDER, "@example.net", "", "none", "fail example.net s; pass example.net t", NULL,
         NULL, PH_REJECT, PH_ACCEPT},
        {POLICY_SENDER, "@example.net", "", "fail", "pass example.net s", NULL, NULL, PH_REJECT,
         PH_ACCEPT},
        {POLICY_SENDER, "@example.net", "", "none", "pass sub.example.net s; pass net s", NULL,
         NULL, PH_REJECT, PH_REJECT},
        {POLICY_SENDER, "@example.net", "", "fail", NULL, NULL, "policy.allow_forged=yes",
         PH_ACCEPT, PH_ACCEPT},
        {POLICY_HELO, "there.example", "", NULL, NULL, NULL, NULL, PH_REJECT, PH_REJECT},
        {POLICY_HELO, "there.example", "", NULL, NULL, "There.example", NULL, PH_ACCEPT, PH_ACCEPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(cases[i].setting);
        change(POLICY_ALLOW, cases[i].kind, cases[i].value, cases[i].scope, false);
        change(POLICY_DENY, POLICY_SENDER, "x@deny.example", "c@example.com", false);
        view.mail_from = "x@deny.example"; /* until both are in force */
        view.rcpt = "c@example.com";
        chain_transaction(chain, 2);
        run_until(PH_RCPT, PH_REJECT);
        view.mail_from = "a@example.net";
        view.rcpt = "b@example.com";
        other.spf = cases[i].spf;
        other.dkim = cases[i].dkim;
        other.rdns = cases[i].rdns;
        chain_transaction(chain, 0);
        run(PH_CONNECT);
        about.verdict = PH_REJECT;
        about.at = PH_MAIL;
        if (whole() != cases[i].at_mail)
            fail_msg("%zu at mail: %s", i, ph_verdict_name(chain_answer(chain)->verdict));
        about.at = PH_MESSAGE;
        if (whole() != cases[i].at_message)
            fail_msg("%zu at message: %s", i, ph_verdict_name(chain_answer(chain)->verdict));
        end();
    }
}

static size_t overridden(void)
{
    size_t n = 0;

    for (const struct chain_record *r = chain_records(chain, false); r; r = r->next)
        n += r->overridden && strcmp(r->stage, "about") == 0 && r->verdict == PH_REJECT;
    return n;
}

/* One of two recipients is allowed: what was refused at MAIL is refused for the other, and what is
 * refused of the message is refused for both. */
static void of_two_recipients(void **state)
{
    (void)state;
    begin(NULL);
    change(POLICY_ALLOW, POLICY_NETWORK, "192.0.2.1", "b@example.com", false);
    chain_transaction(chain, 2);
    run_until(PH_RCPT, PH_ACCEPT);
    about.verdict = PH_REJECT;
    about.at = PH_MAIL;
    chain_transaction(chain, 3);
    assert_int_equal(run(PH_MAIL)->verdict, PH_PASS);
    view.rcpt = "c@example.com";
    unsigned before = about.begun;
    const struct chain_answer *a = run(PH_RCPT);
    assert_true(a->verdict == PH_REJECT && a->code == 550);
    assert_string_equal(a->text, "Not you");
    assert_string_equal(a->stage, "about");
    assert_int_equal(about.begun, before); /* decided already */
    assert_int_equal(overridden(), 0);
    view.rcpt = "b@example.com";
    assert_int_equal(run(PH_RCPT)->verdict, PH_ACCEPT);
    assert_int_equal(overridden(), 1);
    assert_int_equal(run(PH_MESSAGE)->verdict, PH_ACCEPT);
    about.at = PH_MESSAGE;
    chain_transaction(chain, 4);
    assert_int_equal(run(PH_MAIL)->verdict, PH_PASS);
    assert_int_equal(run(PH_RCPT)->verdict, PH_ACCEPT);
    view.rcpt = "c@example.com";
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    assert_int_equal(run(PH_MESSAGE)->verdict, PH_REJECT);
    /* Nobody but these stages, and no rule that denies */
    view.rcpt = "b@example.com";
    about.verdict = PH_PASS;
    other.at_message = PH_REJECT;
    chain_transaction(chain, 5);
    run(PH_MAIL);
    change(POLICY_DENY, POLICY_NETWORK, "192.0.2.1", "b@example.com", false);
    run_until(PH_RCPT, PH_REJECT);
    end();
    /* Without such rules it is said at once */
    begin(NULL);
    about.verdict = PH_REJECT;
    about.at = PH_MAIL;
    chain_transaction(chain, 3);
    assert_int_equal(run(PH_MAIL)->verdict, PH_REJECT);
    end();
    /* In shadow mode nobody is let in */
    begin(NULL);
    world_set(&w, "policy.mode=shadow");
    change(POLICY_ALLOW, POLICY_NETWORK, "192.0.2.1", "b@example.com", false);
    about.verdict = PH_REJECT;
    about.at = PH_MAIL;
    for (int i = 0; i < 20; i++) {
        world_turn(&w);
        assert_int_equal(whole(), PH_REJECT);
    }
    end();
}

static void allowed_for_dkim_required(void **state)
{
    (void)state;
    begin("policy.dkim_required=signs.example");
    other.dkim = "none";
    assert_int_equal(whole(), PH_REJECT);
    change(POLICY_ALLOW, POLICY_NETWORK, "192.0.2.1", "b@example.com", false);
    while (whole() != PH_ACCEPT)
        world_turn(&w);
    end();
}

/* Mail to an alias of an account that a rule is for. */
static void aliases(void **state)
{
    static const char *const ann[] = {"ann@example.com", NULL};
    static const char *const both[] = {"ann@example.com", "bob@example.com", NULL};

    (void)state;
    begin(NULL);
    change(POLICY_DENY, POLICY_SENDER, "a@example.net", "ann@example.com", false);
    view.rcpt = "info@example.com";
    view.accounts = ann;
    view.n_accounts = 1;
    chain_transaction(chain, 2);
    run_until(PH_RCPT, PH_REJECT);
    view.accounts = both;
    view.n_accounts = 2;
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS); /* bob wants it */
    change(POLICY_DENY, POLICY_SENDER, "@example.net", "bob@example.com", false);
    run_until(PH_RCPT, PH_REJECT);
    view.accounts = NULL;
    view.n_accounts = 0;
    chain_transaction(chain, 3);
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    end();
}

/* They outlive the server, and expired ones are not among them. */
static void kept(void **state)
{
    const struct policy_rule old = {.kind = POLICY_HELO,
                                    .value = STR("there.example"),
                                    .scope = STR(""),
                                    .expires = clock_wall_ms() / 1000 - 1};
    struct policy_change_op op;
    bool done = false;

    (void)state;
    begin(NULL);
    policy_change_init(&op, &old, false);
    op.op.done = on_changed;
    op.op.ctx = &done;
    assert_int_equal(store_submit(w.store, &op.op), 0);
    while (!done)
        world_turn(&w);
    chain_free(&chain);
    filters_close(&w.filters);
    world_open(&w);
    chain = chain_new(w.filters, 1);
    chain_transaction(chain, 2);
    assert_int_equal(run(PH_RCPT)->verdict, PH_PASS);
    change(POLICY_DENY, POLICY_RECIPIENT, "b@example.com", "", false);
    chain_free(&chain);
    filters_close(&w.filters);
    world_open(&w);
    chain = chain_new(w.filters, 1);
    chain_transaction(chain, 2);
    assert_int_equal(run(PH_RCPT)->verdict, PH_REJECT);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deny_and_allow),
                                       cmocka_unit_test(networks_from_the_beginning),
                                       cmocka_unit_test(against_refusals),
                                       cmocka_unit_test(of_two_recipients),
                                       cmocka_unit_test(allowed_for_dkim_required),
                                       cmocka_unit_test(aliases),
                                       cmocka_unit_test(forged_senders),
                                       cmocka_unit_test(signatures),
                                       cmocka_unit_test(kept)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
