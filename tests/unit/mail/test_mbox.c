/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/mail/mbox.h"

#define FROM "From a@b Fri Nov 20 06:29:08 2026\n"

struct file {
    struct str text;
    size_t most; /* bytes a read gives */
};

static ssize_t read_file(void *ctx, uint64_t at, void *p, size_t n)
{
    const struct file *f = ctx;
    struct str s = str_take(str_skip(f->text, at), n < f->most ? n : f->most);

    if (s.n)
        memcpy(p, s.p, s.n);
    return (ssize_t)s.n;
}

/* The messages' texts in brackets; a '+' where quoting is to be taken off. */
static void is_split(const char *text, const char *want)
{
    struct mbox *m = MEM_NEW(struct mbox);
    struct mbox_message msg;
    struct err err = {0};
    struct buf out;
    int rc;

    for (size_t most = 1; most <= 4096; most *= 8) {
        struct file f = {str_from(text), most};
        mbox_init(m, read_file, &f);
        buf_init(&out, 4096);
        while ((rc = mbox_next(m, &msg, &err)) == 1) {
            buf_add_z(&out, msg.quoted ? "[+" : "[");
            buf_add_str(&out, str_take(str_skip(f.text, msg.head), msg.end - msg.head));
            buf_add_char(&out, ']');
        }
        if (rc < 0)
            buf_add_z(&out, "!");
        assert_string_equal(buf_z(&out), want);
        buf_fini(&out);
        mbox_fini(m);
    }
    mem_free(m);
}

static void test_split(void **state)
{
    (void)state;
    is_split("", "");
    is_split("\n", "");
    is_split(FROM "S: 1\n\na\n\n" FROM "S: 2\n\nb\n", "[+S: 1\n\na\n][+S: 2\n\nb\n]");
    is_split(FROM "S: 1\n\na\n\n\n" FROM "S: 2\n\nb\n\n", "[+S: 1\n\na\n\n][+S: 2\n\nb\n]");
    is_split(FROM "S: 1\r\n\r\na\r\n\r\n" FROM "S: 2\r\n\r\n",
             "[+S: 1\r\n\r\na\r\n][+S: 2\r\n\r\n]");
    /* no empty line before it, or no date: text */
    is_split(FROM "S: 1\n\na\n" FROM "b\n", "[+S: 1\n\na\n" FROM "b\n]");
    is_split(FROM "S: 1\n\na\n\nFrom here on\n", "[+S: 1\n\na\n\nFrom here on\n]");
    is_split(FROM "S: 1\n\n\n" FROM "S: 2\n\n", "[+S: 1\n\n][+S: 2\n\n]"); /* empty body */
    is_split(FROM "S: 1\n" FROM "S: 2\n\nb", "[+S: 1\n][+S: 2\n\nb]");     /* no body at all */
    is_split("no mbox\n", "!");
    is_split("From nobody\nS: 1\n\na\n", "[+S: 1\n\na\n]"); /* the first may be without a date */
}

static void test_content_length(void **state)
{
    static const char inner[] = "a\n\n" FROM "b\n";

    (void)state;
    assert_int_equal(strlen(inner), 39);
    is_split(FROM "Content-Length: 39\n\na\n\n" FROM "b\n\n" FROM "S: 2\n\nc\n",
             "[Content-Length: 39\n\na\n\n" FROM "b\n][+S: 2\n\nc\n]");
    /* wrong: as if it weren't there */
    is_split(FROM "Content-Length: 1\n\nab\n\n" FROM "S: 2\n\nc\n",
             "[+Content-Length: 1\n\nab\n][+S: 2\n\nc\n]");
    is_split(FROM "Content-Length: 999999\n\nab\n\n" FROM "S: 2\n\nc\n",
             "[+Content-Length: 999999\n\nab\n][+S: 2\n\nc\n]");
    is_split(FROM "Content-Length: 0\n\n\n" FROM "S: 2\n\nc\n",
             "[+Content-Length: 0\n\n][+S: 2\n\nc\n]");
    is_split(FROM "Content-Length: 2\n\na\n", "[+Content-Length: 2\n\na\n]");
}

static void at(const char *line, int64_t want, bool zone)
{
    struct date d;
    bool has_zone;

    if (!mbox_from_line(str_from(line), &d, &has_zone))
        fail_msg("no From line: %s", line);
    assert_int_equal(d.at, want);
    assert_int_equal(has_zone, zone);
}

static void test_from_lines(void **state)
{
    struct date d;
    bool zone;

    (void)state;
    at("From a@b Fri Nov 20 06:29:08 2026", 1795156148, false);
    at("From \"a b\"@c Fri Nov 20 06:29 2026", 1795156140, false);
    at("From a@b Fri Nov 20 06:29:08 2026 +0100", 1795152548, true);
    at("From a@b Fri Nov 20 06:29:08 UTC 2026", 1795156148, true);
    at("From a@b Fri Nov 20 06:29:08 EST 2026", 1795156148, false);
    at("From  Thu Jan  1 00:00:00 1970", 0, false);
    at("From Mon Mon Feb 29 12:00:00 2000\r\n", 951825600, false);
    assert_false(mbox_from_line(STR("From me to you"), &d, &zone));
    assert_false(mbox_from_line(STR(">From a@b Fri Nov 20 06:29:08 2026"), &d, &zone));
    assert_false(mbox_from_line(STR("From a@b Fri Nov 32 06:29:08 2026"), &d, &zone));
    assert_false(mbox_from_line(STR("From a@b Fri Nov 20 24:29:08 2026"), &d, &zone));
    assert_false(mbox_from_line(STR("From a@b Fri Nov 20 06:29:08"), &d, &zone));
    assert_true(mbox_must_quote(STR(">>From x")));
    assert_true(mbox_must_quote(STR("From x")));
    assert_false(mbox_must_quote(STR("> From x")));
}

static void test_status(void **state)
{
    struct mbox_status s;

    (void)state;
    mbox_status_read(STR("X-IMAPbase: 1700 0000000042 $Forwarded\nStatus: RO\nX-Status: AFDT\n"
                         "X-Keywords: a $b   \nX-UID: 12\n\n"),
                     &s);
    assert_int_equal(s.flags, 63);
    assert_int_equal(s.uid, 12);
    assert_int_equal(s.uidvalidity, 1700);
    assert_int_equal(s.uidlast, 42);
    assert_true(str_eq(s.keywords, STR("a $b")));
    mbox_status_read(STR("Subject: R\nX-UID: x\n\n"), &s);
    assert_int_equal(s.flags, 0);
    assert_int_equal(s.uid, 0);
    mbox_status_read(STR("X-Mozilla-Status: 0019\nX-Mozilla-Status2: 00000000\n\n"), &s);
    assert_int_equal(s.flags, MBOX_SEEN | MBOX_EXPUNGED | MBOX_OLD);
    assert_true(mbox_own_field(STR("x-imapbase")));
    assert_false(mbox_own_field(STR("Subject")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_from_lines),
        cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
