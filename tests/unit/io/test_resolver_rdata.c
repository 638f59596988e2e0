/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Records from the wire: whole, cut, too long, with names that hold anything. */
#include "appliance/io/resolver_rdata.h"
#include "end.h"

static struct arena *arena;
static struct resolver_record got;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* From a copy of exactly that length, so that a sanitizer sees what is read beyond. */
static int parse_n(enum resolver_type type, const char *bytes, size_t n)
{
    char *copy = n ? mem_dup(bytes, n) : mem_alloc(1);
    int rc = resolver_rdata_parse(type, str_of(copy, n), arena, &got);
    mem_free(copy);
    return rc;
}
#define parse(type, lit) parse_n(type, lit, sizeof(lit) - 1)

static void assert_name(const char *want)
{
    assert_true(str_eq(got.name, str_from(want)));
}

static void addresses(void **state)
{
    (void)state;
    assert_int_equal(parse(RESOLVER_A, "\300\0\2\1"), 0);
    assert_string_equal(got.ip, "192.0.2.1");
    assert_int_equal(parse(RESOLVER_A, "\300\0\2"), -1);
    assert_int_equal(parse(RESOLVER_A, "\300\0\2\1\1"), -1);
    assert_int_equal(parse(RESOLVER_AAAA, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), 0);
    assert_string_equal(got.ip, "2001:db8::1");
    assert_int_equal(parse(RESOLVER_AAAA, "\300\0\2\1"), -1);
    assert_int_equal(parse(RESOLVER_AAAA, ""), -1);
}

static void names(void **state)
{
    (void)state;
    assert_int_equal(parse(RESOLVER_PTR, "\2MX\7Example\3COM\0"), 0);
    assert_name("mx.example.com");
    assert_int_equal(parse(RESOLVER_CNAME, "\0"), 0);
    assert_name(".");
    assert_int_equal(parse(RESOLVER_PTR, "\4_a-b\0"), 0);
    assert_name("_a-b");
    assert_int_equal(parse(RESOLVER_PTR, "\1a\0\1b\0"), -1); /* something after it */
    assert_int_equal(parse(RESOLVER_PTR, "\5a.b \x7f\4\0\xff\"\n\0"), 0);
    assert_name("a\\046b\\032\\127.\\000\\255\\034\\010");
    assert_int_equal(parse(RESOLVER_PTR, "\2mx"), -1);       /* no end */
    assert_int_equal(parse(RESOLVER_PTR, "\3mx\0"), -1);     /* label beyond it */
    assert_int_equal(parse(RESOLVER_PTR, "\2mx\300\0"), -1); /* a pointer */
    assert_int_equal(parse(RESOLVER_PTR, "\100aaaa\0"), -1); /* 64 */
    assert_int_equal(parse(RESOLVER_PTR, ""), -1);
}

static void long_names(void **state)
{
    (void)state;
    char wire[300];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        wire[n++] = 63;
        memset(wire + n, '\n', 63);
        n += 63;
    }
    wire[n++] = 61;
    memset(wire + n, '\n', 61);
    n += 61;
    wire[n++] = 0;
    assert_int_equal(n, 255);
    assert_int_equal(parse_n(RESOLVER_PTR, wire, n), 0);
    assert_int_equal(got.name.n, 4 * (63 * 3 + 61) + 3);
    wire[192] = 62;
    wire[255] = 0;
    assert_int_equal(parse_n(RESOLVER_PTR, wire, 256), -1);
}

static void exchangers(void **state)
{
    (void)state;
    assert_int_equal(parse(RESOLVER_MX, "\1\2\1a\0"), 0);
    assert_int_equal(got.preference, 258);
    assert_name("a");
    assert_int_equal(parse(RESOLVER_MX, "\0\0\0"), 0); /* RFC 7505 */
    assert_name(".");
    assert_int_equal(parse(RESOLVER_MX, "\0\0"), -1);
    assert_int_equal(parse(RESOLVER_MX, "\0\0\1a"), -1);
}

static void texts(void **state)
{
    (void)state;
    assert_int_equal(parse(RESOLVER_TXT, "\3v=s\0\4pf1 "), 0);
    assert_true(str_eq(got.data, STR("v=spf1 ")));
    assert_int_equal(parse(RESOLVER_TXT, "\0"), 0);
    assert_int_equal(got.data.n, 0);
    assert_int_equal(parse(RESOLVER_TXT, "\2\0\377"), 0); /* bytes as they are */
    assert_true(str_eq(got.data, str_of("\0\377", 2)));
    assert_int_equal(parse(RESOLVER_TXT, ""), -1);
    assert_int_equal(parse(RESOLVER_TXT, "\4v=s"), -1);
    assert_int_equal(parse(RESOLVER_TXT, "\1a\1"), -1);
}

static void associations(void **state)
{
    (void)state;
    assert_int_equal(parse(RESOLVER_TLSA, "\3\1\2abc"), 0);
    assert_true(got.usage == 3 && got.selector == 1 && got.matching == 2);
    assert_true(str_eq(got.data, STR("abc")));
    assert_int_equal(parse(RESOLVER_TLSA, "\377\377\377\0"), 0);
    assert_true(got.usage == 255 && got.selector == 255 && got.matching == 255);
    assert_int_equal(parse(RESOLVER_TLSA, "\3\1\2"), -1);
    assert_int_equal(parse(RESOLVER_TLSA, ""), -1);
    assert_int_equal(parse((enum resolver_type)6, "\0"), -1);
}

static void questions(void **state)
{
    (void)state;
    char out[RESOLVER_QUESTION_SIZE];
    assert_true(resolver_question(STR("Example.COM"), out));
    assert_string_equal(out, "example.com.");
    assert_true(resolver_question(STR("."), out));
    assert_string_equal(out, ".");
    assert_true(resolver_question(STR("a b;(\"@.c"), out));
    assert_string_equal(out, "a\\032b\\059\\040\\034\\064.c.");
    assert_false(resolver_question(STR("a\\.b"), out));
    assert_false(resolver_question(STR("a..b"), out));
    assert_false(resolver_question(STR("a.."), out));
    assert_false(resolver_question(STR("a\x7f"), out));
    assert_false(resolver_question(str_of("a\0b", 3), out));
    assert_true(str_eq(resolver_name_tidy("MX.Te\"st.", arena), STR("mx.te?st")));
    assert_true(str_eq(resolver_name_tidy(".", arena), STR(".")));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(addresses), T(names),        T(long_names), T(exchangers),
                                       T(texts),     T(associations), T(questions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
