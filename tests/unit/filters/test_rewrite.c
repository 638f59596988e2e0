/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `rewrite`, and its rules. */
#include "filters/rewrite_rules.h"
#include "tests/unit/filters/stranger.h"

#define RULES                                                                                      \
    "old.example->new.example, .example.com -> example.com, "                                      \
    "ann@old.example->ann.smith@new.example"

static const char *address(const char *rules, const char *except, const char *in)
{
    static char text[400];
    struct rewrite *r;
    struct arena *a = arena_new(0);
    struct err err;
    struct str out;

    if (rewrite_new(str_from(rules), str_from(except), &r, &err))
        fail_msg("%s", err.text);
    snprintf(text, sizeof text, "-");
    if (rewrite_address(r, a, str_from(in), &out))
        snprintf(text, sizeof text, STR_FMT, STR_ARG(out));
    rewrite_free(&r);
    arena_free(&a);
    return text;
}

static void test_addresses(void **state)
{
    (void)state;
    assert_string_equal(address(RULES, "", "Bob@old.example"), "Bob@new.example");
    assert_string_equal(address(RULES, "", "Ann@OLD.example"), "ann.smith@new.example");
    assert_string_equal(address(RULES, "", "root@a.b.example.com"), "root@example.com");
    assert_string_equal(address(RULES, "", "\"a b\"@host.example.com"), "\"a b\"@example.com");
    assert_string_equal(address(RULES, "", "root@example.com"), "-");
    assert_string_equal(address(RULES, "", "root@xexample.com"), "-");
    assert_string_equal(address(RULES, "", "root@x.old.example"), "-");
    assert_string_equal(address(RULES, "", "root"), "-");
    assert_string_equal(address("", "", "root@old.example"), "-");
    /* Once, and not again */
    assert_string_equal(address("a.example->b.example, b.example->a.example", "", "x@a.example"),
                        "x@b.example");
    assert_string_equal(
        address(".example->other.example, .deep.example->deep.example", "", "x@a.deep.example"),
        "x@deep.example");
    assert_string_equal(address("b\xc3\xbc"
                                "cher.example->books.example",
                                "", "x@xn--bcher-kva.example"),
                        "x@books.example");
}

static void test_exceptions(void **state)
{
    static const char except[] = "root@a.example.com, b.example.com, .c.example.com";

    (void)state;
    assert_string_equal(address(RULES, except, "Root@a.example.com"), "-");
    assert_string_equal(address(RULES, except, "ann@a.example.com"), "ann@example.com");
    assert_string_equal(address(RULES, except, "ann@b.example.com"), "-");
    assert_string_equal(address(RULES, except, "ann@x.b.example.com"), "ann@example.com");
    assert_string_equal(address(RULES, except, "ann@x.c.example.com"), "-");
}

static void test_words(void **state)
{
    static const char *const bad[] = {"a",       "a->",   "->a",   "a->b@c",  "a@b->c", "a b->c",
                                      "a->b->c", "@a->b", "a->.b", "a@->b@c", "..a->b", ".->b"};
    struct rewrite *r;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (rewrite_new(str_from(bad[i]), STR(""), &r, &err) == 0)
            fail_msg("'%s'", bad[i]);
    assert_int_equal(rewrite_new(STR(""), STR("a b"), &r, &err), -1);
    assert_null(r);
}

static const char *field(const char *rules, const char *origin, const char *value)
{
    static char text[1000];
    struct rewrite *r;
    struct buf out;
    struct err err;

    assert_int_equal(rewrite_new(str_from(rules), STR("keep@old.example"), &r, &err), 0);
    buf_init(&out, 10000);
    unsigned n = rewrite_field(r, str_from(origin), str_from(value), &out);
    snprintf(text, sizeof text, "%u %s", n, buf_z(&out));
    buf_fini(&out);
    rewrite_free(&r);
    return text;
}

static void test_fields(void **state)
{
    (void)state;
    assert_string_equal(field(RULES, "", "root (Cron Daemon)"), "0 ");
    assert_string_equal(field(RULES, "example.com", "root (Cron Daemon)"),
                        "1 root@example.com (Cron Daemon)");
    assert_string_equal(field(RULES, "mx.example.com", "root"), "1 root@example.com");
    assert_string_equal(field("", "example.com", "Team: root, a@b.example;"),
                        "1 Team: root@example.com, a@b.example;");
    assert_string_equal(
        field(RULES, "", "Ann <ann@old.example>, keep@old.example, Bob@old.example"),
        "2 Ann <ann.smith@new.example>, keep@old.example, Bob@new.example");
}

/* ---- The stage */

static const char *message(const char *head, const char *const *settings)
{
    static char text[4000];
    struct chain_message m = {
        .head = str_from(head), .data = STR("x\r\n"), .fd = -1, .data_size = 3};
    struct buf out;
    unsigned before;

    stranger_begin();
    w.rewrite = true;
    world_set(&w, "rewrite.rules=" RULES);
    for (; *settings; settings++)
        world_set(&w, *settings);
    stranger_open();
    view.origin = "example.com";
    view.mail_from = "Bob@old.example";
    view.service = strstr(head, "X-Outside") ? "reception" : "submission";
    stranger_again();
    chain_transaction(chain, 2);
    before = w.answers;
    if (chain_run(chain, PH_MESSAGE, &view, &m, NULL, world_on_answer, &w) == CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    assert_int_equal(chain_answer(chain)->verdict, PH_PASS);
    buf_init(&out, 100000);
    snprintf(text, sizeof text, "%s", chain_edit_head(chain, m.head, &out) ? buf_z(&out) : head);
    for (const struct chain_action *a = chain_actions(chain); a; a = a->next)
        if (a->kind == CHAIN_SENDER)
            snprintf(text + strlen(text), sizeof text - strlen(text), "sender " STR_FMT,
                     STR_ARG(a->value));
    buf_fini(&out);
    stranger_end();
    return text;
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void test_submission(void **state)
{
    (void)state;
    assert_string_equal(
        message("From: root (Cron Daemon)\r\nTo:\r\n root,\r\n A\r\n <x@h.example.com>\r\n"
                "cc: z@z.example\r\nSubject: old.example a@old.example\r\n"
                "Reply-To: =?utf-8?q?=C3=A9?= <ann@old.example>\r\n\r\n",
                SETTINGS()),
        "From: root@example.com (Cron Daemon)\r\nTo: root@example.com,\r\n A\r\n "
        "<x@example.com>\r\n"
        "cc: z@z.example\r\nSubject: old.example a@old.example\r\n"
        "Reply-To: =?utf-8?q?=C3=A9?= <ann.smith@new.example>\r\n\r\n"
        "sender Bob@new.example");
}

static void test_several_fields(void **state)
{
    (void)state;
    assert_string_equal(
        message("To: a@z.example\r\nTo: a@old.example\r\nto: root\r\n\r\n", SETTINGS()),
        "To: a@z.example\r\nTo: a@new.example\r\nto: root@example.com\r\n\r\n"
        "sender Bob@new.example");
}

static void test_settings(void **state)
{
    (void)state;
    assert_string_equal(
        message("From: root\r\nTo: root, a@old.example\r\n\r\n", SETTINGS("rewrite.recipients=no")),
        "From: root@example.com\r\nTo: root@example.com, a@old.example\r\n\r\n"
        "sender Bob@new.example");
    assert_string_equal(
        message("From: root\r\nTo: a@old.example\r\n\r\n",
                SETTINGS("rewrite.append_origin=no", "rewrite.except=bob@old.example")),
        "From: root\r\nTo: a@new.example\r\n\r\n");
}

static void test_outside(void **state)
{
    static const char head[] = "X-Outside: 1\r\nFrom: root\r\nTo: a@old.example\r\n\r\n";

    (void)state;
    assert_string_equal(message(head, SETTINGS()), head);
    assert_string_equal(message(head, SETTINGS("rewrite.outside=yes")),
                        "X-Outside: 1\r\nFrom: root\r\nTo: a@new.example\r\n\r\n");
}

static void test_refused(void **state)
{
    struct err err = {0};

    (void)state;
    stranger_begin();
    w.rewrite = true;
    world_set(&w, "rewrite.rules=a->b@c");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "'a->b@c'"));
    world_fini(&w);
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),  cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_words),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_submission), cmocka_unit_test(test_several_fields),
        cmocka_unit_test(test_settings),   cmocka_unit_test(test_outside),
        cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
