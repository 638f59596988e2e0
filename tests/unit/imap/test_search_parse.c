/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/search_program.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct imap_view view;
    struct search_program p;
    const char *why;
};
static uint32_t uids[] = {10, 11, 15, 20, 30};
static struct mailbox_keyword keywords[] = {{.bit = 8, .name = {"$Junk", 5}},
                                            {.bit = 9, .name = {"work", 4}}};

static int set_up(void **state)
{
    static struct fixture f;
    f.arena = arena_new(0);
    f.view = (struct imap_view){
        .uids = uids, .n = 5, .cap = 5, .uidnext = 31, .keywords = keywords, .n_keywords = 2};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(&f->arena);
    return 0;
}

static enum search_refusal parse_str(struct fixture *f, struct str text)
{
    struct imap_cursor c = {.rest = text, .arena = f->arena};
    enum search_refusal r = search_program_parse(&c, &f->view, &f->p, &f->why);
    if (r == SEARCH_FINE)
        assert_true(imap_at_end(&c));
    else
        assert_non_null(f->why);
    return r;
}

static enum search_refusal parse(struct fixture *f, const char *text)
{
    return parse_str(f, str_from(text));
}

/* The tree as text, to compare it at a glance. */
static void show(const struct search_key *k, struct buf *b)
{
    static const char *const ops[] = {"and",    "or",        "not",    "uids",    "flags",
                                      "recent", "before",    "on",     "since",   "sentbefore",
                                      "senton", "sentsince", "larger", "smaller", "header",
                                      "body",   "text"};
    buf_printf(b, "%s", ops[k->op]);
    switch (k->op) {
    case SEARCH_AND:
    case SEARCH_OR:
    case SEARCH_NOT:
        buf_add_z(b, "(");
        for (const struct search_key *c = k->child; c; c = c->next) {
            show(c, b);
            buf_add_z(b, c->next ? " " : "");
        }
        buf_add_z(b, ")");
        break;
    case SEARCH_UIDS:
        for (size_t i = 0; i < k->n_set; i++)
            buf_printf(b, ":%u-%u", k->set[i].first, k->set[i].last);
        break;
    case SEARCH_RECENT:
        break;
    case SEARCH_HEADER:
    case SEARCH_BODY:
    case SEARCH_TEXT:
        buf_printf(b, ":" STR_FMT "=" STR_FMT, STR_ARG(k->field), STR_ARG(k->text));
        break;
    default:
        buf_printf(b, ":%lld", k->day ? (long long)k->day : (long long)k->number);
        break;
    }
}

static void assert_tree(struct fixture *f, const char *text, const char *want)
{
    struct buf b;
    buf_init(&b, 65536);
    assert_int_equal(parse(f, text), SEARCH_FINE);
    show(f->p.root, &b);
    assert_string_equal(buf_z(&b), want);
    buf_fini(&b);
}

static void keys(void **state)
{
    struct fixture *f = *state;
    assert_tree(f, "ALL", "and(and())");
    assert_tree(f, "answered seen", "and(flags:2 flags:1)");
    assert_tree(f, "UNSEEN UNDELETED", "and(not(flags:1) not(flags:8))");
    assert_tree(f, "NEW", "and(and(recent not(flags:1)))");
    assert_tree(f, "OLD RECENT", "and(not(recent) recent)");
    assert_tree(f, "KEYWORD $JUNK", "and(flags:256)");
    assert_tree(f, "UNKEYWORD Work", "and(not(flags:512))");
    assert_tree(f, "KEYWORD nosuch", "and(flags:0)");
    assert_tree(f, "LARGER 100 SMALLER 0", "and(larger:100 smaller:0)");
    assert_tree(f, "SINCE 2-Jan-1970 SENTON \"3-Jan-1970\"", "and(since:1 senton:2)");
    assert_tree(f, "BEFORE 2-Jan-1970 ON 2-Jan-1970", "and(before:1 on:1)");
    assert_tree(f, "HEADER X-Spam \"\"", "and(header:X-Spam=)");
    assert_tree(f, "BODY \"two words\" TEXT {3}\r\nabc", "and(body:=two words text:=abc)");
}

static void sets(void **state)
{
    struct fixture *f = *state;
    assert_tree(f, "2", "and(uids:11-11)");
    assert_tree(f, "2:4", "and(uids:11-20)");
    assert_tree(f, "*", "and(uids:30-30)");
    assert_tree(f, "5:*,1", "and(uids:10-10:30-30)");
    assert_tree(f, "UID 1:14,16:20", "and(uids:10-11:20-20)");
    assert_tree(f, "UID 99", "and(uids)");
    assert_tree(f, "UID *", "and(uids:30-30)");
    assert_int_equal(parse(f, "6"), SEARCH_BAD); /* no such message */
    assert_int_equal(parse(f, "0"), SEARCH_BAD);
    assert_int_equal(parse(f, "UID"), SEARCH_BAD);
    assert_int_equal(parse(f, "UID ABC"), SEARCH_BAD);
}

static void nesting(void **state)
{
    struct fixture *f = *state;
    assert_tree(f, "OR SEEN NOT FLAGGED", "and(or(flags:1 not(flags:4)))");
    assert_tree(f, "NOT NOT SEEN", "and(not(not(flags:1)))");
    assert_tree(f, "(SEEN FLAGGED)", "and(and(flags:1 flags:4))");
    assert_tree(f, "OR (SEEN 1) OR DRAFT (ALL)",
                "and(or(and(flags:1 uids:10-10) or(flags:16 and(and()))))");
    assert_tree(f, "NOT (DELETED)", "and(not(and(flags:8)))");
}

static void text_is_folded(void **state)
{
    struct fixture *f = *state;
    assert_tree(f, "SUBJECT HELLO", "and(header:Subject=hello)");
    assert_tree(f, "CHARSET UTF-8 FROM \"J\xc3\x96RG\"", "and(header:From=j\xc3\xb6rg)");
    assert_tree(f, "CHARSET ISO-8859-1 BODY {1}\r\n\xc4", "and(body:=\xc3\xa4)");
    assert_tree(f, "charset us-ascii to x", "and(header:To=x)");
    assert_int_equal(parse(f, "CHARSET KLINGON ALL"), SEARCH_BADCHARSET);
    assert_int_equal(parse(f, "CHARSET UTF-8"), SEARCH_BAD);
    assert_int_equal(parse(f, "CHARSET"), SEARCH_BAD);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ALL",
        "ALL ",
        "ALL  SEEN",
        "OR SEEN",
        "OR",
        "NOT",
        "()",
        "(SEEN",
        "SEEN)",
        "(SEEN ",
        "NONSENSE",
        "SUBJECT",
        "SUBJECT ",
        "HEADER x",
        "HEADER",
        "ON yesterday",
        "ON 32-Jan-2020",
        "LARGER",
        "LARGER x",
        "LARGER -1",
        "KEYWORD",
        "KEYWORD \\Seen",
        "BODY \"open",
        "BODY {9}\r\nx",
        "SEENX",
        "ALL(SEEN)",
        "NOT(",
        "$",
        "1:",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(f, bad[i]) != SEARCH_BAD)
            fail_msg("accepted: %s", bad[i]);
}

static void repeat(struct buf *b, const char *what, int n)
{
    for (int i = 0; i < n; i++)
        buf_add_z(b, what);
}

static void bounds(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    repeat(&b, "NOT ", 90);
    buf_add_z(&b, "SEEN");
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_FINE);
    buf_clear(&b);
    repeat(&b, "NOT ", 100000);
    buf_add_z(&b, "SEEN");
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_BAD);
    buf_clear(&b);
    repeat(&b, "(", 100000);
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_BAD);
    buf_clear(&b);
    repeat(&b, "OR SEEN ", 100000);
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_BAD);
    buf_clear(&b);
    repeat(&b, "SEEN ", SEARCH_KEYS_MAX - 2);
    buf_add_z(&b, "SEEN");
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_FINE);
    buf_add_z(&b, " SEEN");
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_BAD);
    buf_clear(&b);
    repeat(&b, "BODY x ", SEARCH_KEYS_MAX + 100);
    buf_add_z(&b, "ALL");
    assert_int_equal(parse_str(f, buf_str(&b)), SEARCH_BAD);
    buf_fini(&b);
}

static void needs(void **state)
{
    struct fixture *f = *state;
    parse(f, "UID 1:* NOT 3 OLD");
    assert_false(f->p.uses_rows || f->p.uses_head || f->p.uses_body);
    parse(f, "NEW");
    assert_true(f->p.uses_rows);
    parse(f, "SUBJECT x");
    assert_true(f->p.uses_rows && f->p.uses_head && !f->p.uses_body);
    parse(f, "SENTSINCE 1-Jan-2020");
    assert_true(f->p.uses_head);
    parse(f, "BODY x");
    assert_true(f->p.uses_rows && !f->p.uses_head && f->p.uses_body);
    parse(f, "TEXT x TEXT \"\" OR BODY y SEEN");
    assert_true(f->p.uses_head && f->p.uses_body);
    assert_int_equal(f->p.n_needles, 2); /* what is empty is everywhere */
}

static void uid_bounds(void **state)
{
    struct fixture *f = *state;
    uint32_t first = 10, last = 30;
    parse(f, "UID 11:29 2:4 SEEN");
    assert_true(search_program_bounds(&f->p, &first, &last));
    assert_int_equal(first, 11);
    assert_int_equal(last, 20);
    parse(f, "UID 1:10 UID 20:30");
    assert_false(search_program_bounds(&f->p, &first, &last));
    parse(f, "UID 1:5");
    assert_false(search_program_bounds(&f->p, &first, &last));
    first = 10, last = 30;
    parse(f, "NOT UID 11"); /* says nothing at the top level */
    assert_true(search_program_bounds(&f->p, &first, &last));
    assert_int_equal(first, 10);
    assert_int_equal(last, 30);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(keys),    TEST(sets),   TEST(nesting), TEST(text_is_folded),
        TEST(refused), TEST(bounds), TEST(needs),   TEST(uid_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
