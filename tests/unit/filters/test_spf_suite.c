/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The published test suite of RFC 7208 against both engines: each result and each explanation. */
#include "filters/spf_eval.h"
#include "filters/spf_libspf2.h"
#include "tests/unit/filters/spf_zone.h"

enum { QUESTIONS_MAX = 200 };

/* What libspf2 gets right at least: 145 of what it is given as it is, more behind our checks. */
enum { LIBSPF2_GETS = 170 };
static bool library; /* the engine */

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
    struct spf *own = library ? NULL : spf_new(&request);
    struct spf_libspf2 *other = library ? spf_libspf2_new(&request) : NULL;
    struct spf_question q;
    unsigned asked = 0;

    while (own ? spf_question(own, &q) : spf_libspf2_question(other, &q)) {
        assert_null(own ? spf_verdict(own) : spf_libspf2_verdict(other));
        assert_true(++asked < QUESTIONS_MAX);
        const struct ph_dns_answer *answer = zone_ask(z, a, q.type, q.name);
        if (own)
            spf_answer(own, answer);
        else
            spf_libspf2_answer(other, answer);
    }
    bool ok = right(t, own ? spf_verdict(own) : spf_libspf2_verdict(other));
    spf_free(&own);
    spf_libspf2_free(&other);
    arena_free(&a);
    return ok;
}

static size_t score(const char *engine)
{
    struct suite suite;
    size_t good = 0;

    if (!suite_read(&suite))
        skip();
    for (size_t i = 0; i < suite.n; i++)
        for (size_t k = 0; k < suite.at[i].n_tests; k++)
            good += run(&suite.at[i], &suite.at[i].tests[k]);
    print_message("RFC 7208 suite, %s: %zu of %zu\n", engine, good, suite.tests);
    assert_int_equal(suite.tests, 203);
    suite_free(&suite);
    return good;
}

static void test_own(void **state)
{
    (void)state;
    library = false;
    assert_int_equal(score("own engine"), 203);
}

static void test_libspf2(void **state)
{
    (void)state;
    if (!spf_libspf2_is_there())
        skip();
    library = true;
    assert_true(score("libspf2") >= LIBSPF2_GETS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own), cmocka_unit_test(test_libspf2)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
