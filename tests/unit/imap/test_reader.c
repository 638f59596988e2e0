/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Each stream is read in pieces of every size; the events must be the same. */
#include "appliance/base/mem.h"
#include "imap/reader.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { LIMIT = 64, SWALLOW = 200 };

static struct buf events;

static void note(const char *what, struct str s)
{
    buf_add_z(&events, what);
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(&events, s.p[i] == '\r' ? '~' : s.p[i] == '\n' ? '$' : s.p[i]);
    buf_add_char(&events, '\n');
}

/* What a session does with each event; `refuse`: it doesn't want messages, `lines`: bare lines are
 * read. */
static bool act(struct imap_reader *r, enum imap_read got, bool refuse, bool lines)
{
    switch (got) {
    case IMAP_READ_MORE:
        break;
    case IMAP_READ_CONTINUE:
        note("+", STR_NULL);
        break;
    case IMAP_READ_COMMAND:
    case IMAP_READ_TOO_BIG:
        note(got == IMAP_READ_COMMAND ? "C " : "B ", buf_str(&r->cmd));
        if (lines)
            imap_reader_next_line(r);
        else
            imap_reader_next(r);
        break;
    case IMAP_READ_APPEND:
        note(r->append_sync ? "A+" : "A ", buf_str(&r->cmd));
        if (!refuse) {
            imap_reader_accept(r);
        } else if (!imap_reader_refuse(r)) {
            note("R", STR_NULL);
            imap_reader_next(r);
        }
        break;
    case IMAP_READ_PIECE:
        if (events.n && str_ends(buf_str(&events), STR("|\n")))
            buf_truncate(&events, events.n - 2);
        else
            buf_add_char(&events, '|');
        for (size_t i = 0; i < r->piece.n; i++)
            buf_add_char(&events, r->piece.p[i] == '\r'   ? '~'
                                  : r->piece.p[i] == '\n' ? '$'
                                                          : r->piece.p[i]);
        buf_add_z(&events, "|\n");
        break;
    case IMAP_READ_FATAL:
        note("F", STR_NULL);
        return false;
    }
    return true;
}

static void run(struct str stream, size_t piece, bool refuse, bool lines)
{
    struct imap_reader r;
    bool going = true;
    imap_reader_init(&r, LIMIT, SWALLOW);
    if (lines)
        imap_reader_next_line(&r);
    buf_clear(&events);
    for (size_t at = 0; at < stream.n && going; at += piece) {
        struct str part = str_take(str_skip(stream, at), piece);
        char *exact = mem_dup(part.p, part.n); /* so that a sanitizer sees an overread */
        struct str in = str_of(exact, part.n);
        while (in.n && going) {
            size_t used;
            enum imap_read got = imap_reader_feed(&r, in, &used);
            assert_in_range(used, got == IMAP_READ_MORE ? in.n : 0, in.n);
            in = str_skip(in, used);
            going = act(&r, got, refuse, lines);
        }
        mem_free(exact);
    }
    imap_reader_fini(&r);
}

static void check(struct str stream, bool refuse, bool lines, const char *want)
{
    for (size_t piece = 1; piece <= stream.n; piece++) {
        run(stream, piece, refuse, lines);
        if (!str_eq(buf_str(&events), str_from(want)))
            fail_msg("pieces of %zu: got\n%s\nwant\n%s", piece, buf_z(&events), want);
    }
}

static void simple_lines(void **state)
{
    (void)state;
    check(STR("a NOOP\r\nb NOOP\nc\r\r\n\r\nd x\r\n"), false, false,
          "C a NOOP\nC b NOOP\nC c~\nC \nC d x\n");
}

static void literals(void **state)
{
    (void)state;
    check(STR("a LOGIN {3}\r\nfoo {5+}\r\nb\r\nar\r\nb NOOP\r\n"), false, false,
          "+\nC a LOGIN {3}~$foo {5+}~$b~$ar\nC b NOOP\n");
    check(STR("a X {0}\r\n\r\nb\r\n"), false, false, "+\nC a X {0}~$\nC b\n");
    check(STR("a X {x}\r\nb {3} \r\nc \"{3}\"\r\nd {3}x\r\n"), false, false,
          "C a X {x}\nC b {3} \nC c \"{3}\"\nC d {3}x\n");
}

static void appends(void **state)
{
    (void)state;
    check(STR("a APPEND x (\\Seen) {5}\r\nab\r\nc\r\nb NOOP\r\n"), false, false,
          "A+a APPEND x (\\Seen) {5}\n|ab~$c|\nC \nC b NOOP\n");
    check(STR("a append {1}\r\nx {3+}\r\nabc\r\n"), false, false,
          "+\nA a append {1}~$x {3+}\n|abc|\nC \n");
    check(STR("a APPEND x {1+}\r\nc (\\Seen) {3+}\r\nxyz\r\nb NOOP\r\n"), false, false,
          "A a APPEND x {1+}\n|c|\nC  (\\Seen) {3+}\nC b NOOP\n");
    check(STR("a APPEND x {0}\r\n\r\nb NOOP\r\n"), false, false,
          "A+a APPEND x {0}\nC \nC b NOOP\n");
}

static void refused_appends(void **state)
{
    (void)state;
    check(STR("a APPEND x {5}\r\nb NOOP\r\n"), true, false, "A+a APPEND x {5}\nR\nC b NOOP\n");
    check(STR("a APPEND x {5+}\r\na\r\nbc\r\nb NOOP\r\n"), true, false,
          "A a APPEND x {5+}\nC \nC b NOOP\n");
    check(STR("a APPEND x {500+}\r\n"
              "012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
              "4567890123456789"
              "012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
              "4567890123456789"
              "0"),
          true, false, "A a APPEND x {500+}\nF\n");
}

static void too_big(void **state)
{
    (void)state;
    check(STR("a 0123456789012345678901234567890123456789012345678901234567890123456789\r\nb "
              "NOOP\r\n"),
          false, false,
          "B a 01234567890123456789012345678901234567890123456789012345678901\nC b NOOP\n");
    check(STR("a X {100}\r\nb NOOP\r\n"), false, false, "B a X {100}~$\nC b NOOP\n");
    check(STR("a X {70+}\r\n0123456789012345678901234567890123456789012345678901234567890123456789 "
              "{2+}\r\nxy z\r\nb NOOP\r\n"),
          false, false, "B a X {70+}~$\nC b NOOP\n");
    check(STR("a X {9999999+}\r\n"), false, false, "F\n");
    check(STR("a X {9223372036854775807+}\r\n"), false, false, "F\n");
    check(STR("a X {99999999999999999999999999}\r\nb\r\n"), false, false,
          "C a X {99999999999999999999999999}\nC b\n");
}

static void endless_line(void **state)
{
    (void)state;
    char line[LIMIT + SWALLOW + 2];
    memset(line, 'x', sizeof line);
    check(str_of(line, sizeof line), false, false, "F\n");
}

static void bare_lines(void **state)
{
    (void)state;
    check(STR("DONE\r\n{3}\r\nx {3+}\r\n"), false, true, "C DONE\nC {3}\nC x {3+}\n");
}

static enum imap_read feed_all(struct imap_reader *r, struct str in)
{
    enum imap_read got = IMAP_READ_MORE;
    size_t used;
    for (; in.n; in = str_skip(in, used))
        got = imap_reader_feed(r, in, &used);
    return got;
}

/* Where the session acknowledges at once: the client may hold back the rest of its line. */
static void the_end_of_a_literal_is_known(void **state)
{
    (void)state;
    struct imap_reader r;
    imap_reader_init(&r, LIMIT, SWALLOW);
    assert_false(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR("a LOGIN {1}\r\n")), IMAP_READ_CONTINUE);
    assert_false(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR("x")), IMAP_READ_MORE);
    assert_true(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR(" ")), IMAP_READ_MORE);
    assert_false(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR("y\r\n")), IMAP_READ_COMMAND);
    imap_reader_next(&r);
    assert_false(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR("b APPEND c {3}\r\n")), IMAP_READ_APPEND);
    imap_reader_accept(&r);
    assert_int_equal(feed_all(&r, STR("12")), IMAP_READ_PIECE);
    assert_false(imap_reader_after_literal(&r));
    assert_int_equal(feed_all(&r, STR("3")), IMAP_READ_PIECE);
    assert_true(imap_reader_after_literal(&r));
    imap_reader_fini(&r);
}

static void idle_means_nothing_came(void **state)
{
    (void)state;
    struct imap_reader r;
    size_t used;
    imap_reader_init(&r, LIMIT, SWALLOW);
    assert_true(imap_reader_idle(&r));
    assert_int_equal(imap_reader_feed(&r, STR("a"), &used), IMAP_READ_MORE);
    assert_false(imap_reader_idle(&r));
    assert_int_equal(imap_reader_feed(&r, STR(" X\r\n"), &used), IMAP_READ_COMMAND);
    imap_reader_next(&r);
    assert_true(imap_reader_idle(&r));
    assert_null(r.cmd.p); /* nothing is kept between commands */
    imap_reader_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_lines),
        cmocka_unit_test(literals),
        cmocka_unit_test(appends),
        cmocka_unit_test(refused_appends),
        cmocka_unit_test(too_big),
        cmocka_unit_test(endless_line),
        cmocka_unit_test(bare_lines),
        cmocka_unit_test(the_end_of_a_literal_is_known),
        cmocka_unit_test(idle_means_nothing_came),
    };
    buf_init(&events, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&events);
    return failed;
}
