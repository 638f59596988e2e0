/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* SMTP paths, keys of the directory, tags. */
#include "appliance/mail/address.h"
#include "mail_test.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static int parse(const char *text, struct address_path *p, struct str *rest)
{
    struct err err = {0};
    struct str in = exact(str_from(text));
    int rc = address_path_parse(arena, in, p, rest, &err);
    if (rc == 0)
        *rest = arena_str(arena, *rest);
    else
        assert_true(err.kind == ERR_PROTO && err.text[0]);
    exact_free(in); /* the parts live in the arena */
    return rc;
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *in, *local, *domain, *rest, *formatted;
    } t[] = {
        {"<a@example.com>", "a", "example.com", "", "a@example.com"},
        {"<A.b+c@EXAMPLE.com> SIZE=10", "A.b+c", "example.com", " SIZE=10", "A.b+c@example.com"},
        {"<\"q s\"@b.c>", "q s", "b.c", "", "\"q s\"@b.c"},
        {"<\"q\\\"\\\\\\s\"@b.c>", "q\"\\s", "b.c", "", "\"q\\\"\\\\s\"@b.c"},
        {"<\"plain\"@b.c>", "plain", "b.c", "", "plain@b.c"},
        {"<\"a@b>\"@b.c>x", "a@b>", "b.c", "x", "\"a@b>\"@b.c"},
        {"<a@[192.0.2.1]>", "a", "[192.0.2.1]", "", "a@[192.0.2.1]"},
        {"<a@[IPv6:2001:DB8::1]>", "a", "[ipv6:2001:db8::1]", "", "a@[ipv6:2001:db8::1]"},
        {"<@relay.a,@[IPv6:::1]:a@b.c>", "a", "b.c", "", "a@b.c"},
        {"<postmaster>", "postmaster", "", "", "postmaster"},
        {"<PostMaster> X", "PostMaster", "", " X", "PostMaster"},
        {"<>", "", "", "", ""},
        {"<> BODY=8BITMIME", "", "", " BODY=8BITMIME", ""},
        {"<a..b@c.d>", "a..b", "c.d", "", "\"a..b\"@c.d"},
        {"<.a.@c.d>", ".a.", "c.d", "", "\".a.\"@c.d"},
        {"<!#$%&'*+-/=?^_`{|}~@c.d>", "!#$%&'*+-/=?^_`{|}~", "c.d", "", "!#$%&'*+-/=?^_`{|}~@c.d"},
    };
    struct address_path p;
    struct str rest;
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_int_equal(parse(t[i].in, &p, &rest), 0);
        assert_str(p.local, t[i].local);
        assert_str(p.domain, t[i].domain);
        assert_str(rest, t[i].rest);
        assert_int_equal(p.null, str_starts(str_from(t[i].in), STR("<>")));
        assert_false(p.utf8);
        buf_clear(&b);
        address_path_format(&p, &b);
        assert_str(buf_str(&b), t[i].formatted);
    }
    buf_fini(&b);
}

static void paths_international(void **state)
{
    (void)state;
    struct address_path p;
    struct str rest;
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(parse("<j\xc3\xbcrgen@B\xc3\xbc"
                           "cher.example>",
                           &p, &rest),
                     0);
    assert_str(p.local, "j\xc3\xbcrgen");
    assert_str(p.domain, "xn--bcher-kva.example");
    assert_str(p.unicode, "B\xc3\xbc"
                          "cher.example");
    assert_true(p.utf8);
    address_path_format(&p, &b);
    assert_str(buf_str(&b), "j\xc3\xbcrgen@xn--bcher-kva.example");
    assert_int_equal(parse("<a@b\xc3\xbc"
                           "cher.example>",
                           &p, &rest),
                     0);
    assert_true(p.utf8);
    assert_int_equal(parse("<\xc2\xa0\xc3\x9b@b>", &p, &rest), 0); /* just above C1 */
    assert_int_equal(parse("<\xe4@example.com>", &p, &rest), -1);  /* Latin-1 */
    assert_int_equal(parse("<a@\xfc.example>", &p, &rest), -1);
    buf_fini(&b);
}

static void paths_refused(void **state)
{
    (void)state;
    static const char *const t[] = {
        "",
        "a@b",
        "<a@b",
        "<a>",
        "<@b>",
        "<a@>",
        "<a@b c>",
        "<a b@c>",
        "<a@b@c>",
        "<\"a@b>",
        "<\"a\"b@c>",
        "<\"\"@b>",
        "<a@[1.2]>",
        "<a@[]>",
        "<a@[1.2.3.4>",
        "<a@-b.c>",
        "<a@b..c>",
        "<a@b.c.>",
        "<@r a@b>",
        "<@r:>",
        "<a\r\n@b>",
        "<\"a\nb\"@c>",
        "<a@[IPv6:1]>",
        "<\"a\\",
        "<a@[x]y>",
        "<a(c)@b>",
        "<a@b\xff>",
        "<\"a\"@>",
        "<",
        "< >",
        "<a\xc2\x9b"
        "31m@b>",
        "<\"\xc2\x80\"@b>",
        "<a@b\xc2\x9f.c>", /* C1: RFC 5198 2 */
    };
    struct address_path p;
    struct str rest;
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        if (parse(t[i], &p, &rest) == 0)
            fail_msg("%s was taken", t[i]);
}

static void path_limits(void **state)
{
    (void)state;
    char text[600], label[64];
    struct address_path p;
    struct str rest;
    memset(label, 'a', 63);
    label[63] = 0;
    snprintf(text, sizeof text, "<%sa@b.c>", label);
    assert_int_equal(parse(text, &p, &rest), 0); /* 64 */
    snprintf(text, sizeof text, "<%s%s%s%s@b>", label, label, label, label);
    assert_int_equal(parse(text, &p, &rest), 0); /* 256 in all */
    assert_int_equal(p.local.n, 252);
    snprintf(text, sizeof text, "<%s%s%s%sa@b>", label, label, label, label);
    assert_int_equal(parse(text, &p, &rest), -1);
    snprintf(text, sizeof text, "<%s%s%s%s%s@b>", label, label, label, label, label);
    assert_int_equal(parse(text, &p, &rest), -1);
    snprintf(text, sizeof text, "<a@%s.%s.%s.b>", label, label, label);
    assert_int_equal(parse(text, &p, &rest), 0);
    snprintf(text, sizeof text, "<%s@%s.%s.%s.b>", label, label, label, label);
    assert_int_equal(parse(text, &p, &rest), -1); /* a path of 260 */
    snprintf(text, sizeof text, "<a@%s.%s.%s.%s>", label, label, label, label);
    assert_int_equal(parse(text, &p, &rest), -1); /* a domain of 255, DNS has room for 253 */
}

static void fold(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        {"Karl.Meier@Example.COM", "karl.meier@example.com"},
        {"\"Karl Meier\"@example.com", "karl meier@example.com"},
        {"Karl Meier@example.com", "karl meier@example.com"},
        {"\"a@b\"@example.com", "a@b@example.com"},
        {"@Example.com", "@example.com"},
        {"J\xc3\x9crgen@B\xc3\x9c"
         "CHER.example",
         "j\xc3\xbcrgen@xn--bcher-kva.example"},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
    };
    static const char *const bad[] = {"",      "a",     "a@",       "@",     "a@b c",
                                      "a\n@b", "\"a@b", "\"a\"b@c", "a@b>c", "\xff@b"};
    struct err err = {0};
    struct buf b;
    buf_init(&b, 400);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        buf_clear(&b);
        assert_int_equal(address_fold(str_from(t[i][0]), &b, &err), 0);
        assert_str(buf_str(&b), t[i][1]);
    }
    buf_clear(&b);
    buf_add_z(&b, "before");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(address_fold(str_from(bad[i]), &b, &err), -1);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_str(buf_str(&b), "before");
    }
    buf_fini(&b);
}

static void split_and_untag(void **state)
{
    (void)state;
    struct str local, domain, base;
    address_split(STR("a@b@c.d"), &local, &domain);
    assert_str(local, "a@b");
    assert_str(domain, "c.d");
    address_split(STR("abc"), &local, &domain);
    assert_str(local, "abc");
    assert_int_equal(domain.n, 0);
    assert_true(address_fits(STR("a@x"), STR("a@x")));
    assert_true(address_fits(STR("a@x"), STR("@")));
    assert_true(address_fits(STR("a@x"), STR("@x")));
    assert_false(address_fits(STR("a@xx"), STR("@x")));
    assert_false(address_fits(STR("a@y.x"), STR("@x")));
    assert_false(address_fits(STR("@x"), STR("@x")));
    assert_true(address_untag(STR("user+tag+more"), '+', &base));
    assert_str(base, "user");
    assert_true(address_untag(STR("+user+tag"), '+', &base));
    assert_str(base, "+user");
    assert_true(address_untag(STR("user+"), '+', &base));
    assert_str(base, "user");
    assert_false(address_untag(STR("+user"), '+', &base));
    assert_false(address_untag(STR("user"), '+', &base));
    assert_false(address_untag(STR(""), '+', &base));
    assert_true(address_untag(STR("user-tag"), '-', &base));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_international, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(path_limits, set_up, tear_down),
        cmocka_unit_test(fold),
        cmocka_unit_test(split_and_untag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
