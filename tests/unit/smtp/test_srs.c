/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "smtp/queue/srs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { DAY = 24 * 3600 * 1000 };
static const int64_t now = INT64_C(1795176000000); /* 2026-11-20 */
static struct arena *arena;
static struct err err;
static struct srs_conf conf;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    conf = (struct srs_conf){.secrets = {STR("first secret"), STR("older secret")},
                             .n_secrets = 2,
                             .domain = STR("ours.example"),
                             .max_age_days = 21,
                             .hash_length = 4};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct str forward(const char *sender)
{
    struct str out;
    if (srs_forward(&conf, arena, str_from(sender), now, &out, &err))
        fail_msg("%s: %s", sender, err.text);
    return out;
}

static void want_back(struct str address, int64_t at, const char *want)
{
    struct str out = STR_NULL;
    int rc = srs_reverse(&conf, arena, address, at, &out, &err);
    if (rc != 1 || !str_eq(out, str_from(want)))
        fail_msg("%.*s: %d %.*s, wanted %s", STR_ARG(address), rc, STR_ARG(out), want);
}

static int reverse(struct str address, int64_t at)
{
    struct str out;
    return srs_reverse(&conf, arena, address, at, &out, &err);
}

static void there_and_back(void **state)
{
    (void)state;
    static const char *const senders[] = {"a@there.example",       "A.B+c=d@there.example",
                                          "\"a b\"@there.example", "a@[192.0.2.1]",
                                          "\"x@y\"@there.example", "a@[ipv6:2001:db8::1]",
                                          "\"a\\\"b\"@c.example",  "\xc3\xa9@there.example"};
    for (size_t i = 0; i < ARRAY_LEN(senders); i++) {
        struct str out = forward(senders[i]);
        assert_true(str_ends(out, STR("@ours.example")));
        assert_true(str_starts(out.p[0] == '"' ? str_skip(out, 1) : out, STR("SRS0=")));
        want_back(out, now, senders[i]);
        want_back(out, now + 21 * INT64_C(1) * DAY, senders[i]);
    }
}

/* libsrs2's: HMAC-SHA1 over stamp, domain and local part in lower case, in base64, of which the
 * first letters are taken; the stamp is the day. Computed with Python's hmac. */
static void format_of_others(void **state)
{
    (void)state;
    struct str out = forward("user@there.example");
    assert_true(str_eq(out, STR("SRS0=D5Pn=JJ=there.example=user@ours.example")));
    assert_true(
        str_eq(forward("USER@there.example"), STR("SRS0=D5Pn=JJ=there.example=USER@ours.example")));
    conf.hash_length = 10;
    assert_true(str_eq(forward("user@there.example"),
                       STR("SRS0=D5PnhZgBXB=JJ=there.example=user@ours.example")));
    want_back(forward("user@there.example"), now, "user@there.example");
    conf.hash_length = 1; /* never less than 4 */
    assert_true(str_eq(forward("user@there.example"), out));
}

static void case_may_change(void **state)
{
    (void)state;
    struct str out = forward("user@there.example");
    char *upper = arena_dup(arena, out.p, out.n);
    for (size_t i = 0; i < out.n; i++)
        upper[i] = ascii_upper(upper[i]);
    want_back(str_of(upper, out.n), now, "USER@there.example");
    for (size_t i = 0; i < out.n; i++)
        upper[i] = ascii_lower(upper[i]);
    want_back(str_of(upper, out.n), now, "user@there.example");
}

static void left_alone(void **state)
{
    (void)state;
    assert_int_equal(forward("").n, 0);
    assert_true(str_eq(forward("a@ours.example"), STR("a@ours.example")));
    assert_true(str_eq(forward("a@OURS.example"), STR("a@OURS.example")));
    static const char *const others[] = {
        "a@ours.example",     "SRS@ours.example",          "SRS0@ours.example",
        "SRS0=@ours.example", "SRS2=a=b@ours.example",     "srs0x=a=b=c=d@ours.example",
        "postmaster",         "SRS0=a=b=c=d@other.example"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (reverse(str_from(others[i]), now) != 0)
            fail_msg("taken for SRS: %s", others[i]);
}

static void forged_or_old(void **state)
{
    (void)state;
    struct str out = forward("user@there.example");
    for (size_t i = 5; i < out.n - sizeof "ours.example"; i++) {
        char *bad = arena_dup(arena, out.p, out.n);
        bad[i] = ascii_lower(bad[i]) == 'z' ? 'q' : 'z';
        if (reverse(str_of(bad, out.n), now) == 1)
            fail_msg("taken: %.*s", (int)out.n, bad);
    }
    static const char *const bad[] = {"SRS0=a=b=c=d@ours.example",
                                      "SRS0=abcd=H4=there.example=@ours.example",
                                      "SRS0=====@ours.example",
                                      "SRS0=abcd=H4==user@ours.example",
                                      "SRS1=abcd=x@ours.example",
                                      "SRS1=abcd=x.example==a=b@ours.example",
                                      "SRS0==H4=there.example=user@ours.example",
                                      "SRS0=abcd@ours.example"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (reverse(str_from(bad[i]), now) != -1 || err.kind != ERR_PERM)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(reverse(out, now + 22 * INT64_C(1) * DAY), -1);
    assert_int_equal(reverse(out, now - 1 * INT64_C(1) * DAY), -1);      /* of tomorrow */
    want_back(out, now + 1024 * INT64_C(1) * DAY, "user@there.example"); /* the stamp's period */
    conf.secrets[0] = STR("another secret");
    assert_int_equal(reverse(out, now), -1);
}

static void secrets_change(void **state)
{
    (void)state;
    struct str out = forward("user@there.example");
    conf.secrets[1] = conf.secrets[0];
    conf.secrets[0] = STR("new secret");
    assert_false(str_eq(forward("user@there.example"), out));
    want_back(out, now, "user@there.example");
    want_back(forward("user@there.example"), now, "user@there.example");
}

/* Each forwarder on the way sees only the first one and the one before. */
static void chain_of_forwarders(void **state)
{
    (void)state;
    struct str first, second, third, back;
    struct srs_conf a = conf, b = conf, c = conf;
    a.domain = STR("a.example");
    b.domain = STR("b.example");
    b.secrets[0] = STR("b");
    c.domain = STR("c.example");
    c.secrets[0] = STR("c");
    assert_int_equal(srs_forward(&a, arena, STR("me@home.example"), now, &first, &err), 0);
    assert_int_equal(srs_forward(&b, arena, first, now, &second, &err), 0);
    assert_int_equal(srs_forward(&c, arena, second, now, &third, &err), 0);
    assert_true(str_starts(second, STR("SRS1=")));
    assert_true(
        str_find(second, STR("=a.example==" /* the separator of SRS0 is kept */), &(size_t){0}));
    assert_true(str_starts(third, STR("SRS1=")));
    assert_int_equal(second.n, third.n);
    assert_int_equal(srs_reverse(&b, arena, third, now, &back, &err), 0);
    assert_int_equal(srs_reverse(&c, arena, third, now, &back, &err), 1);
    assert_true(str_eq(back, first)); /* c's bounce goes to a at once */
    assert_int_equal(srs_reverse(&b, arena, second, now, &back, &err), 1);
    assert_true(str_eq(back, first));
    assert_int_equal(srs_reverse(&a, arena, back, now, &back, &err), 1);
    assert_true(str_eq(back, STR("me@home.example")));
}

static void too_long(void **state)
{
    (void)state;
    char sender[300], domain[200] = "";
    struct str out;
    while (strlen(domain) < 150)
        strncat(domain, "abcdefghi.", sizeof domain - strlen(domain) - 1);
    snprintf(sender, sizeof sender, "%.60s@%sexample",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", domain);
    assert_true(forward(sender).n > 64); /* a long local part is allowed */
    snprintf(sender, sizeof sender, "%.80s@%sexample",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
             domain);
    assert_int_equal(srs_forward(&conf, arena, str_from(sender), now, &out, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(there_and_back), TEST(format_of_others), TEST(case_may_change),     TEST(left_alone),
        TEST(forged_or_old),  TEST(secrets_change),   TEST(chain_of_forwarders), TEST(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
