/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* buf, arena, map, list: what owns memory. */
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void buf_stops_at_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_add_z(&b, "abc"), 0);
    assert_int_equal(buf_add_z(&b, "def"), -1); /* nothing of it */
    assert_true(str_eq(buf_str(&b), STR("abc")));
    assert_false(buf_ok(&b));
    assert_int_equal(buf_add_char(&b, 'x'), -1); /* would fit, but the series is broken */
    assert_int_equal(buf_printf(&b, "%d", 1), -1);
    buf_clear(&b);
    assert_true(buf_ok(&b));
    assert_int_equal(buf_add_z(&b, "12345"), 0);
    assert_string_equal(buf_z(&b), "12345"); /* the NUL isn't counted */
    assert_int_equal(b.n, 5);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    buf_fini(&b);
    assert_int_equal(buf_add_z(&b, "again"), 0);
    buf_fini(&b);
    buf_init(&b, 0);
    assert_string_equal(buf_z(&b), "");
    assert_int_equal(buf_add_char(&b, 'x'), -1);
    buf_fini(&b);
}

static void buf_formats_and_cuts(void **state)
{
    (void)state;
    struct buf b;
    char *space;
    buf_init(&b, SIZE_MAX);
    buf_add_u64(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    buf_add_u64(&b, 0);
    assert_true(str_eq(buf_str(&b), STR("18446744073709551615 0")));
    buf_clear(&b);
    buf_printf(&b, "%0600d", 7); /* longer than any small buffer inside */
    assert_int_equal(b.n, 600);
    assert_int_equal(b.p[599], '7');
    buf_drop(&b, 599);
    assert_true(str_eq(buf_str(&b), STR("7")));
    assert_int_equal(buf_reserve(&b, 1000, &space), 0);
    memset(space, 'x', 1000);
    buf_commit(&b, 2);
    assert_true(str_eq(buf_str(&b), STR("7xx")));
    buf_truncate(&b, 1);
    buf_truncate(&b, 5);
    assert_true(str_eq(buf_str(&b), STR("7")));
    buf_drop(&b, 1);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
    buf_init(&b, 600);
    assert_int_equal(buf_printf(&b, "%0600d", 7), 0); /* exactly full */
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    buf_fini(&b);
    buf_init(&b, 599);
    assert_int_equal(buf_printf(&b, "%0600d", 7), -1);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

static void arena_zeroes_and_aligns(void **state)
{
    (void)state;
    struct arena *a = arena_new(128);
    for (int round = 0; round < 3; round++) {
        size_t used = 0;
        for (size_t n = 0; n < 600; n += 7) {
            unsigned char *p = arena_alloc(a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xee, n);
            assert_true(arena_used(a) >= used + n);
            used = arena_used(a);
        }
        assert_int_equal(arena_alloc(a, 1 << 20) == NULL, 0);
        arena_clear(a);
        assert_int_equal(arena_used(a), 0);
    }
    arena_free(&a);
    assert_null(a);
    arena_free(&a);
}

static void arena_copies(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    char bytes[] = "hello";
    struct str s = arena_str(a, str_of(bytes, 4));
    memset(bytes, 'x', 5);
    assert_string_equal(s.p, "hell");
    assert_string_equal(arena_str(a, STR_NULL).p, "");
    assert_memory_equal(arena_dup(a, "ab\0cd", 5), "ab\0cd", 5);
    s = arena_printf(a, "%d-%s", 7, "x");
    assert_string_equal(s.p, "7-x");
    assert_int_equal(s.n, 3);
    s = arena_printf(a, "%05000d", 1);
    assert_int_equal(s.n, 5000);
    assert_int_equal(s.p[4999], '1');
    assert_int_equal(s.p[5000], '\0');
    arena_free(&a);
}

/* Long keys and short ones, checked against a plain array. */
static void map_agrees_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 500 };
    static int there[KEYS];
    struct map *m = map_new();
    uint32_t seed = 1;
    size_t count = 0;
    memset(there, 0, sizeof there);
    for (int step = 0; step < 40000; step++) {
        seed = seed * 1664525 + 1013904223;
        /* grows, then shrinks, again and again */
        unsigned i = (seed >> 8) % KEYS, add = (seed >> 24) % 4 < (step / 5000 % 2 ? 1u : 3u);
        char key[64];
        int n = snprintf(key, sizeof key, i % 2 ? "%u" : "a rather long key number %u", i);
        void *had = map_get(m, str_of(key, (size_t)n));
        assert_ptr_equal(had, there[i] ? &there[i] : NULL);
        if (add) {
            assert_ptr_equal(map_set(m, str_of(key, (size_t)n), &there[i]), had);
            count += !there[i];
        } else {
            assert_ptr_equal(map_del(m, str_of(key, (size_t)n)), had);
            count -= !!there[i];
        }
        there[i] = (int)add;
        assert_int_equal(map_count(m), count);
    }
    map_free(&m);
    assert_null(m);
}

static void map_survives_deletion_of_the_visited(void **state)
{
    (void)state;
    struct map *m = map_new();
    static char seen[1000];
    for (uint64_t i = 0; i < sizeof seen; i++)
        assert_null(map_set_id(m, i, &seen[i]));
    struct str key;
    void *value;
    size_t visits = 0;
    for (size_t pos = 0; map_next(m, &pos, &key, &value); visits++) {
        char *mark = value;
        assert_int_equal((*mark)++, 0);
        uint64_t id;
        assert_int_equal(key.n, sizeof id);
        memcpy(&id, key.p, sizeof id);
        assert_ptr_equal(&seen[id], mark);
        if (id % 2)
            assert_ptr_equal(map_del(m, key), mark);
    }
    assert_int_equal(visits, sizeof seen);
    assert_int_equal(map_count(m), sizeof seen / 2);
    assert_null(map_get_id(m, 7));
    assert_ptr_equal(map_get_id(m, 8), &seen[8]);
    assert_ptr_equal(map_del_id(m, 8), &seen[8]);
    assert_null(map_del_id(m, 8));
    map_free(&m);
}

static void map_keeps_empty_keys_and_null_values(void **state)
{
    (void)state;
    struct map *m = map_new();
    size_t pos = 0;
    assert_null(map_get(m, STR_NULL));
    assert_false(map_next(m, &pos, NULL, NULL));
    assert_null(map_set(m, STR_NULL, NULL));
    assert_int_equal(map_count(m), 1);
    assert_true(map_next(m, &pos, NULL, NULL));
    assert_null(map_set(m, STR(""), &pos));
    assert_ptr_equal(map_get(m, STR_NULL), &pos);
    assert_int_equal(map_count(m), 1);
    map_free(&m);
}

struct member {
    int id;
    struct list link;
};

static void list_keeps_order(void **state)
{
    (void)state;
    struct list head;
    struct member members[5];
    list_init(&head);
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        members[i].id = i;
        list_add(&head, &members[i].link);
    }
    int sum = 0;
    LIST_EACH(&head, it)
    {
        struct member *x = LIST_ITEM(it, struct member, link);
        sum = sum * 10 + x->id;
        if (x->id % 2)
            list_del(it);
    }
    assert_int_equal(sum, 1234);
    list_del(&members[1].link); /* twice */
    sum = 0;
    LIST_EACH(&head, it)
    sum = sum * 10 + LIST_ITEM(it, struct member, link)->id;
    assert_int_equal(sum, 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_stops_at_its_maximum),
        cmocka_unit_test(buf_formats_and_cuts),
        cmocka_unit_test(arena_zeroes_and_aligns),
        cmocka_unit_test(arena_copies),
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(map_survives_deletion_of_the_visited),
        cmocka_unit_test(map_keeps_empty_keys_and_null_values),
        cmocka_unit_test(list_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
