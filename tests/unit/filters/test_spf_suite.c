/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The published test suite of RFC 7208 against the evaluator: each result and each explanation. */
#include "filters/spf_eval.h"
#include "tests/unit/filters/spf_zone.h"

enum { QUESTIONS_MAX = 200 };

static bool right(const struct suite_test *t, const struct spf_verdict *v)
{
    struct str explanation = v->explanation.n ? v->explanation : STR("DEFAULT");

    if (suite_allows(t, str_from(spf_result_name(v->result))) &&
        (!t->explained || str_eq(explanation, t->explanation)))
        return true;
    print_message("%s: %s '" STR_FMT "' (" STR_FMT "), not " STR_FMT " '" STR_FMT "'\n", t->name.p,
                  spf_result_name(v->result), STR_ARG(explanation), STR_ARG(v->problem),
                  STR_ARG(t->results), STR_ARG(t->explanation));
    return false;
}

static bool run(const struct suite_scenario *z, const struct suite_test *t)
{
    const struct spf_request request = {.ip = t->host.p,
                                        .helo = t->helo,
                                        .sender = t->mailfrom,
                                        .receiver = STR("mx.example.org"),
                                        .now = 1700000000};
    struct arena *a = arena_new(0);
    struct spf *s = spf_new(&request);
    struct spf_question q;
    unsigned asked = 0;

    while (spf_question(s, &q)) {
        assert_null(spf_verdict(s));
        assert_true(++asked < QUESTIONS_MAX);
        spf_answer(s, zone_ask(z, a, q.type, q.name));
    }
    bool ok = right(t, spf_verdict(s));
    spf_free(&s);
    arena_free(&a);
    return ok;
}

static void test_suite(void **state)
{
    struct suite suite;
    size_t good = 0;

    (void)state;
    if (!suite_read(&suite))
        skip();
    for (size_t i = 0; i < suite.n; i++)
        for (size_t k = 0; k < suite.at[i].n_tests; k++)
            good += run(&suite.at[i], &suite.at[i].tests[k]);
    print_message("RFC 7208 suite: %zu of %zu\n", good, suite.tests);
    assert_int_equal(suite.tests, 203);
    assert_int_equal(good, suite.tests);
    suite_free(&suite);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_suite)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
