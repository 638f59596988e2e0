/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What the points of several stages come to. */
#include "tests/unit/filters/world.h"

struct giver { /* a stage that gives points */
    const struct ph_host *host;
    double points;
    enum ph_verdict verdict;
};
static struct giver givers[2];

static void give(struct giver *g, ph_turn turn)
{
    (void)g->host->score(g->host->acts(g->host, turn), g->points);
    g->host->done(g->host, turn, g->verdict, NULL, NULL);
}

static int open_first(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    givers[0].host = host;
    *inst = &givers[0];
    return 0;
}

static int open_second(const struct ph_host *host, const void *conf, void **inst,
                       struct ph_err *err)
{
    (void)conf;
    (void)err;
    givers[1].host = host;
    *inst = &givers[1];
    return 0;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)conf;
    (void)at;
    give(inst, turn);
}

/* "zz" comes after the stage that adds up, by its name and its place in the registry. */
static struct chain_answer judged(const char *set, const char *also)
{
    struct world w;
    struct chain_answer a;

    world_init(&w);
    w.score = true;
    world_add(&w, (struct ph_stage){.name = "aa",
                                    .points = PH_AT(PH_CONNECT),
                                    .open = open_first,
                                    .on_point = on_point});
    world_add(&w, (struct ph_stage){.name = "zz",
                                    .points = PH_AT(PH_MESSAGE),
                                    .open = open_second,
                                    .on_point = on_point});
    if (set)
        world_set(&w, set);
    if (also)
        world_set(&w, also);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    (void)world_run(&w, c, PH_CONNECT);
    chain_transaction(c, 2);
    a = *world_run(&w, c, PH_MESSAGE);
    chain_free(&c);
    world_fini(&w);
    return a;
}

static void points(double first, double second, enum ph_verdict verdict)
{
    givers[0].points = first;
    givers[1].points = second;
    givers[1].verdict = verdict;
}

static void test_limits(void **state)
{
    struct chain_answer a;

    (void)state;
    points(2, 3.5, PH_PASS);
    assert_int_equal(judged(NULL, NULL).verdict, PH_PASS);
    points(2, 4, PH_PASS);
    a = judged(NULL, NULL);
    assert_int_equal(a.verdict, PH_JUNK);
    assert_string_equal(a.stage, "score");
    assert_string_equal(a.reason, "6 points: aa 2, zz 4");
    points(20, -14.5, PH_PASS); /* some speak for it */
    assert_int_equal(judged(NULL, NULL).verdict, PH_PASS);
    points(1, 14, PH_PASS);
    a = judged(NULL, NULL);
    assert_int_equal(a.verdict, PH_REJECT);
    assert_int_equal(a.code, 550);
    assert_string_equal(a.status, "5.7.1");
    assert_non_null(strstr(a.text, "aa 1, zz 14"));
    assert_int_equal(judged("score.reject=0", "score.quarantine=8").verdict, PH_QUARANTINE);
    assert_int_equal(judged("score.reject=0", "score.junk=0").verdict, PH_PASS);
}

static void test_not_counted(void **state)
{
    (void)state;
    points(1, 14, PH_ACCEPT); /* settled */
    assert_int_equal(judged(NULL, NULL).verdict, PH_ACCEPT);
    points(1, 14, PH_PASS);
    assert_int_equal(judged("zz.mode=shadow", NULL).verdict, PH_PASS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_not_counted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
