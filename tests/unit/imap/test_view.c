/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/session.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static struct imap_view *view_of(const uint32_t *uids, size_t n)
{
    struct imap_view *v = imap_view_new(STR("INBOX"));
    for (size_t i = 0; i < n; i++)
        imap_view_add(v, uids[i]);
    v->uidnext = n ? uids[n - 1] + 1 : 1;
    return v;
}

static void sequence_numbers(void **state)
{
    (void)state;
    struct imap_view *v = view_of((const uint32_t[]){3, 4, 9}, 3);
    static const struct {
        uint32_t uid;
        size_t seq;
    } cases[] = {{1, 0}, {3, 1}, {4, 2}, {5, 0}, {9, 3}, {10, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(imap_view_seq(v, cases[i].uid), cases[i].seq);
    v->recent_from = 4;
    assert_int_equal(imap_view_recent(v), 2);
    imap_view_free(&v);
    v = view_of(NULL, 0);
    assert_int_equal(imap_view_seq(v, 1), 0);
    imap_view_free(&v);
}

/* "first:last,..." of what a set names; "BAD". */
static const char *resolved(const struct imap_view *v, const char *set, bool uid)
{
    struct imap_cursor c = {str_from(set), arena};
    struct imap_set s;
    struct uid_range *r;
    size_t n;
    struct str text = STR("");
    assert_int_equal(imap_set(&c, &s), 0);
    if (imap_view_resolve(v, arena, &s, uid, &r, &n))
        return "BAD";
    for (size_t i = 0; i < n; i++)
        text = arena_printf(arena, STR_FMT "%s%u:%u", STR_ARG(text), i ? "," : "",
                            (unsigned)r[i].first, (unsigned)r[i].last);
    return text.p;
}

static void resolves(void **state)
{
    (void)state;
    struct imap_view *v = view_of((const uint32_t[]){3, 4, 9, 20, 21}, 5), *none = view_of(NULL, 0);
    static const struct {
        const char *set, *by_seq, *by_uid;
    } cases[] = {
        {"1", "3:3", ""},
        {"1:3", "3:9", "3:3"},
        {"2,4", "4:4,20:20", "4:4"},
        {"*", "21:21", "21:21"},
        {"1:*", "3:21", "3:21"},
        {"5:*", "21:21", "9:21"},
        {"6", "BAD", ""},
        {"4:9", "BAD", "4:9"},
        {"50:*", "21:21", "21:21"},
        {"1,50:*", "3:3,21:21", "21:21"},
        {"1:5,7:*", "3:21", "3:21"},
        {"1:2,3:4", "3:20", "3:4"},
        {"5,5:*", "21:21", "9:21"},
        {"3:4,20", "BAD", "3:4,20:20"},
        {"4294967295", "BAD", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(resolved(v, cases[i].set, false), cases[i].by_seq);
        assert_string_equal(resolved(v, cases[i].set, true), cases[i].by_uid);
    }
    assert_string_equal(resolved(none, "1:*", false), "");
    assert_string_equal(resolved(none, "1", false), "BAD");
    assert_string_equal(resolved(none, "1:5,*", true), "");
    imap_view_free(&v);
    imap_view_free(&none);
}

static void flags(void **state)
{
    (void)state;
    struct imap_view *v = view_of((const uint32_t[]){1, 2}, 2);
    const struct mailbox_keyword k[] = {{8, STR("$Junk")}, {10, STR("Work")}};
    struct buf b;
    buf_init(&b, 4096);
    imap_view_set_keywords(v, k, 2);
    v->recent_from = 2;
    imap_put_flags(&b, v, 1, MESSAGE_SEEN | MESSAGE_DRAFT | 1u << 10);
    assert_string_equal(buf_z(&b), "(\\Seen \\Draft Work)");
    buf_clear(&b);
    imap_put_flags(&b, v, 2, 1u << 8 | 1u << 9); /* bit 9: not known yet, sync will tell */
    assert_string_equal(buf_z(&b), "(\\Recent $Junk)");
    buf_clear(&b);
    imap_put_flags(&b, v, 1, 0);
    assert_string_equal(buf_z(&b), "()");
    buf_clear(&b);
    imap_put_view_flags(&b, v);
    assert_string_equal(
        buf_z(&b),
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk Work)\r\n"
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk Work \\*)] "
        "Flags permitted\r\n");
    buf_clear(&b);
    v->read_only = true;
    imap_put_view_flags(&b, v);
    assert_non_null(strstr(buf_z(&b), "[PERMANENTFLAGS ()]"));
    buf_fini(&b);
    imap_view_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_numbers),
        cmocka_unit_test(resolves),
        cmocka_unit_test(flags),
    };
    arena = arena_new(0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
