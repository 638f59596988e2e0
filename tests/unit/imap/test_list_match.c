/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "imap/list_match.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"*", "a/b/c", true},
        {"%", "a", true},
        {"%", "a/b", false},
        {"%/%", "a/b", true},
        {"%/%", "a/b/c", false},
        {"a/*", "a/b/c", true},
        {"a/*", "a", false},
        {"a*", "a", true},
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "b", false},
        {"a", "A", false},
        {"inbox", "INBOX", true},
        {"InB*", "INBOX", true},
        {"inbox/a", "INBOX/a", true},
        {"inbox/A", "INBOX/a", false},
        {"inboxes", "INBOXES", false},
        {"%b%", "abc", true},
        {"%b%", "a/bc", false},
        {"*b%", "a/bc", true},
        {"*b%", "a/bc/d", false},
        {"*/c", "a/b/c", true},
        {"*/b", "a/b/c", false},
        {"%/b/*", "a/b/c", true},
        {"%a/%", "aaa/b", true},
        {"*a%", "a/ba", true},
        {"*%a", "x/y/a", true},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "ab", false},
        {"%a%b%c", "xaybzc", true},
        {"%a%b%c", "xay/zc", false},
        {"*x/%y", "x/ax/by", true},
        {"%%", "a", true},
        {"a%b", "a/b", false},
        {"*", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (imap_list_match(str_from(cases[i].pattern), str_from(cases[i].name)) !=
            cases[i].matches)
            fail_msg("pattern %s, name %s", cases[i].pattern, cases[i].name);
}

/* The rule spelled out, exponential: what the quick one is measured against. */
static bool slow(struct str p, struct str n)
{
    if (!p.n)
        return !n.n;
    if (p.p[0] != '*' && p.p[0] != '%')
        return n.n && p.p[0] == n.p[0] && slow(str_skip(p, 1), str_skip(n, 1));
    for (size_t i = 0; i <= n.n; i++) {
        if (slow(str_skip(p, 1), str_skip(n, i)))
            return true;
        if (i < n.n && p.p[0] == '%' && n.p[i] == '/')
            return false;
    }
    return false;
}

static void all_short_patterns(void **state)
{
    (void)state;
    static const char pattern_bytes[] = "a/*%", name_bytes[] = "ab/";
    char p[6], n[5];
    for (unsigned i = 0; i < 4096; i++)
        for (unsigned k = 0; k < 243; k++) {
            for (unsigned x = 0, v = i; x < sizeof p; x++, v /= 4)
                p[x] = pattern_bytes[v % 4];
            for (unsigned x = 0, v = k; x < sizeof n; x++, v /= 3)
                n[x] = name_bytes[v % 3];
            struct str ps = str_of(p, sizeof p), ns = str_of(n, sizeof n);
            if (imap_list_match(ps, ns) != slow(ps, ns))
                fail_msg("pattern " STR_FMT ", name " STR_FMT, STR_ARG(ps), STR_ARG(ns));
        }
}

static void hostile_patterns_end(void **state)
{
    (void)state;
    char name[1000], pattern[2000];
    memset(name, 'a', sizeof name);
    for (size_t i = 0; i + 1 < sizeof pattern; i += 2) {
        pattern[i] = i % 4 ? '*' : '%';
        pattern[i + 1] = 'a';
    }
    pattern[sizeof pattern - 1] = 'b';
    clock_t began = clock(); /* of the processor: others may have it for longer */
    assert_false(imap_list_match(str_of(pattern, sizeof pattern), str_of(name, sizeof name)));
    assert_true(clock() - began < 10 * CLOCKS_PER_SEC); /* ample for a million steps */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(all_short_patterns),
        cmocka_unit_test(hostile_patterns_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
