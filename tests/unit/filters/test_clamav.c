/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage clamav in a chain: turns that wait for signatures, are cut off, or held; engines that
 * are exchanged while scans run; the end while one is loaded. All of it with the engine in this
 * process, and in one of its own, which this program is, too. Meant for TSan as much as for ASan.
 */
#include "appliance/io/runner.h"
#include "filters/clamav.h"
#include "filters/clamav_scanner.h"
#include "tests/unit/filters/world.h"
#include <sys/stat.h>

static struct world w;
static char signatures[96];
static bool process;
static struct runner runner = {.fd = -1};

static void put(const char *name, const char *text, unsigned more)
{
    char path[160], moved[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/new.tmp", signatures);
    snprintf(moved, sizeof moved, "%s/%s", signatures, name);
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    for (unsigned i = 0; i < more; i++)
        fprintf(f, "%032x:%u:Test.Many-%u\n", i * 2654435761u, 1000 + i, i);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(path, moved), 0);
}

/* "Hello": the body of world_begin()'s message. */
static void put_hello(void)
{
    put("own.ndb", "Test.Hello:0:*:48656c6c6f\n", 0);
}

static void put_other(void)
{
    put("own.ndb", "Test.Other:0:*:4f746865724f74686572\n", 0);
}

static int set_up(void **state)
{
    char line[160];

    (void)state;
    if (process) {
        struct err err = {0};
        assert_int_equal(runner_start(&runner, &(struct runner_conf){0}, &err), 0);
    }
    world_init(&w);
    w.runner = process ? &runner : NULL;
    world_set(&w, process ? "clamav.isolation=process" : "clamav.isolation=thread");
    world_store(&w);
    snprintf(signatures, sizeof signatures, "%s/signatures", w.dir);
    assert_int_equal(mkdir(signatures, 0700), 0);
    snprintf(line, sizeof line, "clamav.database=%s", signatures);
    world_set(&w, line);
    world_set(&w, "clamav.check=100ms");
    world_set(&w, "clamav.wait=2min"); /* a slow machine loads for longer than others wait */
    world_set(&w, "clamav.deadline=5min");
    world_set(&w, "clamav.scan_time=1min");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_fini(&w);
    runner_stop(&runner);
    return 0;
}

static struct chain *transaction(void)
{
    static uint64_t id;
    struct chain *c = chain_new(w.filters, 1);

    chain_transaction(c, ++id);
    return c;
}

/* A message's answer, at once or later. */
static struct chain_answer judged(void)
{
    struct chain *c = transaction();
    struct chain_answer a = *world_run(&w, c, PH_MESSAGE);

    chain_free(&c);
    a.stage = "";
    return a;
}

static enum ph_verdict until(enum ph_verdict wanted)
{
    enum ph_verdict v = judged().verdict;

    while (v != wanted) {
        world_turn(&w);
        v = judged().verdict;
    }
    return v;
}

static bool built(void)
{
    if (!clamav_engine_built())
        print_message("built without libclamav\n");
    return clamav_engine_built();
}

static void off_by_default(void **state)
{
    (void)state;
    world_set(&w, "clamav.database=");
    world_open(&w);
    struct chain *c = transaction();
    assert_int_equal(world_begin(&w, c, PH_MESSAGE), CHAIN_DONE);
    assert_int_equal(chain_answer(c)->verdict, PH_PASS);
    assert_null(chain_records(c, false));
    chain_free(&c);
}

static void not_built(void **state)
{
    struct err err = {0};

    (void)state;
    if (clamav_engine_built())
        return;
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "built without libclamav"));
}

static void found_and_not(void **state)
{
    (void)state;
    if (!built())
        return;
    put_hello();
    world_open(&w);
    struct chain *c = transaction();
    assert_int_equal(world_begin(&w, c, PH_MESSAGE), CHAIN_WAIT); /* it is being loaded */
    while (!w.answers)
        world_turn(&w);
    const struct chain_answer *a = chain_answer(c);
    assert_int_equal(a->verdict, PH_REJECT);
    assert_int_equal(a->code, 554);
    assert_non_null(strstr(a->text, "Test.Hello"));
    const struct chain_record *r = chain_records(c, false);
    assert_string_equal(r->stage, "clamav");
    assert_int_equal(strncmp(r->reason.p, "found Test.Hello", 16), 0);
    chain_free(&c);
    put_other();
    assert_int_equal(until(PH_PASS), PH_PASS);
    put_hello();
    assert_int_equal(until(PH_REJECT), PH_REJECT);
}

static void waits_are_cut_off(void **state)
{
    (void)state;
    if (!built())
        return;
    put("own.ndb", "Test.Hello:0:*:48656c6c6f\n", 0);
    put("many.hdb", "", 20000);
    world_open(&w);
    struct chain *gone[3];
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        gone[i] = transaction();
        assert_int_equal(world_begin(&w, gone[i], PH_MESSAGE), CHAIN_WAIT);
    }
    chain_free(&gone[1]);
    chain_cancel(gone[0]);
    while (!w.answers)
        world_turn(&w);
    assert_int_equal(chain_answer(gone[2])->verdict, PH_REJECT);
    chain_free(&gone[0]);
    chain_free(&gone[2]);
    assert_int_equal(w.answers, 1);
    /* Cut off while it is scanned. */
    gone[0] = transaction();
    assert_int_equal(world_begin(&w, gone[0], PH_MESSAGE), CHAIN_WAIT);
    chain_free(&gone[0]);
}

static void held_while_it_loads(void **state)
{
    (void)state;
    if (!built())
        return;
    world_set(&w, "clamav.wait=0");
    put_hello();
    world_open(&w);
    struct chain_answer a = judged(); /* the loop hasn't turned: nothing is loaded */
    assert_int_equal(a.verdict, PH_PASS);
    assert_true(a.hold);
    while (judged().hold)
        world_turn(&w);
    assert_int_equal(judged().verdict, PH_REJECT);
}

static void without_signatures(void **state)
{
    static const struct {
        const char *set;
        enum ph_verdict verdict;
        bool hold;
    } cases[] = {{"clamav.unavailable=defer", PH_DEFER, false},
                 {"clamav.unavailable=pass", PH_PASS, false},
                 {"clamav.unavailable=hold", PH_PASS, true}};

    (void)state;
    if (!built())
        return;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (i) {
            assert_int_equal(tear_down(NULL), 0);
            assert_int_equal(set_up(NULL), 0);
        }
        world_set(&w, cases[i].set);
        world_open(&w);
        struct chain_answer a = judged();
        assert_int_equal(a.verdict, cases[i].verdict);
        assert_int_equal(a.hold, cases[i].hold);
        if (a.verdict == PH_DEFER)
            assert_int_equal(a.code, 451);
    }
    put_hello();
    while (judged().hold)
        world_turn(&w);
    assert_int_equal(judged().verdict, PH_REJECT);
}

static const struct stage *the_stage(void)
{
    size_t i = 0;

    while (strcmp(stage_def(&w.filters->stages[i])->name, "clamav") != 0)
        i++;
    return &w.filters->stages[i];
}

static void what_fits_is_learnt(void **state)
{
    char text[32] = "";

    (void)state;
    if (!built())
        return;
    put_hello();
    put("many.hdb", "", 50000);
    world_open(&w);
    assert_int_equal(until(PH_REJECT), PH_REJECT);
    const struct ph_host *h = &the_stage()->host;
    assert_true(h->kv_get(h, "scale", sizeof "scale", text, sizeof text - 1) > 0);
    assert_true(strtoul(text, NULL, 10) >= 250);
}

/* Signatures change again and again, and messages go through; each is judged or held, none passes
 * that shouldn't. */
static void exchanged_under_load(const char *how)
{
    const struct clamav *c;
    uint64_t engine = 0;

    world_set(&w, how);
    world_set(&w, "clamav.wait=20ms");
    put_hello();
    world_open(&w);
    c = the_stage()->inst;
    for (unsigned i = 0, engines = 0; engines < 4; i++) {
        if (c->loaded != engine)
            put("many.hdb", "", 500 + ++engines);
        engine = c->loaded;
        struct chain_answer a = judged();
        assert_true(a.verdict == PH_REJECT || a.hold);
    }
    while (judged().verdict != PH_REJECT)
        world_turn(&w);
}

static void one_after_the_other(void **state)
{
    (void)state;
    if (built())
        exchanged_under_load("clamav.concurrent_reload=no");
}

static void both_at_once(void **state)
{
    (void)state;
    if (built())
        exchanged_under_load("clamav.concurrent_reload=yes");
}

static void closed_while_it_loads(void **state)
{
    (void)state;
    if (!built())
        return;
    put("many.hdb", "", 50000);
    world_open(&w);
    for (int i = 0; i < 3; i++)
        world_turn(&w);
}

static void no_process_without_a_runner(void **state)
{
    struct err err = {0};

    (void)state;
    if (!built())
        return;
    w.runner = NULL;
    world_set(&w, "clamav.isolation=process");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "set isolation to thread"));
}

static void where_auto_runs(void **state)
{
    const uint64_t mb = 1 << 20;
    const struct {
        enum clamav_isolation isolation;
        bool runner, process;
        uint64_t need, total;
    } cases[] = {{CLAMAV_AUTO, true, true, 300 * mb, 4095 * mb},
                 {CLAMAV_AUTO, true, false, 299 * mb, 4095 * mb},
                 {CLAMAV_AUTO, true, false, 1300 * mb, 4096 * mb},
                 {CLAMAV_AUTO, true, true, 1300 * mb, 1024 * mb},
                 {CLAMAV_AUTO, false, false, 1300 * mb, 1024 * mb},
                 {CLAMAV_AUTO, true, false, 1300 * mb, UINT64_MAX},
                 {CLAMAV_THREAD, true, false, 1300 * mb, 1024 * mb},
                 {CLAMAV_PROCESS, true, true, 8 * mb, 64000 * mb}};
    struct clamav *c = MEM_NEW(struct clamav);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        c->isolation = cases[i].isolation;
        c->runner = cases[i].runner ? &runner : NULL;
        c->total = cases[i].total;
        assert_int_equal(clamav_need_process(c, cases[i].need), cases[i].process);
    }
    mem_free(c);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], CLAMAV_SCANNER_WORD) == 0)
        return clamav_scanner(argc - 1, argv + 1, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(off_by_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_built, set_up, tear_down),
        cmocka_unit_test_setup_teardown(found_and_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_are_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_while_it_loads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_signatures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fits_is_learnt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_after_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_while_it_loads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_process_without_a_runner, set_up, tear_down),
        cmocka_unit_test(where_auto_runs),
    };
    int failed = cmocka_run_group_tests_name("in a thread", tests, NULL, NULL);
    process = true;
    return failed + cmocka_run_group_tests_name("in a process", tests, NULL, NULL);
}
