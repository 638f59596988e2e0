/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What clients are told of a message's structure. The expected texts were compared with another
 * server's. */
#include "imap/bodystructure.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct mime_part *root;
    struct buf out;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.arena = arena_new(0);
    buf_init(&f.out, 1 << 20);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(&f->arena);
    buf_fini(&f->out);
    return 0;
}

static void parse(struct fixture *f, const char *head, const char *data)
{
    struct str h = arena_printf(f->arena, "%s\r\n", head);
    struct str d = arena_str(f->arena, str_from(data));
    assert_int_equal(mime_parse(f->arena, h, d, &f->root), 0);
}

static void assert_out(struct fixture *f, const char *want)
{
    assert_true(buf_ok(&f->out));
    assert_string_equal(buf_z(&f->out), want);
    buf_clear(&f->out);
}

static void assert_envelope(struct fixture *f, const char *head, const char *want)
{
    parse(f, head, "");
    imap_put_envelope(&f->out, f->root->envelope);
    assert_out(f, want);
}

static void assert_body(struct fixture *f, const char *head, const char *data, const char *want)
{
    parse(f, head, data);
    imap_put_body(&f->out, f->root, false);
    assert_out(f, want);
}

static void assert_structure(struct fixture *f, const char *head, const char *data,
                             const char *want)
{
    parse(f, head, data);
    imap_put_body(&f->out, f->root, true);
    assert_out(f, want);
}

static void envelopes(void **state)
{
    struct fixture *f = *state;
    assert_envelope(f, "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_envelope(f,
                    "From: Anna Exempel <anna@example.com>\r\nTo: bob@example.org\r\n"
                    "Subject: =?utf-8?q?J=C3=B6rg?= \"and\" back\\slash\r\nDate: Fri\r\n"
                    "Message-ID: <1@x>\r\nIn-Reply-To: <a@b> <c@d>\r\n",
                    "(\"Fri\" \"=?utf-8?q?J=C3=B6rg?= \\\"and\\\" back\\\\slash\" "
                    "((\"Anna Exempel\" NIL \"anna\" \"example.com\")) "
                    "((\"Anna Exempel\" NIL \"anna\" \"example.com\")) "
                    "((\"Anna Exempel\" NIL \"anna\" \"example.com\")) "
                    "((NIL NIL \"bob\" \"example.org\")) NIL NIL \"<a@b> <c@d>\" \"<1@x>\")");
    /* There and empty is not the same as not there. */
    assert_envelope(f, "Subject: \r\nMessage-ID:\r\nBcc:\r\n",
                    "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL \"\")");
    assert_envelope(f, "To: friends: a@b, \"C D\" <c@d>;\r\nSender: s@t\r\n",
                    "(NIL NIL NIL ((NIL NIL \"s\" \"t\")) NIL "
                    "((NIL NIL \"friends\" NIL)(NIL NIL \"a\" \"b\")(\"C D\" NIL \"c\" \"d\")"
                    "(NIL NIL NIL NIL)) NIL NIL NIL NIL)");
}

static void eight_bit_is_literal(void **state)
{
    struct fixture *f = *state;
    assert_envelope(f, "Subject: \xe4\xf6\r\n",
                    "(NIL {2}\r\n\xe4\xf6 NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_body(
        f, "Content-Type: text/plain; charset=utf-8; name=\"\xe4\"\r\n", "",
        "(\"text\" \"plain\" (\"charset\" \"utf-8\" \"name\" {1}\r\n\xe4) NIL NIL \"7BIT\" 0 "
        "0)");
}

static void leaves(void **state)
{
    struct fixture *f = *state;
    assert_body(f, "", "hello\r\nworld\r\n",
                "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 14 2)");
    assert_structure(f,
                     "Content-Type: application/pdf; name=x.pdf\r\nContent-ID: <i>\r\n"
                     "Content-Description: d\r\nContent-Transfer-Encoding: base64\r\n"
                     "Content-MD5: m\r\nContent-Disposition: attachment; filename=x.pdf\r\n"
                     "Content-Language: de, en\r\nContent-Location: l\r\n",
                     "AAAA",
                     "(\"application\" \"pdf\" (\"name\" \"x.pdf\") \"<i>\" \"d\" \"base64\" 4 "
                     "\"m\" (\"attachment\" (\"filename\" \"x.pdf\")) (\"de\" \"en\") \"l\")");
    assert_structure(f, "Content-Type: text/html\r\nContent-Disposition: inline\r\n", "x",
                     "(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 1 0 NIL "
                     "(\"inline\" NIL) NIL NIL)");
}

static void multiparts(void **state)
{
    struct fixture *f = *state;
    const char *head = "Content-Type: multipart/mixed; boundary=a\r\n";
    const char *data = "--a\r\n\r\none\r\n--a\r\nContent-Type: image/png\r\n\r\n\r\n--a--\r\n";
    assert_body(f, head, data,
                "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 3 0)"
                "(\"image\" \"png\" NIL NIL NIL \"7BIT\" 0) \"mixed\")");
    assert_structure(f, head, data,
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 3 0 NIL NIL "
                     "NIL NIL)(\"image\" \"png\" NIL NIL NIL \"7BIT\" 0 NIL NIL NIL NIL) \"mixed\" "
                     "(\"boundary\" \"a\") NIL NIL NIL)");
    /* No parts at all: the grammar wants one. */
    assert_body(f, head, "nothing",
                "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")");
    assert_structure(f, "Content-Type: multipart/mixed\r\n", "--a\r\n",
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL "
                     "NIL NIL) \"mixed\" NIL NIL NIL NIL)");
}

static void messages(void **state)
{
    struct fixture *f = *state;
    assert_body(f, "Subject: outer\r\nContent-Type: message/rfc822\r\n",
                "Subject: inner\r\n\r\nline\r\nline\r\n",
                "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 30 "
                "(NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
                "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 12 2) 4)");
    imap_put_envelope(&f->out, f->root->envelope);
    assert_out(f, "(NIL \"outer\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    /* Not to be looked into, and still complete. */
    assert_body(f, "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", "AAAA",
                "(\"message\" \"rfc822\" NIL NIL NIL \"base64\" 4 "
                "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
                "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) 0)");
}

static int depth_of(struct str s)
{
    int depth = 0;
    for (size_t i = 0; i < s.n; i++)
        depth += s.p[i] == '(' ? 1 : s.p[i] == ')' ? -1 : 0;
    return depth;
}

static void bottomless(void **state)
{
    struct fixture *f = *state;
    struct buf data;
    buf_init(&data, 1 << 20);
    for (int i = 0; i < 500; i++)
        buf_add_z(&data, "Content-Type: message/rfc822\r\n\r\n");
    parse(f, "Content-Type: message/rfc822\r\n", buf_z(&data));
    imap_put_body(&f->out, f->root, true);
    assert_true(buf_ok(&f->out));
    assert_int_equal(depth_of(buf_str(&f->out)), 0);
    buf_fini(&data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(envelopes), TEST(eight_bit_is_literal), TEST(leaves), TEST(multiparts),
        TEST(messages),  TEST(bottomless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
