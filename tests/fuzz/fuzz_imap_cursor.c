/* room: imap */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_imap_cursor.c - every token of cursor.h at each place of the input. A function that fails
 * leaves the cursor alone; one that doesn't has moved it within the input; what a string holds
 * comes back when it is written and read again. */
#include "appliance/base/mem.h"
#include "imap/cursor.h"
#include "imap/list_match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void moved(const struct imap_cursor *before, const struct imap_cursor *after, int result)
{
    CHECK(after->rest.n <= before->rest.n);
    CHECK(after->rest.p + after->rest.n == before->rest.p + before->rest.n || !after->rest.n);
    CHECK(result == 0 || after->rest.n == before->rest.n);
    CHECK(result != 0 || after->rest.n < before->rest.n);
}

static void check_written(struct imap_cursor *c, struct str s)
{
    struct buf b;
    struct str again;
    buf_init(&b, 1 << 20);
    imap_put_string(&b, s);
    struct imap_cursor r = {buf_str(&b), c->arena};
    CHECK(imap_nstring(&r, &again) == 0 && imap_at_end(&r));
    CHECK(str_eq(s, again));
    buf_fini(&b);
}

static void check_strings(const struct imap_cursor *start)
{
    int (*const functions[])(struct imap_cursor *, struct str *) = {
        imap_atom, imap_string, imap_nstring, imap_astring, imap_list_mailbox, imap_mailbox};
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        struct imap_cursor c = *start;
        struct str s = STR_NULL;
        int result = functions[i](&c, &s);
        moved(start, &c, result);
        if (result == 0 && i < 5)
            check_written(&c, s);
        if (result == 0)
            (void)imap_list_match(s, str_take(start->rest, 20));
    }
}

static void check_set(const struct imap_cursor *start)
{
    struct imap_cursor c = *start;
    struct imap_set s;
    int result = imap_set(&c, &s);
    moved(start, &c, result);
    for (size_t i = 0; result == 0 && i < s.n; i++) {
        CHECK(s.ranges[i].first && s.ranges[i].first <= s.ranges[i].last);
        CHECK(i == 0 || s.ranges[i].first > s.ranges[i - 1].last + 1);
    }
}

static void check_others(const struct imap_cursor *start)
{
    struct imap_cursor c = *start;
    uint64_t n;
    struct date date;
    int64_t day;
    struct str *keywords;
    size_t n_keywords;
    moved(start, &c, imap_number(&c, UINT32_MAX, &n));
    c = *start;
    moved(start, &c, imap_date_time(&c, &date));
    c = *start;
    moved(start, &c, imap_date(&c, &day));
    c = *start;
    moved(start, &c, imap_flag_list(&c, true, &n, &keywords, &n_keywords));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    struct arena *a = arena_new(0);
    for (size_t at = 0; at < size; at++) {
        struct imap_cursor c = {str_of(data + at, size - at), a};
        check_strings(&c);
        check_set(&c);
        check_others(&c);
        arena_clear(a);
    }
    arena_free(&a);
    return 0;
}
