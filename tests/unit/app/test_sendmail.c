/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/sendmail.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <unistd.h>

static struct sendmail_job job;

static int setup(void **state)
{
    (void)state;
    job = (struct sendmail_job){.arena = arena_new(0), .dots = true};
    buf_init(&job.text, 1 << 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&job.text);
    arena_free(&job.arena);
    return 0;
}

/* Through a pipe, as from a program. */
static void read_all(const char *text)
{
    struct err err;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
    close(fds[1]);
    assert_int_equal(sendmail_read(fds[0], &job, &err), 0);
    close(fds[0]);
}

static void assert_text(const char *want)
{
    if (!str_eq(buf_str(&job.text), str_from(want)))
        fail_msg("got: %s", buf_z(&job.text));
}

static void finish(void)
{
    struct err err;

    if (sendmail_finish(&job, &err))
        fail_msg("%s", err.text);
}

static void line_ends(void **state)
{
    static const char *const cases[][2] = {
        {"a\nb\n", "a\r\nb\r\n"}, {"a\r\nb\r\n", "a\r\nb\r\n"},       {"a\r\r\nb", "a\r\nb\r\n"},
        {"a\rb\n", "a\r\nb\r\n"}, {"a\n\n\nb", "a\r\n\r\n\r\nb\r\n"}, {"", ""},
        {"a\r", "a\r\n"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&job.text);
        read_all(cases[i][0]);
        assert_text(cases[i][1]);
    }
    (void)state;
}

static void a_dot_ends_it_unless_told_otherwise(void **state)
{
    (void)state;
    read_all("a\n.b\n..\n.\nafter\n");
    assert_text("a\r\n.b\r\n..\r\n");
    buf_clear(&job.text);
    read_all("a\r\n.\r\nafter\n");
    assert_text("a\r\n");
    buf_clear(&job.text);
    job.dots = false;
    read_all("a\n.\nafter\n.");
    assert_text("a\r\n.\r\nafter\r\n.\r\n");
}

/* The same, however it is cut. */
static void in_pieces(void **state)
{
    static const char text[] = "Subject: a\r\n\r\n.x\r\n\n.\r.\r\nb\rc\n.\nrest";
    struct err err;
    struct buf whole;
    unsigned s = 0;

    (void)state;
    assert_true(sendmail_take(&job, str_from(text), &s, &err) >= 0);
    whole = job.text;
    for (size_t at = 1; at < sizeof text; at++) {
        buf_init(&job.text, 1 << 16);
        s = 0;
        assert_true(sendmail_take(&job, str_of(text, at), &s, &err) >= 0);
        assert_true(sendmail_take(&job, str_skip(str_from(text), at), &s, &err) >= 0);
        assert_true(str_eq(buf_str(&job.text), buf_str(&whole)));
        buf_fini(&job.text);
    }
    job.text = whole;
}

static void nul_and_size_are_refused(void **state)
{
    struct err err;
    unsigned s = 0;

    (void)state;
    assert_int_equal(sendmail_take(&job, STR("a\0b"), &s, &err), -1);
    job.text.max = 4;
    assert_int_equal(sendmail_take(&job, STR("abcdefgh"), &s, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
}

static void recipients_from_the_head(void **state)
{
    static const char *const want[] = {"first@x", "a@b.example", "root", "x@y.example",
                                       "hid@den.example"};

    (void)state;
    job.from_headers = true;
    assert_true(sendmail_add(&job, STR("first@x")));
    read_all("To: a@b.example, root,\n Foo <x@y.example>\nBcc: hid@den.example, a@b.example\n"
             "Subject: x\n\nTo: no@body\n");
    finish();
    assert_int_equal(job.rcpts.n, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(str_eq(job.rcpts.at[i], str_from(want[i])));
    assert_true(job.needs_from);
    assert_text("To: a@b.example, root,\r\n Foo <x@y.example>\r\nSubject: "
                "x\r\n\r\n"
                "To: no@body\r\n");
}

static void sent_again(void **state)
{
    (void)state;
    job.from_headers = true;
    read_all("Resent-To: new@x\nResent-Bcc: hid@x\nTo: old@x\nFrom: b@x\n\nText\n");
    finish();
    assert_int_equal(job.rcpts.n, 2);
    assert_text("Resent-To: new@x\r\nTo: old@x\r\nFrom: b@x\r\n\r\nText\r\n");
}

static void heads_that_are_none(void **state)
{
    (void)state;
    job.full_name = STR("Ann \"A\" B");
    read_all("just text\n");
    finish();
    assert_text("\r\njust text\r\n");
    assert_true(job.needs_from);
    buf_clear(&job.text);
    sendmail_from(&job, STR("ann@a.example"), &job.text);
    assert_text("From: \"Ann \\\"A\\\" B\" <ann@a.example>\r\n");
    buf_clear(&job.text);
    job.full_name = STR("");
    sendmail_from(&job, STR("ann@a.example"), &job.text);
    assert_text("From: <ann@a.example>\r\n");
    buf_clear(&job.text);
    read_all("From ann Fri Nov 20 10:00:00 2026\nFrom: b@x\nSubject: x\n");
    finish();
    assert_text("From: b@x\r\nSubject: x\r\n\r\n");
    assert_false(job.needs_from);
}

static void bcc_stays_without_t(void **state)
{
    (void)state;
    read_all("From: b@x\nBcc: c@x\n\nText\n");
    finish();
    assert_int_equal(job.rcpts.n, 0);
    assert_text("From: b@x\r\nBcc: c@x\r\n\r\nText\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(line_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dot_ends_it_unless_told_otherwise, setup, teardown),
        cmocka_unit_test_setup_teardown(in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_and_size_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(recipients_from_the_head, setup, teardown),
        cmocka_unit_test_setup_teardown(sent_again, setup, teardown),
        cmocka_unit_test_setup_teardown(heads_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(bcc_stays_without_t, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
