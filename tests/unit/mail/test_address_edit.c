/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Addresses in a field are changed, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/mail/address_edit.h"
#include <stdio.h>
#include <string.h>

static char seen[2000]; /* "local|domain" of each, a blank between */

/* old.example and those without a domain become new.example; "q" gets another local part. */
static bool edit(void *ctx, struct address_parts *p)
{
    (void)ctx;
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s" STR_FMT "|%.*s",
             seen[0] ? " " : "", STR_ARG(p->local), (int)p->domain.n,
             p->domain.n ? p->domain.p : "");
    if (str_eq(p->local, STR("q"))) {
        p->local = STR("a b");
        return true;
    }
    if (p->domain.p && !str_ieq(p->domain, STR("old.example")))
        return false;
    p->domain = STR("new.example");
    return true;
}

static void check(const char *in, const char *want, const char *addresses)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    seen[0] = '\0';
    unsigned n = address_list_edit(str_from(in), edit, NULL, &out);
    if (n == 0 && out.n)
        fail_msg("'%s': written although nothing changed", in);
    const char *got = n ? buf_z(&out) : in;
    if (strcmp(got, want ? want : in) != 0 || (want == NULL) != (n == 0))
        fail_msg("'%s'\n became '%s'\n not     '%s'", in, got, want ? want : in);
    if (addresses && strcmp(addresses, seen) != 0)
        fail_msg("'%s': saw '%s', not '%s'", in, seen, addresses);
    buf_fini(&out);
}

static void test_plain(void **state)
{
    (void)state;
    check("a@old.example", "a@new.example", "a|old.example");
    check("a@OLD.Example", "a@new.example", NULL);
    check("<a@old.example>", "<a@new.example>", "a|old.example");
    check("Ann B <a@old.example>, b@else.example,c@old.example",
          "Ann B <a@new.example>, b@else.example,c@new.example",
          "a|old.example b|else.example c|old.example");
    check("a@else.example", NULL, "a|else.example");
    check("a@old.example ;b@old.example,", "a@new.example ;b@new.example,", NULL);
}

static void test_names_stay(void **state)
{
    (void)state;
    check("\"a@old.example\" <b@old.example>", "\"a@old.example\" <b@new.example>",
          "b|old.example");
    check("\"x, <y@old.example>\\\" \" <b@old.example> (at a@old.example)",
          "\"x, <y@old.example>\\\" \" <b@new.example> (at a@old.example)", "b|old.example");
    check("=?utf-8?q?J=C3=B6rg?= =?utf-8?B?4oKs?=\r\n <b@old.example>",
          "=?utf-8?q?J=C3=B6rg?= =?utf-8?B?4oKs?=\r\n <b@new.example>", "b|old.example");
    check("J\xc3\xb6rg <b@old.example>", "J\xc3\xb6rg <b@new.example>", NULL);
    check("a@old.example <b@old.example>", "a@old.example <b@new.example>", "b|old.example");
    check("(c@old.example (nested) ) a@old.example (d)",
          "(c@old.example (nested) ) a@new.example (d)", "a|old.example");
}

static void test_blanks_and_comments(void **state)
{
    (void)state;
    check("a\r\n\t@ (at) old . (dot) example\r\n (end)", "a\r\n\t@ (at) new.example\r\n (end)",
          "a|old.example");
    check("< a @ old.example >", "< a @ new.example >", "a|old.example");
    check("a . b (x) @old.example", "a . b (x) @new.example", "a.b|old.example");
}

static void test_quoted_locals(void **state)
{
    (void)state;
    check("\"a b\"@old.example", "\"a b\"@new.example", "a b|old.example");
    check("<\"a\\\"@b\"@old.example>", "<\"a\\\"@b\"@new.example>", "a\"@b|old.example");
    check("q@else.example", "\"a b\"@else.example", NULL);
    check("X <q@old.example>", "X <\"a b\"@old.example>", NULL);
}

static void test_groups(void **state)
{
    (void)state;
    check("undisclosed-recipients:;", NULL, "");
    check("Team: a@old.example, B <b@old.example>; , c@old.example",
          "Team: a@new.example, B <b@new.example>; , c@new.example",
          "a|old.example b|old.example c|old.example");
    check("\"a: b\": root;", "\"a: b\": root@new.example;", "root|");
}

static void test_without_domain(void **state)
{
    (void)state;
    check("root", "root@new.example", "root|");
    check("root (Cron Daemon)", "root@new.example (Cron Daemon)", "root|");
    check("Cron <root>", "Cron <root@new.example>", "root|");
    check("\"Cron Daemon\" <root>, admin", "\"Cron Daemon\" <root@new.example>, admin@new.example",
          NULL);
    check("<\"a b\">", "<\"a b\"@new.example>", "a b|");
    check("Cron Daemon", NULL, "");
    check("\"root\"", NULL, "");
    check("first.last", "first.last@new.example", "first.last|");
    check("J. Doe", NULL, "");
}

static void test_routes_and_literals(void **state)
{
    (void)state;
    check("<@relay.example,@two.example:a@old.example>",
          "<@relay.example,@two.example:a@new.example>", "a|old.example");
    check("a@[192.0.2.1]", NULL, "a|[192.0.2.1]");
    check("<a@[IPv6:2001:db8::1]>, b@old.example", "<a@[IPv6:2001:db8::1]>, b@new.example", NULL);
}

static void test_broken(void **state)
{
    static const char *const left[] = {"",
                                       " ",
                                       "<>",
                                       ",,;:",
                                       "@old.example",
                                       "a@",
                                       "<a@>",
                                       "a@old.example@old.example",
                                       "<a@old.example",
                                       "a b@old.example",
                                       "<a b@old.example>",
                                       "\"never closed <a@old.example>",
                                       "(never closed a@old.example",
                                       "a@[192.0.2.1",
                                       "<@relay>",
                                       "<@relay:>",
                                       "<@a,@b>",
                                       "a@old.example x",
                                       "\\"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        check(left[i], NULL, NULL);
    check("A <a@old.example> <b@old.example>", "A <a@new.example> <b@new.example>", NULL);
    check("a b@old.example, c@old.example", "a b@old.example, c@new.example", "c|old.example");
}

/* What is long takes no longer than its length. */
static void test_linear(void **state)
{
    static const char *const pieces[] = {"<",   "(",      "\"",    "@",  ",",     ":",    ";",
                                         "a@b", "a@b, ",  "<@a,",  "\\", "a:",    "((",   "[",
                                         "a.",  "<a@b> ", "\"\" ", "a ", "<@a:<", "(\\)", "a@["};
    enum { LONG = 300000 };
    char *text = mem_alloc(LONG + 1);
    struct buf out;
    (void)state;
    buf_init(&out, 8 * LONG);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        for (size_t k = 0; k < LONG; k++)
            text[k] = pieces[i][k % strlen(pieces[i])];
        buf_clear(&out);
        seen[0] = '\0';
        (void)address_list_edit(str_of(text, LONG), edit, NULL, &out);
    }
    buf_fini(&out);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_names_stay),
        cmocka_unit_test(test_blanks_and_comments),
        cmocka_unit_test(test_quoted_locals),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_without_domain),
        cmocka_unit_test(test_routes_and_literals),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
