/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* FETCH on a real store: each item's form, and messages larger than memory for them. */
#include "scratch.h"

#define ASSERT_DO(s, line, want) assert_string_equal(scratch_do(s, line), want)
#define OK "OK Fetch completed."

static const char plain[] = "From: Ann <a@b>\r\nTo: c@d\r\nSubject: hi\r\n\r\nhello\r\nworld\r\n";
static const char parts[] =
    "Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\nContent-ID: <1>\r\n\r\none\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: inner\r\nTo: x@y\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    "--c\r\n\r\ninner one\r\n--c--\r\n"
    "--b--\r\n";

static void row_items(void **state)
{
    struct scratch *s = *state;
    scratch_append(s, MESSAGE_SEEN | MESSAGE_DRAFT, plain);
    scratch_select(s);
    ASSERT_DO(s, "FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE)",
              "* 1 FETCH (UID 1 FLAGS (\\Seen \\Draft) INTERNALDATE \" 9-Sep-2001 01:46:40 +0000\" "
              "RFC822.SIZE 55)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 FAST",
              "* 1 FETCH (FLAGS (\\Seen \\Draft) INTERNALDATE \" 9-Sep-2001 01:46:40 +0000\" "
              "RFC822.SIZE 55)\r\n" OK);
    ASSERT_DO(s, "UID FETCH 1:* FLAGS", "* 1 FETCH (UID 1 FLAGS (\\Seen \\Draft))\r\n" OK);
    ASSERT_DO(
        s, "FETCH * (BODY ENVELOPE)",
        "* 1 FETCH (BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 14 2) "
        "ENVELOPE (NIL \"hi\" ((\"Ann\" NIL \"a\" \"b\")) ((\"Ann\" NIL \"a\" \"b\")) "
        "((\"Ann\" NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) NIL NIL NIL NIL))\r\n" OK);
    s->view->recent_from = 1;
    ASSERT_DO(s, "FETCH 1 FLAGS", "* 1 FETCH (FLAGS (\\Seen \\Draft \\Recent))\r\n" OK);
}

static void refusals(void **state)
{
    struct scratch *s = *state;
    scratch_append(s, 0, plain);
    scratch_select(s);
    ASSERT_DO(s, "FETCH 2 FLAGS", "BAD No such message sequence number");
    ASSERT_DO(s, "FETCH 0 FLAGS", "BAD Invalid message set");
    ASSERT_DO(s, "FETCH 1", "BAD Invalid message set");
    ASSERT_DO(s, "FETCH 1 ", "BAD Unknown item");
    ASSERT_DO(s, "FETCH 1 FLAGS UID", "BAD Unexpected arguments");
    ASSERT_DO(s, "UID FETCH 2:9 FLAGS", OK);
}

static void sections(void **state)
{
    struct scratch *s = *state;
    scratch_append(s, MESSAGE_SEEN, plain);
    scratch_append(s, MESSAGE_SEEN, parts);
    scratch_select(s);
    ASSERT_DO(s, "FETCH 1 BODY[]",
              "* 1 FETCH (BODY[] {55}\r\nFrom: Ann <a@b>\r\nTo: c@d\r\nSubject: hi\r\n\r\n"
              "hello\r\nworld\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 (BODY[TEXT] BODY[1]<2.5>)",
              "* 1 FETCH (BODY[TEXT] {14}\r\nhello\r\nworld\r\n BODY[1]<2> {5}\r\nllo\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 BODY[]<39.100>",
              "* 1 FETCH (BODY[]<39> {16}\r\n\r\nhello\r\nworld\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 BODY[]<55.1>", "* 1 FETCH (BODY[]<55> \"\")\r\n" OK);
    ASSERT_DO(s, "FETCH 1 (BODY[2] BODY[1.HEADER])",
              "* 1 FETCH (BODY[2] NIL BODY[1.HEADER] NIL)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 BODY.PEEK[HEADER.FIELDS (subject X-None to)]",
              "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT X-NONE TO)] {24}\r\nTo: c@d\r\n"
              "Subject: hi\r\n\r\n)\r\n" OK);
    ASSERT_DO(
        s, "FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (subject to)]",
        "* 1 FETCH (BODY[HEADER.FIELDS.NOT (SUBJECT TO)] {19}\r\nFrom: Ann <a@b>\r\n\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 BODY.PEEK[HEADER.FIELDS (X)]",
              "* 1 FETCH (BODY[HEADER.FIELDS (X)] {2}\r\n\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 (RFC822.HEADER RFC822.TEXT)",
              "* 1 FETCH (RFC822.HEADER {41}\r\nFrom: Ann <a@b>\r\nTo: c@d\r\nSubject: hi\r\n\r\n "
              "RFC822.TEXT {14}\r\nhello\r\nworld\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 2 (BODY[1] BODY[1.MIME])",
              "* 2 FETCH (BODY[1] {3}\r\none BODY[1.MIME] {45}\r\nContent-Type: text/plain\r\n"
              "Content-ID: <1>\r\n\r\n)\r\n" OK);
    ASSERT_DO(
        s, "FETCH 2 (BODY[2.HEADER.FIELDS (To)] BODY[2.1] BODY[2.1.MIME] BODY[2.2])",
        "* 2 FETCH (BODY[2.HEADER.FIELDS (TO)] {11}\r\nTo: x@y\r\n\r\n BODY[2.1] {9}\r\ninner one "
        "BODY[2.1.MIME] {2}\r\n\r\n BODY[2.2] NIL)\r\n" OK);
    ASSERT_DO(s, "FETCH 2 BODY[2.TEXT]",
              "* 2 FETCH (BODY[2.TEXT] {23}\r\n--c\r\n\r\ninner one\r\n--c--)\r\n" OK);
}

static void seen(void **state)
{
    struct scratch *s = *state;
    for (int i = 0; i < 4; i++)
        scratch_append(s, i == 2 ? MESSAGE_SEEN : 0, "S: x\r\n\r\n.\r\n");
    scratch_select(s);
    ASSERT_DO(s, "FETCH 1 (BODY.PEEK[TEXT] RFC822.HEADER)",
              "* 1 FETCH (BODY[TEXT] {3}\r\n.\r\n RFC822.HEADER {8}\r\nS: x\r\n\r\n)\r\n" OK);
    ASSERT_DO(s, "FETCH 1 BODY[TEXT]",
              "* 1 FETCH (BODY[TEXT] {3}\r\n.\r\n)\r\n* 1 FETCH (FLAGS (\\Seen))\r\n" OK);
    ASSERT_DO(s, "UID FETCH 2:3 RFC822.TEXT",
              "* 2 FETCH (UID 2 RFC822.TEXT {3}\r\n.\r\n)\r\n* 3 FETCH (UID 3 RFC822.TEXT "
              "{3}\r\n.\r\n)\r\n"
              "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n" OK);
    s->view->read_only = true; /* EXAMINE */
    ASSERT_DO(s, "FETCH 4 BODY[TEXT]", "* 4 FETCH (BODY[TEXT] {3}\r\n.\r\n)\r\n" OK);
    ASSERT_DO(
        s, "FETCH 1:4 FLAGS",
        "* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS (\\Seen))\r\n"
        "* 4 FETCH (FLAGS ())\r\n" OK);
}

/* A text of its own kind at every place, so that a piece lost or sent twice shows. */
static struct str large(struct buf *b, size_t n)
{
    buf_init(b, n + 100);
    buf_add_z(b, "Subject: large\r\n\r\n");
    for (size_t i = 0; b->n + 10 <= n; i++)
        buf_printf(b, "%08zx\r\n", i);
    return buf_str(b);
}

static void assert_literal(struct scratch *s, const char *line, const char *label, struct str want)
{
    struct str got = str_from(scratch_do(s, line));
    struct buf head;
    buf_init(&head, 1000);
    buf_printf(&head, "* 1 FETCH (%s {%zu}\r\n", label, want.n);
    assert_true(str_starts(got, buf_str(&head)));
    got = str_skip(got, head.n);
    assert_true(got.n > want.n && memcmp(got.p, want.p, want.n) == 0);
    assert_string_equal(got.p + want.n, ")\r\n" OK);
    buf_fini(&head);
}

static void large_message(void **state)
{
    struct scratch *s = *state;
    struct buf b;
    struct str text = large(&b, 3000000);
    scratch_append_to(s, s->mailbox, MESSAGE_SEEN, text);
    scratch_select(s);
    assert_literal(s, "FETCH 1 BODY[]", "BODY[]", text);
    assert_in_range(s->runs, text.n / (IMAP_OUT_SOFT + 40000), text.n / IMAP_OUT_SOFT + 2);
    assert_literal(s, "FETCH 1 BODY[1]", "BODY[1]", str_skip(text, 18));
    assert_literal(s, "FETCH 1 BODY[]<0.65536>", "BODY[]<0>", str_take(text, 65536));
    assert_literal(s, "FETCH 1 BODY[TEXT]<1999999.700000>", "BODY[TEXT]<1999999>",
                   str_take(str_skip(text, 18 + 1999999), 700000));
    assert_literal(s, "FETCH 1 BODY[]<17.2>", "BODY[]<17>", STR("\n0"));
    ASSERT_DO(s, "SEARCH BODY \"00040000\"", "* SEARCH 1\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH BODY \"0004\r\n0004\"", "BAD Search string expected");
    ASSERT_DO(s, "SEARCH BODY nowhere", "* SEARCH\r\nOK Search completed.");
    buf_fini(&b);
}

/* Two large items in one response, each in many runs, and the next message after them. */
static void several_literals(void **state)
{
    struct scratch *s = *state;
    struct buf b;
    struct str text = large(&b, 200000);
    scratch_append_to(s, s->mailbox, MESSAGE_SEEN, text);
    scratch_append(s, 0, plain);
    scratch_select(s);
    struct str got =
        str_from(scratch_do(s, "FETCH 1:2 (BODY.PEEK[] UID BODY.PEEK[TEXT]<0.190000> FLAGS)"));
    struct str want[] = {STR("* 1 FETCH (BODY[] {199998}\r\n"),
                         text,
                         STR(" UID 1 BODY[TEXT]<0> {190000}\r\n"),
                         str_take(str_skip(text, 18), 190000),
                         STR(" FLAGS (\\Seen))\r\n* 2 FETCH (BODY[] {55}\r\n"),
                         str_from(plain),
                         STR(" UID 2 BODY[TEXT]<0> {14}\r\nhello\r\nworld\r\n FLAGS ())\r\n" OK)};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!str_starts(got, want[i]))
            fail_msg("piece %zu differs", i);
        got = str_skip(got, want[i].n);
    }
    assert_int_equal(got.n, 0);
    buf_fini(&b);
}

static void on_files(struct scratch *s, const char *what)
{
    char command[200];
    snprintf(command, sizeof command, "find %s/bodies -type f -exec %s {} +", s->dir, what);
    assert_int_equal(system(command), 0);
}

#define DAMAGED                                                                                    \
    "NO [CORRUPTION] The text of 1 message(s) is damaged on the server, first that with UID 2"

/* A file that is gone or short: the other messages are answered, and what else there is of it. */
static void damaged_file(void **state)
{
    static const char *const damage[] = {"truncate -s 100000", "rm"};
    struct scratch *s = *state;
    struct buf b;
    scratch_append(s, 0, plain);
    scratch_append_to(s, s->mailbox, 0, large(&b, 500000));
    scratch_append(s, 0, plain);
    scratch_select(s);
    for (int i = 0; i < 2; i++) {
        on_files(s, damage[i]);
        ASSERT_DO(s, "FETCH 1:* (UID BODY.PEEK[TEXT])",
                  "* 1 FETCH (UID 1 BODY[TEXT] {14}\r\nhello\r\nworld\r\n)\r\n"
                  "* 2 FETCH (UID 2 BODY[TEXT] NIL)\r\n"
                  "* 3 FETCH (UID 3 BODY[TEXT] {14}\r\nhello\r\nworld\r\n)\r\n" DAMAGED);
        assert_false(s->cut);
        ASSERT_DO(s, "FETCH 2 (BODY[] BODY[1] BODY[HEADER.FIELDS (SUBJECT)] FLAGS)",
                  "* 2 FETCH (BODY[] NIL BODY[1] NIL BODY[HEADER.FIELDS (SUBJECT)] {18}\r\n"
                  "Subject: large\r\n\r\n FLAGS ())\r\n" DAMAGED);
        ASSERT_DO(s, "FETCH 2 BODY.PEEK[]", "* 2 FETCH (BODY[] NIL)\r\n" DAMAGED);
        ASSERT_DO(s, "FETCH 2 (RFC822.SIZE FLAGS)",
                  "* 2 FETCH (RFC822.SIZE 499998 FLAGS ())\r\n" OK);
        ASSERT_DO(s, "SEARCH BODY world", "* SEARCH 1 3\r\nOK Search completed.");
    }
    buf_fini(&b);
}

static void many_messages(void **state)
{
    struct scratch *s = *state;
    for (int i = 0; i < 450; i++)
        scratch_append(s, i % 2 ? MESSAGE_SEEN : 0, "S: x\r\n\r\n.\r\n");
    scratch_select(s);
    struct str got = str_from(scratch_do(s, "UID FETCH 1:* (BODY.PEEK[])"));
    size_t n = 0, at;
    while (str_find(got, STR("BODY[] {11}\r\nS: x\r\n\r\n.\r\n)\r\n"), &at)) {
        got = str_skip(got, at + 20);
        n++;
    }
    assert_int_equal(n, 450);
    scratch_do(s, "UID STORE 1:200,250:449 +FLAGS.SILENT (\\Deleted)");
    scratch_do(s, "EXPUNGE");
    ASSERT_DO(s, "UID FETCH 1:205,207,230,449:* UID",
              "* 1 FETCH (UID 201)\r\n* 2 FETCH (UID 202)\r\n* 3 FETCH (UID 203)\r\n* 4 FETCH (UID "
              "204)\r\n* 5 FETCH (UID 205)\r\n* 7 FETCH (UID 207)\r\n* 30 FETCH (UID 230)\r\n"
              "* 50 FETCH (UID 450)\r\n" OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(row_items),     TEST(refusals),         TEST(sections),     TEST(seen),
        TEST(large_message), TEST(several_literals), TEST(damaged_file), TEST(many_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
