/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Programs of the stage `exec`: how they are written, what may be run of what is asked for, what
 * they are told and what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/exec_program.h"
#include <stdio.h>

static struct exec_program program;

static void make(const char *name, const char *command)
{
    struct err err = {0};

    program = (struct exec_program){.name = str_dup_z(str_from(name))};
    assert_int_equal(settings_defaults(exec_program_settings, &program, &err), 0);
    assert_int_equal(
        settings_set(exec_program_settings, &program, STR("command"), str_from(command), &err), 0);
}

static void set(const char *name, const char *value)
{
    struct err err = {0};

    assert_int_equal(
        settings_set(exec_program_settings, &program, str_from(name), str_from(value), &err), 0);
}

static void is_good(void)
{
    struct err err = {0};

    if (exec_program_check(&program, &err))
        fail_msg("%s", err.text);
}

static void is_refused(const char *why)
{
    struct err err = {0};

    assert_int_equal(exec_program_check(&program, &err), -1);
    if (!strstr(err.text, why))
        fail_msg("'%s' isn't in '%s'", why, err.text);
    exec_program_fini(&program);
}

static void test_commands(void **state)
{
    static const char *const words[] = {"/bin/a b", "--x=1 2", "c", "", "d"};

    (void)state;
    make("one", "  \"/bin/a b\"  --x=\"1 2\" c \"\" d ");
    is_good();
    is_good(); /* again */
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_string_equal(program.argv[i], words[i]);
    assert_null(program.argv[ARRAY_LEN(words)]);
    exec_program_fini(&program);
    make("one", "");
    is_refused("no full path");
    make("one", "check --now");
    is_refused("'check' is no full path");
    make("one", "/bin/a \"b");
    is_refused("quote");
    make("o/ne", "/bin/a");
    is_refused("name");
}

static void test_exits(void **state)
{
    (void)state;
    make("one", "/bin/a");
    is_good();
    assert_int_equal(program.verdict[0], PH_PASS);
    assert_int_equal(program.verdict[1], PH_JUNK);
    assert_int_equal(program.verdict[75], PH_DEFER);
    assert_int_equal(program.verdict[99], EXEC_FAILS);
    set("exits", "3: discard, 255:accept");
    is_good();
    assert_int_equal(program.verdict[0], EXEC_FAILS);
    assert_int_equal(program.verdict[3], PH_DISCARD);
    assert_int_equal(program.verdict[255], PH_ACCEPT);
    exec_program_fini(&program);
    static const char *const wrong[] = {"256:junk",      "1",    "1:maybe", "x:junk",
                                        "1:junk 2:junk", ":junk"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        make("one", "/bin/a");
        set("exits", wrong[i]);
        is_refused("exits");
    }
}

static void test_users(void **state)
{
    (void)state;
    make("one", "/bin/a");
    set("user", "root");
    is_refused("no program runs as root");
    make("one", "/bin/a");
    set("user", "no-such-user");
    is_refused("there is no user");
}

/* What a server that was taken over might ask for. */
static void test_requests(void **state)
{
    const char *const env[] = {"SENDER=a@example.org", "SIZE=7", NULL};
    const char *const preload[] = {"SENDER=a", "LD_PRELOAD=/tmp/x.so", NULL};
    const char *const longer[] = {"SENDERS=a", NULL};
    const char *const more[] = {"/bin/a", "b", "c", NULL}, *const less[] = {"/bin/a", NULL};
    struct runner_program p;

    (void)state;
    make("one", "/bin/a b");
    is_good();
    exec_program_request(&program, 7, &p);
    p.env = env;
    assert_true(exec_program_is(&program, &p, 7));
    p.env = preload;
    assert_false(exec_program_is(&program, &p, 7));
    p.env = longer;
    assert_false(exec_program_is(&program, &p, 7));
    p.env = NULL;
    p.argv = more;
    assert_false(exec_program_is(&program, &p, 7));
    p.argv = less;
    assert_false(exec_program_is(&program, &p, 7));
    exec_program_request(&program, 7, &p);
    p.path = "/bin/b";
    assert_false(exec_program_is(&program, &p, 7));
    p.path = NULL;
    assert_false(exec_program_is(&program, &p, 7));
    exec_program_request(&program, 7, &p);
    p.limits.memory = 0;
    assert_false(exec_program_is(&program, &p, 7));
    exec_program_request(&program, 7, &p);
    p.switch_user = true;
    assert_false(exec_program_is(&program, &p, 7));
    set("user", "daemon");
    is_good();
    exec_program_request(&program, 7, &p);
    assert_true(p.switch_user && p.uid == program.uid && p.gid == program.gid);
    assert_true(exec_program_is(&program, &p, 7));
    p.uid = 0;
    assert_false(exec_program_is(&program, &p, 7));
    exec_program_request(&program, program.uid, &p); /* that is the server's own */
    assert_false(p.switch_user);
    exec_program_fini(&program);
}

static void test_variables(void **state)
{
    struct buf out;
    char text[3000];

    (void)state;
    buf_init(&out, 4096);
    exec_put_variable(&out, "HELO", STR("a\r\nb\0c\x7f\xc3\xb6"));
    assert_true(str_eq(buf_str(&out), STR("HELO=a??b?c?\xc3\xb6")));
    buf_clear(&out);
    memset(text, 'x', sizeof text);
    exec_put_variable(&out, "HELO", str_of(text, sizeof text));
    assert_int_equal(out.n, strlen("HELO=") + EXEC_VALUE_MAX);
    buf_fini(&out);
}

static void test_output(void **state)
{
    struct exec_output o;
    char reply[256];

    (void)state;
    exec_output_parse(
        STR("\r\nX-A: one \nwhy \x01not\nx-b:two\nX-C:\nSubject: no\nX D: no\nX-\0: no\n"
            "X-E: \xff\nmore"),
        &o);
    assert_string_equal(o.text, "why ?not");
    assert_int_equal(o.n_fields, 2);
    assert_true(str_eq(o.fields[0].name, STR("X-A")) && str_eq(o.fields[0].value, STR("one")));
    assert_true(str_eq(o.fields[1].name, STR("x-b")) && str_eq(o.fields[1].value, STR("two")));
    exec_output_parse(STR(""), &o);
    assert_string_equal(o.text, "");
    exec_reply(PH_REJECT, "no", reply, sizeof reply);
    assert_string_equal(reply, "550 5.7.1 no");
    exec_reply(PH_DEFER, "later", reply, sizeof reply);
    assert_string_equal(reply, "451 4.7.1 later");
    exec_reply(PH_REJECT, "554 5.7.0 no", reply, sizeof reply);
    assert_string_equal(reply, "554 5.7.0 no");
    exec_reply(PH_DEFER, "554 5.7.0 no", reply, sizeof reply);
    assert_string_equal(reply, "451 4.7.1 554 5.7.0 no");
    exec_reply(PH_JUNK, "why", reply, sizeof reply);
    assert_string_equal(reply, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),  cmocka_unit_test(test_exits),
        cmocka_unit_test(test_users),     cmocka_unit_test(test_requests),
        cmocka_unit_test(test_variables), cmocka_unit_test(test_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
