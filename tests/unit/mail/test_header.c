/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Splitting a head off a stream, walking its fields, decoding their values. */
#include "appliance/mail/header.h"
#include "mail_test.h"

/* Feeds in pieces of `step` bytes: where the head ends, and how. */
static uint64_t split(const char *text, size_t step, enum header_split_end *how)
{
    struct header_split s = {0};
    struct str all = str_from(text);
    uint64_t end = 0;
    *how = HEADER_SPLIT_MORE;
    for (size_t at = 0; at < all.n && *how == HEADER_SPLIT_MORE; at += step) {
        struct str piece = exact(str_take(str_skip(all, at), step));
        *how = header_split_feed(&s, piece, &end);
        exact_free(piece);
    }
    return end;
}

static void split_ends(void **state)
{
    (void)state;
    static const struct {
        const char *head, *data;
        enum header_split_end how; /* of the whole in one piece */
    } t[] = {
        {"A: b\r\n\r\n", "data\r\n", HEADER_SPLIT_DONE},
        {"A: b\n\n", "data\n", HEADER_SPLIT_DONE},
        {"\r\n", "no head at all\r\n", HEADER_SPLIT_DONE},
        {"A: b\r\n folded\r\n\tagain: x\r\nC:d\r\n\r\n", "", HEADER_SPLIT_DONE},
        {"Subject : blank before the colon\r\n\r\n", "x", HEADER_SPLIT_DONE},
        {"From karl Fri Nov 20 06:29:08 2026\r\nA: b\r\n\r\n", "x", HEADER_SPLIT_DONE},
        {">From karl Fri Nov 20 06:29:08 2026\nA: b\n\n", "x", HEADER_SPLIT_DONE},
        {"A: b\r\nC: d\r\n", "", HEADER_SPLIT_MORE},
        {"A: b\r\n", "Dear all, this is text\r\n\r\n", HEADER_SPLIT_BROKEN},
        {"A: b\r\n", "word\r\n", HEADER_SPLIT_BROKEN},
        {"A: b\r\n", "two words: no field\r\n", HEADER_SPLIT_BROKEN},
        {"A: b\r\n", ": no name\r\n", HEADER_SPLIT_BROKEN},
        {"A: b\r\n", "\r\r\n", HEADER_SPLIT_BROKEN},
        {"", " a fold with nothing before it\r\n", HEADER_SPLIT_BROKEN},
        {"", "\xc3\xa4: no ASCII\r\n", HEADER_SPLIT_BROKEN},
        {"A: b\r\n", "From here: it is late for a separator\r\n", HEADER_SPLIT_BROKEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char text[256];
        enum header_split_end how;
        snprintf(text, sizeof text, "%s%s", t[i].head, t[i].data);
        for (size_t step = 1; step <= strlen(text); step++) {
            assert_int_equal(split(text, step, &how), strlen(t[i].head));
            assert_int_equal(how, t[i].how);
        }
    }
}

/* A break may be decided later than the piece in which its line begins. */
static void split_points_back(void **state)
{
    (void)state;
    struct header_split s = {0};
    uint64_t end;
    assert_int_equal(header_split_feed(&s, STR("A: b\r\nwor"), &end), HEADER_SPLIT_MORE);
    assert_int_equal(header_split_feed(&s, STR("d no field\r\nmore text\r\n"), &end),
                     HEADER_SPLIT_BROKEN);
    assert_int_equal(end, 6);
}

static const char head_text[] = "From ignored@separator Fri Nov 20 06:29:08 2026\r\n"
                                "Received: from a\r\n\tby b; now\r\n"
                                "Subject:   first\r\n"
                                "not a field\r\n"
                                " nor its fold\r\n"
                                "X-Empty:\r\n"
                                "X-Blank:  \r\n"
                                "SUBJECT :\r\n second\r\n"
                                "received: from c\r\n"
                                "\r\n"
                                "Subject: in the data\r\n";

static void walk(void **state)
{
    (void)state;
    struct str all = exact(str_from(head_text)), rest = all;
    struct header_field f;
    static const char *const want[][2] = {{"Received", "from a\r\n\tby b; now"},
                                          {"Subject", "first"},
                                          {"X-Empty", ""},
                                          {"X-Blank", ""},
                                          {"SUBJECT", "second"},
                                          {"received", "from c"}};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(header_next(&rest, &f));
        assert_str(f.name, want[i][0]);
        assert_str(f.value, want[i][1]);
        assert_true(str_ends(f.raw, STR("\r\n")));
    }
    assert_false(header_next(&rest, &f));
    assert_true(str_starts(rest, STR("\r\nSubject: in")));

    assert_int_equal(header_count(all, STR("subject")), 2);
    assert_true(header_find(all, STR("subject"), 1, &f));
    assert_str(f.raw, "SUBJECT :\r\n second\r\n");
    assert_false(header_find(all, STR("subject"), 2, &f));
    exact_free(all);
}

static void walk_without_end(void **state)
{
    (void)state;
    struct str rest = exact(STR("A: b\nC:d"));
    struct str all = rest;
    struct header_field f;
    assert_true(header_next(&rest, &f));
    assert_str(f.value, "b");
    assert_true(header_next(&rest, &f));
    assert_str(f.value, "d");
    assert_str(f.raw, "C:d");
    assert_false(header_next(&rest, &f));
    exact_free(all);
}

static void unfold(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    header_unfold(STR("a\r\n b\n\tc\r\nd\r\n"), &b);
    assert_str(buf_str(&b), "a b\tc\r\nd\r\n");
    buf_fini(&b);
    buf_init(&b, 3);
    assert_int_equal(header_unfold(STR("a\r\n b\r\n c"), &b), -1);
    buf_fini(&b);
}

static void decode(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        {"plain text", "plain text"},
        {"folded\r\n text", "folded text"},
        /* RFC 2047 8 */
        {"=?ISO-8859-1?Q?a?=", "a"},
        {"=?ISO-8859-1?Q?a?= b", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a_b?=", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
        {"=?iso-8859-1?q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
        {"=?UTF-8*de?B?w6TDtsO8?=", "\xc3\xa4\xc3\xb6\xc3\xbc"}, /* RFC 2231 5 */
        /* one character in two words */
        {"=?utf-8?Q?=C3?= =?UTF-8?Q?=A4?=", "\xc3\xa4"},
        {"=?utf-8?B?w6TDtg==?=\r\n =?utf-8?B?w7w=?=", "\xc3\xa4\xc3\xb6\xc3\xbc"},
        {"=?utf-8?B?4oI=?= =?utf-8?B?rA==?= !", "\xe2\x82\xac !"},
        /* as mailers write it */
        {"x=?utf-8?Q?y?=z", "xyz"},
        {"=?utf-8?Q?with space?=", "with space"},
        {"=?utf-8?B?w6Q?=", "\xc3\xa4"},
        {"\"=?utf-8?Q?quoted?=\"", "\"quoted\""},
        {"r\xc3\xa4w", "r\xc3\xa4w"},
        {"r\xe4w", "r\xc3\xa4w"},
        {"=?utf-8?Q?a=0Ab?=", "a b"},
        /* no encoded words */
        {"=?utf-8?X?a?=", "=?utf-8?X?a?="},
        {"=?utf-8?Q?a", "=?utf-8?Q?a"},
        {"=?utf-8?Q?a?", "=?utf-8?Q?a?"},
        {"=??Q?a?=", "=??Q?a?="},
        {"=?=?utf-8?Q?a?=", "=?a"},
        {"a = b =?", "a = b =?"},
        {"=", "="},
        {"", ""},
    };
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct str in = exact(str_from(t[i][0]));
        buf_clear(&b);
        assert_int_equal(header_decode(in, &b), 0);
        assert_str(buf_str(&b), t[i][1]);
        exact_free(in);
    }
    buf_fini(&b);
    buf_init(&b, 5);
    assert_int_equal(header_decode(STR("=?utf-8?Q?123456?="), &b), -1);
    buf_fini(&b);
}

/* What would take hours if a failed word looked at more than its neighbourhood. */
static void decode_is_linear(void **state)
{
    (void)state;
    static const char *const units[] = {"=?a?q?x",        "=?",       "=", "=?a?b?",
                                        "=?utf-8?q?a?= ", "=?a?q?\n "};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct buf in, out;
        buf_init(&in, 4 << 20);
        buf_init(&out, 16 << 20);
        while (buf_add_z(&in, units[i]) == 0)
            ;
        assert_int_equal(header_decode(buf_str(&in), &out), 0);
        buf_fini(&in);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_ends),
        cmocka_unit_test(split_points_back),
        cmocka_unit_test(walk),
        cmocka_unit_test(walk_without_end),
        cmocka_unit_test(unfold),
        cmocka_unit_test(decode),
        cmocka_unit_test(decode_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
