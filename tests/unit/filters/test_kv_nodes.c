/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The table of a stage on two nodes: what one sets the other has, and what both set is merged. */
#include "appliance/store/news.h"
#include "tests/unit/filters/world.h"

static struct world place, /* whose folder and database it is */
    a, b;
static const struct ph_host *at_a, *at_b;
static unsigned merges;

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    (void)turn;
    (void)at;
}

/* The longer one; of the same length the one that is more. */
static size_t longer(void *inst, const void *key, size_t key_n, const void *own, size_t own_n,
                     const void *other, size_t other_n, void *out)
{
    bool mine = own_n != other_n ? own_n > other_n : memcmp(own, other, own_n) > 0;

    (void)inst;
    (void)key;
    (void)key_n;
    merges++;
    memcpy(out, mine ? own : other, mine ? own_n : other_n);
    return mine ? own_n : other_n;
}

static void open_node(struct world *w)
{
    struct err err = {0};

    world_init(w);
    world_add(w, (struct ph_stage){.points = PH_AT(PH_HELO), .name = "last", .on_point = on_point});
    world_add(w, (struct ph_stage){.points = PH_AT(PH_HELO),
                                   .name = "longer",
                                   .on_point = on_point,
                                   .kv_merge = longer});
    snprintf(w->dir, sizeof w->dir, "%s", place.dir);
    assert_int_equal(settings_defaults(store_settings, &w->store_conf, &err), 0);
    w->store_conf.server = place.sql.conf;
    w->store_conf.shared = true;
    world_store(w);
    world_open(w);
}

static const struct ph_host *host(const struct world *w, const char *stage)
{
    for (size_t i = 0; i < w->filters->n; i++)
        if (strcmp(w->filters->stages[i].stats.name, stage) == 0)
            return &w->filters->stages[i].host;
    return NULL;
}

static void of(const char *stage)
{
    at_a = host(&a, stage);
    at_b = host(&b, stage);
}

static void put(const struct ph_host *h, const char *key, const char *value)
{
    if (value)
        assert_int_equal(h->kv_set(h, key, strlen(key), value, strlen(value), 0), 0);
    else
        assert_int_equal(h->kv_delete(h, key, strlen(key)), 0);
}

static bool is(const struct ph_host *h, const char *key, const char *value)
{
    char text[100];
    int64_t n = h->kv_get(h, key, strlen(key), text, sizeof text);

    return value ? n == (int64_t)strlen(value) && memcmp(text, value, (size_t)n) == 0 : n < 0;
}

static void until(const struct ph_host *h, const char *key, const char *value)
{
    while (!is(h, key, value)) {
        world_turn(&a);
        world_turn(&b);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(place.dir, sizeof place.dir, "/tmp/ph-filters-XXXXXX");
    assert_non_null(mkdtemp(place.dir));
    sql_world_open(&place.sql);
    open_node(&a);
    return 0;
}

static void close_node(struct world *w)
{
    w->dir[0] = '\0'; /* it isn't its own */
    world_fini(w);
}

static int teardown(void **state)
{
    (void)state;
    close_node(&b);
    close_node(&a);
    sql_world_close(&place.sql);
    folder_remove(place.dir);
    return 0;
}

/* ---- One after the other on the same two nodes. */

/* Also what the first one wrote before it knew of the second. */
static void a_new_node_has_all(void **state)
{
    char key[20];

    (void)state;
    for (int i = 0; i < 1200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(host(&a, "last"), key, "before");
    }
    open_node(&b);
    of("last");
    put(at_a, "early", "1");
    until(at_b, "early", "1");
    until(at_b, "k999", "before");
    assert_int_equal(at_b->kv_count(at_b), 1201);
}

static void set_and_deleted(void **state)
{
    (void)state;
    put(at_a, "x", "1");
    put(at_b, "y", "2");
    until(at_b, "x", "1");
    until(at_a, "y", "2");
    put(at_a, "y", "3");
    put(at_b, "x", NULL);
    until(at_b, "y", "3");
    until(at_a, "x", NULL);
    assert_int_equal(at_a->kv_count(at_a), 1202);
    of("longer"); /* a table of its own */
    assert_int_equal(at_a->kv_count(at_a), 0);
}

static void both_at_once_are_merged(void **state)
{
    char key[20];

    (void)state;
    of("longer");
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "m%d", i);
        put(at_a, key, i % 2 ? "long" : "s");
        put(at_b, key, i % 2 ? "s" : "long");
        world_turn(i % 3 ? &a : &b);
    }
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "m%d", i);
        until(at_a, key, "long");
        until(at_b, key, "long");
    }
    assert_true(merges > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_node_has_all),
        cmocka_unit_test(set_and_deleted),
        cmocka_unit_test(both_at_once_are_merged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
