/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Allow and deny rules: as they are written, which of many decides; author domains that must sign.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "filters/policy_dkim.h"
#include "filters/policy_rules.h"
#include <stdio.h>
#include <string.h>

enum { NOW = 1000 };
static struct arena *arena;

/* "deny sender @example.org for ann@example.com until 5" */
static struct policy_rule rule_of(const char *line)
{
    struct str rest = str_from(line), action, kind, value, word;
    struct policy_rule r = {.scope = STR("")};
    struct err err = {0};
    uint64_t n;

    str_cut(rest, ' ', &action, &rest);
    str_cut(rest, ' ', &kind, &rest);
    str_cut(rest, ' ', &value, &rest);
    assert_true(policy_action_parse(action, &r.action));
    assert_true(policy_kind_parse(kind, &r.kind));
    if (policy_value_parse(arena, r.kind, value, &r.value, &err))
        fail_msg("%s: %s", line, err.text);
    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        bool is_for = str_eq(word, STR("for"));
        str_cut(rest, ' ', &word, &rest);
        if (is_for && policy_scope_parse(arena, word, &r.scope, &err))
            fail_msg("%s: %s", line, err.text);
        if (!is_for) {
            assert_int_equal(str_to_u64(word, 1000000, &n), 0);
            r.expires = (int64_t)n;
        }
    }
    return r;
}

static struct policy_set *set_of(const char *const *lines)
{
    struct policy_rule rules[32];
    size_t n = 0;

    for (; lines[n]; n++)
        rules[n] = rule_of(lines[n]);
    return policy_set_new(rules, n);
}

/* The rule that decides, as text; "" for none. */
static const char *found(const struct policy_set *s, const struct policy_subject *about)
{
    static char text[600];
    const struct policy_rule *r = policy_set_find(s, about);
    struct buf b;

    buf_init(&b, sizeof text - 1);
    if (r)
        policy_rule_text(r, &b);
    snprintf(text, sizeof text, "%s", buf_z(&b));
    buf_fini(&b);
    return text;
}

static const char *to(const struct policy_set *s, const char *sender, const char *rcpt)
{
    return found(s, &(struct policy_subject){.ip = "192.0.2.7",
                                             .sender = str_from(sender),
                                             .rcpt = str_from(rcpt),
                                             .helo = STR("Mail.Example.NET"),
                                             .now = NOW});
}

static void values(void **state)
{
    static const struct {
        enum policy_kind kind;
        const char *word, *value; /* NULL: refused */
    } cases[] = {
        {POLICY_SENDER, "Ann.B@Example.ORG", "ann.b@example.org"},
        {POLICY_SENDER, "@Example.org", "@example.org"},
        {POLICY_SENDER, "@.Example.org", "@.example.org"},
        {POLICY_SENDER,
         "@b\xc3\xbc"
         "cher.example",
         "@xn--bcher-kva.example"},
        {POLICY_SENDER, "<>", "<>"},
        {POLICY_SENDER, "example.org", NULL},
        {POLICY_SENDER, "", NULL},
        {POLICY_SENDER, "@", NULL},
        {POLICY_SENDER, "@.", NULL},
        {POLICY_SENDER, "ann@exa mple.org", NULL},
        {POLICY_RECIPIENT, "ann@example.com", "ann@example.com"},
        {POLICY_RECIPIENT, "<>", NULL},
        {POLICY_NETWORK, "192.0.2.0/24", "192.0.2.0/24"},
        {POLICY_NETWORK, "192.0.2.1/32", "192.0.2.1"},
        {POLICY_NETWORK, "2001:DB8::/32", "2001:db8::/32"},
        {POLICY_NETWORK, "192.0.2.1/24", NULL},
        {POLICY_NETWORK, "example.org", NULL},
        {POLICY_NETWORK, "192.0.2.1, 192.0.2.2", NULL},
        {POLICY_HELO, "Mail.Example.org", "mail.example.org"},
        {POLICY_HELO, ".example.org", ".example.org"},
        {POLICY_HELO, "[192.0.2.1]", "[192.0.2.1]"},
        {POLICY_HELO, "a b", NULL},
        {POLICY_HELO, ".", NULL},
    };
    struct str out;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = policy_value_parse(arena, cases[i].kind, str_from(cases[i].word), &out, &err);
        if ((rc == 0) != (cases[i].value != NULL))
            fail_msg("'%s'", cases[i].word);
        if (rc == 0)
            assert_string_equal(out.p, cases[i].value);
    }
    char long_word[400];
    memset(long_word, 'a', sizeof long_word);
    assert_int_equal(
        policy_value_parse(arena, POLICY_HELO, str_of(long_word, sizeof long_word), &out, &err),
        -1);
    assert_int_equal(policy_scope_parse(arena, STR("Example.COM"), &out, &err), 0);
    assert_string_equal(out.p, "@example.com");
    assert_int_equal(policy_scope_parse(arena, STR("all"), &out, &err), 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(policy_scope_parse(arena, STR("@.example.com"), &out, &err), -1);
    assert_int_equal(policy_scope_parse(arena, STR("a b"), &out, &err), -1);
    assert_int_equal(policy_reason_check(STR("No \xc3\xbc"), &err), -1);
    assert_int_equal(policy_reason_check(STR("a\r\nb"), &err), -1);
    assert_int_equal(policy_reason_check(STR("Go away."), &err), 0);
}

static void kinds_fit(void **state)
{
    struct policy_set *s = set_of((const char *const[]){
        "deny sender bad@one.example", "deny sender @two.example", "deny sender @.three.example",
        "deny sender <>", "deny recipient old@example.com", "deny recipient @.closed.example",
        "deny network 198.51.100.0/24", "deny network 2001:db8::/32", "deny helo localhost",
        "deny helo .spam.example", NULL});
    struct policy_subject about = {
        .ip = "192.0.2.1", .sender = STR("a@b.example"), .rcpt = STR("x@example.com"), .now = NOW};

    (void)state;
    assert_int_equal(policy_set_count(s), 10);
    assert_string_equal(found(s, &about), "");
    assert_string_equal(to(s, "BAD@One.Example", "x@example.com"), "deny sender bad@one.example");
    assert_string_equal(to(s, "good@one.example", "x@example.com"), "");
    assert_string_equal(to(s, "any@two.example", "x@example.com"), "deny sender @two.example");
    assert_string_equal(to(s, "any@sub.two.example", "x@example.com"), "");
    assert_string_equal(to(s, "any@three.example", "x@example.com"), "deny sender @.three.example");
    assert_string_equal(to(s, "any@a.b.three.example", "x@example.com"),
                        "deny sender @.three.example");
    assert_string_equal(to(s, "any@notthree.example", "x@example.com"), "");
    assert_string_equal(to(s, "", "x@example.com"), "deny sender <>");
    assert_string_equal(to(s, "a@b.example", "Old@Example.com"), "deny recipient old@example.com");
    assert_string_equal(to(s, "a@b.example", "old+tag@example.com"),
                        "deny recipient old@example.com");
    assert_string_equal(to(s, "a@b.example", "x@y.closed.example"),
                        "deny recipient @.closed.example");
    about.ip = "198.51.100.200";
    assert_string_equal(found(s, &about), "deny network 198.51.100.0/24");
    about.ip = "2001:db8:7::1";
    assert_string_equal(found(s, &about), "deny network 2001:db8::/32");
    about.ip = ""; /* a local socket */
    assert_string_equal(found(s, &about), "");
    about.helo = STR("LOCALHOST");
    assert_string_equal(found(s, &about), "deny helo localhost");
    about.helo = STR("x.spam.example");
    assert_string_equal(found(s, &about), "deny helo .spam.example");
    about.sender = STR_NULL; /* not known yet */
    about.helo = STR_NULL;
    assert_string_equal(found(s, &about), "");
    assert_string_equal(to(s, "not an address", "postmaster"), "");
    policy_set_free(&s);
}

static void which_decides(void **state)
{
    struct policy_set *s = set_of((const char *const[]){
        "allow sender @one.example", "deny sender bad@one.example",
        "deny sender @one.example for ann@example.com", "allow sender @two.example for example.com",
        "deny sender @two.example", "deny network 192.0.2.0/24 for bob@example.com",
        "allow network 192.0.2.0/29 for bob@example.com",
        "allow helo mail.example.net for c@example.com",
        "deny sender @three.example for c@example.com", "deny sender <> for all",
        "allow sender @.four.example", "deny sender @sub.four.example", NULL});

    (void)state;
    /* The narrower scope first, then the more exact, then what allows */
    assert_string_equal(to(s, "x@one.example", "b@example.org"), "allow sender @one.example");
    assert_string_equal(to(s, "bad@one.example", "b@example.org"), "deny sender bad@one.example");
    assert_string_equal(to(s, "x@one.example", "ann@example.com"),
                        "deny sender @one.example for ann@example.com");
    assert_string_equal(to(s, "x@one.example", "ANN+list@example.com"),
                        "deny sender @one.example for ann@example.com");
    assert_string_equal(to(s, "x@two.example", "b@example.com"),
                        "allow sender @two.example for @example.com");
    assert_string_equal(to(s, "x@two.example", "b@sub.example.com"), "deny sender @two.example");
    assert_string_equal(to(s, "x@y.example", "bob@example.com"),
                        "allow network 192.0.2.0/29 for bob@example.com");
    assert_string_equal(to(s, "x@three.example", "c@example.com"),
                        "allow helo mail.example.net for c@example.com");
    assert_string_equal(to(s, "x@sub.four.example", "b@example.org"),
                        "deny sender @sub.four.example");
    assert_string_equal(to(s, "x@a.sub.four.example", "b@example.org"),
                        "allow sender @.four.example");
    /* Without a recipient: those for all */
    assert_string_equal(to(s, "x@one.example", NULL), "allow sender @one.example");
    policy_set_free(&s);
}

static void forged_and_expired(void **state)
{
    struct policy_set *s = set_of((const char *const[]){
        "allow sender @one.example", "allow sender x@two.example", "deny sender @two.example",
        "deny sender x@three.example until 1000", "allow sender @three.example",
        "deny sender @four.example until 1001", NULL});
    struct policy_subject about = {
        .ip = "192.0.2.1", .rcpt = STR("b@example.com"), .sender_unproven = true, .now = NOW};

    (void)state;
    about.sender = STR("x@one.example");
    assert_string_equal(found(s, &about), "");
    about.sender = STR("x@two.example");
    assert_string_equal(found(s, &about), "deny sender @two.example");
    assert_string_equal(to(s, "x@two.example", "b@example.com"), "allow sender x@two.example");
    assert_string_equal(to(s, "x@three.example", "b@example.com"), "allow sender @three.example");
    assert_string_equal(to(s, "x@four.example", "b@example.com"), "deny sender @four.example");
    policy_set_free(&s);
}

/* Those of an account hold for what an alias brings it: after those of the address, before those of
 * domains. */
static void of_accounts(void **state)
{
    struct policy_set *s =
        set_of((const char *const[]){"deny sender d@one.example for ann@example.com",
                                     "allow sender @one.example for example.org",
                                     "allow sender d@one.example for press@example.org",
                                     "deny helo h.example for example.com", NULL});
    struct policy_subject about = {.ip = "192.0.2.1", .sender = STR("d@one.example"), .now = NOW};

    (void)state;
    about.rcpt = STR("info@example.org");
    assert_string_equal(found(s, &about), "allow sender @one.example for @example.org");
    about.account = STR("Ann@EXAMPLE.com");
    assert_string_equal(found(s, &about), "deny sender d@one.example for ann@example.com");
    about.rcpt = STR("press@example.org");
    assert_string_equal(found(s, &about), "allow sender d@one.example for press@example.org");
    about.sender = STR("x@two.example");
    about.helo = STR("h.example");
    assert_string_equal(found(s, &about), "deny helo h.example for @example.com");
    policy_set_free(&s);
}

/* What somebody wrote into the table by hand harms nobody. */
static void odd_rules(void **state)
{
    const struct policy_rule rules[] = {
        {.kind = (enum policy_kind)9, .value = STR("x"), .scope = STR("")},
        {.kind = POLICY_NETWORK, .value = STR("nonsense"), .scope = STR("")},
        {.kind = POLICY_SENDER, .value = STR(""), .scope = STR("nobody")}};
    struct policy_set *s = policy_set_new(rules, ARRAY_LEN(rules));

    (void)state;
    assert_int_equal(policy_set_count(s), 1);
    assert_string_equal(to(s, "a@b.example", "nobody"), "");
    policy_set_free(&s);
}

static void signatures(void **state)
{
    static const struct {
        const char *from, *results; /* NULL: nobody has looked */
        enum policy_dkim result;
        const char *domain;
    } cases[] = {
        {"a@other.example", "", POLICY_DKIM_FREE, ""},
        {"a@one.example", "", POLICY_DKIM_MISSING, "one.example"},
        {"a@one.example", NULL, POLICY_DKIM_UNKNOWN, "one.example"},
        {"a@One.Example", "pass one.example s1", POLICY_DKIM_SIGNED, "one.example"},
        {"a@one.example", "fail one.example s1; pass one.example s2", POLICY_DKIM_SIGNED,
         "one.example"},
        {"a@one.example", "pass other.example s1; fail one.example s2", POLICY_DKIM_MISSING,
         "one.example"},
        {"a@one.example", "policy one.example s1", POLICY_DKIM_MISSING, "one.example"},
        {"a@one.example", "temperror one.example s1", POLICY_DKIM_UNKNOWN, "one.example"},
        {"a@one.example", "temperror other.example s1", POLICY_DKIM_MISSING, "one.example"},
        {"a@one.example", "pass mail.one.example s1", POLICY_DKIM_SIGNED, "one.example"},
        {"a@one.example", "pass notone.example s1", POLICY_DKIM_MISSING, "one.example"},
        {"a@sub.one.example", "", POLICY_DKIM_FREE, ""},
        {"a@sub.two.example", "", POLICY_DKIM_MISSING, "sub.two.example"},
        {"a@sub.two.example", "pass two.example s", POLICY_DKIM_SIGNED, "sub.two.example"},
        {"a@two.example", "", POLICY_DKIM_MISSING, "two.example"},
        {"a@other.example, b@one.example", "pass other.example s", POLICY_DKIM_MISSING,
         "one.example"},
    };
    char head[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dmarc_domain domain = {""};
        bool temporary;
        snprintf(head, sizeof head, "Subject: x\r\nFrom: %s\r\n\r\n", cases[i].from);
        assert_int_equal(policy_dkim_look(STR("one.example,  .two.example"), str_from(head),
                                          str_from(cases[i].results), &domain, &temporary),
                         cases[i].result);
        assert_string_equal(domain.z, cases[i].domain);
        assert_int_equal(temporary, cases[i].results && strstr(cases[i].results, "temperror one"));
    }
    struct err err;
    assert_int_equal(policy_dkim_check(STR(""), &err), 0);
    assert_int_equal(policy_dkim_check(STR("a.example, .b.example"), &err), 0);
    assert_int_equal(policy_dkim_check(STR("a b"), &err), -1);
}

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values),
                                       cmocka_unit_test(kinds_fit),
                                       cmocka_unit_test(which_decides),
                                       cmocka_unit_test(of_accounts),
                                       cmocka_unit_test(forged_and_expired),
                                       cmocka_unit_test(odd_rules),
                                       cmocka_unit_test(signatures)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
