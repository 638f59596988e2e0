/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/directory/rows_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *m;
static struct err err;
static const struct rows_values values = {
    .address = {"o'x@a.b", 7}, .local = {"o'x", 3}, .domain = {"a.b", 3}};

/* The text and then "|" and the value of each parameter. */
static const char *read(const char *text)
{
    struct rows_query q;
    if (rows_query_read(m, text, "sud", &q, &err) < 0)
        return "refused";
    struct str out = str_from(q.text);
    for (unsigned i = 0; i < q.n; i++) {
        struct str v = rows_query_value(m, q.params[i], &values);
        out = arena_printf(m, STR_FMT "|" STR_FMT, STR_ARG(out), STR_ARG(v));
    }
    return out.p;
}

static void placeholders(void **state)
{
    (void)state;
    assert_string_equal(read("SELECT x FROM t WHERE a = %s"),
                        "SELECT x FROM t WHERE a = ?|o'x@a.b");
    assert_string_equal(read("a = '%s' AND b='%u@%d'"), "a = ? AND b=?|o'x@a.b|o'x@a.b");
    assert_string_equal(read("a LIKE '%%@%d' AND b = 'x%%y''z'"),
                        "a LIKE ? AND b = 'x%y''z'|%@a.b");
    assert_string_equal(read("a = '@%d''s' AND 5 %% 2"), "a = ? AND 5 % 2|@a.b's");
    assert_string_equal(read(""), "");
}

static void refused(void **state)
{
    static const char *const bad[] = {"a = ?",
                                      "a = %x",
                                      "a = '%x'",
                                      "a = '%s",
                                      "a; b",
                                      "a -- b",
                                      "a /* b */",
                                      "a # b",
                                      "'a\\'b'",
                                      "a %",
                                      "%s%s%s%s%s%s%s%s%s%s%s%s%s",
                                      "%h"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (strcmp(read(bad[i]), "refused") != 0)
            fail_msg("%s was taken", bad[i]);
}

static int setup(void **state)
{
    (void)state;
    m = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&m);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(placeholders), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
