/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin.h"
#include "appliance/app/config.h"
#include "appliance/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct err err;

static const struct admin_command *find(size_t n, const char *const *words)
{
    err_clear(&err);
    return admin_find(words, n, &err);
}
#define FIND(...)                                                                                  \
    find(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void words_find_their_command(void **state)
{
    (void)state;
    assert_string_equal(FIND("user", "add", "a@b")->verb, "add");
    assert_string_equal(FIND("alias", "add", "a@b", "c@d", "e@f", "--replace")->group, "alias");
    assert_true(admin_is_group("mailbox"));
    assert_false(admin_is_group("dev"));
}

static void wrong_words_are_usage_errors(void **state)
{
    (void)state;
    assert_null(FIND("user", "frobnicate"));
    assert_int_equal(err.kind, ERR_PROTO);
    assert_null(FIND("user", "add"));
    assert_non_null(strstr(err.text, "usage: posthouse user add ADDRESS"));
    assert_null(FIND("user", "add", "a@b", "c@d"));
    assert_null(FIND("user", "add", "a@b", "--colour=red"));
    assert_non_null(strstr(err.text, "--colour=red"));
    assert_null(FIND("user", "add", "a@b", "--name")); /* takes a value */
    assert_null(FIND("user"));
}

static void rendered(json_t *v, const char *want)
{
    struct buf out;

    buf_init(&out, 1 << 16);
    admin_render(v, &out);
    assert_string_equal(buf_z(&out), want);
    buf_fini(&out);
    json_decref(v);
}

static void results_are_tables_and_lines(void **state)
{
    (void)state;
    rendered(json_pack("[{ss si} {ss si}]", "name", "one", "n", 1, "name", "a longer one", "n", 22),
             "name          n\none           1\na longer one  22\n");
    rendered(json_pack("{ss sb sn s[ss]}", "a", "x", "b", 1, "c", "d", "y", "z"),
             "a: x\nb: yes\nc: -\nd: y, z\n");
    rendered(json_pack("[{ss si} {ss si}]", "n", "\xc3\xa4\xc3\xb6", "k", 1, "n", "xyz", "k", 2),
             "n    k\n\xc3\xa4\xc3\xb6   1\nxyz  2\n"); /* padded by characters */
    rendered(json_array(), "");
    rendered(json_string("v"), "v\n");
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    (void)state;
    rendered(json_pack("{ss}", "a", "x\x1b[2Jy\r\nz"), "a: x\\u001b[2Jy\\u000d\\u000az\n");
    rendered(json_pack("{ss}", "a",
                       "\xc2\x9b"
                       "31m\xe2\x80\xae@b"),
             "a: \\u009b31m\\u202e@b\n");
    rendered(json_pack("[{ss ss}]", "a", "\xc2\x9b", "b", "\xe2\x81\xa6"),
             "a       b\n\\u009b  \\u2066\n");
    rendered(json_pack("[ss]", "\xc2\x9b", "x"), "\\u009b\nx\n");
    rendered(json_string("a\nb\xc2\x9b"), "a\nb\\u009b\n");
    rendered(json_pack("{ss}", "head", "A: b\r\n\tc\xc2\x9b\r\nD: e\r\n"),
             "head:\n  A: b\n   c\\u009b\n  D: e\n");
}

static void every_setting_has_a_valid_default(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(config_defaults(&c, &err), 0);
    assert_int_equal(config_assign(&c, "smtp.rcpt_limit=7", &err), 0);
    assert_int_equal(c.smtp.rcpt_limit, 7);
    assert_int_equal(config_assign(&c, "smtp.rcpt_limt=7", &err), -1);
    assert_non_null(strstr(err.text, "rcpt_limit")); /* did you mean */
    assert_int_equal(config_assign(&c, "smpt.rcpt_limit=7", &err), -1);
    assert_int_equal(config_assign(&c, "nonsense", &err), -1);
    config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_find_their_command),
        cmocka_unit_test(wrong_words_are_usage_errors),
        cmocka_unit_test(results_are_tables_and_lines),
        cmocka_unit_test(control_characters_do_not_reach_a_terminal),
        cmocka_unit_test(every_setting_has_a_valid_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
