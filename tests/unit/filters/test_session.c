/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a stage keeps for a session, what it can't judge, and settings with which it has nothing to
 * do. */
#include "tests/unit/filters/world.h"

static struct world w;
static const struct ph_host *host;
static unsigned calls, sessions, over;
static enum ph_verdict least;

struct counting_conf {
    const char *word;
};
static const struct ph_setting counting_settings[] = {
    PH_SETTING(TEXT, counting_conf, word, PH_RELOAD, "", 0, 0, "A word."), PH_SETTING_END};

static int open_stage(const struct ph_host *h, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)inst;
    (void)err;
    host = h;
    return 0;
}

/* Each session counts its turns; one that has had three can't be judged. */
static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    void **mine = host->session(host, turn);
    (void)inst;
    (void)conf;
    (void)at;
    assert_non_null(mine);
    if (!*mine) {
        *mine = MEM_NEW(unsigned);
        sessions++;
    }
    unsigned *n = *mine;
    calls++;
    assert_int_equal(host->header_add(host->acts(host, turn), "X-Turn", "y"), 0);
    if (++*n < 3)
        host->done(host, turn, PH_PASS, NULL, NULL);
    else
        host->failed(host, turn, least, "550 5.7.9 No more", "three are enough");
    host->failed(host, turn, PH_REJECT, NULL, "too late"); /* a second answer */
    assert_null(host->session(host, turn));
}

static void session_over(void *inst, void *session)
{
    (void)inst;
    mem_free(session);
    over++;
}

static bool idle(const void *conf)
{
    return !((const struct counting_conf *)conf)->word[0];
}

static int set_up(void **state)
{
    (void)state;
    calls = sessions = over = 0;
    least = PH_PASS;
    world_init(&w);
    world_add(&w, (struct ph_stage){.name = "counting",
                                    .points = PH_AT(PH_MAIL) | PH_AT(PH_MESSAGE),
                                    .settings = counting_settings,
                                    .conf_size = sizeof(struct counting_conf),
                                    .open = open_stage,
                                    .on_point = on_point,
                                    .session_over = session_over,
                                    .idle = idle});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_fini(&w);
    return 0;
}

static const struct chain_answer *third(struct chain **c)
{
    *c = chain_new(w.filters, 1);
    chain_transaction(*c, 2);
    world_run(&w, *c, PH_MAIL);
    world_run(&w, *c, PH_MAIL);
    return world_run(&w, *c, PH_MESSAGE);
}

static size_t count_actions(const struct chain *c)
{
    size_t n = 0;
    for (const struct chain_action *a = chain_actions(c); a; a = a->next)
        n++;
    return n;
}

static void a_session_has_its_own(void **state)
{
    (void)state;
    world_set(&w, "counting.word=x");
    world_open(&w);
    struct chain *a = chain_new(w.filters, 1), *b = chain_new(w.filters, 1),
                 *none = chain_new(w.filters, 3);
    for (uint64_t mail = 2; mail < 4; mail++) {
        chain_transaction(a, mail);
        assert_int_equal(world_run(&w, a, PH_MAIL)->verdict, PH_PASS);
    }
    chain_transaction(b, 4);
    world_run(&w, b, PH_MAIL); /* the same id, another session: held mail comes so */
    assert_int_equal(sessions, 2);
    chain_free(&none);
    assert_int_equal(over, 0);
    chain_free(&a);
    assert_int_equal(over, 1);
    chain_free(&b);
    assert_int_equal(over, 2);
    assert_int_equal(calls, 3);
}

static void what_cannot_be_judged(void **state)
{
    static const struct {
        const char *set;
        enum ph_verdict least, result;
        bool hold;
        size_t actions;
    } cases[] = {
        {"counting.on_error=pass", PH_PASS, PH_PASS, false, 3},
        {"counting.on_error=pass", PH_QUARANTINE, PH_QUARANTINE, false, 3},
        {"counting.on_error=junk", PH_ACCEPT, PH_JUNK, false, 3},
        {"counting.on_error=defer", PH_QUARANTINE, PH_DEFER, false, 3},
        {"counting.on_error=defer", PH_REJECT, PH_REJECT, false, 3},
        {"counting.on_error=hold", PH_JUNK, PH_PASS, true, 2},
        {"counting.on_error=hold", PH_REJECT, PH_REJECT, false, 3},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct chain *c;
        set_up(NULL);
        least = cases[i].least;
        world_set(&w, "counting.word=x");
        world_set(&w, cases[i].set);
        world_open(&w);
        const struct chain_answer *a = third(&c);
        assert_int_equal(a->verdict, cases[i].result);
        assert_int_equal(a->hold, cases[i].hold);
        assert_int_equal(count_actions(c), cases[i].actions);
        if (cases[i].result == PH_REJECT) {
            assert_string_equal(a->text, "No more");
            assert_string_equal(a->reason, "three are enough");
        }
        chain_free(&c);
        assert_int_equal(over, 1);
        tear_down(NULL);
    }
}

static void others_off(void)
{
    const struct settings_section *s = filters_registry_sections(w.registry);
    for (s++; s->name; s++) { /* the first is the chain's own */
        char line[64];
        snprintf(line, sizeof line, "%s.mode=off", s->name);
        if (strcmp(s->name, "counting") != 0)
            world_set(&w, line);
    }
}

static void one_with_nothing_to_do(void **state)
{
    struct filters_config *first;
    struct err err = {0};
    struct chain *c;
    (void)state;
    world_open(&w);
    assert_null(host); /* not even opened */
    assert_int_equal(third(&c)->verdict, PH_PASS);
    assert_int_equal(calls, 0);
    chain_free(&c);
    first = w.config;
    w.config = NULL;
    others_off();
    world_set(&w, "counting.word=x");
    if (filters_reload(w.filters, w.config, &err))
        fail_msg("%s", err.text);
    filters_config_unref(&first);
    assert_true(filters_at(w.filters, PH_MAIL));
    assert_int_equal(third(&c)->verdict, PH_DEFER);
    assert_int_equal(calls, 3);
    chain_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_with_nothing_to_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_session_has_its_own, set_up, tear_down),
        cmocka_unit_test(what_cannot_be_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
