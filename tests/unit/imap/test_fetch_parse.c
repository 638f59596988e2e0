/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/fetch_items.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct fetch_items items;
    const char *why;
};

static int parse_uid(struct fixture *f, const char *text, bool uid)
{
    if (f->arena)
        arena_free(&f->arena);
    f->arena = arena_new(0);
    f->why = NULL;
    struct imap_cursor c = {.rest = str_from(text), .arena = f->arena};
    int failed = fetch_items_parse(&c, uid, &f->items, &f->why);
    if (!failed && !imap_at_end(&c))
        failed = -2;
    if (failed == -1)
        assert_non_null(f->why);
    return failed;
}

static int parse(struct fixture *f, const char *text)
{
    return parse_uid(f, text, false);
}

static void assert_label(const struct fixture *f, size_t i, const char *label)
{
    assert_true(i < f->items.n);
    assert_int_equal(f->items.list[i].kind, FETCH_SECTION);
    struct str s = f->items.list[i].section->label;
    assert_int_equal(s.n, strlen(label));
    assert_memory_equal(s.p, label, s.n);
}

static void macros(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(parse(&f, "FAST"), 0);
    assert_int_equal(f.items.n, 3);
    assert_int_equal(f.items.want, 0);
    assert_int_equal(parse(&f, "all"), 0);
    assert_int_equal(f.items.n, 4);
    assert_int_equal(f.items.want, BODY_WANT_META);
    assert_int_equal(parse_uid(&f, "Full", true), 0);
    assert_int_equal(f.items.n, 6);
    assert_int_equal(f.items.list[0].kind, FETCH_UID);
    assert_int_equal(f.items.list[5].kind, FETCH_BODY);
    assert_int_not_equal(parse(&f, "(FAST)"), 0); /* a macro stands alone */
    assert_int_not_equal(parse(&f, "ALL FLAGS"), 0);
    arena_free(&f.arena);
}

static void plain_items(void **state)
{
    static const enum fetch_kind kinds[] = {FETCH_UID,  FETCH_FLAGS,    FETCH_INTERNALDATE,
                                            FETCH_SIZE, FETCH_ENVELOPE, FETCH_BODYSTRUCTURE,
                                            FETCH_BODY};
    struct fixture f = {0};
    (void)state;
    assert_int_equal(parse(&f, "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY)"),
                     0);
    assert_int_equal(f.items.n, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(f.items.list[i].kind, kinds[i]);
    assert_false(f.items.seen);
    assert_int_equal(parse(&f, "(FLAGS flags UID FLAGS)"), 0);
    assert_int_equal(f.items.n, 2); /* each once */
    assert_int_equal(parse_uid(&f, "(UID)", true), 0);
    assert_int_equal(f.items.n, 1);
    assert_int_equal(parse(&f, "rfc822.size"), 0);
    assert_int_equal(f.items.want, 0);
    arena_free(&f.arena);
}

static void rfc822_items(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(parse(&f, "RFC822"), 0);
    assert_label(&f, 0, "RFC822");
    assert_true(f.items.seen);
    assert_true(f.items.prefix);
    assert_int_equal(f.items.want, BODY_WANT_HEAD | BODY_WANT_DATA);
    assert_int_equal(parse(&f, "RFC822.HEADER"), 0);
    assert_false(f.items.seen); /* RFC 3501 6.4.5 */
    assert_int_equal(f.items.want, BODY_WANT_HEAD);
    assert_int_equal(parse(&f, "RFC822.TEXT"), 0);
    assert_true(f.items.seen);
    assert_int_equal(f.items.want, BODY_WANT_DATA);
    arena_free(&f.arena);
}

static void sections(void **state)
{
    static const struct {
        const char *in, *label;
    } good[] = {
        {"BODY[]", "BODY[]"},
        {"body.peek[]", "BODY[]"},
        {"BODY[]<0.10>", "BODY[]<0>"},
        {"BODY[TEXT]<4294967296.1>", "BODY[TEXT]<4294967296>"},
        {"BODY[header]", "BODY[HEADER]"},
        {"BODY[1]", "BODY[1]"},
        {"BODY[1.2.33]", "BODY[1.2.33]"},
        {"BODY[1.mime]", "BODY[1.MIME]"},
        {"BODY[4.1.TEXT]", "BODY[4.1.TEXT]"},
        {"BODY[4.Header]<7.7>", "BODY[4.HEADER]<7>"},
        {"BODY[HEADER.FIELDS (From)]", "BODY[HEADER.FIELDS (FROM)]"},
        {"BODY[HEADER.FIELDS.NOT (From \"To\")]", "BODY[HEADER.FIELDS.NOT (FROM TO)]"},
        {"BODY[2.HEADER.FIELDS (\"a b\" {2}\r\ncd)]<0.1>", "BODY[2.HEADER.FIELDS (\"a b\" CD)]<0>"},
    };
    struct fixture f = {0};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(parse(&f, good[i].in), 0);
        assert_int_equal(f.items.n, 1);
        assert_label(&f, 0, good[i].label);
    }
    assert_int_equal(parse(&f, "(BODY.PEEK[1.2.HEADER.FIELDS (A)]<5.6> BODY[])"), 0);
    const struct fetch_section *s = f.items.list[0].section;
    assert_int_equal(s->depth, 2);
    assert_int_equal(s->path[1], 2);
    assert_int_equal(s->text, FETCH_TEXT_FIELDS);
    assert_int_equal(s->n_fields, 1);
    assert_true(s->partial && s->peek);
    assert_int_equal(s->from, 5);
    assert_int_equal(s->count, 6);
    assert_true(f.items.seen);
    arena_free(&f.arena);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "",
        "()",
        "(FLAGS",
        "(FLAGS )",
        "( FLAGS)",
        "FLAGS)",
        "NONSENSE",
        "FLAGSX",
        "BODY.PEEK",
        "BODY[",
        "BODY[]<0>",
        "BODY[]<0.0>",
        "BODY[]<.1>",
        "BODY[]<0.1",
        "BODY[]<-1.1>",
        "BODY[0]",
        "BODY[1.0]",
        "BODY[1.]",
        "BODY[.1]",
        "BODY[1..2]",
        "BODY[4294967296]",
        "BODY[MIME]",
        "BODY[1.NONSENSE]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS (]",
        "BODY[HEADER.FIELDS (a]",
        "BODY[HEADER.FIELDS(a)]",
        "BODY[HEADER.FIELDS (\"\")]",
        "BODY[TEXT ]",
        "RFC822.SIZE[]",
        "RFC822.PEEK",
    };
    struct fixture f = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(&f, bad[i]) == 0)
            fail_msg("accepted: %s", bad[i]);
    arena_free(&f.arena);
}

static void bounds(void **state)
{
    struct fixture f = {0};
    struct buf b;
    (void)state;
    buf_init(&b, 1 << 20);
    buf_add_char(&b, '(');
    for (int i = 0; i < FETCH_ITEMS_MAX; i++)
        buf_add_z(&b, i ? " BODY[]" : "BODY[]");
    buf_add_char(&b, ')');
    assert_int_equal(parse(&f, buf_z(&b)), 0);
    buf_truncate(&b, b.n - 1);
    buf_add_z(&b, " BODY[])");
    assert_int_equal(parse(&f, buf_z(&b)), -1);

    buf_clear(&b);
    buf_add_z(&b, "BODY[1");
    for (int i = 1; i < FETCH_DEPTH_MAX; i++)
        buf_add_z(&b, ".1");
    buf_add_z(&b, "]");
    assert_int_equal(parse(&f, buf_z(&b)), 0);
    buf_truncate(&b, b.n - 1);
    buf_add_z(&b, ".1]");
    assert_int_equal(parse(&f, buf_z(&b)), -1);

    buf_clear(&b);
    buf_add_z(&b, "BODY[HEADER.FIELDS (a");
    for (int i = 0; i < FETCH_FIELDS_MAX; i++)
        buf_add_z(&b, " a");
    buf_add_z(&b, ")]");
    assert_int_equal(parse(&f, buf_z(&b)), -1);
    buf_fini(&b);
    arena_free(&f.arena);
}

static void needs(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(parse(&f, "(FLAGS UID RFC822.SIZE INTERNALDATE)"), 0);
    assert_int_equal(f.items.want, 0); /* a list of flags never touches the bodies */
    assert_int_equal(parse(&f, "BODY.PEEK[HEADER.FIELDS (A)]"), 0);
    assert_int_equal(f.items.want, BODY_WANT_HEAD);
    assert_false(f.items.structure || f.items.seen);
    assert_int_equal(parse(&f, "BODY.PEEK[1]"), 0);
    assert_int_equal(f.items.want, BODY_WANT_META | BODY_WANT_DATA);
    assert_true(f.items.structure);
    assert_false(f.items.prefix);
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(macros),   cmocka_unit_test(plain_items), cmocka_unit_test(rfc822_items),
        cmocka_unit_test(sections), cmocka_unit_test(refused),     cmocka_unit_test(bounds),
        cmocka_unit_test(needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
