/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The published test suite of RFC 7208 against the stage as it runs in the server: a name server
 * serves each scenario, the resolver asks it. What times out in the suite is SERVFAIL here, which
 * the resolver answers at once and alike. */
#include "filters/spf_libspf2.h"
#include "tests/unit/filters/names.h"
#include "tests/unit/filters/spf_suite.h"

static struct arena *arena;
static struct stub_rule *rules;
static size_t n_rules;
static struct world w;
static const char *engine;

/* ---- The zone as rules of the name server. */

static struct str lower_name(struct str s)
{
    char *text = arena_dup(arena, s.p ? s.p : "", s.n);
    size_t n = s.n && text[s.n - 1] == '.' ? s.n - 1 : s.n;

    for (size_t i = 0; i < n; i++)
        text[i] = ascii_lower(text[i]);
    return str_of(text, n);
}

static void put_name(struct buf *out, struct str name)
{
    struct str label;

    for (name = lower_name(name); name.n;) {
        str_cut(name, '.', &label, &name);
        buf_add_char(out, (char)label.n);
        buf_add_str(out, label);
    }
    buf_add_char(out, '\0');
}

static void put_address(struct buf *out, int family, const char *text)
{
    unsigned char ip[16];

    assert_int_equal(inet_pton(family, text, ip), 1);
    buf_add(out, ip, family == AF_INET ? 4 : 16);
}

static unsigned put_rdata(struct buf *out, const struct suite_record *r)
{
    if (str_eq(r->type, STR("A"))) {
        put_address(out, AF_INET, r->value[0].p);
        return 1;
    }
    if (str_eq(r->type, STR("AAAA"))) {
        put_address(out, AF_INET6, r->value[0].p);
        return 28;
    }
    if (str_eq(r->type, STR("MX"))) {
        stub_put16(out, (unsigned)strtoul(r->value[0].p, NULL, 10));
        put_name(out, r->value[1]);
        return 15;
    }
    if (str_eq(r->type, STR("TXT"))) {
        for (size_t i = 0; i < r->values; i++) {
            assert_true(r->value[i].n < 256);
            buf_add_char(out, (char)r->value[i].n);
            buf_add_str(out, r->value[i]);
        }
        return 16;
    }
    put_name(out, r->value[0]);
    return str_eq(r->type, STR("PTR")) ? 12 : 5;
}

static struct stub_rule *rule_for(const char *name, unsigned type, enum stub_kind kind)
{
    for (size_t i = 0; i < n_rules; i++)
        if (rules[i].type == type && strcmp(rules[i].name, name) == 0)
            return &rules[i];
    assert_true(n_rules < STUB_RULES - 1);
    rules[n_rules] = (struct stub_rule){.name = name, .type = type, .kind = kind};
    return &rules[n_rules++];
}

static const char *question_name(struct str name)
{
    struct str s = lower_name(name);

    return arena_printf(arena, STR_FMT ".", STR_ARG(s)).p;
}

static void add_record(const struct suite_record *r)
{
    struct buf rdata;
    size_t n = 0;

    if (str_eq(r->type, STR("TIMEOUT")) || !r->values)
        return;
    buf_init(&rdata, 4096);
    unsigned type = put_rdata(&rdata, r);
    struct stub_rule *rule = rule_for(question_name(r->name), type == 5 ? 0 : type, STUB_ANSWER);
    while (rule->records[n].type)
        assert_true(++n < STUB_RECORDS);
    rule->records[n] = (struct stub_record){type, NULL, arena_str(arena, buf_str(&rdata))};
    buf_fini(&rdata);
}

static void make_rules(const struct suite_scenario *z)
{
    n_rules = 0;
    rules = arena_alloc(arena, STUB_RULES * sizeof *rules);
    for (size_t i = 0; i < z->n_zone; i++)
        add_record(&z->zone[i]);
    /* All other types of these names: no answer, or none of that type. */
    for (size_t i = 0; i < z->n_zone; i++)
        if (str_eq(z->zone[i].type, STR("TIMEOUT")))
            rule_for(question_name(z->zone[i].name), 0, STUB_SERVFAIL);
    for (size_t i = 0; i < z->n_zone; i++)
        rule_for(question_name(z->zone[i].name), 0, STUB_ANSWER);
}

/* ---- The server. */

static void begin(const struct suite_scenario *z)
{
    arena = arena_new(0);
    make_rules(z);
    stub_start(&stub, rules);
    world_init(&w);
    w.spf = true;
    world_set(&w, engine);
    world_set(&w, "spf.deadline=5min");
    world_set(&w, "spf.dns_time=5min");
    world_set(&w, "spf.skip=");
    names_resolver(&w,
                   "168.192.in-addr.arpa, 2.0.192.in-addr.arpa, 100.51.198.in-addr.arpa, "
                   "8.b.d.0.1.0.0.2.ip6.arpa",
                   100);
    world_open(&w);
}

static void end(void)
{
    filters_close(&w.filters);
    resolver_close(&w.resolver);
    world_fini(&w);
    stub_stop(&stub);
    arena_free(&arena);
}

static struct str fact(struct chain *c, const char *name)
{
    for (const struct chain_record *r = chain_records(c, false); r; r = r->next)
        for (const struct chain_fact *f = r->facts; f; f = f->next)
            if (str_eq(f->name, str_from(name)))
                return f->value;
    return STR_NULL;
}

static bool right(const struct suite_test *t, struct chain *c)
{
    struct str result = fact(c, "spf.result"), explanation = fact(c, "spf.explanation");

    explanation = explanation.n ? explanation : STR("DEFAULT");
    if (suite_allows(t, result) && (!t->explained || str_eq(explanation, t->explanation)))
        return true;
    print_message("%s: " STR_FMT " '" STR_FMT "' (" STR_FMT "), not " STR_FMT " '" STR_FMT "'\n",
                  t->name.p, STR_ARG(result), STR_ARG(explanation),
                  STR_ARG(chain_records(c, false)->reason), STR_ARG(t->results),
                  STR_ARG(t->explanation));
    return false;
}

static bool run(const struct suite_test *t)
{
    const struct ph_view view = {.client_ip = t->host.p,
                                 .service = "reception",
                                 .helo = t->helo.p,
                                 .host = "mx.example.org",
                                 .mail_from = t->mailfrom.p};
    struct chain *c = chain_new(w.filters, 1);
    unsigned before = w.answers;

    chain_transaction(c, 2);
    if (chain_run(c, PH_MAIL, &view, NULL, NULL, world_on_answer, &w) == CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    bool ok = right(t, c);
    chain_free(&c);
    return ok;
}

static size_t score(const char *with)
{
    struct suite suite;
    size_t good = 0;

    engine = with;
    if (!suite_read(&suite))
        skip();
    for (size_t i = 0; i < suite.n; i++) {
        begin(&suite.at[i]);
        for (size_t k = 0; k < suite.at[i].n_tests; k++)
            good += run(&suite.at[i].tests[k]);
        end();
    }
    print_message("RFC 7208 suite, by a name server, %s: %zu of %zu\n", engine, good, suite.tests);
    suite_free(&suite);
    return good;
}

static void test_own(void **state)
{
    (void)state;
    assert_int_equal(score("spf.engine=own"), 203);
}

static void test_libspf2(void **state)
{
    (void)state;
    if (!spf_libspf2_is_there())
        skip();
    assert_true(score("spf.engine=libspf2") >= 170);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own), cmocka_unit_test(test_libspf2)};

    stub_stay_inside();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
