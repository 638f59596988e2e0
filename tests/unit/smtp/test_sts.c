/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* MTA-STS: policy file and record; what is fetched when, what stays in force, what a restart keeps.
 */
#include "appliance/sql/sql.h"
#include "fake_dns.h"
#include "smtp/client/sts.h"
#include "tests/unit/store/bed.h"

/* ---- texts */
static struct arena *arena;
static struct sts_policy policy;
static struct err err;

static int parse(const char *text)
{
    return sts_parse(arena, str_from(text), &policy, &err);
}

static void good_policies(void **state)
{
    struct buf out;

    (void)state;
    assert_int_equal(parse("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n"
                           "mx: *.Example.NET\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"),
                     0);
    assert_true(policy.mode == STS_ENFORCE && policy.max_age == 604800 && policy.n_mx == 3);
    assert_true(str_eq(policy.mx[1], STR("*.example.net")));
    buf_init(&out, 1000);
    sts_write(&policy, &out);
    assert_string_equal(buf_z(&out),
                        "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
                        "mx: backupmx.example.com\nmax_age: 604800\n");
    buf_fini(&out);
    /* any order, LF, no space, what isn't known, the first of two */
    assert_int_equal(parse("max_age:9999999999\nmx:a\nfuture: x\nmode:testing\nmode:none\n\n"
                           "version:STSv1"),
                     0);
    assert_true(policy.mode == STS_TESTING && policy.max_age == 31557600);
    assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: 0\n"), 0);
    assert_int_equal(policy.n_mx, 0);
}

static void bad_policies(void **state)
{
    static const char *const bad[] = {
        "",
        "version: STSv1",
        "version: STSv2\nmode: none\nmax_age: 1\n",
        "mode: none\nmax_age: 1\n",
        "version: STSv1\nmax_age: 1\n",
        "version: STSv1\nmode: none\n",
        "version: STSv1\nmode: enforce\nmax_age: 1\n",
        "version: STSv1\nmode: Enforce\nmx: a\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: 99999999999\n",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n",
        "<html>\n<body>not found</body>\n"};
    struct buf many;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (parse(bad[i]) == 0)
            fail_msg("%s", bad[i]);
    buf_init(&many, 1 << 20);
    buf_add_z(&many, "version: STSv1\nmode: enforce\nmax_age: 1\n");
    for (int i = 0; i < 64; i++)
        buf_printf(&many, "mx: a%d\n", i);
    assert_int_equal(parse(buf_z(&many)), 0);
    buf_add_z(&many, "mx: more\n");
    assert_int_equal(parse(buf_z(&many)), -1);
    while (many.n <= 65536)
        buf_add_z(&many, "x: y\n");
    assert_int_equal(parse(buf_z(&many)), -1);
    buf_fini(&many);
}

static void covering(void **state)
{
    (void)state;
    assert_int_equal(
        parse("version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
              "max_age: 1\n"),
        0);
    assert_true(sts_covers(&policy, STR("MAIL.example.com")));
    assert_true(sts_covers(&policy, STR("mail.example.com.")));
    assert_true(sts_covers(&policy, STR("a.example.net")));
    assert_false(sts_covers(&policy, STR("example.net")));
    assert_false(sts_covers(&policy, STR(".example.net")));
    assert_false(sts_covers(&policy, STR("a.b.example.net")));
    assert_false(sts_covers(&policy, STR("aexample.net")));
    assert_false(sts_covers(&policy, STR("x.mail.example.com")));
    assert_false(sts_covers(&policy, STR("")));
}

static void id_is(const char *a, const char *b, const char *want)
{
    struct str txt[2] = {str_from(a), str_from(b)}, id;
    bool found = sts_record_id(txt, b ? 2 : 1, &id);

    if (found != (want != NULL) || (found && !str_eq(id, str_from(want))))
        fail_msg("%s, %s", a, b ? b : "");
}

static void records(void **state)
{
    (void)state;
    id_is("v=STSv1; id=20160831085700Z;", NULL, "20160831085700Z");
    id_is("v=STSv1;id=1", NULL, "1");
    id_is("v=STSv1 ; x=y; id=abc ;", "v=spf1 -all", "abc");
    id_is("v=STSv1; id=1", "v=STSv1; id=1", NULL);
    id_is("v=STSv1; id=a-b", NULL, NULL);
    id_is("v=STSv1; id=", NULL, NULL);
    id_is("v=STSv1; id=012345678901234567890123456789012", NULL, NULL);
    id_is("v=STSv1", NULL, NULL);
    id_is("v=STSv10; id=1", NULL, NULL);
    id_is(" v=STSv1; id=1", NULL, NULL);
    id_is("id=1; v=STSv1", NULL, NULL);
    id_is("", NULL, NULL);
}

/* ---- the cache */
enum { SECOND = 1000, DAY = 86400 * SECOND };
static _Atomic int64_t wall = 1800000000000;
static _Atomic uint64_t mono = 1000000;
static struct bed *bed;
static struct sts *sts;
static struct dns_row *record;
static struct {
    unsigned count;
    enum sts_mode mode; /* STS_NONE: no policy */
    enum tls_result_type failure;
} got;

static uint64_t mono_ms(void)
{
    return mono;
}
static int64_t wall_ms(void)
{
    return wall;
}
static const struct clock_source turned = {mono_ms, wall_ms};

static void turn_clock(uint64_t ms)
{
    mono += ms;
    wall += (int64_t)ms;
    loop_turn(bed->loop, false);
}

static void on_answer(void *ctx, const struct sts_answer *a)
{
    (void)ctx;
    got.count++;
    got.mode = a->policy ? a->policy->mode : STS_NONE;
    got.failure = a->failure;
    assert_true(!a->policy || str_starts(a->text, STR("version: STSv1\n")));
}

static void look(enum sts_mode want)
{
    got.count = 0;
    sts_find(sts, STR("example.org"), on_answer, NULL);
    assert_int_equal(got.count, 0);
    for (int i = 0; i < 20; i++)
        loop_turn(bed->loop, false);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.mode, want);
}

#define POLICY(mode, age) "version: STSv1\nmode: " mode "\nmx: a.example\nmax_age: " age "\n"

static void fetched_once(void **state)
{
    (void)state;
    web_serves(200, "Text/Plain; charset=us-ascii", POLICY("enforce", "864000"));
    look(STS_ENFORCE);
    look(STS_ENFORCE);
    assert_int_equal(web_asked, 1);
    record->record.data = STR("v=STSv1; id=2");
    web_serves(200, "text/plain", POLICY("testing", "864000"));
    look(STS_TESTING);
    assert_int_equal(web_asked, 2);
    web_serves(200, "text/plain", POLICY("none", "864000"));
    record->record.data = STR("v=STSv1; id=3");
    look(STS_NONE);
    assert_int_equal(got.failure, TLS_RESULT_SUCCESS);
    look(STS_NONE);
    assert_int_equal(web_asked, 3);
}

static void in_force_without_record(void **state)
{
    (void)state;
    web_serves(200, "text/plain", POLICY("enforce", "604800"));
    look(STS_ENFORCE);
    record->status = RESOLVER_NO_NAME;
    look(STS_ENFORCE);
    record->status = RESOLVER_FAILED;
    look(STS_ENFORCE);
    assert_int_equal(web_asked, 1);
    turn_clock(7 * (uint64_t)DAY + SECOND);
    look(STS_NONE);
    assert_int_equal(got.failure, TLS_RESULT_SUCCESS);
}

static void failures(void **state)
{
    static const struct {
        unsigned status;
        const char *type, *body;
        enum tls_result_type want;
    } bad[] = {{404, "text/plain", POLICY("enforce", "1000"), TLS_RESULT_STS_POLICY_FETCH_ERROR},
               {301, "text/plain", POLICY("enforce", "1000"), TLS_RESULT_STS_POLICY_FETCH_ERROR},
               {200, "text/html", POLICY("enforce", "1000"), TLS_RESULT_STS_POLICY_FETCH_ERROR},
               {200, "", POLICY("enforce", "1000"), TLS_RESULT_STS_POLICY_FETCH_ERROR},
               {200, "text/plain", "hello", TLS_RESULT_STS_POLICY_INVALID}};
    size_t asked = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        web_serves(bad[i].status, bad[i].type, bad[i].body);
        look(STS_NONE);
        assert_int_equal(got.failure, bad[i].want);
        assert_int_equal(web_asked, ++asked);
        look(STS_NONE); /* not again at once */
        assert_int_equal(got.failure, bad[i].want);
        assert_int_equal(web_asked, asked);
        turn_clock(301 * SECOND);
    }
    web_fails(ERR_WHY_UNTRUSTED);
    look(STS_NONE);
    assert_int_equal(got.failure, TLS_RESULT_STS_WEBPKI_INVALID);
    turn_clock(301 * SECOND);
    web_serves(200, "text/plain", POLICY("enforce", "604800"));
    look(STS_ENFORCE);
    record->record.data = STR("v=STSv1; id=2"); /* a new one can't be had: the old one holds */
    web_fails(ERR_WHY_OTHER);
    look(STS_ENFORCE);
    assert_int_equal(got.failure, TLS_RESULT_SUCCESS);
    turn_clock(8 * (uint64_t)DAY);
    look(STS_NONE);
    assert_int_equal(got.failure, TLS_RESULT_STS_POLICY_FETCH_ERROR);
}

static void refreshed_daily(void **state)
{
    (void)state;
    web_serves(200, "text/plain", POLICY("enforce", "604800"));
    look(STS_ENFORCE);
    turn_clock(DAY + SECOND);
    web_serves(200, "text/plain", POLICY("testing", "604800"));
    look(STS_ENFORCE); /* those who ask aren't held up */
    assert_int_equal(web_asked, 2);
    look(STS_TESTING);
    assert_int_equal(web_asked, 2);
}

static void asked_together(void **state)
{
    struct sts_query *first, *second;

    (void)state;
    web_serves(200, "text/plain", POLICY("enforce", "604800"));
    got.count = 0;
    first = sts_find(sts, STR("example.org"), on_answer, NULL);
    second = sts_find(sts, STR("example.org"), on_answer, NULL);
    sts_find(sts, STR("example.org"), on_answer, NULL);
    sts_cancel(&first);
    assert_null(first);
    for (int i = 0; i < 20; i++)
        loop_turn(bed->loop, false);
    assert_int_equal(got.count, 2);
    assert_int_equal(dns_asked, 1);
    assert_int_equal(web_asked, 1);
    (void)second;
}

static void restart(void)
{
    sts_free(&sts);
    sts = sts_new(bed->loop, NULL, (struct http_client *)&got, bed->store);
    for (int i = 0; i < 20; i++)
        loop_turn(bed->loop, false);
}

static int64_t rows(void)
{
    struct sql_stmt *st;

    assert_int_equal(
        sql_prepare(store_reader_sql(bed->reader), "SELECT COUNT(*) FROM sts_policy", &st, &err),
        0);
    assert_int_equal(sql_step(st, &err), 1);
    int64_t n = sql_int(st, 0);
    sql_reset(st);
    return n;
}

static void kept_in_the_store(void **state)
{
    (void)state;
    web_serves(200, "text/plain", POLICY("enforce", "604800"));
    look(STS_ENFORCE);
    restart();
    assert_int_equal(rows(), 1);
    web_fails(ERR_WHY_OTHER);
    look(STS_ENFORCE);
    assert_int_equal(web_asked, 1);
    turn_clock(3 * (uint64_t)DAY);
    restart();
    look(STS_ENFORCE);
    turn_clock(5 * (uint64_t)DAY);
    restart(); /* it is over: forgotten there too */
    restart();
    assert_int_equal(rows(), 0);
    look(STS_NONE);
}

static void never_too_many(void **state)
{
    static char names[100][64];

    (void)state;
    for (int round = 0; round < 110; round++) {
        dns_n = dns_asked = 0;
        for (int i = 0; i < 100; i++) {
            char domain[40];
            snprintf(domain, sizeof domain, "d%d-%d.example", round, i);
            snprintf(names[i], sizeof names[i], "_mta-sts.%s", domain);
            dns_txt(names[i], "v=STSv1; id=1");
            sts_find(sts, str_from(domain), on_answer, NULL);
        }
        for (int i = 0; i < 6; i++)
            loop_turn(bed->loop, false);
    }
    assert_int_equal(dns_open, 0); /* 11 000 that failed; the sanitizer sees what is left */
}

/* ---- what TLS was used */
static void note(struct tls_results *r, const char *mx, enum tls_result_type type)
{
    tls_results_note(r, &(struct tls_result){.domain = STR("example.org"),
                                             .mx = str_from(mx),
                                             .kind = TLS_POLICY_STS,
                                             .policy = STR("mode: enforce\n"),
                                             .type = type});
}

static void results(void **state)
{
    struct tls_results *r = tls_results_new(bed->loop, bed->store);
    struct tls_result *list;
    size_t n;
    int64_t day = wall / DAY;

    (void)state;
    for (int i = 0; i < 3; i++)
        note(r, "a.example", TLS_RESULT_SUCCESS);
    note(r, "a.example", TLS_RESULT_CERTIFICATE_EXPIRED);
    tls_results_free(&r);
    r = tls_results_new(bed->loop, bed->store);
    note(r, "a.example", TLS_RESULT_SUCCESS);
    note(r, "", TLS_RESULT_STS_POLICY_INVALID);
    tls_results_free(&r);
    assert_int_equal(tls_results_read(bed->reader, arena, day, 100, &list, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_true(list[0].mx.n == 0 && list[0].count == 1);
    assert_int_equal(list[1].type, TLS_RESULT_SUCCESS);
    assert_int_equal(list[1].count, 4);
    assert_true(str_eq(list[1].policy, STR("mode: enforce\n")));
    assert_string_equal(tls_result_name(list[2].type), "certificate-expired");
    assert_string_equal(tls_policy_name(list[2].kind), "sts");
    assert_int_equal(tls_results_read(bed->reader, arena, day, 2, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(tls_results_read(bed->reader, arena, day + 1, 2, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    turn_clock(9 * (uint64_t)DAY); /* the first day is pruned by the next write */
    r = tls_results_new(bed->loop, bed->store);
    note(r, "b.example", TLS_RESULT_SUCCESS);
    turn_clock(61 * SECOND);
    while (n == 0) {
        bed_turn(bed);
        assert_int_equal(tls_results_read(bed->reader, arena, day + 9, 2, &list, &n, &err), 0);
    }
    assert_int_equal(n, 1);
    assert_int_equal(tls_results_read(bed->reader, arena, day, 2, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    tls_results_free(&r);
}

static int begin(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static int begin_cache(void **state)
{
    begin(state);
    bed = bed_new();
    clock_replace(&turned);
    loop_turn(bed->loop, false);
    fake_reset(bed->loop);
    dns_txt("_mta-sts.example.org", "v=STSv1; id=1");
    record = &dns_rows[0];
    sts = sts_new(bed->loop, NULL, (struct http_client *)&got, bed->store);
    return 0;
}

static int end_cache(void **state)
{
    sts_free(&sts);
    assert_true(dns_open == 0 && web_open == 0);
    clock_replace(NULL);
    bed_free(&bed);
    return end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
#define CACHE(f) cmocka_unit_test_setup_teardown(f, begin_cache, end_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_policies),   TEST(bad_policies),
        TEST(covering),        TEST(records),
        CACHE(fetched_once),   CACHE(in_force_without_record),
        CACHE(failures),       CACHE(refreshed_daily),
        CACHE(asked_together), CACHE(kept_in_the_store),
        CACHE(never_too_many), CACHE(results),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
