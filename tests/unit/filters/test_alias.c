/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Global aliases: how they are written, where they lead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "filters/alias.h"
#include <stdio.h>

static struct arena *a;
static struct alias list[400];
static size_t n_list;

static int setup(void **state)
{
    (void)state;
    a = arena_new(0);
    n_list = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&a);
    return 0;
}

/* "name target target" */
static void alias(const char *line)
{
    struct str rest = str_from(line), word;
    struct alias *al = &list[n_list++];
    struct err err;

    *al = (struct alias){.targets = ARENA_ARRAY(a, struct str, ALIAS_TARGETS)};
    str_cut(rest, ' ', &word, &rest);
    assert_int_equal(alias_name_parse(a, word, &al->name, &err), 0);
    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        if (alias_target_parse(a, word, &al->targets[al->n++], &err))
            fail_msg("%s", err.text);
    }
}

static struct alias_set *more;

static const char *leads(const char *address)
{
    static const char *const words[] = {
        [ALIAS_NONE] = "none", [ALIAS_CIRCLE] = "circle", [ALIAS_TOO_MANY] = "too many"};
    static char text[20000];
    struct alias_set *s = alias_set_new(list, n_list);
    struct str *to;
    size_t n;
    enum alias_found found = alias_set_expand(s, more, a, str_from(address), &to, &n);

    alias_set_free(&s);
    if (found != ALIAS_FOUND)
        return words[found];
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s" STR_FMT, i ? " " : "",
                 STR_ARG(to[i]));
    return text;
}

static void test_names(void **state)
{
    struct err err;
    struct str out;

    (void)state;
    assert_int_equal(alias_name_parse(a, STR("Ann@EXAMPLE.org"), &out, &err), 0);
    assert_true(str_eq(out, STR("ann@example.org")));
    assert_int_equal(alias_name_parse(a, STR("@Example.org"), &out, &err), 0);
    assert_true(str_eq(out, STR("@example.org")));
    assert_int_equal(alias_name_parse(a,
                                      STR("@.B\xc3\xbc"
                                          "cher.example"),
                                      &out, &err),
                     0);
    assert_true(str_eq(out, STR("@.xn--bcher-kva.example")));
    assert_int_equal(alias_target_parse(a, STR("Ann@EXAMPLE.org"), &out, &err), 0);
    assert_true(str_eq(out, STR("Ann@example.org")));
    static const char *const bad[] = {"",      "@",     "@.",         "ann",   "ann@",
                                      "a b@c", "<a@b>", "a@b,c@d",    "a@b>x", "a\n@b",
                                      "@a..b", "@a@b",  "@relay:a@b", "a@b c"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (alias_name_parse(a, str_from(bad[i]), &out, &err) == 0)
            fail_msg("name '%s'", bad[i]);
        if (alias_target_parse(a, str_from(bad[i]), &out, &err) == 0)
            fail_msg("target '%s'", bad[i]);
    }
    /* What is shown of it couldn't be given back. */
    assert_int_equal(alias_name_parse(a, STR("\"b>\"@q.example"), &out, &err), -1);
    assert_int_equal(alias_name_parse(a, STR("\"bob\"@q.example"), &out, &err), 0);
    assert_true(str_eq(out, STR("bob@q.example")));
    assert_int_equal(alias_target_parse(a, STR("@.example.org"), &out, &err), -1);
}

static void test_exact_first(void **state)
{
    (void)state;
    assert_string_equal(leads("a@x.example"), "none");
    alias("a@x.example one@t.example");
    alias("@x.example two@t.example");
    alias("@.x.example three@t.example");
    alias("@.deep.x.example @t.example");
    assert_string_equal(leads("A@X.Example"), "one@t.example");
    assert_string_equal(leads("b@x.example"), "two@t.example");
    assert_string_equal(leads("b@y.x.example"), "three@t.example");
    assert_string_equal(leads("Bob@y.deep.x.example"), "Bob@t.example");
    assert_string_equal(leads("Bob@deep.x.example"), "Bob@t.example");
    assert_string_equal(leads("b@xx.example"), "none");
    assert_string_equal(leads("postmaster"), "none");
    assert_string_equal(leads("@x.example"), "none");
}

static void test_many(void **state)
{
    (void)state;
    alias("team@x.example ann@x.example Bob@y.example friends@x.example");
    alias("friends@x.example ann@x.example carl@z.example");
    assert_string_equal(leads("team@x.example"), "ann@x.example Bob@y.example carl@z.example");
}

static void test_self(void **state)
{
    (void)state;
    alias("ann@x.example Ann@x.example copy@y.example");
    alias("@x.example keep@x.example");
    alias("@y.example @y.example log@z.example");
    assert_string_equal(leads("ann@x.example"), "Ann@x.example copy@y.example log@z.example");
    assert_string_equal(leads("keep@x.example"), "keep@x.example");
    assert_string_equal(leads("bob@x.example"), "keep@x.example");
}

static void test_circles(void **state)
{
    (void)state;
    alias("a@x.example b@x.example");
    alias("b@x.example c@x.example");
    alias("c@x.example a@x.example");
    alias("d@x.example a@x.example out@y.example");
    alias("@one.example @two.example");
    alias("@two.example @one.example");
    assert_string_equal(leads("a@x.example"), "circle");
    assert_string_equal(leads("d@x.example"), "out@y.example");
    assert_string_equal(leads("z@one.example"), "circle");
}

static void test_depth(void **state)
{
    char line[100];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(line, sizeof line, "a%d@x.example a%d@x.example", i, i + 1);
        alias(line);
    }
    assert_string_equal(leads("a0@x.example"), "too many");
    assert_string_equal(leads("a10@x.example"), "a20@x.example");
}

/* Neither a broad tree nor a deep one costs without bound. */
static void test_breadth(void **state)
{
    char line[4000];

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "l%d@x.example", i);
        for (int k = 0; k < 50; k++)
            snprintf(line + strlen(line), sizeof line - strlen(line), " l%d@x.example", k);
        alias(line);
    }
    assert_string_equal(leads("l0@x.example"), "too many");
}

/* As settings have them. */
static void test_list(void **state)
{
    static const char *const bad[] = {"a@x.example",
                                      "a@x.example->",
                                      "->a@x.example",
                                      "a->b@c",
                                      "a@x.example->@.y.example",
                                      "a@x.example=>b@y.example"};
    struct err err;

    (void)state;
    assert_int_equal(alias_set_parse(STR("team@x.example->ann@y.example, @x.example -> @z.example, "
                                         "Team@x.example->bob@y.example"),
                                     &more, &err),
                     0);
    assert_int_equal(alias_set_count(more), 2);
    assert_string_equal(leads("team@x.example"), "ann@y.example bob@y.example");
    alias("@x.example @other.example");
    alias("ann@y.example eve@y.example");
    assert_string_equal(leads("team@x.example"), "eve@y.example bob@y.example");
    assert_string_equal(leads("carl@x.example"), "carl@other.example");
    alias_set_free(&more);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (alias_set_parse(str_from(bad[i]), &more, &err) == 0)
            fail_msg("'%s'", bad[i]);
    assert_null(more);
    assert_int_equal(alias_set_parse(STR(""), &more, &err), 0);
    assert_string_equal(leads("nobody@q.example"), "none");
    alias_set_free(&more);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_names),   T(test_exact_first), T(test_many),
                                       T(test_self),    T(test_circles),     T(test_depth),
                                       T(test_breadth), T(test_list)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
