/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Address lists as ENVELOPE shows them. */
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

static void add(struct buf *b, struct str s)
{
    if (s.p)
        buf_add_str(b, s);
    else
        buf_add_z(b, "NIL");
}

/* "name|route|mailbox|host" of each, with blanks between them; the name is left out when NIL, and
 * so is the route. */
static void check(const char *value, const char *want)
{
    struct address *list;
    struct buf b;
    struct str in = exact(str_from(value));
    size_t n = address_list_parse(arena, in, 100, &list);
    exact_free(in);
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        buf_add_z(&b, i > 0 ? " " : "");
        if (list[i].name.p) {
            buf_add_str(&b, list[i].name);
            buf_add_char(&b, '|');
        }
        if (list[i].route.p) {
            buf_add_str(&b, list[i].route);
            buf_add_char(&b, '|');
        }
        add(&b, list[i].mailbox);
        buf_add_char(&b, '@');
        add(&b, list[i].host);
    }
    assert_str(buf_str(&b), want);
    buf_fini(&b);
}

static void ordinary(void **state)
{
    (void)state;
    check("", "");
    check("a@b", "a@b");
    check("<a@b>", "a@b");
    check("a@b, c@d", "a@b c@d");
    check("Karl <a@b>", "Karl|a@b");
    check("Karl Meier <a@b>,\r\n\t\"Meier, Karl\" <c@d>", "Karl Meier|a@b Meier, Karl|c@d");
    check("\"a \\\"b\\\" \\\\\" <a@b>", "a \"b\" \\|a@b");
    check("a@b (Karl Meier)", "Karl Meier|a@b");
    check("a@b (a (nested\\)) comment)", "a (nested)) comment|a@b");
    check("=?utf-8?Q?J=C3=BCrgen?= <j@b>", "=?utf-8?Q?J=C3=BCrgen?=|j@b");
    check("J\xc3\xbcrgen M\xc3\xbcller <j@b\xc3\xbc"
          "cher.example>",
          "J\xc3\xbcrgen M\xc3\xbcller|j@b\xc3\xbc"
          "cher.example");
    check("a@[192.0.2.1], \"q s\"@b, \"x\".y@c", "a@[192.0.2.1] q s@b x.y@c");
    check("<@r1,@r2:a@b>", "@r1,@r2|a@b");
    check("Name <@r1:a@b>", "Name|@r1|a@b");
}

static void obsolete(void **state)
{
    (void)state;
    /* RFC 5322 A.5, A.6.1, A.6.3 */
    check("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test");
    check("Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|john.q.public@example.com");
    check("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
          "Mary Smith|@node.test|mary@example.net jdoe@test.example");
    check("john . q @ (c) test . example", "c|john.q@test.example");
    check(",,a@b,,", "a@b");
}

static void groups(void **state)
{
    (void)state;
    check("A Group:Chris Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
          "A Group@NIL Chris Jones|c@a.test joe@where.test John|jdoe@one.test NIL@NIL");
    check("undisclosed-recipients:;", "undisclosed-recipients@NIL NIL@NIL");
    check("Undisclosed recipients:(Nobody(that I know))  ;", "Undisclosed recipients@NIL NIL@NIL");
    check("g: a@b", "g@NIL a@b NIL@NIL"); /* no end: one is made */
    check("g: a@b;, h: c@d;, e@f", "g@NIL a@b NIL@NIL h@NIL c@d NIL@NIL e@f");
    check("\"quoted: name\": a@b; c@d", "quoted: name@NIL a@b NIL@NIL c@d");
}

static void real_life(void **state)
{
    (void)state;
    check("a@b; c@d", "a@b c@d"); /* Outlook's separator */
    check("karl@example.com <karl@example.com>", "karl@example.com|karl@example.com");
    check("'karl@example.com' <karl@example.com>", "'karl@example.com'|karl@example.com");
    check("[List] Name <a@b>", "[List] Name|a@b");
    check("a..b.@docomo.example", "a..b.@docomo.example");
    check("\"\" <a@b>", "a@b");
    check("<a@b> (Karl)", "Karl|a@b");
    check("<a@b> trailing, c@d", "a@b c@d");
    check("Karl <a@b> <c@d>", "Karl|a@b c@d");
    check("Karl <a@b, Vivi <c@d>", "Karl|a@b Vivi|c@d");
    check("Karl <a b@c.d>", "Karl|a b@c.d");
    check("Karl <a@b@c.d>", "Karl|a@b@c.d");
    check("Karl <mailto:a@b>", "Karl|mailto:a@b");
}

static void broken(void **state)
{
    (void)state;
    check("karl", "karl@MISSING_DOMAIN");
    check("@domain", "MISSING_MAILBOX@domain");
    check("karl@", "karl@MISSING_DOMAIN");
    check("Karl Meier", "Karl Meier|MISSING_MAILBOX@MISSING_DOMAIN");
    check("\"Karl Meier\"", "Karl Meier|MISSING_MAILBOX@MISSING_DOMAIN");
    check("Karl a@b", "Karl a@b|MISSING_MAILBOX@MISSING_DOMAIN");
    check("<>", "MISSING_MAILBOX@MISSING_DOMAIN");
    check("Karl <>", "Karl|MISSING_MAILBOX@MISSING_DOMAIN");
    check("Karl <karl>", "Karl|karl@MISSING_DOMAIN");
    check("<@route>", "INVALID_ROUTE|MISSING_MAILBOX@MISSING_DOMAIN");
    check("<a@b", "a@b");
    check("\"unclosed <a@b>", "unclosed <a@b>|MISSING_MAILBOX@MISSING_DOMAIN");
    check("(only a comment)", "only a comment|MISSING_MAILBOX@MISSING_DOMAIN");
    check("a@b (unclosed", "unclosed|a@b");
    check(":;", ":|MISSING_MAILBOX@MISSING_DOMAIN");
    check(")", ")|MISSING_MAILBOX@MISSING_DOMAIN");
    check("a@[unclosed", "a@[unclosed|MISSING_MAILBOX@MISSING_DOMAIN");
}

static void limits(void **state)
{
    (void)state;
    struct address *list;
    assert_int_equal(address_list_parse(arena, STR("a@b, c@d, e@f"), 2, &list), 2);
    assert_str(list[1].mailbox, "c");
    /* a group always gets its end, or isn't begun */
    assert_int_equal(address_list_parse(arena, STR("g: a@b, c@d, e@f;"), 3, &list), 3);
    assert_null(list[2].mailbox.p);
    assert_int_equal(address_list_parse(arena, STR("g: a@b;"), 1, &list), 1);
    assert_non_null(list[0].host.p);
    assert_int_equal(address_list_parse(arena, STR("a@b"), 0, &list), 0);
}

/* Patterns that make a parser look at the rest again and again: hours, if this one did. */
static void linear(void **state)
{
    (void)state;
    static const char *const units[] = {"<a b",  "<(>",    "(",    "\"",     "<",    "a,",
                                        ":",     ";",      "a:",   "<\">\"", "<@",   "a@[",
                                        "\\",    "a.",     "a (",  "<a b>x", "@",    "<a@b@",
                                        ") ",    "\"a\" ", "g:a;", "<\"",    "<@a,", "a . ",
                                        "<x> <", "(>)\\"};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct address *list;
        struct buf in;
        buf_init(&in, 1 << 20);
        while (in.n < 1 << 19)
            buf_add_z(&in, units[i]);
        while (buf_add_z(&in, ") ") == 0)
            ;
        assert_true(address_list_parse(arena, buf_str(&in), 1 << 20, &list) <= 1 << 20);
        buf_fini(&in);
        arena_clear(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ordinary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(obsolete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(real_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(linear, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
