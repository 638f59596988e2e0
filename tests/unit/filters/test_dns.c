/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a stage asks the DNS: all types and answers, the budget, turns that end, a server without
 * resolver. */
#include "tests/unit/filters/names.h"

static struct stub_rule rules[] = {
    {"a.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x09", 4}}, {1, NULL, {"\x7f\0\0\x08", 4}}}},
    {"a.test.", 28, STUB_ANSWER, {{28, NULL, {"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}}}},
    {"mx.test.", 15, STUB_ANSWER, {{15, NULL, {"\0\x14\3o:k\4TEST\0", 12}}}},
    {"o:k.test.", 1, STUB_ANSWER, {{1, NULL, {"\x7f\0\0\x05", 4}}}},
    {"txt.test.", 16, STUB_ANSWER, {{16, NULL, {"\4v=sp\5f1\0-a\2ll", 14}}}},
    {"9.0.0.127.in-addr.arpa.", 12, STUB_ANSWER, {{12, NULL, {"\1a\4test\0", 8}}}},
    {"alias.test.", 0, STUB_ANSWER, {{5, NULL, {"\1a\4test\0", 8}}}},
    {"nodata.test.", 0, STUB_ANSWER, {{0}}},
    {"broken.test.", 0, STUB_SERVFAIL, {{0}}},
    {"silent.test.", 0, STUB_SILENT, {{0}}},
    {.name = NULL}};
static struct world w;

/* A stage that asks one thing after another and answers when all is said. */
struct ask {
    enum ph_dns_type type;
    const char *name;
};
struct reply {
    enum ph_dns_status status;
    size_t n, text_size;
    unsigned preference;
    uint32_t ttl;
    char first[80], text[80], name[80];
};
static struct {
    const struct ph_host *host;
    const struct ask *asks;
    size_t n, answered;
    struct reply replies[16];
    bool at_once;    /* all questions at once; else one by one */
    bool done_first; /* the first answer ends the turn */
    int last;        /* what dns() said */
    unsigned cancelled;
    ph_turn turn;
} stage;

static void on_dns(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg);

static void put(ph_turn turn, size_t i)
{
    stage.last = stage.host->dns(stage.host, turn, stage.asks[i].type, stage.asks[i].name, on_dns,
                                 &stage.replies[i]);
}

static void on_dns(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct reply *r = arg;

    assert_ptr_equal(inst, &stage);
    assert_int_equal(turn.id, stage.turn.id);
    assert_non_null(stage.host->view(stage.host, turn));
    assert_true(a->size == sizeof *a && a->name && a->why);
    *r = (struct reply){.status = a->status, .n = a->n, .ttl = a->ttl};
    snprintf(r->name, sizeof r->name, "%s", a->name);
    if (a->n) {
        const struct ph_dns_record *rec = a->records[0];
        snprintf(r->first, sizeof r->first, "%s", rec->ip[0] ? rec->ip : rec->name);
        memcpy(r->text, rec->text, rec->text_size);
        r->text_size = rec->text_size;
        r->preference = rec->preference;
    }
    if (++stage.answered == stage.n || stage.done_first)
        stage.host->done(stage.host, turn, PH_PASS, NULL, NULL);
    else if (!stage.at_once)
        put(turn, stage.answered);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    (void)at;
    stage.turn = turn;
    for (size_t i = 0; i < (stage.at_once ? stage.n : 1); i++)
        put(turn, i);
}

static int on_open(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    assert_true(PH_HAS(host, dns));
    stage.host = host;
    *inst = &stage;
    return 0;
}

static void on_cancel(void *inst, ph_turn turn)
{
    (void)inst;
    (void)turn;
    stage.cancelled++;
}

static void begin(const struct ask *asks, size_t n, bool with_resolver, const char *setting)
{
    memset(&stage, 0, sizeof stage);
    stage.asks = asks;
    stage.n = n;
    world_init(&w);
    world_add(&w, (struct ph_stage){.name = "asker",
                                    .points = PH_AT(PH_MAIL),
                                    .open = on_open,
                                    .on_point = on_point,
                                    .cancel = on_cancel,
                                    .dns_queries = 20,
                                    .dns_ms = 60000});
    world_set(&w, "asker.deadline=5min");
    if (setting)
        world_set(&w, setting);
    if (with_resolver) {
        names_resolver(&w, "test, 127.in-addr.arpa", 100);
    }
    world_open(&w);
}

static void end(struct chain **c)
{
    chain_free(c);
    filters_close(&w.filters);
    resolver_close(&w.resolver);
    world_fini(&w);
}

static void run(void)
{
    struct chain *c = chain_new(w.filters, 1);

    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MAIL)->verdict, PH_PASS);
    end(&c);
}

static void test_answers(void **state)
{
    static const struct ask asks[] = {
        {PH_DNS_A, "a.test"},       {PH_DNS_AAAA, "A.Test."},     {PH_DNS_MX, "mx.test"},
        {PH_DNS_A, "o\\058k.test"}, {PH_DNS_TXT, "txt.test"},     {PH_DNS_PTR, "127.0.0.9"},
        {PH_DNS_A, "alias.test"},   {PH_DNS_MX, "nodata.test"},   {PH_DNS_A, "absent.test"},
        {PH_DNS_A, "broken.test"},  {PH_DNS_A, "two..dots.test"}, {PH_DNS_A, "\xc3\xa4.test"},
        {PH_DNS_A, "o\\0000k.test"}};
    const struct reply *r = stage.replies;

    for (int at_once = 0; at_once < 2; at_once++) {
        begin(asks, ARRAY_LEN(asks), true, NULL);
        stage.at_once = at_once;
        run();
        assert_int_equal(stage.answered, ARRAY_LEN(asks));
        assert_true(r[0].status == PH_DNS_FOUND && r[0].n == 2 && r[0].ttl);
        assert_string_equal(r[0].first, "127.0.0.9");
        assert_string_equal(r[1].first, "2001:db8::1");
        assert_string_equal(r[2].first, "o\\058k.test");
        assert_int_equal(r[2].preference, 20);
        assert_string_equal(r[3].first, "127.0.0.5");
        assert_int_equal(r[4].text_size, 11);
        assert_memory_equal(r[4].text, "v=spf1\0-all", 11);
        assert_string_equal(r[5].first, "a.test");
        assert_string_equal(r[5].name, "");
        assert_int_equal(r[7].status, PH_DNS_NO_DATA);
        assert_int_equal(r[8].status, PH_DNS_NO_NAME);
        assert_int_equal(r[9].status, PH_DNS_FAILED);
        for (int i = 10; i < 13; i++)
            assert_int_equal(r[i].status, PH_DNS_NO_NAME);
    }
    (void)state;
}

static void test_budget(void **state)
{
    static const struct ask asks[] = {{PH_DNS_A, "a.test"},
                                      {PH_DNS_A, "nodata.test"},
                                      {PH_DNS_MX, "mx.test"},
                                      {PH_DNS_A, "absent.test"},
                                      {PH_DNS_TXT, "txt.test"}};
    const struct reply *r = stage.replies;

    begin(asks, ARRAY_LEN(asks), true, "asker.dns_queries=3");
    run();
    assert_int_equal(r[2].status, PH_DNS_FOUND);
    assert_int_equal(r[3].status, PH_DNS_OVER_BUDGET);
    assert_int_equal(r[4].status, PH_DNS_OVER_BUDGET);
    begin(asks, ARRAY_LEN(asks), true, "asker.dns_voids=1");
    run();
    assert_int_equal(r[1].status, PH_DNS_NO_DATA);
    assert_int_equal(r[2].status, PH_DNS_FOUND);
    assert_int_equal(r[3].status, PH_DNS_OVER_BUDGET);
    assert_int_equal(r[4].status, PH_DNS_OVER_BUDGET);
    (void)state;
}

static void test_time(void **state)
{
    static const struct ask asks[] = {{PH_DNS_A, "silent.test"}};

    begin(asks, 1, true, "asker.dns_time=50ms");
    run();
    assert_int_equal(stage.replies[0].status, PH_DNS_FAILED);
    (void)state;
}

static void test_no_resolver(void **state)
{
    static const struct ask asks[] = {{PH_DNS_A, "a.test"}, {PH_DNS_A, "no..name"}};

    begin(asks, 2, false, NULL);
    stage.at_once = true;
    run();
    assert_int_equal(stage.replies[0].status, PH_DNS_FAILED);
    assert_int_equal(stage.replies[1].status, PH_DNS_NO_NAME);
    (void)state;
}

/* What is on its way when a turn ends is never heard of. */
static void test_turn_ends(void **state)
{
    static const struct ask asks[] = {{PH_DNS_A, "no..name"},
                                      {PH_DNS_A, "silent.test"},
                                      {PH_DNS_A, "no..name"},
                                      {PH_DNS_A, "a.test"}};

    (void)state;
    begin(asks, ARRAY_LEN(asks), true, NULL);
    stage.at_once = stage.done_first = true;
    run();
    assert_int_equal(stage.answered, 1);
    assert_int_equal(stage.cancelled, 0);

    begin(asks + 1, 2, true, NULL);
    stage.at_once = true;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_begin(&w, c, PH_MAIL), CHAIN_WAIT);
    chain_cancel(c);
    assert_int_equal(stage.cancelled, 1);
    assert_int_equal(stage.answered, 0);
    put(stage.turn, 0);
    assert_int_equal(stage.last, -1);
    end(&c);
}

static void test_misuse(void **state)
{
    static struct ask asks[] = {{(enum ph_dns_type)99, "a.test"}};

    begin(asks, 1, true, "asker.deadline=20ms");
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MAIL)->verdict, PH_DEFER); /* its deadline */
    assert_int_equal(stage.last, -1);
    end(&c);
    (void)state;
}

static int start(void **state)
{
    (void)state;
    return names_start(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_budget),
        cmocka_unit_test(test_time),      cmocka_unit_test(test_no_resolver),
        cmocka_unit_test(test_turn_ends), cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests(tests, start, names_stop);
}
