/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/directory/password.h"
#include "tests/unit/directory/scratch.h"

static struct scratch s;
static struct directory_admin *a;
static struct arena *mem;

static int setup(void **state)
{
    (void)state;
    scratch_init(&s);
    mem = arena_new(0);
    if (directory_admin_open(s.dir, &a, &s.err) < 0)
        fail_msg("%s", s.err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    directory_admin_close(&a);
    arena_free(&mem);
    scratch_fini(&s);
    return 0;
}

static void ok(int r)
{
    if (r < 0)
        fail_msg("%s", s.err.text);
}

static void refused(int r, enum err_why why)
{
    assert_int_equal(r, -1);
    assert_int_equal(s.err.kind, ERR_PERM);
    assert_int_equal(s.err.why, why);
    assert_true(strlen(s.err.text) > 10);
}

static int add_user(const char *address)
{
    return directory_user_add(a, str_from(address), STR("Somebody"), STR_NULL, 0, &s.err);
}

static int add_alias(const char *address, const char *one, const char *two)
{
    const struct str list[] = {str_from(one), str_from(two)};
    return directory_alias_add(a, str_from(address), list, two ? 2 : 1, false, &s.err);
}

static int replace_alias(const char *address, const char *destination)
{
    const struct str one = str_from(destination);
    return directory_alias_add(a, str_from(address), &one, 1, true, &s.err);
}

static void with_domain(void)
{
    ok(directory_domain_add(a, STR("example.com"), &s.err));
    ok(add_user("karl@example.com"));
}

static void domains(void **state)
{
    struct directory_domain *list;
    size_t n;
    (void)state;
    ok(directory_domain_list(a, mem, &list, &n, &s.err));
    assert_int_equal(n, 0);
    ok(directory_domain_add(a, STR("Example.COM"), &s.err));
    ok(directory_domain_add(a, STR("bücher.example"), &s.err));
    ok(directory_domain_add(a, STR("a.example"), &s.err));
    refused(directory_domain_add(a, STR("example.com"), &s.err), ERR_WHY_EXISTS);
    assert_string_equal(s.err.text, "the domain example.com exists");
    refused(directory_domain_add(a, STR("no domain"), &s.err), ERR_WHY_OTHER);
    refused(directory_domain_add(a, STR(""), &s.err), ERR_WHY_OTHER);
    refused(directory_domain_add(a, STR("a@b.example"), &s.err), ERR_WHY_OTHER);
    ok(add_user("karl@example.com"));
    ok(add_user("karl@a.example"));
    ok(add_alias("x@a.example", "karl@example.com", NULL));
    ok(directory_domain_list(a, mem, &list, &n, &s.err));
    assert_int_equal(n, 3);
    assert_true(str_eq(list[0].domain, STR("example.com"))); /* the first stays the first */
    assert_true(str_eq(list[1].domain, STR("xn--bcher-kva.example")));
    assert_true(list[0].enabled);
    assert_int_equal(list[0].users, 1);
    assert_int_equal(list[0].aliases, 0);
    assert_int_equal(list[2].users, 1);
    assert_int_equal(list[2].aliases, 1);
}

static void domain_removal(void **state)
{
    struct directory_user *users;
    struct directory_alias *aliases;
    size_t n;
    (void)state;
    with_domain();
    ok(directory_domain_add(a, STR("sub.example.com"), &s.err));
    ok(add_user("other@sub.example.com"));
    ok(add_alias("@example.com", "karl@example.com", NULL));
    refused(directory_domain_remove(a, STR("example.com"), false, &s.err), ERR_WHY_OTHER);
    ok(directory_user_list(a, mem, STR("example.com"), &users, &n, &s.err));
    assert_int_equal(n, 1); /* nothing of it happened */
    ok(directory_domain_remove(a, STR("example.com"), true, &s.err));
    ok(directory_user_list(a, mem, STR_NULL, &users, &n, &s.err));
    assert_int_equal(n, 1);
    assert_true(str_eq(users[0].address, STR("other@sub.example.com")));
    ok(directory_alias_list(a, mem, STR_NULL, &aliases, &n, &s.err));
    assert_int_equal(n, 0);
    refused(directory_domain_remove(a, STR("example.com"), true, &s.err), ERR_WHY_NOT_FOUND);
    ok(directory_domain_add(a, STR("empty.example"), &s.err));
    ok(directory_domain_remove(a, STR("empty.example"), false, &s.err));
}

static void users(void **state)
{
    struct directory_user u, *list;
    size_t n;
    (void)state;
    refused(add_user("karl@example.com"), ERR_WHY_NOT_FOUND);
    assert_string_equal(s.err.text, "there is no domain example.com");
    with_domain();
    refused(add_user("KARL@example.com"), ERR_WHY_EXISTS);
    ok(directory_user_add(a, STR("Jürgen@Example.com"), STR("Jürgen K."), STR("Geheimnis"), 5000000,
                          &s.err));
    ok(directory_user_get(a, mem, STR("jürgen@example.com"), &u, &s.err));
    assert_true(str_eq(u.address, STR("jürgen@example.com")));
    assert_true(str_eq(u.name, STR("Jürgen K.")));
    assert_true(str_eq(u.scheme, STR("yescrypt")));
    assert_true(u.enabled);
    assert_int_equal(u.quota_bytes, 5000000);
    ok(directory_user_list(a, mem, STR_NULL, &list, &n, &s.err));
    assert_int_equal(n, 2);
    assert_true(str_eq(list[1].address, STR("karl@example.com")));
    assert_true(str_eq(list[1].scheme, STR("none")));
    ok(directory_user_list(a, mem, STR("nowhere.example"), &list, &n, &s.err));
    assert_int_equal(n, 0);
    ok(directory_user_remove(a, STR("KARL@example.com"), &s.err));
    refused(directory_user_remove(a, STR("karl@example.com"), &s.err), ERR_WHY_NOT_FOUND);
    refused(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err), ERR_WHY_NOT_FOUND);
}

static void bad_users(void **state)
{
    static const char *const bad[] = {"",
                                      "karl",
                                      "@example.com",
                                      "karl@",
                                      "a b@example.com",
                                      "a,b@example.com",
                                      "\"a,b\"@example.com",
                                      "a..b@example.com",
                                      ".a@example.com",
                                      "a.@example.com",
                                      "<a@example.com>",
                                      "a\nb@example.com",
                                      "\xff@example.com",
                                      "a@[192.0.2.1]"};
    char longest[128];
    (void)state;
    with_domain();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(add_user(bad[i]), ERR_WHY_OTHER);
    snprintf(longest, sizeof longest, "%.64s@example.com",
             "0123456789012345678901234567890123456789012345678901234567890123");
    ok(add_user(longest));
    snprintf(longest, sizeof longest, "%.65s@example.com",
             "01234567890123456789012345678901234567890123456789012345678901234");
    refused(add_user(longest), ERR_WHY_OTHER);
    refused(directory_user_add(a, STR("n@example.com"), STR("two\nlines"), STR_NULL, 0, &s.err),
            ERR_WHY_OTHER);
    refused(directory_user_add(a, STR("n@example.com"), STR("n"), STR(""), 0, &s.err),
            ERR_WHY_OTHER);
    refused(directory_user_add(a, STR("n@example.com"), STR("n"), STR("\xff"), 0, &s.err),
            ERR_WHY_OTHER);
}

static void changing_users(void **state)
{
    struct directory_user u;
    (void)state;
    with_domain();
    ok(directory_user_set_password(a, STR("Karl@example.com"), STR("secret"), &s.err));
    ok(directory_user_set_quota(a, STR("karl@example.com"), 1ull << 40, &s.err));
    ok(directory_user_set_enabled(a, STR("karl@example.com"), false, &s.err));
    ok(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err));
    assert_true(str_eq(u.scheme, STR("yescrypt")));
    assert_int_equal(u.quota_bytes, 1ull << 40);
    assert_false(u.enabled);
    ok(directory_user_set_hash(a, STR("karl@example.com"),
                               STR("{SSHA}jJadE18uH6wvASmXFaiayCCnPQQBc/9hbHQ="), &s.err));
    ok(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err));
    assert_true(str_eq(u.scheme, STR("ssha")));
    refused(directory_user_set_hash(a, STR("karl@example.com"), STR("{NOPE}x"), &s.err),
            ERR_WHY_OTHER);
    refused(directory_user_set_hash(a, STR("karl@example.com"), STR("secret"), &s.err),
            ERR_WHY_OTHER);
    ok(directory_user_set_hash(a, STR("karl@example.com"), STR("!"), &s.err)); /* locked */
    refused(directory_user_set_password(a, STR("x@example.com"), STR("p"), &s.err),
            ERR_WHY_NOT_FOUND);
    refused(directory_user_set_quota(a, STR("x@example.com"), 1, &s.err), ERR_WHY_NOT_FOUND);
    refused(directory_user_set_enabled(a, STR("x@example.com"), true, &s.err), ERR_WHY_NOT_FOUND);
    refused(directory_user_set_password(a, STR("karl@example.com"), STR(""), &s.err),
            ERR_WHY_OTHER);
}

/* A new password ends the old clear text. */
static void clear_text_goes(void **state)
{
    struct directory_user u;
    (void)state;
    with_domain();
    scratch_sql(&s, "UPDATE users SET clear = 'old'");
    ok(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err));
    assert_true(str_eq(u.scheme, STR("plain")));
    ok(directory_user_set_hash(a, STR("karl@example.com"), STR(""), &s.err));
    ok(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err));
    assert_true(str_eq(u.scheme, STR("none")));
}

static void aliases(void **state)
{
    struct directory_alias one, *list;
    size_t n;
    (void)state;
    with_domain();
    ok(add_user("vivita@example.com"));
    ok(add_alias("Sales@example.com", "karl@example.com", "Some.Body@Elsewhere.test"));
    ok(directory_alias_get(a, mem, STR("sales@example.com"), &one, &s.err));
    assert_true(str_eq(one.address, STR("sales@example.com")));
    assert_true(str_eq(one.destinations, STR("karl@example.com,Some.Body@Elsewhere.test")));
    assert_true(one.enabled);
    refused(add_alias("sales@example.com", "vivita@example.com", NULL), ERR_WHY_EXISTS);
    ok(replace_alias("sales@example.com", "vivita@example.com"));
    ok(replace_alias("new@example.com", "sales@example.com"));
    ok(add_alias("twice@example.com", "karl@example.com", "KARL@example.com"));
    ok(directory_alias_get(a, mem, STR("twice@example.com"), &one, &s.err));
    assert_true(str_eq(one.destinations, STR("karl@example.com")));
    ok(directory_alias_list(a, mem, STR_NULL, &list, &n, &s.err));
    assert_int_equal(n, 3);
    assert_true(str_eq(list[0].address, STR("new@example.com")));
    assert_true(str_eq(list[1].destinations, STR("vivita@example.com")));
    ok(directory_alias_list(a, mem, STR("elsewhere.test"), &list, &n, &s.err));
    assert_int_equal(n, 0);
    ok(directory_alias_remove(a, STR("Sales@example.com"), &s.err));
    refused(directory_alias_remove(a, STR("sales@example.com"), &s.err), ERR_WHY_NOT_FOUND);
    refused(directory_alias_get(a, mem, STR("sales@example.com"), &one, &s.err), ERR_WHY_NOT_FOUND);
}

static void bad_aliases(void **state)
{
    (void)state;
    with_domain();
    refused(add_alias("x@elsewhere.test", "karl@example.com", NULL), ERR_WHY_NOT_FOUND);
    refused(add_alias("x@example.com", "nobody@example.com", NULL), ERR_WHY_NOT_FOUND);
    assert_string_equal(s.err.text, "the destination nobody@example.com does not exist here");
    refused(add_alias("x@example.com", "karl@example.com", "nobody@example.com"),
            ERR_WHY_NOT_FOUND);
    refused(add_alias("x@example.com", "no address", NULL), ERR_WHY_OTHER);
    refused(add_alias("x@example.com", "a,b@elsewhere.test", NULL), ERR_WHY_OTHER);
    refused(add_alias("x@example.com", "@elsewhere.test", NULL), ERR_WHY_OTHER);
    refused(add_alias("x@example.com", "x@example.com", NULL), ERR_WHY_NOT_FOUND);
    refused(directory_alias_add(a, STR("x@example.com"), NULL, 0, false, &s.err), ERR_WHY_OTHER);
    struct directory_alias *list;
    size_t n;
    ok(directory_alias_list(a, mem, STR_NULL, &list, &n, &s.err));
    assert_int_equal(n, 0); /* none of them left a row */
}

static void alias_loops(void **state)
{
    struct directory_alias one;
    (void)state;
    with_domain();
    ok(add_alias("karl@example.com", "karl@example.com", "copy@elsewhere.test")); /* keeps a copy */
    ok(add_alias("a@example.com", "karl@example.com", NULL));
    ok(add_alias("b@example.com", "a@example.com", NULL));
    refused(replace_alias("a@example.com", "b@example.com"), ERR_WHY_OTHER);
    assert_non_null(strstr(s.err.text, "loop"));
    ok(directory_alias_get(a, mem, STR("a@example.com"), &one, &s.err));
    assert_true(str_eq(one.destinations, STR("karl@example.com"))); /* the old row is back */
    const struct str both[] = {STR("karl@example.com"), STR("b@example.com")};
    refused(directory_alias_add(a, STR("a@example.com"), both, 2, true, &s.err), ERR_WHY_OTHER);
}

static void domain_aliases(void **state)
{
    (void)state;
    with_domain();
    ok(directory_domain_add(a, STR("example.net"), &s.err));
    ok(directory_domain_add(a, STR("example.org"), &s.err));
    ok(add_alias("@example.net", "@example.com", NULL));
    ok(add_alias("@example.org", "@example.net", NULL));
    refused(add_alias("@example.com", "@example.org", NULL), ERR_WHY_OTHER); /* in a circle */
    refused(add_alias("@example.com", "@example.com", NULL), ERR_WHY_OTHER);
    refused(add_alias("@example.com", "nobody@example.com", NULL), ERR_WHY_NOT_FOUND);
    ok(replace_alias("@example.net", "karl@example.com"));
    ok(add_alias("@example.com", "karl@example.com", NULL));
}

static void many_destinations(void **state)
{
    static struct str list[1001];
    struct directory_alias one;
    (void)state;
    with_domain();
    for (size_t i = 0; i < 1001; i++)
        list[i] = arena_printf(mem, "r%zu@elsewhere.test", i);
    refused(directory_alias_add(a, STR("all@example.com"), list, 1001, false, &s.err),
            ERR_WHY_LIMIT);
    ok(directory_alias_add(a, STR("all@example.com"), list, 1000, false, &s.err));
    ok(directory_alias_get(a, mem, STR("all@example.com"), &one, &s.err));
    assert_true(str_ends(one.destinations, STR(",r999@elsewhere.test")));
}

/* Durable, and seen by whoever else has it open. */
static void two_at_once(void **state)
{
    struct directory_admin *other;
    struct directory_user u;
    (void)state;
    with_domain();
    ok(directory_admin_open(s.dir, &other, &s.err));
    ok(directory_user_get(other, mem, STR("karl@example.com"), &u, &s.err));
    ok(directory_user_remove(other, STR("karl@example.com"), &s.err));
    directory_admin_close(&other);
    refused(directory_user_get(a, mem, STR("karl@example.com"), &u, &s.err), ERR_WHY_NOT_FOUND);
}

static void opening(void **state)
{
    struct directory_admin *other;
    (void)state;
    assert_int_equal(directory_admin_open("/nonexistent/folder", &other, &s.err), -1);
    assert_null(other);
    directory_admin_close(&other);
    scratch_sql(&s, "UPDATE schema_version SET version = 99"); /* of a newer program */
    refused(directory_admin_open(s.dir, &other, &s.err), ERR_WHY_OTHER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(domains),           TEST(domain_removal),  TEST(users),       TEST(bad_users),
        TEST(changing_users),    TEST(clear_text_goes), TEST(aliases),     TEST(bad_aliases),
        TEST(alias_loops),       TEST(domain_aliases),  TEST(two_at_once), TEST(opening),
        TEST(many_destinations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
