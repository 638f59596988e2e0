/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Stages that work on threads, kv, and many sessions at random: begun, answered, cut off. Meant for
 * TSan as much as for ASan. */
#include "tests/unit/filters/world.h"
#include <stdatomic.h>
#include <time.h>

static atomic_bool release_all;
static atomic_uint works, facts_seen;

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                 struct ph_result *r)
{
    const struct ph_host *h = inst;
    char text[64] = "";

    (void)conf;
    (void)at;
    atomic_fetch_add(&works, 1);
    while (strcmp(v->mail_from, "stuck") == 0 && !atomic_load(&release_all))
        pause_ms(1);
    if (strncmp(v->mail_from, "slow", 4) == 0)
        pause_ms(strtol(v->mail_from + 4, NULL, 10));
    int64_t n = v->read(v, 0, text, sizeof text - 1);
    if (h->fact_get(r->acts, "first.said"))
        atomic_fetch_add(&facts_seen, 1);
    h->kv_set(h, &n, sizeof n, text, (size_t)n, 0);
    h->fact_set(r->acts, "second.read", text);
    h->header_add(r->acts, "X-Second", "yes");
    h->log(h, v, PH_LOG_DEBUG, "read %d octets", (int)n);
    if (strcmp(v->mail_from, "reject") == 0) {
        r->verdict = PH_REJECT;
        snprintf(r->reply, sizeof r->reply, "554 5.7.1 %.20s", v->helo);
    }
}

static void first_later(void *inst, ph_turn turn, void *arg)
{
    const struct ph_host *h = inst;

    (void)arg;
    h->fact_set(h->acts(h, turn), "first.said", "so");
    h->done(h, turn, PH_PASS, NULL, NULL);
}

static void first(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *h = inst;

    (void)conf;
    (void)at;
    if (h->view(h, turn)->message % 3)
        first_later(inst, turn, NULL);
    else
        h->after(h, turn, h->view(h, turn)->message % 4, first_later, NULL);
}

static int open_any(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    *inst = (void *)(uintptr_t)host;
    return 0;
}

static const struct ph_stage second = {.name = "second",
                                       .points = PH_AT(PH_MESSAGE),
                                       .after = "first",
                                       .open = open_any,
                                       .work = work};
static const struct ph_stage third = {.name = "third",
                                      .points = PH_AT(PH_MESSAGE),
                                      .lane = "second",
                                      .flags = PH_ALWAYS,
                                      .open = open_any,
                                      .work = work};
static const struct ph_stage first_stage = {
    .name = "first", .points = PH_AT(PH_MESSAGE), .open = open_any, .on_point = first};

static enum chain_run begin_as(struct world *w, struct chain *c, const char *sender)
{
    const struct ph_view v = {.mail_from = sender, .helo = "there"};
    const struct chain_message m = {.head = STR("A: b\r\n\r\n"), .data = STR("data\r\n"), .fd = -1};

    return chain_run(c, PH_MESSAGE, &v, &m, NULL, world_on_answer, w);
}

static const struct chain_answer *run_as(struct world *w, struct chain *c, const char *sender)
{
    unsigned before = w->answers;

    assert_int_equal(begin_as(w, c, sender), CHAIN_WAIT);
    while (w->answers == before)
        world_turn(w);
    return chain_answer(c);
}

static void answers(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_add(&w, first_stage);
    world_add(&w, second);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    for (uint64_t id = 3; id < 5; id++) {
        atomic_store(&facts_seen, 0);
        chain_transaction(c, id);
        assert_int_equal(run_as(&w, c, "a")->verdict, PH_PASS);
        assert_string_equal(chain_actions(c)->name.p, "X-Second");
        assert_int_equal(atomic_load(&facts_seen), 1);
        const struct chain_record *r = chain_records(c, false)->next;
        assert_string_equal(r->stage, "second");
        assert_string_equal(r->facts->value.p, "A: b\r\n\r\ndata\r\n");
    }
    chain_transaction(c, 7);
    assert_int_equal(run_as(&w, c, "reject")->code, 554);
    assert_string_equal(chain_answer(c)->text, "there");
    chain_free(&c);
    world_fini(&w);
}

static _Atomic uint64_t turned_ms;

static uint64_t turned(void)
{
    return turned_ms;
}

static void lost_threads(void **state)
{
    static const struct clock_source source = {.mono_ms = turned};
    struct world w;
    struct filters_stats stats[FILTERS_MAX];

    (void)state;
    turned_ms = clock_mono_ms();
    clock_replace(&source);
    world_init(&w);
    world_add(&w, second);
    world_set(&w, "second.deadline=5s");
    world_set(&w, "second.on_error=junk");
    world_open(&w);
    atomic_store(&release_all, false);
    struct chain *c = chain_new(w.filters, 1);
    for (unsigned i = 1; i <= 4; i++) {
        unsigned before = atomic_load(&works);
        chain_transaction(c, i);
        unsigned answers_before = w.answers;
        if (begin_as(&w, c, "stuck") == CHAIN_WAIT) {
            while (atomic_load(&works) == before)
                world_turn(&w);
            turned_ms += 5000;
            while (w.answers == answers_before)
                world_turn(&w);
        }
        assert_int_equal(chain_answer(c)->verdict, PH_JUNK);
        assert_true(chain_records(c, false)->failed);
        size_t n = filters_stats(w.filters, stats, FILTERS_MAX);
        assert_int_equal(stats[n - 1].threads_lost, i < 3 ? i : 3);
        assert_int_equal(stats[n - 1].off, i >= 3);
        assert_int_equal(atomic_load(&works) - before, i <= 3); /* then it isn't called any more */
    }
    chain_free(&c);
    atomic_store(&release_all, true); /* late answers are ignored */
    size_t n;
    do {
        world_turn(&w);
        n = filters_stats(w.filters, stats, FILTERS_MAX);
    } while (stats[n - 1].late < 3);
    assert_int_equal(stats[n - 1].late, 3);
    world_fini(&w);
    clock_replace(NULL);
}

static void client_goes_while_it_works(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_add(&w, second);
    world_open(&w);
    unsigned before = atomic_load(&works);
    atomic_store(&release_all, false);
    for (int i = 0; i < 10; i++) { /* two threads: most are taken back before they begin */
        struct chain *c = chain_new(w.filters, 1);
        chain_transaction(c, 2);
        begin_as(&w, c, "stuck");
        if (i < 2)
            while (atomic_load(&works) == before + (unsigned)i)
                pause_ms(1);
        chain_free(&c);
    }
    atomic_store(&release_all, true);
    for (int i = 0; i < 60; i++)
        world_turn(&w);
    assert_int_equal(atomic_load(&works) - before, 2);
    assert_int_equal(w.answers, 0);
    world_fini(&w);
}

/* ---- Many at once, at random */

struct client {
    struct world *w;
    struct chain *c;
    bool waits;
    unsigned runs;
};

static void on_random_answer(void *ctx)
{
    struct client *k = ctx;

    assert_true(k->waits);
    k->waits = false;
    k->w->answers++;
}

static void at_random(void **state)
{
    static const char *const senders[] = {"a", "slow1", "slow3", "reject", "slow2"};
    struct client clients[12] = {{0}};
    struct world w;
    unsigned seed = 20260101, begun = 0, cut = 0;

    (void)state;
    world_init(&w);
    world_add(&w, first_stage);
    world_add(&w, second);
    world_add(&w, third);
    world_set(&w, "second.deadline=30ms");
    world_set(&w, "second.on_error=pass");
    world_open(&w);
    for (unsigned step = 0; begun < 400; step++) {
        struct client *k = &clients[(unsigned)rand_r(&seed) % ARRAY_LEN(clients)];
        unsigned dice = (unsigned)rand_r(&seed) % 10;
        if (!k->c) {
            k->w = &w;
            k->c = chain_new(w.filters, step + 1);
        } else if (!k->waits && dice < 8) {
            const struct ph_view v = {.mail_from = senders[(unsigned)rand_r(&seed) % 5],
                                      .helo = "x"};
            const struct chain_message m = {
                .head = STR("A: b\r\n\r\n"), .data = STR("d\r\n"), .fd = -1};
            chain_transaction(k->c, step + 1);
            k->waits = chain_run(k->c, PH_MESSAGE, &v, &m, NULL, on_random_answer, k) == CHAIN_WAIT;
            begun++;
        } else if (dice == 9) {
            cut += k->waits;
            chain_free(&k->c);
            k->waits = false;
        }
        if (dice == 0)
            world_turn(&w);
        else if (dice % 2)
            loop_turn(w.loop, false);
    }
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        while (clients[i].waits)
            world_turn(&w);
        chain_free(&clients[i].c);
    }
    assert_true(cut > 40);
    world_fini(&w);
}

/* ---- kv */

static bool count_one(void *ctx, const void *key, size_t key_n, const void *value, size_t n)
{
    (void)key;
    (void)key_n;
    (void)value;
    (void)n;
    ++*(int *)ctx;
    return true;
}

static void kv_kept(void **state)
{
    struct world w;
    char text[16] = "";
    int n = 0;

    (void)state;
    world_init(&w);
    world_add(&w, first_stage);
    world_store(&w);
    world_open(&w);
    const struct ph_host *h = &w.filters->stages[w.filters->n - 1].host;
    assert_int_equal(h->kv_get(h, "a", 1, text, 1), -1);
    assert_int_equal(h->kv_set(h, "a", 1, "one", 3, 0), 0);
    assert_int_equal(h->kv_set(h, "b", 1, "two", 3, 3600000), 0);
    assert_int_equal(h->kv_set(h, "c", 1, "three", 5, 0), 0);
    assert_int_equal(h->kv_set(h, "d", 1, "past", 4, 1), 0);
    assert_int_equal(h->kv_set(h, "", 0, "x", 1, 0), -1);
    assert_int_equal(h->kv_delete(h, "c", 1), 0);
    for (int i = 0; i < 3; i++)
        world_turn(&w);
    filters_close(&w.filters);
    world_open(&w);
    h = &w.filters->stages[w.filters->n - 1].host;
    assert_int_equal(h->kv_get(h, "a", 1, text, sizeof text), 3);
    assert_string_equal(text, "one");
    assert_int_equal(h->kv_get(h, "b", 1, NULL, 0), 3);
    assert_int_equal(h->kv_get(h, "c", 1, text, sizeof text), -1);
    assert_int_equal(h->kv_get(h, "d", 1, text, sizeof text), -1);
    h->kv_each(h, count_one, &n);
    assert_int_equal(n, 2);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(lost_threads),
        cmocka_unit_test(client_goes_while_it_works),
        cmocka_unit_test(at_random),
        cmocka_unit_test(kv_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
